"""Workers that leave, politely or not, and who takes their place."""

import signal
from collections.abc import Callable

import pytest

from tests.integration.faults.harness import World
from tests.support import wait_until

Shop = Callable[..., World]
STYLES = pytest.mark.parametrize("style", ["records", "plain"])
FOR_EVER = 600.0
"""A lease that does not end within a test: whoever takes over before has not waited for it."""


@STYLES
async def test_a_polite_worker_finishes_the_event_under_way_and_commits_it(shop: Shop, style: str) -> None:
    world = shop(style=style, hold=2, lock_expiry=FOR_EVER)
    await world.send([1], range(5))
    first = world.start("first")
    await wait_until(lambda: len(world.ledger.begun()) == 3, what="the third event is in the handler")
    first.signal(signal.SIGTERM)
    await wait_until(lambda: world.free() == 3, what="the partitions that have nothing to finish are free")
    assert first.running
    world.let_go()
    assert await first.ended() == 0
    assert len(world.ledger.finished()) == 3
    assert len(world.uncommitted()) == 2

    world.start("second")
    await world.all_done()
    world.check()
    assert not world.ledger.repeated()


@STYLES
async def test_a_handler_that_does_not_end_is_cut_off_after_its_grace_and_its_event_is_not_committed(
    shop: Shop, style: str
) -> None:
    world = shop(style=style, hold=2, grace_period=0.3, lock_expiry=FOR_EVER)
    await world.send([1], range(5))
    first = world.start("first")
    await wait_until(lambda: len(world.ledger.begun()) == 3, what="the third event is in the handler")
    first.signal(signal.SIGTERM)
    assert await first.ended() == 0
    assert len(world.uncommitted()) == 3

    world.let_go()
    world.start("second")
    await world.all_done()
    world.check()
    assert [event.number for event in world.ledger.repeated()] == [2]


@STYLES
async def test_a_second_signal_does_not_wait_for_the_handler(shop: Shop, style: str) -> None:
    world = shop(style=style, hold=2, grace_period=FOR_EVER, lock_expiry=FOR_EVER)
    await world.send([1], range(5))
    first = world.start("first")
    await wait_until(lambda: len(world.ledger.begun()) == 3, what="the third event is in the handler")
    first.signal(signal.SIGTERM)
    await wait_until(lambda: world.free() == 3, what="the partitions that have nothing to finish are free")
    first.signal(signal.SIGTERM)
    assert await first.ended() == 0
    assert len(world.uncommitted()) == 3

    world.let_go()
    world.start("second")
    await world.all_done()
    world.check()
