"""DeadLetterMiddleware and its sink: every kind of record, one by one and in batches."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from runnel import App, ExceptionPolicy, Gzip, JSONSerializer, Middleware, Record, Reject, Retry, RetryLater, Worker
from runnel.errors import ConfigurationError
from runnel.middleware import Dead, DeadLetterMiddleware
from tests.servers import Server
from tests.support import wait_until

MODES = pytest.mark.parametrize("mode", ["records", "raw", "take", "take records"])


class Line(Record):
    article: str
    price: float


class Order(Record):
    number: int
    lines: list[Line]
    note: str | None = None


class Click(Record, primitive=True):
    number: int
    page: bytes
    quick: bool


def order(number: int) -> Order:
    return Order(number=number, lines=[Line(article="ä", price=0.5), Line(article="b", price=number)])


def click(number: int) -> Click:
    return Click(number=number, page=b"\xff\x00", quick=True)


@pytest.fixture
async def app(valkey: Server) -> AsyncIterator[App]:
    app = App("shop", redis_url=valkey.url, send_timeout=0.2)
    yield app
    await app.close()


@asynccontextmanager
async def working(app: App) -> AsyncIterator[None]:
    worker = Worker(app)
    task = asyncio.create_task(worker.run())
    try:
        yield
    finally:
        worker.stop()
        await task


def items_of(events: Any, mode: str) -> Any:
    match mode:
        case "records":
            return events.records()
        case "raw":
            return events
        case "take":
            return events.take(2, within=0.01)
    return events.take(2, within=0.01).records()


def numbers(item: Any) -> list[int]:
    items = item if isinstance(item, list) else [item]
    return [thing.number if isinstance(thing, Order | Click) else thing.record().number for thing in items]


def bury(app: App, middleware: DeadLetterMiddleware) -> list[Any]:
    """A processor over the sink."""
    buried: list[Any] = []

    @app.processor(middleware.sink)
    async def bury(events: Any) -> None:
        async for record in events.records():
            buried.append(record)

    return buried


def work(
    app: App, stream: Any, mode: str, *middleware: Middleware, fail: int = 2, policy: str = "ignore", **options: Any
) -> list[int]:
    """A processor that fails on an event, and drops what failed, or what the policy says."""
    done: list[int] = []

    @app.processor(stream, middleware=middleware, exception_policy=ExceptionPolicy(policy), **options)
    async def work(events: Any) -> None:
        async for item in items_of(events, mode):
            if fail in numbers(item):
                raise ValueError("no")
            done.extend(numbers(item))

    return done


@MODES
async def test_nested_records_are_in_the_sink_as_they_were_stored(app: App, mode: str) -> None:
    orders = app.stream(
        "orders", Order, "number", JSONSerializer(compressor=Gzip()), partition_count=1, partition_size=100
    )
    middleware = DeadLetterMiddleware(source=orders)
    buried, done = bury(app, middleware), work(app, orders, mode, middleware)
    ids = await orders.send(*map(order, range(6)))
    failed = [2, 3] if mode.startswith("take") else [2]
    async with working(app):
        await wait_until(lambda: len(done) + len(failed) == 6 and len(buried) == len(failed))
    assert all(isinstance(dead, Dead) for dead in buried)
    assert [orders.deserialize({b"data": dead.data}) for dead in buried] == [order(n) for n in failed]
    assert [dead.xid for dead in buried] == [ids[n].rsplit("/")[-1] for n in failed]
    assert {dead.partition for dead in buried} == {orders.route(0)}
    assert done == [n for n in range(6) if n not in failed]


@MODES
async def test_primitive_records_are_in_the_sink_as_they_are(app: App, mode: str) -> None:
    clicks = app.stream("clicks", record=Click, partition_by="number", partition_count=1)
    middleware = DeadLetterMiddleware(source=clicks)
    buried, done = bury(app, middleware), work(app, clicks, mode, middleware)
    await clicks.send(*map(click, range(6)))
    failed = [2, 3] if mode.startswith("take") else [2]
    async with working(app):
        await wait_until(lambda: len(done) + len(failed) == 6 and len(buried) == len(failed))
    assert buried == [click(n) for n in failed]


@pytest.mark.parametrize("mode", ["records", "take records"])
async def test_a_primitive_event_that_does_not_decode_is_logged_since_nobody_could_read_it(
    app: App, valkey: Server, mode: str, caplog: pytest.LogCaptureFixture
) -> None:
    clicks = app.stream("clicks", record=Click, partition_by="number", partition_count=1)
    middleware = DeadLetterMiddleware(source=clicks)
    buried, done = bury(app, middleware), work(app, clicks, mode, middleware, fail=1)
    await clicks.send(click(0))
    with valkey.client() as client:
        client.xadd(clicks.route(0), {"number": "many"})
    await clicks.send(click(1), click(2))
    async with working(app):
        await wait_until(lambda: buried)
        await wait_until(lambda: done == [0, 2] or (mode == "take records" and done == [0]))
    assert [record.message for record in caplog.records].count("a primitive event that does not decode is not sent on") == 1
    assert "middleware failed" not in caplog.text
    assert click(1) in buried


async def test_what_the_function_does_to_its_batch_takes_nothing_out_of_the_sink(app: App) -> None:
    orders = app.stream("orders", record=Order, partition_by="number", partition_count=1)
    middleware = DeadLetterMiddleware(source=orders)
    buried = bury(app, middleware)

    @app.processor(orders, middleware=[middleware], exception_policy=ExceptionPolicy.IGNORE)
    async def work(events: Any) -> None:
        async for batch in events.take(3, within=0.01):
            while batch:
                if batch.pop(0).record().number == 1:
                    raise ValueError("no")

    await orders.send(*map(order, range(3)))
    async with working(app):
        await wait_until(lambda: len(buried) == 3)
    assert [orders.deserialize({b"data": dead.data}).number for dead in buried] == [0, 1, 2]


async def test_nothing_is_dropped_while_the_sink_is_one_that_cannot_be_sent_to(
    app: App, valkey: Server, caplog: pytest.LogCaptureFixture
) -> None:
    """It was made with other options: sending to it raises ConfigurationError."""
    other = App("shop", redis_url=valkey.url)
    await other.stream("dead.orders", record=Dead, partition_by="xid", partition_count=7).send(
        Dead(failed_at="", partition="", xid="1", data=b"")
    )
    await other.close()
    orders = app.stream("orders", record=Order, partition_by="number", partition_count=1)
    middleware = DeadLetterMiddleware(source=orders)
    done = work(app, orders, "records", middleware, fail=0)
    await orders.send(*map(order, range(2)))
    async with working(app):
        await wait_until(lambda: "was made with partition_count 7" in caplog.text)
        with valkey.client() as client:
            assert client.hget(orders.partitions[0].cursors, "work") == "0-0"
            client.hdel(app.keys.streams, "dead.orders")
            await wait_until(lambda: done == [1])
            assert client.xlen(middleware.sink.partitions[0].log) == 1
    assert isinstance(_cause(caplog), ConfigurationError)


def _cause(caplog: pytest.LogCaptureFixture) -> BaseException | None:
    return next(record.exc_info[1] for record in caplog.records if record.message == "actor failed" and record.exc_info)


async def test_processors_of_one_stream_share_its_sink(app: App) -> None:
    for stream in (
        app.stream("orders", record=Order, partition_by="number"),
        app.stream("clicks", record=Click, partition_by="number"),
    ):
        assert DeadLetterMiddleware(stream).sink.partitions == DeadLetterMiddleware(stream).sink.partitions


class Picky(Middleware):
    async def handler(self, parent: AsyncIterator[Any], **kwargs: Any) -> AsyncIterator[Any]:
        async for item in parent:
            if 2 in numbers(item):
                raise ValueError("not this one")
            yield item


@MODES
async def test_what_a_middleware_behind_it_refuses_is_in_the_sink_too(app: App, mode: str) -> None:
    orders = app.stream("orders", record=Order, partition_by="number", partition_count=1)
    middleware = DeadLetterMiddleware(source=orders)
    buried, done = bury(app, middleware), work(app, orders, mode, middleware, Picky(), fail=-1)
    await orders.send(*map(order, range(4)))
    failed = [2, 3] if mode.startswith("take") else [2]
    async with working(app):
        await wait_until(lambda: len(buried) == len(failed) and len(done) == 4 - len(failed))
    assert [orders.deserialize({b"data": dead.data}).number for dead in buried] == failed


class Hearing(Middleware):
    """Notes which events fail, and whether they will be tried again."""

    def __init__(self) -> None:
        self.heard: list[tuple[list[int], bool]] = []

    async def handler(self, parent: AsyncIterator[Any], **kwargs: Any) -> AsyncIterator[Any]:
        async for item in parent:
            try:
                yield item
            except Exception as error:
                self.heard.append((numbers(item), kwargs["events"].tries_again(error)))
                raise


@MODES
async def test_an_event_that_is_tried_again_is_in_the_sink_once_when_it_is_given_up(app: App, mode: str) -> None:
    orders = app.stream("orders", record=Order, partition_by="number", partition_count=1)
    middleware, hearing = DeadLetterMiddleware(source=orders), Hearing()
    retry = Retry(attempts=3, backoff=0.001)
    buried, done = bury(app, middleware), work(app, orders, mode, middleware, hearing, retry=retry)
    await orders.send(*map(order, range(6)))
    failed = [2, 3] if mode.startswith("take") else [2]
    async with working(app):
        await wait_until(lambda: len(done) + len(failed) == 6 and len(buried) == len(failed))
    assert [orders.deserialize({b"data": dead.data}).number for dead in buried] == failed
    assert hearing.heard == [(failed, True), (failed, True), (failed, False)]


@pytest.mark.parametrize("error", [Reject("hopeless"), KeyError("not among those"), RetryLater(after=0)])
async def test_what_will_be_tried_again_depends_on_the_error(app: App, error: Exception) -> None:
    orders = app.stream("orders", record=Order, partition_by="number", partition_count=1)
    hearing, tried = Hearing(), list[int]()

    @app.processor(
        orders, middleware=[hearing], retry=Retry(attempts=2, on=ValueError), exception_policy=ExceptionPolicy.IGNORE
    )
    async def work(events: Any) -> None:
        async for record in events.records():
            tried.append(record.number)
            if record.number == 0:
                raise error

    await orders.send(*map(order, range(2)))
    async with working(app):
        await wait_until(lambda: 1 in tried)
    again = [True, False] if isinstance(error, RetryLater) else [False]
    assert hearing.heard == [([0], each) for each in again]


@pytest.mark.parametrize("mode", ["records", "take records"])
async def test_what_does_not_decode_is_not_tried_again_and_is_in_the_sink_at_once(
    app: App, valkey: Server, mode: str
) -> None:
    orders = app.stream("orders", record=Order, partition_by="number", partition_count=1)
    middleware = DeadLetterMiddleware(source=orders)
    buried = bury(app, middleware)
    done = work(app, orders, mode, middleware, fail=-1, retry=Retry(attempts=100, backoff=600))
    with valkey.client() as client:
        client.xadd(orders.partitions[0].log.decode(), {"data": "{"})
    await orders.send(order(0))
    async with working(app):
        await wait_until(lambda: done == [0] and buried)
    assert [dead.data for dead in buried] == [b"{"]


@pytest.mark.parametrize("policy", ["dead_letter", "park"])
async def test_of_a_batch_whose_events_are_tried_one_by_one_only_the_culprit_is_in_the_sink(
    app: App, policy: str
) -> None:
    orders = app.stream("orders", record=Order, partition_by="number", partition_count=1)
    middleware, hearing = DeadLetterMiddleware(source=orders), Hearing()
    retry = Retry(attempts=2, backoff=0.001)
    buried = bury(app, middleware)
    done = work(app, orders, "take records", middleware, hearing, fail=3, policy=policy, retry=retry)
    await orders.send(*map(order, range(4)))
    async with working(app):
        await wait_until(lambda: len(done) == 3 and len(buried) == 1)
    assert [orders.deserialize({b"data": dead.data}).number for dead in buried] == [3]
    assert hearing.heard == [([2, 3], True), ([2, 3], True), ([3], True), ([3], False)]
