"""Events that fail and are tried again in place: retries, time-outs, and what a handler itself may say."""

import asyncio
import itertools
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from runnel import App, Reject, Retry, RetryLater, SyncEvents, TimedOut
from runnel.errors import HandlerFailed
from tests.integration.faults.harness import World
from tests.integration.faults.shop import Sale, declare_stream, make_app
from tests.integration.faults.test_failing_handlers import has_ended, spoil
from tests.support import wait_until

Shop = Callable[..., World]
STYLES = pytest.mark.parametrize(
    "style", ["records", "events", "take", "batches", "plain records", "plain events", "plain take", "plain batches"]
)
"""How the function iterates: of one that is `async def`, or a plain one, in a thread."""
FOR_EVER = 600.0


class Till:
    """An app whose handler notes numbers and attempts, and then does what the test says."""

    def __init__(self, world: World, handle: Callable[[Sale], Any], style: str = "events", **options: Any) -> None:
        self.begun: list[int] = []
        self.done: list[int] = []
        self.attempts: list[int] = []
        self.app: App = make_app(world.plan)
        stream = declare_stream(self.app, world.plan)

        async def handle_one(sale: Sale) -> None:
            self.begun.append(sale.number)
            if (waits := handle(sale)) is not None:
                await waits

        def handle_plainly(sale: Sale) -> bool:
            self.begun.append(sale.number)
            if (waits := handle(sale)) is None:
                return True
            waits.close()
            threading.Event().wait(2 * options["timeout"])  # it takes too long, but a thread cannot be interrupted
            return False

        async def till(events: Any) -> None:
            match style:
                case "records":
                    async for sale in events.records():
                        await handle_one(sale)
                        self.done.append(sale.number)
                case "events":
                    async for event in events:
                        self.attempts.append(event.attempt)
                        await handle_one(event.record())
                        self.done.append(event.record().number)
                case "batches":
                    async for sales in events.take(4, within=0.01).records():
                        for sale in sales:
                            await handle_one(sale)
                        self.done.extend(sale.number for sale in sales)
                case _:
                    async for batch in events.take(4, within=0.01):
                        self.attempts.extend(event.attempt for event in batch)
                        for event in batch:
                            await handle_one(event.record())
                        self.done.extend(event.record().number for event in batch)

        def plain(events: SyncEvents[Sale]) -> None:
            match style:
                case "plain records":
                    for sale in events.records():
                        if handle_plainly(sale):
                            self.done.append(sale.number)
                case "plain events":
                    for event in events:
                        self.attempts.append(event.attempt)
                        if handle_plainly(event.record()):
                            self.done.append(event.record().number)
                case "plain batches":
                    for sales in events.take(4, within=0.01).records():
                        if all(handle_plainly(sale) for sale in sales):
                            self.done.extend(sale.number for sale in sales)
                case _:
                    for batch in events.take(4, within=0.01):
                        self.attempts.extend(event.attempt for event in batch)
                        if all(handle_plainly(event.record()) for event in batch):
                            self.done.extend(event.record().number for event in batch)

        function: Callable[[Any], Any] = plain if style.startswith("plain") else till
        self.app.processor(stream, name="till", **{"lock_expiry": FOR_EVER, **options})(function)


def is_single(style: str) -> bool:
    """Whether events are handed out one by one."""
    return style.endswith(("records", "events"))


def failing(number: int, times: int, error: Exception | None = None) -> Callable[[Sale], None]:
    """Fails that often at that event."""
    left = [times]

    def handle(sale: Sale) -> None:
        if sale.number == number and left[0]:
            left[0] -= 1
            raise error or ValueError("no change")

    return handle


async def halted(world: World, till: Till, error: str) -> None:
    with pytest.raises(HandlerFailed, match=error):
        async with world.worker(app=till.app) as worker:
            await wait_until(lambda: has_ended(worker))


@STYLES
@pytest.mark.parametrize("number", [0, 5, 9])
async def test_an_event_that_fails_is_tried_again_before_all_others(shop: Shop, style: str, number: int) -> None:
    world = shop(partition_count=1)
    await world.send([1], range(10))
    till = Till(world, failing(number, 2), style, retry=Retry(attempts=3, backoff=0.001))
    async with world.worker(app=till.app) as worker:
        await world.all_done()
        details = partition_details(worker)
    assert till.done == list(range(10))
    assert details["retries"] == 2
    if is_single(style):
        assert till.begun == [*range(number), number, number, *range(number, 10)]
    if style.endswith("events"):
        assert [a for a in till.attempts if a > 1] == [2, 3]


def partition_details(worker: Any) -> Any:
    [found] = [each.details for each in actors(worker.snapshot()) if each.kind == "Partition"]
    return found


def actors(snapshot: Any) -> Any:
    yield snapshot
    for child in snapshot.children:
        yield from actors(child)


@STYLES
async def test_after_the_last_attempt_the_policy_decides(shop: Shop, style: str) -> None:
    world = shop(partition_count=1)
    await world.send([1], range(10))
    till = Till(world, failing(5, 100), style, retry=Retry(attempts=3, backoff=0.001))
    await halted(world, till, "ValueError: no change")
    assert till.begun.count(5) == 3
    assert world.slot(0)["count"] == str(len(till.done))
    assert till.done == list(range(5 if is_single(style) else 4))


async def test_ignore_drops_an_event_after_its_last_attempt_and_later_ones_have_all_theirs(shop: Shop) -> None:
    world = shop(partition_count=1)
    await world.send([1], range(4))

    def fails_at_1_and_2(sale: Sale) -> None:
        if sale.number in (1, 2):
            raise ValueError("no change")

    till = Till(world, fails_at_1_and_2, retry=Retry(attempts=2, backoff=0.001), exception_policy="ignore")
    async with world.worker(app=till.app):
        await world.all_done()
    assert till.begun == [0, 1, 1, 2, 2, 3]
    assert till.attempts == [1, 1, 2, 1, 2, 1]
    assert till.done == [0, 3]


@pytest.mark.parametrize("error", [KeyError("no"), Reject("hopeless")])
async def test_other_errors_and_rejections_go_to_the_policy_at_once(shop: Shop, error: Exception) -> None:
    world = shop(partition_count=1)
    await world.send([1], range(3))
    till = Till(world, failing(1, 100, error), retry=Retry(attempts=3, backoff=0.001, on=ValueError))
    await halted(world, till, type(error).__name__)
    assert till.begun == [0, 1]


async def test_a_handler_may_ask_for_more_time(shop: Shop) -> None:
    world, at = shop(partition_count=1), list[float]()
    await world.send([1], range(3))

    def handle(sale: Sale) -> None:
        if sale.number == 1:
            at.append(time.monotonic())
            if len(at) < 3:
                raise RetryLater(after=0.05)

    till = Till(world, handle)
    async with world.worker(app=till.app):
        await world.all_done()
    assert till.begun == [0, 1, 1, 1, 2]
    assert till.attempts == [1, 1, 2, 3, 1]
    assert all(later - earlier >= 0.05 for earlier, later in itertools.pairwise(at))


async def test_what_comes_while_an_event_waits_keeps_its_place(shop: Shop) -> None:
    world, go = shop(partition_count=1, prefetch_count=4), list[bool]()
    await world.send([1], range(3))

    def handle(sale: Sale) -> None:
        if sale.number == 1 and not go:
            raise RetryLater(after=0.001)

    till = Till(world, handle, prefetch_count=4)
    async with world.worker(app=till.app):
        await wait_until(lambda: till.begun.count(1) > 5)
        await world.send([1], range(3, 40))
        tries = till.begun.count(1)
        await wait_until(lambda: till.begun.count(1) > tries + 5)
        go.append(True)
        await world.all_done()
    assert till.done == list(range(40))


async def test_a_partition_that_is_given_away_does_not_wait_for_the_next_attempt(shop: Shop) -> None:
    world = shop(partition_count=1)
    await world.send([1], range(3))
    till = Till(world, failing(1, 100, RetryLater(after=FOR_EVER)))
    async with world.worker(app=till.app):
        await wait_until(lambda: till.begun == [0, 1])
        stopped_at = time.monotonic()
    assert time.monotonic() - stopped_at < 5  # the grace period is 8 s
    assert till.begun == [0, 1]
    assert world.slot(0)["count"] == "1"


async def test_what_does_not_decode_is_not_tried_again(shop: Shop) -> None:
    world = shop(partition_count=1)
    await world.send([1], range(2))
    spoil(world)
    till = Till(world, lambda sale: None, "records", retry=Retry(attempts=100, backoff=FOR_EVER))
    await halted(world, till, "RecordError")
    assert till.done == [0, 1]


# ── time-outs ──


@STYLES
async def test_an_event_that_takes_too_long_has_failed(shop: Shop, style: str) -> None:
    world, hung = shop(partition_count=1), list[int]()
    await world.send([1], range(6))

    def handle(sale: Sale) -> Any:
        if sale.number == 3 and not hung:
            hung.append(sale.number)
            return asyncio.Event().wait()
        return None

    till = Till(world, handle, style, timeout=0.05, retry=Retry(backoff=0, on=TimedOut))
    async with world.worker(app=till.app):
        await world.all_done()
    assert till.done == list(range(6))
    assert till.begun.count(3) == 2


@STYLES
async def test_a_time_out_goes_to_the_policy(shop: Shop, style: str) -> None:
    world = shop(partition_count=1)
    await world.send([1], range(6))
    till = Till(world, lambda sale: asyncio.Event().wait() if sale.number == 3 else None, style, timeout=0.05)
    await halted(world, till, r"event sales/0/\S+ .*failed: TimedOut: took longer than 0.05 s")
    assert till.done == list(range(3 if is_single(style) else 0))
    assert world.slot(0)["count"] == str(len(till.done))


async def test_a_handler_that_swallows_its_interruption_has_failed(shop: Shop) -> None:
    world = shop(partition_count=1)
    await world.send([1], range(3))

    async def stubborn() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            pass

    till = Till(world, lambda sale: stubborn() if sale.number == 1 else None, timeout=0.05)
    await halted(world, till, "TimedOut")
    assert world.slot(0)["count"] == "1"


async def test_a_worker_that_stops_at_once_ends_a_handler_that_has_time_left(shop: Shop) -> None:
    world = shop(partition_count=1)
    await world.send([1], range(3))
    till = Till(world, lambda sale: asyncio.Event().wait(), timeout=FOR_EVER, grace_period=0)
    async with world.worker(app=till.app):
        await wait_until(lambda: till.begun)
    assert "count" not in world.slot(0) or world.slot(0)["count"] == "0"
