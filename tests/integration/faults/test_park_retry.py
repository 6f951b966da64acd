"""Parked keys that run again by themselves: when they are due, in order, whoever owns the partition by then."""

import asyncio
import time
from collections import defaultdict
from typing import Any

import pytest

from runnel import ParkRetry, Reject
from tests.integration.faults.harness import World
from tests.integration.faults.shop import Sale
from tests.integration.faults.test_parking import (
    check_released,
    committed,
    even,
    nothing_parked,
    odd,
    release,
    released_keys,
    send,
)
from tests.integration.faults.test_policies import Shop, handler, in_order
from tests.integration.faults.test_retry import STYLES, Till, partition_details
from tests.support import wait_until

SOON = ParkRetry(backoff=0.05, max_backoff=0.2)
LATER = ParkRetry(backoff=100, max_backoff=1_000)


def tries(world: World, key: str = "1", partition: int = 0) -> tuple[int, float] | None:
    """How often a key was tried again, and in how many seconds it is next; inf: not by itself."""
    with world.server.client() as client:
        said = client.hget(world.keys(partition).tries("till").decode(), key)
        seconds, microseconds = client.time()
    if said is None:
        return None
    tried, due = map(int, said.split())
    return tried, due / 1000 - seconds - microseconds / 1e6 if due else float("inf")


def is_due(world: World, key: str = "1", tried: int = 0) -> None:
    """Let the time come at which a key, if it is parked, is tried again."""
    with world.server.client() as client:
        if client.hexists(world.keys(0).parked_keys("till").decode(), key):
            client.hset(world.keys(0).tries("till").decode(), key, f"{tried} 1")


def wait_of(world: World, tried: int) -> float:
    """How long the next try is away, after so many."""
    found = tries(world)
    assert found is not None
    assert found[0] == tried
    return found[1]


def park(world: World, handle: Any, style: str = "events", **options: Any) -> Till:
    return Till(world, handle, style, **{"exception_policy": "park", "lock_expiry": 1, **options})


@STYLES
@pytest.mark.parametrize("error", ["exception", "timeout"])
async def test_a_key_runs_again_by_itself_in_order_once_its_handler_is_mended(
    shop: Shop, style: str, error: str
) -> None:
    world, fixed = shop(partition_count=1), list[bool]()
    await send(world, range(10))
    till = park(world, handler(3, error, fixed), style, timeout=0.1, park_retry=SOON)
    async with world.worker(app=till.app):
        await committed(world, 10)
        await wait_until(lambda: till.begun.count(3) > 2, what="it is tried again, in vain")
        assert odd(in_order(till.done)) == [1]
        fixed.append(True)
        await send(world, range(10, 20))
        await wait_until(lambda: nothing_parked(world))
        await committed(world, 20)
        await wait_until(lambda: len(in_order(till.done)) == 20)
    assert odd(in_order(till.done)) == odd(range(20))
    assert even(in_order(till.done)) == even(range(20))
    assert tries(world) is None


async def test_each_wait_is_twice_as_long_as_the_one_before_whoever_owns_the_partition(shop: Shop) -> None:
    world = shop(partition_count=1)
    await send(world, range(4))
    waits = []
    for tried in range(6):
        till = park(world, handler(1, "exception"), park_retry=LATER)
        async with world.worker(app=till.app):
            if tried:
                assert await release(world) == 1
            await wait_until(lambda tried=tried: (tries(world) or (-1, 0.0))[0] == tried)
            waits.append(wait_of(world, tried))
            await wait_until(lambda: not released_keys(world))
    assert [round(wait, -2) for wait in waits] == [100, 200, 400, 800, 1_000, 1_000]
    assert all(wait <= exact for wait, exact in zip(waits, [100, 200, 400, 800, 1_000, 1_000], strict=True))


async def test_a_key_that_is_not_due_waits_and_one_that_is_runs_under_the_next_owner(shop: Shop) -> None:
    world = shop(partition_count=1)
    await send(world, range(6))
    first = park(world, failing_at(1, 2), park_retry=LATER)
    async with world.worker(app=first.app):
        await committed(world, 6)
    later = park(world, lambda sale: None, park_retry=LATER)
    async with world.worker(app=later.app):
        await release(world, "0")
        await wait_until(lambda: later.done == [2, 4], what="it has looked")
        await send(world, [6])
        await wait_until(lambda: later.done == [2, 4, 6])
    is_due(world)
    last = park(world, lambda sale: None, park_retry=LATER)
    async with world.worker(app=last.app):
        await wait_until(lambda: nothing_parked(world))
    assert last.done == [1, 3, 5]


def failing_at(*numbers: int) -> Any:
    def handle(sale: Sale) -> None:
        if sale.number in numbers:
            raise ValueError("no change")

    return handle


async def test_when_the_first_event_is_done_at_last_the_next_one_that_fails_begins_anew(shop: Shop) -> None:
    world, bad = shop(partition_count=1), [1]

    def handle(sale: Sale) -> None:
        if sale.number in bad:
            raise ValueError("no change")

    await send(world, range(8))
    till = park(world, handle, park_retry=LATER)
    async with world.worker(app=till.app):
        await committed(world, 8)
        for tried in (1, 2):
            await release(world)
            await wait_until(lambda tried=tried: (tries(world) or (0, 0.0))[0] == tried)
        bad[0] = 5
        await release(world)
        await wait_until(lambda: len(world.parked()) == 2)
        await wait_until(lambda: not released_keys(world))
        assert 90 < wait_of(world, 0) <= 100
    assert odd(till.done) == [1, 3]


async def test_a_partition_that_moves_while_a_key_runs_again_has_the_rest_run_at_once(shop: Shop) -> None:
    world, begun = shop(partition_count=1), asyncio.Event()
    await send(world, range(10))
    first = park(world, handler(1, "exception"), park_retry=LATER)
    async with world.worker(app=first.app):
        await committed(world, 10)
    is_due(world, tried=4)

    async def linger() -> None:
        begun.set()
        await asyncio.Event().wait()

    second = park(world, lambda sale: linger() if sale.number == 5 else None, park_retry=LATER, grace_period=0)
    async with world.worker(app=second.app):
        await begun.wait()
    assert second.done == [1, 3]
    assert wait_of(world, 0) <= 0
    third = park(world, lambda sale: None, park_retry=LATER)
    async with world.worker(app=third.app):
        await wait_until(lambda: nothing_parked(world))
    assert third.done == [5, 7, 9]


async def test_a_try_that_is_cut_off_since_the_partition_moves_does_not_count(shop: Shop) -> None:
    world, begun = shop(partition_count=1), asyncio.Event()
    await send(world, range(4))
    first = park(world, failing_at(1), park_retry=LATER)
    async with world.worker(app=first.app):
        await committed(world, 4)
    is_due(world, tried=4)

    async def linger() -> None:
        begun.set()
        await asyncio.Event().wait()

    second = park(world, lambda sale: linger() if sale.number == 1 else None, park_retry=LATER, grace_period=0)
    async with world.worker(app=second.app):
        await begun.wait()
        assert wait_of(world, 5) > 0
    assert wait_of(world, 4) <= 0


async def test_a_try_is_counted_before_it_is_made_so_that_a_key_that_kills_its_process_waits_longer(shop: Shop) -> None:
    world = shop(policy="park", fail=4, partition_count=1)
    await world.send(range(3), range(10))
    async with world.worker("parks"):
        await world.all_done()
    for tried, wait in ((0, 120), (1, 240)):
        for key in range(3):
            is_due(world, str(key), tried)
        killed = world.start(f"killed-{tried}", crash="handler", nth=1, fail=-1)
        assert await killed.ended() < 0
        found = [tries(world, str(key)) for key in range(3)]
        counted = [each for each in found if each is not None and each[0] == tried + 1]
        assert len(counted) == 1
        assert wait - 30 < counted[0][1] <= wait
    await check_released(world)


async def test_a_worker_that_is_killed_while_keys_run_again_loses_nothing_and_keeps_the_order(shop: Shop) -> None:
    world = shop(policy="park", fail=4, partition_count=1)
    await world.send(range(3), range(10))
    async with world.worker("parks"):
        await world.all_done()
    for nth, crash in enumerate(["before commit", "commit sent", "after commit", "handler"], 1):
        for key in range(3):
            is_due(world, str(key))
        killed = world.start(f"killed-{nth}", crash=crash, nth=2, fail=-1)
        assert await killed.ended() < 0
    await check_released(world)


async def test_what_a_handler_rejects_is_not_tried_again_by_itself(shop: Shop) -> None:
    world = shop(partition_count=1)

    def handle(sale: Sale) -> None:
        if sale.number == 1:
            raise Reject("never")

    await send(world, range(4))
    till = park(world, handle, park_retry=SOON)
    async with world.worker(app=till.app):
        await committed(world, 4)
    assert wait_of(world, 0) == float("inf")
    later = park(world, lambda sale: None, park_retry=SOON)
    async with world.worker(app=later.app):
        await send(world, [4])
        await wait_until(lambda: later.done == [4])
        await release(world)
        await wait_until(lambda: nothing_parked(world))
    assert later.done == [4, 1, 3]


@pytest.mark.parametrize(("policy", "retry"), [("park", None), ("halt", SOON), ("dead_letter", SOON)])
async def test_nothing_is_tried_again_where_it_is_turned_off_or_under_another_policy(
    shop: Shop, policy: str, retry: ParkRetry | None
) -> None:
    world = shop(partition_count=1)
    await send(world, range(4))
    first = park(world, failing_at(1, 2), park_retry=LATER)
    async with world.worker(app=first.app):
        await committed(world, 4)
    is_due(world)
    later = park(world, lambda sale: None, exception_policy=policy, park_retry=retry)
    async with world.worker(app=later.app) as worker:
        await release(world, "0")
        await wait_until(lambda: later.done == [2], what="it has looked")
        await send(world, [4])
        await wait_until(lambda: later.done == [2, 4])
        assert partition_details(worker)["parked_keys"] == 1


async def test_a_release_while_a_key_runs_in_vain_has_it_run_once_more_at_once(shop: Shop) -> None:
    world, going, fixed = shop(partition_count=1), asyncio.Event(), list[bool]()
    await send(world, range(4))

    async def fail() -> None:
        if till.begun.count(1) == 2:
            await going.wait()
        raise ValueError("no change")

    till = park(world, lambda sale: fail() if sale.number == 1 and not fixed else None, park_retry=LATER)
    async with world.worker(app=till.app):
        await committed(world, 4)
        await release(world)
        await wait_until(lambda: till.begun.count(1) == 2, what="it was released")
        await release(world)
        going.set()
        await wait_until(lambda: till.begun.count(1) == 3, what="it was released once more")
        await wait_until(lambda: (tries(world) or (0, 0))[0] == 2)
        fixed.append(True)
        await release(world)
        await wait_until(lambda: nothing_parked(world))
    assert till.done == [0, 2, 1, 3]


async def test_what_is_tried_in_vain_takes_a_fifth_of_the_time_at_most(shop: Shop) -> None:
    world, moments, fixed = shop(partition_count=1), list[float](), list[bool]()

    async def fail() -> None:
        moments.append(time.monotonic())
        await asyncio.sleep(0.5)
        raise ValueError("no change")

    await world.stream.send(*(Sale(key=key, number=key) for key in range(10)))
    till = park(world, lambda sale: fail() if sale.key < 2 and not fixed else None, park_retry=ParkRetry(0.001, 0.001))
    async with world.worker(app=till.app):
        await wait_until(lambda: len(moments) >= 4)
        fixed.append(True)
        await wait_until(lambda: nothing_parked(world))
    assert moments[3] - moments[2] >= 0.5 + 4 * 0.5
    assert sorted(till.done) == list(range(10))


async def test_keys_that_are_well_again_follow_one_another_at_once(shop: Shop) -> None:
    world, fixed = shop(partition_count=1), list[bool]()

    def handle(sale: Sale) -> None:
        if not fixed:
            raise ValueError("no change")

    await world.stream.send(*(Sale(key=key, number=key) for key in range(40)))
    till = park(world, handle, park_retry=SOON, breaker=None)
    async with world.worker(app=till.app):
        await committed(world, 40)
        fixed.append(True)
        await wait_until(lambda: nothing_parked(world), 30, what="one a look would take 40 s")
    assert sorted(till.done) == list(range(40))


async def test_order_and_every_event_survive_restarts_and_rebalancing_while_keys_heal(shop: Shop) -> None:
    world = shop(partition_count=4)
    done: defaultdict[int, list[int]] = defaultdict(list)
    sick = set(range(0, 20, 4))

    def handle(sale: Sale) -> None:
        if sale.key in sick and sale.number % 3 == 2:
            raise ValueError("no change")
        done[sale.key].append(sale.number)

    async def send_more(numbers: range) -> None:
        await world.stream.send(*(Sale(key=key, number=number) for number in numbers for key in range(20)))

    def make(worker: str) -> Any:
        return world.worker(worker, app=park(world, handle, park_retry=SOON).app)

    await send_more(range(6))
    async with make("one"):
        await wait_until(lambda: done[1] == list(range(6)))
        async with make("two"):
            await send_more(range(6, 12))
            sick.discard(0)
            await wait_until(lambda: done[1][-1] == 11)
        await send_more(range(12, 15))
        sick.discard(4)
    async with make("three"), make("four"):
        sick.clear()
        await send_more(range(15, 18))
        await wait_until(lambda: not any(world.parked(n) for n in range(4)), 20)
        await wait_until(lambda: all(numbers and numbers[-1] == 17 for numbers in done.values()), 20)
    assert {key: in_order(numbers) for key, numbers in done.items()} == {key: list(range(18)) for key in range(20)}
