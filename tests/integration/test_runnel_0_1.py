"""Programs as users of Runnel 0.1 wrote them, run as they are. What has to change is in docs/moving.md."""

import asyncio
import logging
import signal
import subprocess
import sys
import warnings
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import runnel
import runnel.compression
import runnel.constants
import runnel.exceptions
import runnel.hashing
import runnel.interfaces
import runnel.middleware
import runnel.record
import runnel.serialization
import runnel.types
from runnel import App, ExceptionPolicy, Record, Worker
from runnel.middleware import Dead, DeadLetterMiddleware
from tests.proxy import Proxy
from tests.servers import Server
from tests.support import wait_until


class Order(Record):
    order_id: int
    amount: int


class Action(Record, primitive=True):
    user_id: int
    kind: str


MakeApp = Callable[..., App]


@pytest.fixture
async def make_app(server: Server) -> AsyncIterator[MakeApp]:
    apps: list[App] = []

    def make(**settings: Any) -> App:
        apps.append(App(name="example", **{"redis_url": server.url, **settings}))
        return apps[-1]

    yield make
    for app in apps:
        await app.close()


@asynccontextmanager
async def working(app: App) -> AsyncIterator[None]:
    """A worker of this app runs; its failure fails the test."""
    worker = Worker(app)
    task = asyncio.create_task(worker.run())
    try:
        yield
    finally:
        worker.stop()
        await task


# ── names ──


def test_names_are_where_they_were() -> None:
    from runnel import Compressor, Event, Events, Middleware, Serializer, Stream  # noqa: F401

    assert runnel.constants.ExceptionPolicy is runnel.ExceptionPolicy
    assert runnel.interfaces.Middleware is runnel.Middleware
    assert runnel.interfaces.Serializer is runnel.Serializer
    assert runnel.interfaces.Compressor is runnel.Compressor
    assert runnel.serialization.JSONSerializer is runnel.serialization.FastJSONSerializer is runnel.JSONSerializer
    assert runnel.compression.Gzip is runnel.Gzip
    assert runnel.compression.LZ4 is runnel.LZ4
    assert runnel.types.Event is runnel.Event
    assert runnel.record.Record is runnel.Record
    assert runnel.hashing.default("a") == runnel.hashing.default("a")


def test_errors_are_caught_by_the_names_they_had() -> None:
    with pytest.raises(runnel.exceptions.Misconfigured):
        App(name="example").stream("orders", record=Order, partition_by="no such field")
    with pytest.raises(runnel.exceptions.RunnelException):
        App(name="example", no_such_setting=1)
    for name in ("NoPartitionsAssigned", "RebalanceFailed", "AcquirePartitionLockFailed", "ExtendPartitionLockFailed"):
        assert issubclass(getattr(runnel.exceptions, name), runnel.exceptions.RunnelException)


def test_a_primitive_record_with_another_type_is_misconfigured() -> None:
    with pytest.raises(runnel.exceptions.Misconfigured):

        class Wrong(Record, primitive=True):
            ids: list[int]


# ── declarations ──


def test_streams_take_their_options_by_place_and_by_name() -> None:
    app = App(name="example")
    orders = app.stream("orders", Order, "order_id", runnel.JSONSerializer(compressor=runnel.Gzip()), 4, 100, hash)
    assert (orders.name, orders.partition_count, orders.partition_size, orders.hasher) == ("orders", 4, 100, hash)
    other = app.stream(name="other", record=Order, partition_by=lambda order: order.order_id, partition_count=2)
    assert other.partition_count == 2
    assert other.clone(name="copy", partition_count=1).name == "copy"


def old(option: str) -> Any:
    return {option: 1}


def test_options_that_mean_nothing_any_more_warn() -> None:
    app = App(name="example", redis_url="redis://127.0.0.1")
    orders = app.stream("orders", record=Order, partition_by="order_id")
    for option in ("read_timeout", "assignment_attempts", "assignment_sleep", "pool_size"):
        with pytest.warns(UserWarning, match=option):

            @app.processor(orders, name=option, **old(option))
            async def processor(events: Any) -> None: ...

    for setting in ("leadership_poll_interval", "testing", "default_read_timeout", "default_pool_size"):
        with pytest.warns(UserWarning, match=setting):
            App("example", **old(setting))


def test_settings_that_are_kept_do_not_warn() -> None:
    with warnings.catch_warnings(action="error"):
        App(
            name="example",
            redis_url="redis://127.0.0.1",
            log_level="info",
            log_format="json",
            autodiscover="myproj/**/streams.py",
            default_partition_count=4,
            default_partition_size=1_000,
            default_serializer=runnel.serialization.FastJSONSerializer(),
            default_hasher=runnel.hashing.default,
            default_exception_policy=runnel.constants.ExceptionPolicy.IGNORE,
            default_lock_expiry=120,
            default_prefetch_count=8,
            default_grace_period=8,
            default_join_delay=2,
        )


def test_a_processor_can_be_called_as_the_function_that_it_is() -> None:
    app = App(name="example")
    orders = app.stream("orders", record=Order, partition_by="order_id")

    @app.processor(orders)
    async def doubler(events: Any) -> list[int]:
        return [2 * n async for n in events]

    async def numbers() -> AsyncIterator[int]:
        yield 1
        yield 2

    assert asyncio.run(doubler(numbers())) == [2, 4]


def test_a_default_serializer_leaves_primitive_records_alone() -> None:
    app = App(
        name="example", default_serializer=runnel.serialization.JSONSerializer(compressor=runnel.compression.Gzip())
    )
    actions = app.stream("actions", record=Action, partition_by="user_id")
    assert actions.serialize(Action(user_id=1, kind="k")) == {b"user_id": b"1", b"kind": b"k"}
    assert DeadLetterMiddleware(app.stream("orders", record=Order, partition_by="order_id")).sink.serializer is None
    with pytest.raises(runnel.exceptions.Misconfigured):
        app.stream("more", Action, "user_id", runnel.serialization.default)


def test_records() -> None:
    order = Order(**{"order_id": 1, "amount": 9})
    assert order.dict() == {"order_id": 1, "amount": 9}
    assert Order(**order.dict()) == order


def test_a_stream_serializes_routes_and_hashes() -> None:
    orders = App(name="example").stream("orders", record=Order, partition_by="order_id", partition_count=8)
    entry = orders.serialize(Order(order_id=1, amount=9))
    assert entry == {b"data": b'{"order_id":1,"amount":9}'}
    assert orders.deserialize(entry) == Order(order_id=1, amount=9)
    assert orders.route(1).endswith(":log")
    assert 0 <= orders.hash(1) < 8


# ── sending ──


async def test_send_with_stream_ids(make_app: MakeApp) -> None:
    orders = make_app().stream("orders", record=Order, partition_by="order_id")
    records = [Order(order_id=n, amount=n) for n in range(3)]
    await orders.send(*records)
    await orders.send(*records, stream_ids=["*", "*", "*"])
    await orders.send(*records, stream_ids=[f"99999999999999-{n}" for n in range(3)])
    await orders.send()


async def test_a_serializer_and_a_compressor_of_ones_own(make_app: MakeApp) -> None:
    import gzip
    import json

    class Squeeze(runnel.interfaces.Compressor):
        def compress(self, value: bytes) -> bytes:
            return gzip.compress(value)

        def decompress(self, value: bytes) -> bytes:
            return gzip.decompress(value)

    class Plain(runnel.interfaces.Serializer):
        compressor = Squeeze()

        def dumps(self, value: Any) -> bytes:
            return json.dumps(value).encode()

        def loads(self, value: bytes) -> Any:
            return json.loads(value)

    app = make_app()
    orders = app.stream("orders", record=Order, partition_by="order_id", serializer=Plain())
    seen: list[Order] = []

    @app.processor(orders)
    async def printer(events: Any) -> None:
        async for order in events.records():
            seen.append(order)

    await orders.send(Order(order_id=1, amount=9))
    async with working(app):
        await wait_until(lambda: seen)
    assert seen == [Order(order_id=1, amount=9)]


# ── processing ──


async def test_records_events_and_batches(make_app: MakeApp) -> None:
    app = make_app()
    orders = app.stream("orders", record=Order, partition_by="order_id", partition_count=1)
    seen: dict[str, list[Any]] = {"records": [], "events": [], "batches": []}

    @app.processor(orders)
    async def records(events: Any) -> None:
        async for order in events.records():
            seen["records"].append(order.amount)

    @app.processor(orders)
    async def raw(events: Any) -> None:
        async for event in events:
            assert isinstance(event, runnel.Event)
            seen["events"].append((event.xid, event.data, event.partition, event.group))

    @app.processor(orders)
    async def batches(events: Any) -> None:
        async for batch in events.take(10, within=1).records():
            assert 1 <= len(batch) <= 10
            seen["batches"] += [order.amount for order in batch]

    ids = await orders.send(*[Order(order_id=1, amount=n) for n in range(25)])
    async with working(app):
        await wait_until(lambda: all(len(found) == 25 for found in seen.values()))
    assert seen["records"] == seen["batches"] == list(range(25))
    assert [xid for xid, *_ in seen["events"]] == [event_id.rsplit("/")[-1] for event_id in ids]
    assert seen["events"][3][1:] == (b'{"order_id":1,"amount":3}', 0, "raw")


async def test_middleware_with_a_finally_and_the_partitions_events(make_app: MakeApp) -> None:
    log: list[str] = []

    class Spy(runnel.interfaces.Middleware):
        async def handler(self, parent: Any, **kwargs: Any) -> AsyncIterator[Any]:
            assert isinstance(kwargs["events"], runnel.Events)
            async for x in parent:
                assert isinstance(x, (runnel.Event, list))
                try:
                    yield x
                except Exception as error:  # `except GeneratorExit` in 0.1
                    log.append(f"failed {error}")
                    raise
                finally:
                    log.append("after")

    app = make_app()
    orders = app.stream("orders", record=Order, partition_by="order_id", partition_count=1)

    @app.processor(orders, middleware=[Spy()], exception_policy=ExceptionPolicy.IGNORE)
    async def printer(events: Any) -> None:
        async for order in events.records():
            if order.amount == 1:
                raise ValueError(order.amount)
            log.append(f"done {order.amount}")

    await orders.send(*[Order(order_id=1, amount=n) for n in range(3)])
    async with working(app):
        await wait_until(lambda: log.count("after") == 3)
    assert log == ["done 0", "after", "failed 1", "after", "done 2", "after"]


async def test_a_processor_that_ignores_goes_on_behind_what_failed(make_app: MakeApp) -> None:
    app = make_app()
    orders = app.stream("orders", record=Order, partition_by="order_id", partition_count=1)
    seen: list[int] = []

    @app.processor(orders, exception_policy=ExceptionPolicy.IGNORE)
    async def printer(events: Any) -> None:
        async for order in events.records():
            assert order.amount != 1
            seen.append(order.amount)

    await orders.send(*[Order(order_id=1, amount=n) for n in range(4)])
    async with working(app):
        await wait_until(lambda: 3 in seen)
    assert seen == [0, 2, 3]


# ── dead letters ──


def dead_letters(
    app: App, stream: Any, middleware: DeadLetterMiddleware, batch: int = 0
) -> tuple[list[Any], list[Any]]:
    """A processor that fails on some, and one over the sink, as 0.1's guide had them."""
    done: list[Any] = []
    dead: list[Any] = []

    @app.processor(stream, middleware=[middleware], exception_policy=ExceptionPolicy.IGNORE)
    async def work(events: Any) -> None:
        if batch:
            async for records in events.take(batch, within=0.05).records():
                if any(number(record) % 3 == 1 for record in records):
                    raise ValueError("a batch fails as a whole")
                done.extend(map(number, records))
        else:
            async for record in events.records():
                if number(record) % 3 == 1:
                    raise ValueError("no")
                done.append(number(record))

    @app.processor(middleware.sink)
    async def bury(events: Any) -> None:
        async for record in events.records():
            dead.append(record)

    return done, dead


def number(record: Any) -> int:
    return int(record.amount if isinstance(record, Order) else record.user_id)


async def test_failed_events_go_to_the_sink_as_dead_records(make_app: MakeApp) -> None:
    app = make_app()
    orders = app.stream("orders", record=Order, partition_by="order_id", partition_count=1)
    done, dead = dead_letters(app, orders, DeadLetterMiddleware(source=orders))
    ids = await orders.send(*[Order(order_id=1, amount=n) for n in range(6)])
    async with working(app):
        await wait_until(lambda: len(done) == 4 and len(dead) == 2)
    assert done == [0, 2, 3, 5]
    assert all(isinstance(letter, Dead) for letter in dead)
    assert [letter.data for letter in dead] == [b'{"order_id":1,"amount":1}', b'{"order_id":1,"amount":4}']
    assert [letter.xid for letter in dead] == [ids[n].rsplit("/")[-1] for n in (1, 4)]
    assert {letter.partition for letter in dead} == {orders.route(1)}
    assert dead[0].failed_at.startswith("20")
    assert orders.deserialize({b"data": dead[0].data}) == Order(order_id=1, amount=1)


async def test_the_sink_is_a_stream_of_the_app_with_one_partition(make_app: MakeApp) -> None:
    app = make_app()
    sink = DeadLetterMiddleware(source=app.stream("orders", record=Order, partition_by="order_id")).sink
    assert (sink.name, sink.partition_count, sink.record) == ("dead.orders", 1, Dead)
    assert app.streams["dead.orders"] is sink
    actions = app.stream("actions", record=Action, partition_by="user_id")
    sink = DeadLetterMiddleware(actions).sink
    assert (sink.name, sink.partition_count, sink.record) == ("dead.actions", 1, Action)
    assert app.streams["dead.actions"] is sink


async def test_primitive_events_go_to_the_sink_as_they_are(make_app: MakeApp) -> None:
    app = make_app()
    actions = app.stream("actions", record=Action, partition_by="user_id", partition_count=1)
    done, dead = dead_letters(app, actions, DeadLetterMiddleware(source=actions))
    await actions.send(*[Action(user_id=n, kind="k") for n in range(6)])
    async with working(app):
        await wait_until(lambda: len(done) == 4 and len(dead) == 2)
    assert dead == [Action(user_id=1, kind="k"), Action(user_id=4, kind="k")]


async def test_every_event_of_a_failed_batch_goes_to_the_sink_in_order(make_app: MakeApp) -> None:
    app = make_app()
    orders = app.stream("orders", record=Order, partition_by="order_id", partition_count=1)
    done, dead = dead_letters(app, orders, DeadLetterMiddleware(source=orders), batch=2)
    await orders.send(*[Order(order_id=1, amount=n) for n in range(6)])
    async with working(app):
        await wait_until(lambda: len(done) + len(dead) == 6)
    assert done == [2, 3]
    assert [b'"amount":%d' % n in letter.data for n, letter in zip((0, 1, 4, 5), dead, strict=True)] == [True] * 4


async def test_what_does_not_decode_goes_to_the_sink_too(make_app: MakeApp, server: Server) -> None:
    app = make_app()
    orders = app.stream("orders", record=Order, partition_by="order_id", partition_count=1)
    done, dead = dead_letters(app, orders, DeadLetterMiddleware(source=orders))
    with server.client() as client:
        client.xadd(orders.route(1), {"data": "no json"})
    await orders.send(Order(order_id=1, amount=0))
    async with working(app):
        await wait_until(lambda: done and dead)
    assert dead[0].data == b"no json"


async def test_under_halt_the_event_is_in_the_sink_and_stays_the_next_one(make_app: MakeApp, server: Server) -> None:
    app = make_app()
    orders = app.stream("orders", record=Order, partition_by="order_id", partition_count=1)
    dead_letter = DeadLetterMiddleware(source=orders)

    @app.processor(orders, middleware=[dead_letter])
    async def work(events: Any) -> None:
        async for _ in events.records():
            raise ValueError("no")

    await orders.send(Order(order_id=1, amount=0))
    for times in (1, 2):
        with pytest.raises(runnel.HandlerFailed):
            await Worker(app).run()
        with server.client() as client:
            letters: Any = client.xrange(dead_letter.sink.partitions[0].log)
            assert len(letters) == times
            assert client.hget(orders.partitions[0].cursors, "work") == "0-0"
    assert letters[0][1]["xid"] == letters[1][1]["xid"]


@pytest.mark.parametrize("undecodable", [False, True])
async def test_an_event_that_the_sink_cannot_take_is_not_dropped(
    make_app: MakeApp, server: Server, undecodable: bool
) -> None:
    app = make_app(send_timeout=0.05)
    orders = app.stream("orders", record=Order, partition_by="order_id", partition_count=1)
    middleware = DeadLetterMiddleware(source=orders)
    middleware.sink = middleware.sink.clone(overflow="reject", partition_size=1)
    await middleware.sink.send(Dead(failed_at="", partition="", xid="", data=b"fills it"))
    attempts: list[int] = []

    @app.processor(orders, middleware=[middleware], exception_policy=ExceptionPolicy.IGNORE)
    async def work(events: Any) -> None:
        attempts.append(1)
        async for _ in events.records():
            raise ValueError("no")

    with server.client() as client:
        if undecodable:
            client.xadd(orders.route(1), {"data": "no json"})
        else:
            await orders.send(Order(order_id=1, amount=1))
        async with working(app):
            await wait_until(lambda: len(attempts) > 1)
            assert client.hget(orders.partitions[0].cursors, "work") == "0-0"
            client.delete(middleware.sink.partitions[0].log)
            await wait_until(lambda: client.xlen(middleware.sink.partitions[0].log) == 1)
            await wait_until(lambda: client.hget(orders.partitions[0].cursors, "work") != "0-0")


async def test_a_lost_reply_leaves_one_dead_letter(make_app: MakeApp, server: Server) -> None:
    async with Proxy(server.url) as proxy:
        app = make_app(redis_url=proxy.url)
        orders = app.stream("orders", record=Order, partition_by="order_id", partition_count=1)
        done, dead = dead_letters(app, orders, DeadLetterMiddleware(source=orders))
        proxy.lose_next_reply(lambda request: b"failed_at" in request)
        await orders.send(*[Order(order_id=1, amount=n) for n in range(6)])
        async with working(app):
            await wait_until(lambda: len(done) == 4 and len(dead) == 2)
        assert proxy.lost == 1
        assert [b'"amount":1' in letter.data for letter in dead] == [True, False]


# ── a whole program ──

PROGRAM = """
from datetime import datetime

from runnel import App, Record, Worker

app = App(name="myapp", redis_url="{url}", log_level="warning")


# Specify event types using the Record class.
class Order(Record):
    order_id: int
    created_at: datetime
    amount: float


orders = app.stream("orders", record=Order, partition_by="order_id", partition_count=4)


@app.processor(orders)
async def printer(events):
    async for order in events.records():
        print(f"processed {{order.amount}}", flush=True)


@app.processor(orders, name="other")
async def not_chosen(events):
    async for order in events.records():
        print("wrong", flush=True)


if __name__ == "__main__":
    import asyncio
    asyncio.run(orders.send(Order(order_id=1, created_at=datetime.now(), amount=9.99)))
    Worker(app).start({processors})
"""


@pytest.mark.parametrize("processors", ['["printer"]', 'processors=["printer"]'])
def test_a_program_that_starts_its_worker_itself(server: Server, tmp_path: Path, processors: str) -> None:
    program = tmp_path / "example.py"
    program.write_text(PROGRAM.format(url=server.url, processors=processors))
    with subprocess.Popen([sys.executable, program], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "processed 9.99\n"
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


def test_importing_runnel_configures_no_logging() -> None:
    assert not logging.getLogger("runnel").handlers
