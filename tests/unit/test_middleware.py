"""Middleware by itself: events in hand, a clock that stands still, no server."""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from attrs import define, field

from runnel import App, Middleware, Record
from runnel.clock import ManualClock
from runnel.errors import ConfigurationError, RecordError, RunnelError
from runnel.handling.events import Events
from runnel.handling.position import Position
from runnel.middleware import LoggingMiddleware, RateLimitMiddleware
from tests.support import wait_until


class Order(Record):
    amount: int


class Plain(Record, primitive=True):
    amount: int
    note: str


@define(eq=False)
class Memory:
    """A partition that has some events in hand, and gets no more."""

    clock: ManualClock = field(factory=ManualClock)
    position: Position = field(factory=lambda: Position(b"0-0", 0))
    attempt: int = 1

    excused: bool = False
    alarm: None = None
    error: Exception | None = None

    async def fill(self, timeout: float | None = None) -> bool:
        if self.error is not None:
            raise self.error
        return False

    def tries_again(self, error: Exception) -> bool:
        return False

    def excuses(self, error: RecordError) -> bool:
        if self.excused:
            self.position.done(1)
        return self.excused

    def hold(self, *entries: Sequence[bytes]) -> None:
        self.position.take_in([(b"%d-0" % (n + 1), [*fields]) for n, fields in enumerate(entries)])

    def events(self, *middleware: Middleware, record: type[Any] = Order, partition: int = 0) -> Events[Any]:
        stream = App("shop").stream("orders", record=record, partition_by="amount")
        return Events(self, stream, partition, "till", middleware)

    @property
    def is_pausing(self) -> bool:
        return bool(self.position.on_closing)


def order(amount: int) -> list[bytes]:
    return [b"data", b'{"amount":%d}' % amount, b"~key", b"k"]


async def consume(events: Events[Any], begun: list[Any], batch: int = 0) -> None:
    """What a partition does: call the function, and end."""
    try:
        if batch:
            async for orders in events.take(batch, within=0).records():
                begun.append([order.amount for order in orders])
        else:
            async for order in events.records():
                begun.append(order.amount)
    finally:
        await events.end(None)


# ── the rate ──


async def test_events_begin_at_once_up_to_the_burst_and_then_at_the_rate() -> None:
    memory, begun = Memory(), list[int]()
    memory.hold(*map(order, range(5)))
    task = asyncio.ensure_future(consume(memory.events(RateLimitMiddleware(2, burst=2)), begun))
    for n in (2, 3, 4):
        await wait_until(lambda: memory.is_pausing)
        assert begun == list(range(n))
        memory.clock.advance(0.499)
        await wait_until(lambda: memory.is_pausing)
        assert begun == list(range(n))
        memory.clock.advance(0.001)
        await wait_until(lambda n=n: len(begun) > n)
    await task
    assert begun == list(range(5))


async def test_a_pause_fills_the_bucket_up_to_the_burst_and_no_further() -> None:
    memory, begun = Memory(), list[int]()
    limit = RateLimitMiddleware(1, burst=2)
    for first in (0, 10):
        memory.hold(*map(order, range(first, first + 3)))
        task = asyncio.ensure_future(consume(memory.events(limit), begun))
        await wait_until(lambda: memory.is_pausing)
        assert begun[-2:] == [first, first + 1]
        memory.clock.advance(1)
        await task
        memory.clock.advance(1_000)


async def test_a_batch_takes_a_token_for_each_of_its_events() -> None:
    memory, begun = Memory(), list[Any]()
    memory.hold(*map(order, range(8)))
    task = asyncio.ensure_future(consume(memory.events(RateLimitMiddleware(1, burst=4)), begun, batch=4))
    await wait_until(lambda: memory.is_pausing)
    assert begun == [[0, 1, 2, 3]]
    memory.clock.advance(3.9)
    await wait_until(lambda: memory.is_pausing)
    assert len(begun) == 1
    memory.clock.advance(0.1)
    await task
    assert begun == [[0, 1, 2, 3], [4, 5, 6, 7]]


async def test_a_batch_larger_than_the_bucket_is_paid_for_by_the_next() -> None:
    memory, begun = Memory(), list[Any]()
    memory.hold(*map(order, range(8)))
    task = asyncio.ensure_future(consume(memory.events(RateLimitMiddleware(1, burst=1)), begun, batch=4))
    await wait_until(lambda: memory.is_pausing)
    assert begun == [[0, 1, 2, 3]]
    memory.clock.advance(3.9)
    await wait_until(lambda: memory.is_pausing)
    assert len(begun) == 1
    memory.clock.advance(0.1)
    await task


async def test_each_partition_has_a_bucket_and_keeps_it_from_call_to_call() -> None:
    memory, begun, limit = Memory(), list[int](), RateLimitMiddleware(1)
    for partition in (0, 1):
        memory.hold(order(partition))
        await consume(memory.events(limit, partition=partition), begun)
    assert begun == [0, 1]
    memory.hold(order(2))
    task = asyncio.ensure_future(consume(memory.events(limit, partition=0), begun))
    await wait_until(lambda: memory.is_pausing)
    memory.clock.advance(1)
    await task
    assert begun == [0, 1, 2]


@pytest.mark.parametrize("batch", [0, 2])
async def test_an_event_that_waits_for_a_token_does_not_delay_a_hand_over_and_stays_the_next(batch: int) -> None:
    memory, begun = Memory(), list[Any]()
    memory.hold(*map(order, range(4)))
    behind = Passing()
    task = asyncio.ensure_future(
        consume(memory.events(Passing(), RateLimitMiddleware(0.001, burst=2), behind), begun, batch)
    )
    await wait_until(lambda: memory.is_pausing)
    memory.position.close()
    await task
    assert memory.position.count == 2
    assert len(begun) == len(behind.seen) == (1 if batch else 2)
    assert not memory.is_pausing


class Passing(Middleware):
    def __init__(self) -> None:
        self.seen: list[Any] = []

    async def handler(self, parent: AsyncIterator[Any], **kwargs: Any) -> AsyncIterator[Any]:
        async for item in parent:
            self.seen.append(item)
            yield item


async def test_a_pause_of_a_partition_that_is_let_go_already_is_none() -> None:
    memory = Memory()
    memory.position.close()
    assert not await memory.events().pause(1_000)


async def test_a_pause_that_is_cancelled_leaves_nothing() -> None:
    memory = Memory()
    task = asyncio.ensure_future(memory.events().pause(1_000))
    await wait_until(lambda: memory.is_pausing)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not memory.is_pausing


@pytest.mark.parametrize(
    ("rate", "burst"), [(0, 1), (-1, 1), (1, 0.5), (float("inf"), 1), (1, float("inf")), (float("nan"), 1)]
)
def test_a_rate_that_makes_no_sense_is_refused(rate: float, burst: float) -> None:
    with pytest.raises(ConfigurationError, match="RateLimitMiddleware"):
        RateLimitMiddleware(rate, burst)


# ── the log ──


def lines(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.name == "runnel.middleware"]


async def test_an_event_that_is_done_is_one_line_with_its_place_and_time(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    memory = Memory()
    memory.hold(order(7))
    events = memory.events(LoggingMiddleware(), partition=3)
    async for _ in events.records():
        memory.clock.advance(0.25)
    await events.end(None)
    [line] = lines(caplog)
    assert (line.getMessage(), line.levelname) == ("event done", "INFO")
    fields = {"app": "shop", "stream": "orders", "processor": "till", "partition": 3, "entry": "orders/3/1-0"}
    assert {**vars(line), **fields, "events": 1, "attempt": 1, "elapsed_ms": 250.0} == vars(line)
    assert not hasattr(line, "payload")


async def test_an_event_that_failed_is_a_warning_without_the_text_of_the_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    memory = Memory(attempt=2)
    memory.hold(order(7))
    events, error = memory.events(LoggingMiddleware("debug")), ValueError("no order of 7")
    async for _ in events.records():
        break
    await events.end(error)
    [line] = lines(caplog)
    assert (line.getMessage(), line.levelname) == ("event failed", "WARNING")
    assert (vars(line)["error"], vars(line)["attempt"]) == ("ValueError", 2)
    assert line.exc_info is None
    assert "of 7" not in str(vars(line))


async def test_a_batch_is_one_line_and_payloads_are_cut_off(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    memory = Memory()
    memory.hold(*map(order, range(3)))
    await consume(memory.events(LoggingMiddleware("debug", payload_bytes=9)), [], batch=3)
    [line] = lines(caplog)
    assert (line.levelname, vars(line)["events"], vars(line)["entry"]) == ("DEBUG", 3, "orders/0/1-0")
    assert vars(line)["payload"] == ['{"amount"'] * 3


async def test_the_payload_of_a_primitive_event_is_its_fields(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    memory = Memory()
    memory.hold([b"amount", b"1", b"note", b"\xff", b"~key", b"k"])
    events = memory.events(LoggingMiddleware(payload_bytes=100), record=Plain)
    async for _ in events:
        break
    await events.end(None)
    [line] = lines(caplog)
    assert line.getMessage() == "event left undone"
    assert vars(line)["payload"] == ["amount=1 note=\ufffd"]


@pytest.mark.parametrize("options", [{"level": "loud"}, {"payload_bytes": -1}])
def test_log_options_that_make_no_sense_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="LoggingMiddleware"):
        LoggingMiddleware(**options)


# ── the pipeline ──


@pytest.mark.parametrize("batch", [0, 3])
async def test_many_events_that_do_not_decode_leave_nothing_behind(batch: int) -> None:
    memory, begun = Memory(excused=True), list[Any]()
    memory.hold(order(0), *[[b"data", b"{"]] * 50, order(1))
    events = memory.events(Passing())
    items = events.take(batch, within=0).records() if batch else events.records()
    async for item in items:
        begun += [found.amount for found in item] if isinstance(item, list) else [item.amount]
        assert len(events._pipelines) == 1
    await events.end(None)
    assert begun == [0, 1]
    assert memory.position.count == 52


async def test_no_middleware_is_blamed_for_what_comes_from_the_log(caplog: pytest.LogCaptureFixture) -> None:
    error = ValueError("a mistake of Runnel's")
    events = Memory(error=error).events(Passing(), Passing())
    with pytest.raises(ValueError, match="Runnel's"):
        async for _ in events:
            pass
    await events.end(error)
    assert "middleware" not in caplog.text


async def test_a_middleware_that_raises_behind_its_loop_is_named() -> None:
    class Flushing(Middleware):
        async def handler(self, parent: AsyncIterator[Any], **kwargs: Any) -> AsyncIterator[Any]:
            async for item in parent:
                yield item
            raise OSError("disk full")

    memory, error = Memory(), None
    memory.hold(order(0))
    events = memory.events(Flushing(), Passing())
    try:
        async for _ in events:
            pass
    except OSError as raised:
        error = raised
    with pytest.raises(RunnelError, match="middleware Flushing failed outside of an event: OSError: disk full"):
        await events.end(error)
    assert memory.position.count == 1


# ── the contract, as far as a declaration shows it ──


class Nothing(Middleware):
    pass


class Coroutine(Middleware):
    async def handler(self, parent: AsyncIterator[Any], **kwargs: Any) -> AsyncIterator[Any]:  # type: ignore[override]
        return parent


@pytest.mark.parametrize(("kind", "what"), [(Nothing, "no handler"), (Coroutine, "no asynchronous generator")])
def test_a_middleware_that_cannot_yield_is_refused_where_it_is_declared(kind: type[Middleware], what: str) -> None:
    app = App("shop")
    orders = app.stream("orders", record=Order, partition_by="amount")
    with pytest.raises(ConfigurationError, match=f"'till': middleware {kind.__name__} .*{what}|{kind.__name__} has {what}"):

        @app.processor(orders, name="till", middleware=[kind()])
        async def till(events: Any) -> None: ...


async def test_without_middleware_events_come_straight_from_what_is_in_hand() -> None:
    events = Memory().events()
    made: list[Any] = [events.records(), aiter(events), aiter(events.take(2)), events.take(2).records()]
    names = [generator.ag_code.co_name for generator in made]
    assert names == ["_records", "_one_by_one", "_event_batches", "_record_batches"]
    assert not events._pipelines
    await events.end(None)
