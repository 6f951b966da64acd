"""A worker that is killed at any step, and what the next one does."""

import signal
from collections.abc import Callable

import pytest

from tests.integration.faults.crashes import CRASHES
from tests.integration.faults.harness import World
from tests.support import wait_until

KEYS = range(12)
SENT = range(40)
Shop = Callable[..., World]


@pytest.mark.parametrize(("style", "nth"), [("records", 1), ("take", 3)])
@pytest.mark.parametrize("crash", [name for name in CRASHES if "release" not in name])
async def test_a_killed_worker_loses_nothing_and_repeats_only_what_was_in_flight(
    shop: Shop, crash: str, nth: int, style: str
) -> None:
    world = shop(style=style, prefetch_count=16)
    await world.send(KEYS, SENT)
    assert await world.start("first", crash=crash, nth=nth).ended() == -signal.SIGKILL
    in_flight = set(world.ledger.begun()) & world.uncommitted()

    world.start("second")
    await world.all_done()
    world.check()
    assert world.ledger.repeated() <= in_flight


@pytest.mark.parametrize("crash", ["before release", "after release"])
async def test_a_worker_killed_while_it_releases_leaves_nothing_to_repeat(shop: Shop, crash: str) -> None:
    world = shop()
    await world.send(KEYS, range(5))
    first = world.start("first", crash=crash, nth=2)
    await world.all_done()
    first.signal(signal.SIGTERM)
    assert await first.ended() == -signal.SIGKILL
    await world.send(KEYS, range(5, 10))

    world.start("second")
    await world.all_done()
    world.check()
    assert not world.ledger.repeated()


async def test_only_the_event_in_the_handler_is_repeated_when_all_before_it_is_committed(shop: Shop) -> None:
    world = shop(hold=7)
    await world.send([1], SENT)
    first = world.start("first")
    await wait_until(lambda: len(world.ledger.begun()) == 8 and len(world.uncommitted()) == len(SENT) - 7)
    first.popen.kill()
    await first.ended()

    world.let_go()
    world.start("second")
    await world.all_done()
    world.check()
    assert [event.number for event in world.ledger.repeated()] == [7]


async def test_workers_killed_one_after_the_other_lose_nothing(shop: Shop) -> None:
    world = shop(prefetch_count=8, lock_expiry=0.5)
    await world.send(KEYS, SENT)
    for n, crash in enumerate(["handler", "commit sent", "after commit", "read", "before commit"]):
        assert await world.start(f"worker{n}", crash=crash, nth=2).ended() == -signal.SIGKILL
    world.start("last")
    await world.all_done()
    world.check()
