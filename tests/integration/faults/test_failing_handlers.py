"""Handlers that fail, and payloads that do not decode, under each policy."""

import signal
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from runnel import ExceptionPolicy, Middleware
from runnel.errors import HandlerFailed
from tests.integration.faults.harness import World
from tests.integration.faults.shop import declare_stream, make_app
from tests.support import wait_until

Shop = Callable[..., World]
FOR_EVER = 600.0


@pytest.mark.parametrize("style", ["records", "events"])
async def test_halt_stops_the_worker_in_order_and_the_failing_event_stays_the_first(shop: Shop, style: str) -> None:
    world = shop(style=style, lock_expiry=FOR_EVER)
    await world.send([1], range(10))
    first = world.start("first", fail=6)
    assert await first.ended() == 3
    assert "event sales/" in first.log
    assert "failed: ValueError: no change" in first.log
    assert world.free() == world.plan.partition_count
    assert {event.number for event in world.uncommitted()} == {6, 7, 8, 9}

    world.start("second")
    await world.all_done()
    assert [event.number for event in world.ledger.begun("second")] == [6, 7, 8, 9]
    world.check()


async def test_halt_in_a_batch_commits_the_batches_before_it(shop: Shop) -> None:
    world = shop(style="take", lock_expiry=FOR_EVER)
    await world.send([1], range(30))
    first = world.start("first", fail=15)
    assert await first.ended() == 3
    left = sorted(event.number for event in world.uncommitted())
    assert left == list(range(left[0], 30))
    assert 5 < left[0] <= 15

    world.start("second")
    await world.all_done()
    assert world.ledger.begun("second")[0].number == left[0]
    world.check()


async def test_halt_lets_others_finish_the_event_under_way(shop: Shop) -> None:
    """The others' events are committed too: nothing of them is repeated."""
    world = shop(fail=0, lock_expiry=FOR_EVER, hold=1)
    here, there = two_keys(world)
    await world.send([here], [1, 2])
    first = world.start("first")
    await wait_until(lambda: len(world.ledger.begun()) == 1)
    await world.send([there], [0])
    await wait_until(lambda: world.free() == world.plan.partition_count - 1, what="all but one are free")
    world.let_go()
    assert await first.ended() == 3
    assert {(event.key, event.number) for event in world.uncommitted()} == {(here, 2), (there, 0)}


def two_keys(world: World) -> tuple[int, int]:
    """Keys of different partitions."""
    return next((0, key) for key in range(1, 100) if world.stream.hash(key) != world.stream.hash(0))


async def test_ignore_drops_the_failing_events_and_keeps_the_order(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    world = shop(policy="ignore", fail=4)
    await world.send(range(40), range(10))
    async with world.worker():
        await world.all_done()
    finished = world.ledger.finished()
    assert sorted(finished) == sorted(event for event in world.sent if event.number != 4)
    assert world.ledger.begun() == [*dict.fromkeys(world.ledger.begun())]
    for key in range(40):
        assert [event.number for event in finished if event.key == key] == [0, 1, 2, 3, 5, 6, 7, 8, 9]
    assert caplog.text.count("failed event dropped") == 40
    assert "ValueError: no change" in caplog.text


async def test_ignore_in_a_killed_worker_drops_nothing_that_did_not_fail(shop: Shop) -> None:
    world = shop(policy="ignore", fail=4, partition_count=1)
    await world.send(range(3), range(10))
    assert await world.start("first", crash="handler", nth=14).ended() == -signal.SIGKILL  # the second that fails
    world.start("second")
    await world.all_done()
    assert {event for event in world.sent if event.number != 4} == set(world.ledger.finished())


# ── payloads that do not decode ──


class Passing(Middleware):
    """Passes events on, and notes what failed."""

    def __init__(self) -> None:
        self.failures: list[str] = []

    async def handler(self, parent: AsyncIterator[Any], **kwargs: Any) -> AsyncIterator[Any]:
        try:
            async for item in parent:
                yield item
        except Exception as error:
            self.failures.append(type(error).__name__)
            raise


class Counting(Passing):
    """Notes, in an `async for` whose body fails, what failed."""

    async def handler(self, parent: AsyncIterator[Any], **kwargs: Any) -> AsyncIterator[Any]:
        async for item in parent:
            try:
                yield item
            except Exception as error:
                self.failures.append(type(error).__name__)
                raise


def declare(world: World, style: str, policy: str, middleware: list[Middleware], seen: list[Any]) -> Any:
    app = make_app(world.plan)

    @app.processor(
        declare_stream(app, world.plan),
        name="till",
        exception_policy=ExceptionPolicy(policy),
        middleware=middleware,
        lock_expiry=FOR_EVER,
    )
    async def till(events: Any) -> None:
        if style == "records":
            async for sale in events.records():
                seen.append(sale.number)
        else:
            async for sales in events.take(4, within=0.01).records():
                assert sales
                seen.extend(sale.number for sale in sales)

    return app


def spoil(world: World, payload: str = "{", key: int = 1) -> None:
    """Put an entry that does not decode behind what is in the log."""
    with world.server.client() as client:
        client.xadd(world.keys(0).log.decode(), {"data": payload, "~key": str(key)})


STYLES = pytest.mark.parametrize("style", ["records", "take"])
MIDDLEWARE = pytest.mark.parametrize("kinds", [[], [Passing], [Passing, Counting]], ids=["bare", "one", "two"])


@STYLES
@MIDDLEWARE
async def test_ignore_passes_over_what_does_not_decode_and_drops_nothing_else(
    shop: Shop, style: str, kinds: list[type[Passing]], caplog: pytest.LogCaptureFixture
) -> None:
    world, seen, middleware = shop(partition_count=1), list[int](), [kind() for kind in kinds]
    await world.send([1], range(5))
    spoil(world)
    spoil(world, '{"key": "x", "number": 1}')
    await world.send([1], range(5, 10))
    spoil(world)
    await world.send([1], [10])
    async with world.worker(app=declare(world, style, "ignore", [*middleware], seen)):
        await world.all_done()
        await wait_until(lambda: world.slot(0)["count"] == "14")
    assert seen == list(range(11))
    assert caplog.text.count("failed event dropped") == 3
    for item in middleware:
        assert item.failures == ["RecordError"] * 3


@STYLES
@MIDDLEWARE
async def test_halt_stops_at_what_does_not_decode_with_all_before_it_committed(
    shop: Shop, style: str, kinds: list[type[Passing]]
) -> None:
    world, seen, middleware = shop(partition_count=1), list[int](), [kind() for kind in kinds]
    await world.send([1], range(6))
    spoil(world)
    await world.send([1], range(6, 10))
    for attempt in (1, 2):
        with pytest.raises(HandlerFailed, match="RecordError") as caught:
            async with world.worker(app=declare(world, style, "halt", [*middleware], seen)) as worker:
                await wait_until(lambda worker=worker: has_ended(worker))
        assert "sales/0/" in str(caught.value)
        assert seen == list(range(6))
        assert world.slot(0)["count"] == "6"
        assert world.free() == 1
        for item in middleware:
            assert item.failures == ["RecordError"] * attempt


def has_ended(worker: Any) -> bool:
    """Whether the worker has given up by itself."""
    return worker._stopping is not None and worker._stopping.is_set()


async def test_a_function_that_swallows_the_error_of_an_event_that_does_not_decode_does_not_pass_over_it(
    shop: Shop,
) -> None:
    world = shop(partition_count=1)
    app = make_app(world.plan)

    @app.processor(declare_stream(app, world.plan), name="till")
    async def till(events: Any) -> None:
        try:
            async for _ in events.records():
                pass
        except Exception:
            pass

    await world.send([1], range(3))
    spoil(world)
    with pytest.raises(HandlerFailed, match="RecordError"):
        async with world.worker(app=app) as worker:
            await wait_until(lambda: has_ended(worker))
    assert world.slot(0)["count"] == "3"
