"""send: in order, once, and never over the cap, whatever happens to the server, the connection or the caller."""

import asyncio
import gc
import itertools
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from runnel import App, ConfigurationError, Record, RecordError, StoreRefused, StoreUnavailable, Stream, StreamFull
from runnel.store import scripts
from runnel.stream import prepare
from tests.proxy import Proxy
from tests.servers import Server
from tests.support import wait_until


class Order(Record):
    key: str
    n: int
    note: str = ""


MakeApp = Callable[..., App]


@pytest.fixture
async def make_app(server: Server) -> AsyncIterator[MakeApp]:
    apps: list[App] = []

    def make(url: str = server.url, **settings: Any) -> App:
        apps.append(App("shop", redis_url=url, **{"send_timeout": 10, **settings}))
        return apps[-1]

    yield make
    for app in apps:
        await app.close()


def orders_of(app: App, **options: Any) -> Stream[Order]:
    return app.stream("orders", Order, "key", **{"partition_count": 4, **options})


def in_log(server: Server, stream: Stream[Any], partition: int | None = None) -> list[tuple[str, Any]]:
    """Ids of events and their records, partition after partition, in the order of the log."""
    numbers = range(stream.partition_count) if partition is None else [partition]
    with server.client(protocol=3) as client:
        client.connection_pool.connection_kwargs["decode_responses"] = False
        found = []
        for number in numbers:
            for entry_id, fields in client.xrange(stream.partitions[number].log) or []:
                flat = [part for pair in fields.items() for part in pair]
                found.append((f"{stream.name}/{number}/{entry_id.decode()}", stream.codec.decode(flat)))
        return found


def numbers_of(server: Server, stream: Stream[Any], key: str) -> list[int]:
    return [order.n for _, order in in_log(server, stream) if order.key == key]


def appends(request: bytes) -> bool:
    return scripts.SCRIPTS["append"].sha in request or b"Appends entries" in request


# ── order and ids ──


async def test_each_event_is_in_the_partition_of_its_key_under_the_id_that_send_returned(
    server: Server, make_app: MakeApp
) -> None:
    orders = orders_of(make_app())
    records = [Order(key=f"k{n % 7}", n=n) for n in range(50)]
    ids = await orders.send(*records)
    assert len(set(ids)) == 50
    assert dict(in_log(server, orders)) == dict(zip(ids, records, strict=True))
    for event_id, record in zip(ids, records, strict=True):
        assert event_id.startswith(f"orders/{orders.hash(record.key)}/")


async def test_records_of_a_key_are_in_the_order_given(server: Server, make_app: MakeApp) -> None:
    orders = orders_of(make_app())
    for start in range(0, 30, 10):
        await orders.send(*[Order(key=key, n=n) for n in range(start, start + 10) for key in "abc"])
    for key in "abc":
        assert numbers_of(server, orders, key) == list(range(30))


async def test_nothing_is_sent_by_an_empty_send(server: Server, make_app: MakeApp) -> None:
    assert await orders_of(make_app()).send() == []
    with server.client() as client:
        assert not [key for key in client.scan_iter() if key.endswith(":log")]


async def test_sends_at_once_travel_together_and_each_gets_its_own_ids(server: Server, make_app: MakeApp) -> None:
    orders = orders_of(make_app())
    await orders.send(Order(key="a", n=-1))
    with server.client() as client:
        client.config_resetstat()
        answers = await asyncio.gather(*[orders.send(Order(key="a", n=n), Order(key="b", n=n)) for n in range(100)])
        calls = client.info("commandstats")["cmdstat_evalsha"]["calls"]
    found = dict(in_log(server, orders))
    for n, ids in enumerate(answers):
        assert [(found[i].key, found[i].n) for i in ids] == [("a", n), ("b", n)]
    assert calls <= 8, "a hundred sends took more than a few appends"
    assert numbers_of(server, orders, "a") == list(range(-1, 100))


async def test_more_than_a_script_may_append_goes_in_several_in_order(server: Server, make_app: MakeApp) -> None:
    orders = orders_of(make_app(), partition_count=1)
    ids = await orders.send(*[Order(key="a", n=n) for n in range(1_234)])
    assert numbers_of(server, orders, "a") == list(range(1_234))
    assert [event_id for event_id, _ in in_log(server, orders)] == ids


async def test_more_than_a_mebibyte_goes_in_several_in_order(server: Server, make_app: MakeApp) -> None:
    orders = orders_of(make_app(), partition_count=1)
    note = "x" * 300_000
    sent = [orders.send(*[Order(key="a", n=n, note=note) for n in range(start, start + 5)]) for start in (0, 5)]
    ids = await asyncio.gather(*sent)
    assert numbers_of(server, orders, "a") == list(range(10))
    assert [event_id for event_id, _ in in_log(server, orders)] == [*ids[0], *ids[1]]


async def test_a_record_larger_than_a_mebibyte_is_sent_alone(server: Server, make_app: MakeApp) -> None:
    orders = orders_of(make_app(), partition_count=1)
    await orders.send(Order(key="a", n=0), Order(key="a", n=1, note="x" * 3_000_000), Order(key="a", n=2))
    assert numbers_of(server, orders, "a") == [0, 1, 2]


async def test_a_second_event_loop_and_a_closed_app_send_on(server: Server, make_app: MakeApp) -> None:
    app = make_app()
    orders = orders_of(app)

    async def one(n: int) -> None:
        await orders.send(Order(key="a", n=n))

    await one(0)
    await asyncio.to_thread(asyncio.run, one(1))
    await app.close()
    await one(2)
    assert numbers_of(server, orders, "a") == [0, 1, 2]


# ── key, headers, ids of one's own ──


async def test_a_key_given_to_send_beats_partition_by(server: Server, make_app: MakeApp) -> None:
    orders = orders_of(make_app(), partition_count=64)
    ids = await orders.send(Order(key="a", n=1), Order(key="b", n=2), key="c")
    assert {event_id.split("/")[1] for event_id in ids} == {str(orders.hash("c"))}
    with server.client() as client:
        entries: Any = client.xrange(orders.route("c"))
    assert [fields["~key"] for _, fields in entries] == ["c", "c"]


async def test_headers_travel_with_each_event(server: Server, make_app: MakeApp) -> None:
    orders = orders_of(make_app())
    await orders.send(Order(key="a", n=1), headers={"trace": "t1"})
    await orders.send(Order(key="a", n=2))
    with server.client() as client:
        entries: Any = client.xrange(orders.route("a"))
    assert [fields.get("~headers") for _, fields in entries] == ['{"trace":"t1"}', None]


async def test_sends_of_different_shapes_keep_their_order(server: Server, make_app: MakeApp) -> None:
    orders = orders_of(make_app(), partition_count=1)
    sends = [orders.send(Order(key="a", n=n), headers={"n": str(n)} if n % 2 else None) for n in range(20)]
    await asyncio.gather(*sends)
    assert numbers_of(server, orders, "a") == list(range(20))


async def test_entries_get_the_ids_that_were_chosen(server: Server, make_app: MakeApp) -> None:
    orders = orders_of(make_app(), partition_count=1)
    ids = await orders.send(Order(key="a", n=1), Order(key="b", n=2), stream_ids=["5-1", "0007-0"])
    assert ids == ["orders/0/5-1", "orders/0/7-0"]
    assert [event_id for event_id, _ in in_log(server, orders)] == ids


async def test_stars_let_redis_choose_as_in_0_1(server: Server, make_app: MakeApp) -> None:
    orders = orders_of(make_app())
    assert len(await orders.send(Order(key="a", n=1), Order(key="b", n=2), stream_ids=["*", "*"])) == 2


@pytest.mark.parametrize("bad", ["", "5", "5-", "x-1", "5-*", "-1-0", "5-0-0", f"{2**64}-0", f"0-{2**64}", "٥-٠"])
async def test_an_id_that_is_none_is_refused_before_anything_is_sent(
    server: Server, make_app: MakeApp, bad: str
) -> None:
    orders = orders_of(make_app())
    with pytest.raises(RecordError, match="stream id"):
        await orders.send(Order(key="a", n=1), Order(key="a", n=2), stream_ids=["5-0", bad])
    assert in_log(server, orders) == []


async def test_an_id_that_is_not_above_the_last_one_appends_nothing(server: Server, make_app: MakeApp) -> None:
    orders = orders_of(make_app(), partition_count=1)
    with pytest.raises(RecordError, match="6-0"):
        await orders.send(*[Order(key="a", n=n) for n in range(3)], stream_ids=["5-0", "7-0", "6-0"])
    assert in_log(server, orders) == []


async def test_as_many_ids_as_records(make_app: MakeApp) -> None:
    with pytest.raises(RecordError, match="1 records came with 2"):
        await orders_of(make_app()).send(Order(key="a", n=1), stream_ids=["5-0", "6-0"])


# ── what does not fit ──


async def test_a_record_of_another_type_is_refused_and_none_is_sent(server: Server, make_app: MakeApp) -> None:
    class Other(Record):
        key: str

    orders = orders_of(make_app())
    with pytest.raises(RecordError, match="expected Order, got"):
        await orders.send(Order(key="a", n=1), Other(key="a"))  # type: ignore[call-overload]
    assert in_log(server, orders) == []


async def test_a_record_without_a_key_is_refused(server: Server, make_app: MakeApp) -> None:
    orders = make_app().stream("orders", Order, lambda order: None if order.n else "a")
    with pytest.raises(RecordError, match="None"):
        await orders.send(Order(key="a", n=0), Order(key="a", n=1))
    assert in_log(server, orders) == []


@pytest.mark.parametrize("options", [{"partition_count": 8}, {"hasher": lambda key: 3}])
async def test_a_stream_made_with_other_options_is_refused(make_app: MakeApp, options: dict[str, Any]) -> None:
    await orders_of(make_app()).send(Order(key="a", n=1))
    with pytest.raises(ConfigurationError, match=r"orders.*was made with (partition_count 4|hasher xxh64)"):
        await orders_of(make_app(), **options).send(Order(key="a", n=1))


@pytest.mark.parametrize("changes", [{"partition_count": 3}, {"hasher": lambda key: 3}])
async def test_a_clone_with_other_options_under_the_same_name_is_refused(
    make_app: MakeApp, changes: dict[str, Any]
) -> None:
    orders = orders_of(make_app())
    await orders.send(Order(key="a", n=1))
    with pytest.raises(ConfigurationError, match="was made with"):
        await orders.clone(**changes).send(Order(key="a", n=1))


async def test_a_server_that_is_not_there(make_app: MakeApp) -> None:
    orders = orders_of(make_app("redis://127.0.0.1:1", send_timeout=0.1))
    with pytest.raises(StoreUnavailable, match=r"127\.0\.0\.1:1 cannot be reached"):
        await orders.send(Order(key="a", n=1))


async def test_a_full_server_says_so_and_takes_more_when_it_has_room(server: Server, make_app: MakeApp) -> None:
    orders = orders_of(make_app())
    await orders.send(Order(key="a", n=0))
    server.config(maxmemory="1")
    with pytest.raises(StoreRefused, match="full"):
        await orders.send(Order(key="a", n=1))
    server.config(maxmemory="0")
    await orders.send(Order(key="a", n=2))
    assert numbers_of(server, orders, "a") == [0, 2]


# ── once ──


async def test_a_lost_reply_leaves_no_second_copy(server: Server, make_app: MakeApp) -> None:
    async with Proxy(server.url) as proxy:
        orders = orders_of(make_app(proxy.url))
        first = await orders.send(Order(key="a", n=0))
        proxy.lose_next_reply(appends)
        second = await orders.send(Order(key="a", n=1), Order(key="a", n=2))
        assert proxy.lost == 1
        assert [event_id for event_id, _ in in_log(server, orders)] == [*first, *second]
        assert numbers_of(server, orders, "a") == [0, 1, 2]


async def test_lost_replies_and_cut_connections_under_many_senders(server: Server, make_app: MakeApp) -> None:
    async with Proxy(server.url) as proxy:
        orders = orders_of(make_app(proxy.url))
        await orders.send(Order(key="z", n=0))

        async def sender(key: str) -> None:
            for n in range(0, 60, 3):
                await orders.send(*[Order(key=key, n=i) for i in range(n, n + 3)])

        async def trouble() -> None:
            requests = itertools.count()
            while True:
                lost = proxy.lost
                proxy.lose_next_reply(lambda request: appends(request) and next(requests) % 3 == 0)
                await wait_until(lambda lost=lost: proxy.lost > lost)
                proxy.cut()

        troubling = asyncio.create_task(trouble())
        await asyncio.gather(*[sender(key) for key in "abcd"])
        troubling.cancel()
        assert proxy.lost > 3
        for key in "abcd":
            assert numbers_of(server, orders, key) == list(range(60))


async def test_a_cancelled_send_leaves_no_gap_for_others_and_no_copies(server: Server, make_app: MakeApp) -> None:
    async with Proxy(server.url) as proxy:
        orders = orders_of(make_app(proxy.url), partition_count=1)
        await orders.send(Order(key="a", n=0))
        proxy.blackhole(direction="replies")
        cancelled = asyncio.create_task(orders.send(Order(key="a", n=1)))
        await wait_until(lambda: len(in_log(server, orders)) == 2)
        waiting = asyncio.create_task(orders.send(Order(key="a", n=2)))
        cancelled.cancel()
        proxy.blackhole(False)
        await waiting
        await orders.send(Order(key="a", n=3))
        assert numbers_of(server, orders, "a") == [0, 1, 2, 3]


async def test_a_send_that_was_cancelled_before_it_left_is_not_sent(server: Server, make_app: MakeApp) -> None:
    orders = orders_of(make_app(), partition_count=1, partition_size=1)
    await orders.send(Order(key="a", n=0))
    cancelled = asyncio.create_task(orders.send(Order(key="a", n=1)))
    lanes = await lanes_of(orders)
    await wait_until(lambda: lanes and lanes[0].blocked)
    cancelled.cancel()
    await asyncio.wait([cancelled])
    make_room(server, orders)
    await orders.send(Order(key="a", n=2))
    assert numbers_of(server, orders, "a") == [2]


async def lanes_of(stream: Stream[Any]) -> list[Any]:
    producer = await stream.app.producer_for(stream)
    return list(producer._lanes.values())


def make_room(server: Server, stream: Stream[Any]) -> None:
    """As if a processor had done all that is there."""
    with server.client() as client:
        for keys in stream.partitions:
            entries: Any = client.xrevrange(keys.log, count=1)
            client.hset(keys.cursors, "bill", entries[0][0] if entries else "0-0")


async def test_a_reply_that_was_lost_before_the_server_was_full_is_not_called_refused(
    server: Server, make_app: MakeApp
) -> None:
    async with Proxy(server.url) as proxy:
        orders = orders_of(make_app(proxy.url), partition_count=1)
        await orders.send(Order(key="a", n=0))

        proxy.refuse = True
        proxy.lose_next_reply(appends)
        sending = asyncio.create_task(orders.send(Order(key="a", n=1)))
        await wait_until(lambda: len(in_log(server, orders)) == 2)
        server.config(maxmemory="1")
        proxy.refuse = False
        with pytest.raises(StoreUnavailable, match="may have been appended"):
            await sending
        server.config(maxmemory="0")


# ── a server that hangs ──


async def test_all_senders_give_up_in_time_when_the_server_hangs(server: Server, make_app: MakeApp) -> None:
    async with Proxy(server.url) as proxy:
        orders = orders_of(make_app(proxy.url, send_timeout=0.3))
        await orders.send(Order(key="a", n=0))
        proxy.blackhole()
        began = asyncio.get_running_loop().time()
        sends = [orders.send(Order(key=f"k{n}", n=n)) for n in range(8)]
        answers = await asyncio.gather(*sends, return_exceptions=True)
        assert asyncio.get_running_loop().time() - began < 3
        assert {type(answer) for answer in answers} == {StoreUnavailable}


async def test_who_had_no_turn_in_time_is_not_sent_later(server: Server, make_app: MakeApp) -> None:
    app = make_app(send_timeout=0.05)
    orders = orders_of(app)
    await orders.send(Order(key="a", n=0))
    producer = await app.producer_for(orders)
    async with producer._turn:
        began = asyncio.get_running_loop().time()
        with pytest.raises(StoreUnavailable, match=r"did not answer within 0\.05 s"):
            await orders.send(Order(key="a", n=1))
        assert asyncio.get_running_loop().time() - began < 2
    await orders.send(Order(key="a", n=2))
    assert numbers_of(server, orders, "a") == [0, 2]


async def test_nothing_is_sent_by_who_gets_the_turn_when_time_is_up(server: Server, make_app: MakeApp) -> None:
    app = make_app()
    orders = orders_of(app)
    await orders.send(Order(key="a", n=0))
    producer = await app.producer_for(orders)
    sending = await prepare(orders, [Order(key="a", n=1)])
    with pytest.raises(StoreUnavailable):
        await producer.send(sending._parts, timeout=0.0)
    assert sending.fates() == ["not in the log"]
    assert numbers_of(server, orders, "a") == [0]


async def test_a_first_send_gives_up_in_time_when_the_server_hangs(server: Server, make_app: MakeApp) -> None:
    async with Proxy(server.url) as proxy:
        app = make_app(proxy.url, send_timeout=0.1)
        await app.open()
        proxy.blackhole()
        sends = [orders_of(app).send(Order(key="a", n=n)) for n in range(3)]
        answers = await asyncio.wait_for(asyncio.gather(*sends, return_exceptions=True), 3)
        assert {type(answer) for answer in answers} == {StoreUnavailable}


# ── a full partition ──


@pytest.mark.parametrize("overflow", ["reject", "block"])
async def test_what_comes_behind_a_refused_part_of_a_send_is_refused_too(
    server: Server, make_app: MakeApp, overflow: str
) -> None:
    orders = orders_of(make_app(send_timeout=0.2), partition_count=1, partition_size=1_000, overflow=overflow)
    await orders.send(*[Order(key="a", n=-1)] * 700)
    with pytest.raises(StreamFull):
        await orders.send(*[Order(key="a", n=n) for n in range(700)])  # 500, and 200 for which there would be room
    assert numbers_of(server, orders, "a") == [-1] * 700


async def test_up_to_500_records_are_in_the_log_together_or_not_at_all(server: Server, make_app: MakeApp) -> None:
    orders = orders_of(make_app(), partition_count=1, partition_size=600, overflow="reject")
    await orders.send(*[Order(key="a", n=-1)] * 200)
    with pytest.raises(StreamFull):
        await orders.send(*[Order(key="a", n=n) for n in range(500)])
    assert numbers_of(server, orders, "a") == [-1] * 200


async def test_reject_refuses_more_than_a_partition_can_ever_hold_and_sends_nothing(
    server: Server, make_app: MakeApp
) -> None:
    orders = orders_of(make_app(), partition_size=100, overflow="reject")
    free = next(key for key in "bcdefgh" if orders.hash(key) != orders.hash("a"))
    full = [Order(key="a", n=n) for n in range(101)]
    with pytest.raises(StreamFull, match="holds 100 events at most: 101 records in one send can never fit"):
        await orders.send(Order(key=free, n=0), *full)
    assert in_log(server, orders) == []
    await orders.send(Order(key=free, n=0), *full[:100])
    assert len(in_log(server, orders)) == 101


async def test_reject_says_which_processor_is_how_far_behind(server: Server, make_app: MakeApp) -> None:
    orders = orders_of(make_app(), partition_count=1, partition_size=3, overflow="reject")
    ids = await orders.send(*[Order(key="a", n=n) for n in range(3)])
    cursor = ids[0].rsplit("/")[-1]
    with server.client() as client:
        client.hset(orders.partitions[0].cursors, mapping={"slow": cursor, "fast": "99999999999999-0"})
    await orders.send(Order(key="a", n=3))  # what both have done makes room
    with pytest.raises(
        StreamFull, match=rf"partition 0 of stream 'orders' is full.*'slow' has not done the 3 .*{cursor}"
    ):
        await orders.send(Order(key="a", n=4))
    assert numbers_of(server, orders, "a") == [1, 2, 3]


async def test_without_a_processor_reject_says_so(make_app: MakeApp) -> None:
    orders = orders_of(make_app(), partition_count=1, partition_size=1, overflow="reject")
    await orders.send(Order(key="a", n=0))
    with pytest.raises(StreamFull, match="no processor is registered"):
        await orders.send(Order(key="a", n=1))


async def test_block_waits_until_there_is_room(server: Server, make_app: MakeApp) -> None:
    orders = orders_of(make_app(), partition_count=1, partition_size=2)
    await orders.send(Order(key="a", n=0), Order(key="a", n=1))
    waiting = [asyncio.create_task(orders.send(Order(key="a", n=n))) for n in (2, 3)]
    lanes = await lanes_of(orders)
    await wait_until(lambda: lanes[0].blocked)
    assert not any(task.done() for task in waiting)
    make_room(server, orders)
    await asyncio.gather(*waiting)
    assert numbers_of(server, orders, "a") == [2, 3]


async def test_block_gives_up_in_time_with_the_reason(server: Server, make_app: MakeApp) -> None:
    orders = orders_of(make_app(send_timeout=0.05), partition_count=1, partition_size=1)
    await orders.send(Order(key="a", n=0))
    with pytest.raises(StreamFull, match="no processor"):
        await orders.send(Order(key="a", n=1))
    make_room(server, orders)
    await orders.send(Order(key="a", n=2))
    assert numbers_of(server, orders, "a") == [2]


async def test_a_full_partition_does_not_hold_up_the_others(server: Server, make_app: MakeApp) -> None:
    orders = orders_of(make_app(), partition_size=2)
    free = next(key for key in "bcdefgh" if orders.hash(key) != orders.hash("a"))
    await orders.send(Order(key="a", n=0), Order(key="a", n=1))
    waiting = asyncio.create_task(orders.send(Order(key="a", n=2)))
    lanes = await lanes_of(orders)
    await wait_until(lambda: any(lane.blocked for lane in lanes))
    await orders.send(Order(key=free, n=0), Order(key=free, n=1))
    with server.client() as client:
        assert client.xlen(orders.route(free)) == 2
    assert not waiting.done()
    make_room(server, orders)
    await waiting


async def test_what_waits_for_room_is_in_the_order_of_its_sends(server: Server, make_app: MakeApp) -> None:
    orders = orders_of(make_app(), partition_count=1, partition_size=3)
    sends = [asyncio.create_task(orders.send(Order(key="a", n=n))) for n in range(12)]
    seen: list[int] = []
    while not all(send.done() for send in sends):
        seen += [n for n in numbers_of(server, orders, "a") if n not in seen]
        make_room(server, orders)
        await asyncio.sleep(0)
    seen += [n for n in numbers_of(server, orders, "a") if n not in seen]
    assert seen == list(range(12))


async def test_drop_oldest_keeps_the_newest_and_says_what_it_dropped(
    server: Server, make_app: MakeApp, caplog: pytest.LogCaptureFixture
) -> None:
    orders = orders_of(make_app(), partition_count=1, partition_size=3, overflow="drop_oldest")
    with caplog.at_level(logging.WARNING, "runnel.producer"):
        for n in range(5):
            await orders.send(Order(key="a", n=n))
    assert numbers_of(server, orders, "a") == [2, 3, 4]
    dropped = [record.dropped for record in caplog.records if record.name == "runnel.producer"]  # type: ignore[attr-defined]
    assert dropped == [1, 1]


async def test_more_records_than_a_partition_holds_wait_for_room_as_they_go(server: Server, make_app: MakeApp) -> None:
    orders = orders_of(make_app(), partition_count=1, partition_size=4)
    sending = asyncio.create_task(orders.send(*[Order(key="a", n=n) for n in range(10)]))
    while not sending.done():
        make_room(server, orders)
        await asyncio.sleep(0)
    assert len(sending.result()) == 10
    assert numbers_of(server, orders, "a")[-1] == 9


async def test_a_clone_with_another_overflow_has_its_own_way(server: Server, make_app: MakeApp) -> None:
    orders = orders_of(make_app(), partition_count=1, partition_size=2)
    rejecting, dropping = orders.clone(overflow="reject"), orders.clone(overflow="drop_oldest")
    await orders.send(Order(key="a", n=0), Order(key="a", n=1))
    with pytest.raises(StreamFull):
        await rejecting.send(Order(key="a", n=2))
    await dropping.send(Order(key="a", n=3))
    assert numbers_of(server, orders, "a") == [1, 3]


async def test_two_full_partitions_are_one_error(make_app: MakeApp) -> None:
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: complaints.append(context))
    orders = orders_of(make_app(), partition_size=1, overflow="reject")
    keys = [next(key for key in "abcdefghijk" if orders.hash(key) == number) for number in range(4)]
    await orders.send(*[Order(key=key, n=0) for key in keys])
    with pytest.raises(StreamFull):
        await orders.send(*[Order(key=key, n=1) for key in keys])
    gc.collect()
    assert complaints == []
