"""Delayed events: put aside once, in the log when they are due, whoever moves them and whatever happens meanwhile."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from runnel import App, Record, RecordError, StoreRefused, StoreUnavailable
from runnel.roles.promoter import Promoter
from runnel.roles.timeline import Lead
from runnel.timing.delayed import Delayed
from tests.integration.faults.harness import World
from tests.integration.faults.shop import Sale
from tests.integration.test_jobs import actor, working
from tests.servers import Server
from tests.support import wait_until


class Order(Record):
    key: int
    number: int = 0


class Reading(Record, primitive=True):
    key: int
    value: float


@pytest.fixture
async def app(valkey: Server) -> AsyncIterator[App]:
    app = App("shop", redis_url=valkey.url, default_partition_count=4, default_lock_expiry=1.0)
    yield app
    await app.close()


def orders_of(app: App, **options: Any) -> Any:
    return app.stream("orders", record=Order, partition_by="key", **options)


def keep_awake(app: App) -> App:
    """With something to run, a worker runs."""
    app.task(lambda: None, name="awake")
    return app


async def entries(app: App, stream: Any) -> list[tuple[int, bytes, dict[bytes, bytes]]]:
    """What is in the logs: partition, id, fields."""
    redis: Any = app.redis
    return [
        (keys.number, entry, fields) for keys in stream.partitions for entry, fields in await redis.xrange(keys.log)
    ]


async def numbers(app: App, stream: Any) -> list[int]:
    return [stream.deserialize(fields).number for _, _, fields in await entries(app, stream)]


# ── sending ──


async def test_a_delayed_event_is_told_when_it_is_due(app: App) -> None:
    orders = orders_of(app)
    [first, second] = await orders.send(Order(key=1), Order(key=2), delay=timedelta(minutes=1))
    assert isinstance(first, Delayed)
    assert abs(first.due - datetime.now(UTC) - timedelta(minutes=1)) < timedelta(seconds=2)
    assert first.id.startswith(f"orders/{orders.hash(1)}/")
    assert second.id.startswith(f"orders/{orders.hash(2)}/")
    assert await numbers(app, orders) == []
    moment = datetime(2040, 1, 1, 12, tzinfo=UTC)
    [third] = await orders.send(Order(key=1), at=moment)
    assert third.due == moment


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"delay": -1}, "delay must be at least 0, not -1"),
        ({"delay": "soon"}, "delay must be seconds or a timedelta, not 'soon'"),
        ({"delay": float("nan")}, "delay must be at least 0, not nan"),
        ({"at": datetime(2040, 1, 1)}, "has no time zone"),
        ({"at": "tomorrow"}, "at must be a datetime, not 'tomorrow'"),
        ({"delay": 1, "at": datetime(2040, 1, 1, tzinfo=UTC)}, "give one of delay= and at="),
        ({"delay": 1, "stream_ids": ["1-0"]}, "get their ids when they are due"),
    ],
)
async def test_what_does_not_fit_is_refused_and_nothing_is_put_aside(
    app: App, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(RecordError, match=said):
        await orders_of(app).send(Order(key=1), **options)
    with pytest.raises(RecordError):
        await orders_of(app).send(Order(key=1), None, delay=1)
    assert await app.redis.keys("*:delay*") == []


async def test_more_than_one_call_can_hold_is_put_aside_in_order(app: App) -> None:
    orders = orders_of(app, partition_count=2)
    found = await orders.send(*(Order(key=n % 7, number=n) for n in range(2500)), delay=60)
    assert len({each.id for each in found}) == 2500
    keep_awake(app).due_times.advance(60)
    async with working(app):
        await wait_until(lambda: count_is(app, orders, 2500))
        for keys in orders.partitions:
            log = [orders.deserialize(f).number for n, _, f in await entries(app, orders) if n == keys.number]
            assert log == sorted(log)


async def count_is(app: App, stream: Any, count: int) -> bool:
    return await length_of(app, stream) == count


async def length_of(app: App, stream: Any) -> int:
    """How many events are in the logs."""
    redis: Any = app.redis
    lengths = [await redis.xlen(keys.log) for keys in stream.partitions]
    return sum(lengths)


async def test_headers_keys_and_every_kind_of_record_come_through(app: App) -> None:
    readings = app.stream("readings", record=Reading, partition_by="key")
    orders, seen = orders_of(app), list[Any]()

    @app.processor(orders)
    async def bill(events: Any) -> None:
        async for event in events:
            seen.append((event.key, event.headers, event.record().number))

    @app.processor(readings)
    async def note(events: Any) -> None:
        async for reading in events.records():
            seen.append((reading.key, reading.value))

    await orders.send(Order(key=1, number=7), key="other", headers={"from": "mail"}, delay=0)
    await readings.send(Reading(key=2, value=1.5), delay=0)
    async with working(app):
        await wait_until(lambda: len(seen) == 2)
    assert sorted(seen, key=str) == [("other", {"from": "mail"}, 7), (2, 1.5)]


async def test_sends_at_once_and_in_a_row_put_aside_each_event_once(app: App) -> None:
    orders = orders_of(app)
    found = await asyncio.gather(*(orders.send(Order(key=n % 5, number=n), delay=60) for n in range(100)))
    assert len({each.id for [each] in found}) == 100


async def test_one_sender_that_is_cancelled_does_not_spoil_the_next(app: App) -> None:
    orders = orders_of(app)
    await orders.send(Order(key=1, number=0), delay=60)
    for n in range(20):
        task = asyncio.create_task(orders.send(Order(key=1, number=-1), delay=60))
        for _ in range(n):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await orders.send(Order(key=1, number=n), delay=60)


async def test_a_lost_answer_puts_aside_nothing_twice(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    orders = orders_of(app)
    await orders.send(Order(key=1), delay=60)
    delayer = await app.delayer_for(orders)
    connection, lost = delayer._link._connection, [2]
    read = connection.read_response

    async def loses(*args: Any, **options: Any) -> Any:
        answer = await read(*args, **options)
        if lost[0] > 0 and isinstance(answer, list):
            lost[0] -= 1
            raise ConnectionResetError("lost")
        return answer

    monkeypatch.setattr(connection, "read_response", loses)
    found = await orders.send(*(Order(key=1) for _ in range(1200)), delay=60)  # three calls
    assert lost == [0]
    keys = orders.partitions[orders.hash(1)]
    assert await app.redis.zcard(keys.delayed) == 1 + len({each.id for each in found}) == 1201


async def test_a_server_that_does_not_answer_is_waited_for_as_long_as_send_timeout(own_server: Any) -> None:
    server: Server = own_server()
    app = App("shop", redis_url=server.url, send_timeout=0.5)
    orders = orders_of(app)
    await orders.send(Order(key=1), delay=60)
    with server.client() as client:
        client.client_pause(1500)
        with pytest.raises(StoreUnavailable, match=r"did not answer within 0\.5 s"):
            await orders.send(Order(key=1), delay=60)
    await app.close()


async def test_the_first_one_of_a_stream_too_waits_for_a_server_that_is_away(own_server: Any) -> None:
    server: Server = own_server()
    app = App("shop", redis_url=server.url)
    orders = orders_of(app)
    await app.delayer_for(orders)
    server.kill()
    sending = asyncio.ensure_future(orders.send(Order(key=1), delay=60))
    await asyncio.sleep(0.3)
    await asyncio.to_thread(server.start)
    assert len(await sending) == 1
    await app.close()


async def test_a_full_server_refuses(app: App, valkey: Server) -> None:
    orders = orders_of(app)
    await orders.send(Order(key=1), delay=60)
    valkey.config(maxmemory="1")
    with pytest.raises(StoreRefused, match="full"):
        await orders.send(Order(key=1), delay=60)


# ── cancelling ──


async def test_one_that_is_cancelled_never_comes(app: App) -> None:
    orders = orders_of(app)
    first, second, third = await orders.send(*(Order(key=1, number=n) for n in (1, 2, 3)), delay=60)
    assert await second.cancel()
    assert not await second.cancel()
    keep_awake(app).due_times.advance(60)
    async with working(app):
        await wait_until(lambda: count_is(app, orders, 2))
        assert await numbers(app, orders) == [1, 3]
        assert not await first.cancel(), "it is in the log"
        assert not await third.cancel()


async def test_one_whose_cancelling_was_answered_in_vain_counts_as_cancelled(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    orders = orders_of(app)
    [event] = await orders.send(Order(key=1), delay=60)
    connection, lost = (await app.delayer_for(orders))._link._connection, [1]
    read = connection.read_response

    async def loses(*args: Any, **options: Any) -> Any:
        answer = await read(*args, **options)
        if lost[0] > 0 and isinstance(answer, int):
            lost[0] -= 1
            raise ConnectionResetError("lost")
        return answer

    monkeypatch.setattr(connection, "read_response", loses)
    assert await event.cancel()
    assert lost == [0]
    assert not await event.cancel()


# ── moving ──


async def test_what_is_sent_after_the_server_has_lost_everything_comes(app: App) -> None:
    """The sender goes on, and had let workers know of the stream only once."""
    orders = orders_of(app)
    await orders.send(Order(key=1, number=1), delay=0.05)
    await app.redis.flushall()
    await orders.send(Order(key=1, number=2), delay=0.05)
    async with working(keep_awake(app)):
        await wait_until(lambda: count_is(app, orders, 1))
    assert await numbers(app, orders) == [2]


async def test_any_worker_of_the_app_moves_them_also_of_streams_that_it_does_not_know(app: App, valkey: Server) -> None:
    """No processor is registered for the stream, and the worker's code does not declare it."""
    orders = orders_of(app).clone(name="elsewhere", partition_count=3)
    await orders.send(Order(key=1, number=5), delay=0.05)
    async with working(keep_awake(App("shop", redis_url=valkey.url))):
        await wait_until(lambda: count_is(app, orders, 1))
    assert await numbers(app, orders) == [5]


async def test_a_partition_that_refuses_them_holds_up_no_other(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that is due in the others comes at one look."""
    orders = orders_of(app)
    await orders.send(*(Order(key=n % 8) for n in range(4000)), delay=0)
    redis: Any = app.redis
    broken, *others = [keys for keys in orders.partitions if await redis.zcard(keys.delayed)]
    await redis.set(broken.log, "no log")
    promoter = Promoter(app.keys, (await app.open()).link(), Lead(), app.due_times)
    monkeypatch.setattr(Promoter, "is_stopping", False)  # it is in no tree of actors
    with pytest.raises(StoreRefused, match="WRONGTYPE"):
        await promoter._promote([broken, *others])
    await promoter.on_stop()
    assert await redis.zcard(broken.delayed) == 4000 - promoter.moved
    assert others
    assert [await redis.zcard(keys.delayed) for keys in others] == [0] * len(others)


async def test_they_are_due_soon_after_they_are_sent_to_a_worker_that_runs(app: App) -> None:
    orders, late = orders_of(app), list[float]()

    @app.processor(orders)
    async def bill(events: Any) -> None:
        async for event in events:
            late.append(event.timestamp - event.record().number / 1000)

    async with working(app) as worker:
        await wait_until(lambda: leads(worker))
        for _ in range(20):
            due = int(app.clock.time() * 1000) + 50
            await orders.send(Order(key=1, number=due), at=datetime.fromtimestamp(due / 1000, UTC))
            await wait_until(lambda: late)
            assert 0 <= late.pop() < 1


def leads(worker: Any) -> bool:
    leader = actor(worker, "leader")
    return leader is not None and bool(leader.details["leads"])


async def test_each_key_gets_its_events_in_the_order_of_their_due_times(app: App) -> None:
    orders, got = orders_of(app), dict[int, list[int]]()

    @app.processor(orders)
    async def bill(events: Any) -> None:
        async for order in events.records():
            got.setdefault(order.key, []).append(order.number)

    moment = datetime.now(UTC) + timedelta(seconds=0.3)
    sent = [(key, (7 * n) % 50) for n in range(50) for key in range(5)]
    for key, number in sent:
        await orders.send(Order(key=key, number=number), at=moment + timedelta(milliseconds=10 * number))
    async with working(app):
        await wait_until(lambda: sum(map(len, got.values())) == len(sent))
    assert all(found == list(range(50)) for found in got.values())


async def test_a_full_partition_lets_them_wait_and_they_come_when_there_is_room(app: App) -> None:
    orders, got, go = orders_of(app, partition_count=1, partition_size=3), list[int](), asyncio.Event()

    @app.processor(orders)
    async def bill(events: Any) -> None:
        async for order in events.records():
            await go.wait()
            got.append(order.number)

    await orders.send(*(Order(key=1, number=n) for n in range(10)), delay=0)
    async with working(app) as worker:
        await wait_until(lambda: "full" in promoter(worker).details)
        assert await count_is(app, orders, 3)
        looks = promoter(worker).processed
        await wait_until(lambda: promoter(worker).processed > looks + 2, what="it looks now and then, not all the time")
        go.set()
        await wait_until(lambda: len(got) == 10, timeout=20)
        await wait_until(lambda: "full" not in promoter(worker).details)
    assert got == list(range(10))


def promoter(worker: Any) -> Any:
    found = actor(worker, "scheduler", "~promoter")
    assert found is not None
    return found


# ── faults ──


async def test_a_server_that_is_killed_while_they_move_keeps_them_and_each_comes_once(own_server: Any) -> None:
    server: Server = own_server()
    app, got = App("shop", redis_url=server.url, default_partition_count=2, default_lock_expiry=1.0), list[int]()
    orders = orders_of(app)

    @app.processor(orders)
    async def bill(events: Any) -> None:
        async for order in events.records():
            got.append(order.number)

    begin = datetime.now(UTC) + timedelta(seconds=0.2)
    for n in range(40):
        await orders.send(Order(key=1, number=n), at=begin + timedelta(milliseconds=50 * n))
    async with working(app):
        for count in (5, 20):
            await wait_until(lambda count=count: len(got) >= count)
            server.restart(kill=True)
        await wait_until(lambda: len(set(got)) == 40, timeout=20)
        assert await numbers(app, orders) == list(range(40))


@pytest.fixture
def make_world(tmp_path: Path) -> Iterator[Callable[..., World]]:
    worlds = []

    def make(server: Server, **options: Any) -> World:
        worlds.append(World.of(server, tmp_path, **options))
        return worlds[-1]

    yield make
    for world in worlds:
        world.close()


async def test_workers_killed_while_they_move_events_move_each_once(
    make_world: Callable[..., World], own_server: Any
) -> None:
    world = make_world(own_server(), partition_count=4, lock_expiry=1.0)
    due = datetime.now(UTC)
    for turn in range(3):  # each worker has some to move of its own, however long the others took
        due = max(due, datetime.now(UTC) + timedelta(seconds=1))
        for number in range(20 * turn, 20 * turn + 20):
            await world.stream.send(*(Sale(key=key, number=number) for key in range(8)), at=due)
            due += timedelta(milliseconds=50)
        length = await length_of(world.app, world.stream)
        process = world.start("killed")
        await wait_until(partial(grew, world, length), timeout=20)
        process.signal(signal.SIGKILL)
        await process.ended()
    world.start("last")
    await wait_until(lambda: count_is(world.app, world.stream, 480), timeout=20)
    log = [(order.key, order.number) for order, _ in world.log()]
    assert len(set(log)) == len(log) == 480
    for key in range(8):
        assert [number for each, number in log if each == key] == list(range(60))
    assert (await world.app.redis.keys("*:delayed*")) == []
    await world.app.close()


async def grew(world: World, length: int) -> bool:
    return await length_of(world.app, world.stream) > length
