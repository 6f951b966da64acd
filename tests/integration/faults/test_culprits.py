"""What an owner does with what `acquire` tells it: how many owners were lost, and the event that was the end of the last."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest

from runnel import Event
from runnel.operations.status import read_status
from tests.integration.faults.harness import World
from tests.integration.faults.shop import Sale, declare_stream, make_app
from tests.integration.faults.test_parking import committed, even, nothing_parked, odd, release, released_keys, send
from tests.integration.faults.test_policies import handler
from tests.integration.faults.test_retry import Till, partition_details
from tests.support import wait_until

Shop = Callable[..., World]


def tell(world: World, **fields: Any) -> None:
    """Have the next owner told this."""
    with world.server.client() as client:
        client.hset(world.keys(0).slot("till").decode(), mapping={"number": 0, **fields})


def xid(world: World, at: int) -> str:
    return world.raw_log()[at][0]


def never(sale: Sale) -> None:
    """A handler that fails nothing."""


# ── the culprit ──


@pytest.mark.parametrize("policy", ["ignore", "dead_letter", "park"])
async def test_a_culprit_never_runs_and_the_rest_goes_on(shop: Shop, policy: str) -> None:
    world = shop(partition_count=1)
    await send(world, range(10))
    tell(world, culprit=xid(world, 0), crashes=4)
    till = Till(world, never, exception_policy=policy, lock_expiry=1)
    async with world.worker(app=till.app) as worker:
        await committed(world, 10)
        assert partition_details(worker)["dropped"] == (policy == "ignore")
    assert odd(till.begun) == odd(range(10))
    assert even(till.begun) == ([] if policy == "park" else even(range(1, 10)))
    for fields in (world.dead() + world.parked())[:1]:
        assert fields["~error"].startswith("WorkerCrashed: 4 workers in a row were lost")
        assert fields["~attempts"] == "4"


@pytest.mark.parametrize("policy", ["halt", "quarantine"])
async def test_a_culprit_that_may_not_be_passed_over_stops_its_partition(shop: Shop, policy: str) -> None:
    world = shop(partition_count=1)
    await send(world, range(10))
    tell(world, culprit=xid(world, 0))
    till = Till(world, never, exception_policy=policy, lock_expiry=1)
    async with world.worker(app=till.app) as worker:
        await wait_until(lambda: "WorkerCrashed: its worker was lost" in world.slot(0).get("stopped", ""))
        await wait_until(lambda: not world.slot(0)["owner"])
        assert not worker.stopping
    assert not till.begun


async def test_a_culprit_that_somebody_has_taken_away_blames_nobody_else(shop: Shop) -> None:
    world = shop(partition_count=1)
    await send(world, range(10))
    tell(world, culprit=xid(world, 0), crashes=4)
    with world.server.client() as client:
        client.xdel(world.keys(0).log.decode(), xid(world, 0))
    till = Till(world, never, exception_policy="ignore", lock_expiry=1)
    async with world.worker(app=till.app):
        await committed(world, 10)
    assert till.done == list(range(1, 10))


async def test_a_culprit_that_there_is_no_room_to_park_waits_and_does_not_run(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    world, fixed = shop(partition_count=1), list[bool]()
    await send(world, range(2))
    till = Till(world, handler(1, "exception", fixed), exception_policy="park", max_parked=1, lock_expiry=1)
    async with world.worker(app=till.app):
        await committed(world, 2)
    await send(world, [2, 4, 6])
    fixed.append(True)
    tell(world, culprit=xid(world, 2), crashes=4)
    async with world.worker(app=till.app):
        await wait_until(lambda: "partition paused" in caplog.text)
        await release(world)
        await wait_until(lambda: [each.get("~error", "")[:13] for each in world.parked()] == ["WorkerCrashed"])
    assert till.begun == [0, 1, 1]


@pytest.mark.parametrize("policy", ["ignore", "dead_letter", "park", "halt"])
async def test_a_released_culprit_is_treated_whatever_else_is_released(shop: Shop, policy: str) -> None:
    world, fixed = shop(partition_count=1), list[bool]()

    def handle(sale: Sale) -> None:
        if not fixed:
            raise ValueError("no change")

    await send(world, range(6))
    async with world.worker(app=Till(world, handle, exception_policy="park", lock_expiry=1).app):
        await committed(world, 6)
    fixed.append(True)
    assert len(world.parked()) == 6
    assert await release(world, "0") == await release(world, "1") == 1
    tell(world, culprit=xid(world, 1), crashes=4)
    till = Till(world, handle, exception_policy=policy, lock_expiry=1)
    async with world.worker(app=till.app):
        await wait_until(lambda: not released_keys(world))
        await wait_until(lambda: len(till.done) == (3 if policy in ("park", "halt") else 5))
    held = policy in ("park", "halt")
    assert odd(till.begun) == ([] if held else [3, 5])
    assert even(till.begun) == [0, 2, 4]
    assert len(world.parked()) == (3 if held else 0)
    assert len(world.dead()) == (policy == "dead_letter")
    assert held or nothing_parked(world)


# ── care ──


async def test_who_follows_one_that_was_lost_hands_out_singly_and_commits_each_before_the_next(shop: Shop) -> None:
    """For as many events as may have been out: two times `prefetch_count`."""
    world = shop(partition_count=1)
    await send(world, range(20))
    tell(world, crashes=1)
    sizes, open_then = list[int](), list[int]()
    app = make_app(world.plan)

    async def till(events: Any) -> None:
        batch: list[Event]
        async for batch in events.take(4, within=0.01):
            sizes.append(len(batch))
            entries = [entry for entry, _ in world.raw_log()]
            open_then.append(entries.index(batch[0].xid) - done_of(world))

    app.processor(declare_stream(app, world.plan), name="till", lock_expiry=1, prefetch_count=4)(till)
    async with world.worker(app=app):
        await committed(world, 20)
    assert sizes[:8] == [1] * 8
    assert open_then[:8] == [0] * 8
    assert max(sizes) > 1


async def test_a_released_event_that_is_suspected_is_noted_before_it_runs(shop: Shop) -> None:
    world, fixed, noted = shop(partition_count=1), list[bool](), list[str]()

    def handle(sale: Sale) -> None:
        if not fixed:
            raise ValueError("no change")
        noted.append(world.slot(0)["suspect"])

    await send(world, [1])
    async with world.worker(app=Till(world, handle, exception_policy="park", lock_expiry=1).app):
        await committed(world, 1)
    fixed.append(True)
    await release(world)
    tell(world, crashes=3)
    async with world.worker(app=Till(world, handle, exception_policy="park", lock_expiry=1).app):
        await wait_until(lambda: nothing_parked(world))
    assert noted == [xid(world, 0)]


async def test_released_events_are_committed_one_by_one_too(shop: Shop) -> None:
    world, fixed, left = shop(partition_count=1), list[bool](), list[int]()

    def handle(sale: Sale) -> None:
        if not fixed:
            raise ValueError("no change")
        left.append(len(world.parked()))

    await send(world, [1, 3, 5, 7])
    async with world.worker(app=Till(world, handle, exception_policy="park", lock_expiry=1).app):
        await committed(world, 4)
    fixed.append(True)
    await release(world)
    tell(world, crashes=1)
    till = Till(world, handle, exception_policy="park", lock_expiry=1)
    async with world.worker(app=till.app):
        await wait_until(lambda: nothing_parked(world))
    assert till.done == [1, 3, 5, 7]
    assert left == [4, 3, 2, 1]


def done_of(world: World) -> int:
    return int(world.slot(0).get("count", 0))


async def test_a_suspect_is_noted_before_it_runs_and_none_once_it_is_done(shop: Shop) -> None:
    world = shop(partition_count=1)
    await send(world, range(3))
    tell(world, crashes=3)
    go = asyncio.Event()
    till = Till(world, lambda _: go.wait(), lock_expiry=1)
    async with world.worker(app=till.app) as worker:
        await wait_until(lambda: till.begun)
        details = partition_details(worker)
        assert (details["crashes"], details["alone"]) == (3, True)
        till.app.override(redis_url=world.server.url)
        [told] = (await read_status(till.app)).processors[0].partitions
        assert (told.crashes, told.suspect) == (3, xid(world, 0))
        go.set()
        await committed(world, 3)
        assert "crashes" not in partition_details(worker)
        [told] = (await read_status(till.app)).processors[0].partitions
        assert (told.crashes, told.suspect) == (0, None)


async def test_a_suspect_that_fails_like_any_other_is_treated_like_any_other(shop: Shop) -> None:
    world = shop(partition_count=1)
    await send(world, range(4))
    tell(world, crashes=3)
    till = Till(world, handler(0, "exception"), exception_policy="dead_letter", lock_expiry=1)
    async with world.worker(app=till.app):
        await committed(world, 4)
    assert till.done == [1, 2, 3]
    assert world.dead()[0]["~error"] == "ValueError: no change"


async def test_what_fails_before_the_loop_suspects_no_event(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    """A crash there would not be that of an event."""
    caplog.set_level(logging.WARNING)
    world = shop(partition_count=1, fail_to_begin=2, max_crashes=1)
    await send(world, range(3))
    tell(world, crashes=1)
    async with world.worker():
        await wait_until(lambda: "no database" in caplog.text)
        assert not world.slot(0).get("suspect")
        await committed(world, 3)
