"""Delivering on real servers: each event of an outbox once, in order, whoever brings it, however often and late."""

from typing import Any

import pytest

from runnel.errors import StoreRefused
from runnel.store import outbox
from runnel.store.keys import PartitionKeys
from runnel.store.outbox import TARGET, Delivered, Emitted, Target
from runnel.store.scripts import START, Overflow
from tests.integration.scripts.bench import PROCESSOR, Bench

SOURCE = PartitionKeys("shop", "sales", 7)
HIGHEST = 2**64 - 1


def emitted(bench: Bench, entry: str, value: str, *, cap: int = 1_000, overflow: Overflow = "block") -> Emitted:
    return Emitted(entry.encode(), Target(bench.keys, cap, overflow), [b"data", value.encode(), b"~key", b"k"])


async def deliver(bench: Bench, *events: Emitted, source: PartitionKeys = SOURCE, by: str = PROCESSOR) -> Delivered:
    return await bench.run(outbox.deliver(source, by, events))


async def test_events_arrive_in_order_with_their_own_fields_and_nothing_else(bench: Bench) -> None:
    assert await deliver(bench, emitted(bench, "1-0", "a"), emitted(bench, "1-1", "b")) == Delivered(2, 0)
    assert [fields for _, fields in bench.redis.xrange(bench.keys.log)] == [
        {"data": "a", "~key": "k"},
        {"data": "b", "~key": "k"},
    ]
    assert bench.redis.hgetall(bench.keys.relayed) == {"sales/7/bill": "1-1"}


async def test_a_page_sent_again_or_late_delivers_nothing_twice(bench: Bench) -> None:
    first = [emitted(bench, f"{n}-0", f"{n}") for n in (1, 2)]
    await deliver(bench, *first)
    assert await deliver(bench, *first) == Delivered(0, 0)
    await deliver(bench, emitted(bench, "3-0", "3"))
    assert await deliver(bench, *first) == Delivered(0, 0)
    assert bench.redis.hgetall(bench.keys.relayed) == {"sales/7/bill": "3-0"}, "nor does the mark go back"
    assert bench.payloads == ["1", "2", "3"]


async def test_a_page_of_other_composition_brings_only_what_is_new(bench: Bench) -> None:
    one, two, three, four = (emitted(bench, f"{n}-0", f"{n}") for n in (1, 2, 3, 4))
    await deliver(bench, one, two)
    assert await deliver(bench, one, two, three, four) == Delivered(2, 0)
    assert await deliver(bench, two, three) == Delivered(0, 0)
    assert bench.payloads == ["1", "2", "3", "4"]


async def test_one_that_stands_in_a_call_twice_is_delivered_once(bench: Bench) -> None:
    one, two = emitted(bench, "1-0", "1"), emitted(bench, "2-0", "2")
    assert await deliver(bench, one, one, two, one) == Delivered(2, 0)
    assert bench.payloads == ["1", "2"]


async def test_ids_are_compared_as_two_numbers_of_64_bits(bench: Bench) -> None:
    ids = ["9-9", "9-10", "10-0", f"10-{HIGHEST - 1}", f"10-{HIGHEST}", f"{HIGHEST - 1}-0", f"{HIGHEST}-0"]
    for entry in ids:
        assert await deliver(bench, emitted(bench, entry, entry)) == Delivered(1, 0)
        assert await deliver(bench, *(emitted(bench, each, each) for each in ids[: ids.index(entry) + 1])) == Delivered(0, 0)
    assert bench.payloads == ids


async def test_outboxes_do_not_share_their_marks(bench: Bench) -> None:
    sources = [(SOURCE, PROCESSOR), (PartitionKeys("shop", "sales", 8), PROCESSOR), (SOURCE, "ship"), (bench.keys, "a/b")]
    for source, by in sources:
        for _ in range(2):
            await deliver(bench, emitted(bench, "5-0", by), source=source, by=by)
    assert bench.payloads == ["bill", "bill", "ship", "a/b"]
    assert set(bench.redis.hkeys(bench.keys.relayed)) == {"sales/7/bill", "sales/8/bill", "sales/7/ship", "orders/3/a%2Fb"}


async def test_no_cap_holds_them_back(bench: Bench) -> None:
    await bench.take()
    await bench.append(b"1", b"2", sequence=1)
    for overflow in ("block", "reject"):
        assert await deliver(bench, emitted(bench, "1-0", overflow, cap=2, overflow=overflow), by=overflow) == Delivered(1, 0)
    assert bench.payloads == ["1", "2", "block", "reject"]


async def test_what_is_done_goes_first_where_the_cap_is_passed(bench: Bench) -> None:
    token = await bench.take()
    await bench.append(b"1", b"2", sequence=1)
    await bench.commit(token, 1, bench.ids[0], 1)
    await deliver(bench, emitted(bench, "1-0", "3", cap=3))
    assert bench.payloads == ["1", "2", "3"], "it has room"
    await deliver(bench, emitted(bench, "2-0", "4", cap=4), emitted(bench, "3-0", "5", cap=4))
    assert bench.payloads == ["2", "3", "4", "5"]


async def test_under_drop_oldest_the_log_keeps_to_its_cap_and_the_loss_is_counted(bench: Bench) -> None:
    token = await bench.take()
    await bench.append(b"1", b"2", b"3", sequence=1)
    await bench.commit(token, 1, bench.ids[0], 1)
    events = [emitted(bench, f"{n}-0", f"{n}", cap=3, overflow="drop_oldest") for n in (4, 5)]
    assert await deliver(bench, *events) == Delivered(2, 1), "the one that is done is no loss"
    assert bench.payloads == ["3", "4", "5"]
    assert bench.redis.hget(bench.keys.counts, "dropped") == "1"
    assert await deliver(bench, *events) == Delivered(0, 0), "for those that are here already nothing is dropped"
    assert bench.payloads == ["3", "4", "5"]


async def test_what_is_done_is_no_loss_whichever_event_of_the_call_needs_its_room(bench: Bench) -> None:
    token = await bench.take()
    await bench.append(b"1", b"2", sequence=1)
    await bench.commit(token, 1, bench.ids[1], 2)
    events = [emitted(bench, "1-0", "3", cap=2, overflow="drop_oldest"), emitted(bench, "2-0", "4")]
    assert await deliver(bench, *events) == Delivered(2, 0)
    assert bench.payloads == ["3", "4"]


async def test_each_event_has_its_own_cap_and_overflow(bench: Bench) -> None:
    await bench.append(b"1", b"2", sequence=1)
    events = [
        emitted(bench, "1-0", "3", cap=1),
        emitted(bench, "2-0", "4", cap=4, overflow="drop_oldest"),
        emitted(bench, "3-0", "5", cap=3, overflow="drop_oldest"),
        emitted(bench, "4-0", "6", cap=1),
    ]
    assert await deliver(bench, *events) == Delivered(4, 2)
    assert bench.payloads == ["3", "4", "5", "6"]


async def test_a_full_server_delivers_since_the_outbox_gives_its_memory_back_only_so(bench: Bench) -> None:
    bench.redis.xadd(SOURCE.outbox(PROCESSOR), {"data": "1"}, id="1-0")
    bench.redis.config_set("maxmemory", "1")
    assert await deliver(bench, emitted(bench, "1-0", "1")) == Delivered(1, 0)
    assert await bench.link.run([outbox.remove(SOURCE, PROCESSOR, [b"1-0"])]) == [1]
    bench.redis.config_set("maxmemory", "0")


@pytest.mark.parametrize("key", ["log", "cursors", "counts", "relayed"])
async def test_a_key_of_the_wrong_type_fails_before_anything_is_written(bench: Bench, key: str) -> None:
    bench.redis.set(getattr(bench.keys, key), "mine")
    # Only the second event is above its cap: what the script needs for it must be looked at before the first one.
    events = [emitted(bench, f"{n}-0", f"{n}", cap=cap, overflow="drop_oldest") for n, cap in ((1, 9), (2, 1))]
    with pytest.raises(StoreRefused, match="WRONGTYPE"):
        await deliver(bench, *events)
    bench.redis.delete(getattr(bench.keys, key))
    assert bench.redis.dbsize() == 0
    assert (await deliver(bench, *events)).appended == 2


@pytest.mark.parametrize(("key", "value"), [("cursors", "nonsense"), ("relayed", "nonsense")])
async def test_a_hash_that_holds_nonsense_fails_before_anything_is_written(bench: Bench, key: str, value: str) -> None:
    bench.redis.hset(getattr(bench.keys, key), mapping={"bill": value, "ship": value, "sales/7/bill": value})
    before = bench.everything()
    with pytest.raises(StoreRefused):
        await deliver(bench, emitted(bench, "1-0", "1"), emitted(bench, "2-0", "2", cap=1))
    assert bench.everything() == before


@pytest.mark.parametrize(
    "args",
    [
        ["2-0", "9", "block", "3", "data", "x", "y"],
        ["2-0", "9", "block", "4", "data", "x"],
        ["2-0", "9", "block", "0"],
        ["2-0", "9", "block", "", "data", "x"],
        ["2-0", "many", "block", "2", "data", "x"],
        ["2", "9", "block", "2", "data", "x"],
    ],
)
async def test_a_call_that_makes_no_sense_changes_nothing(bench: Bench, args: list[str]) -> None:
    call = outbox.deliver(SOURCE, PROCESSOR, [emitted(bench, "1-0", "1")])
    wrong: Any = type(call)(call.script, call.keys, [*call.args, *args], call.parse)
    with pytest.raises(StoreRefused):
        await bench.run(wrong)
    assert bench.redis.dbsize() == 0


async def test_counts_that_are_no_numbers_do_not_make_it_deliver_twice(bench: Bench) -> None:
    await bench.append(b"1", sequence=1)
    bench.redis.hset(bench.keys.counts, "dropped", "many")
    event = emitted(bench, "1-0", "2", cap=1, overflow="drop_oldest")
    with pytest.raises(StoreRefused):
        await deliver(bench, event)
    assert await deliver(bench, event) == Delivered(0, 0)
    assert bench.payloads == ["2"]


async def test_bytes_stay_what_they_are(bench: Bench) -> None:
    every = bytes(range(256)) * 300
    await deliver(bench, Emitted(b"1-0", Target(bench.keys, 9, "block"), [every, every]))
    [(_, fields)] = await bench.link.command("XRANGE", bench.keys.log, "-", "+")
    assert fields == [every, every]


# ── the outbox itself ──


def put(bench: Bench, *ids: str) -> None:
    field = Target(bench.keys, 9, "reject").field
    for entry in ids:
        bench.redis.xadd(SOURCE.outbox(PROCESSOR), {TARGET: field, "data": entry, "~key": "k"}, id=entry)


async def test_an_outbox_is_read_in_pages(bench: Bench) -> None:
    put(bench, "9-9", "9-10", "10-0")
    [page] = await bench.link.run([outbox.read(SOURCE, PROCESSOR, START, 2)])
    assert isinstance(page, list)
    events = [Emitted.of("shop", entry) for entry in page]
    assert events == [
        Emitted(entry, Target(bench.keys, 9, "reject"), [b"data", entry, b"~key", b"k"]) for entry in (b"9-9", b"9-10")
    ]
    [page] = await bench.link.run([outbox.read(SOURCE, PROCESSOR, b"9-10", 2)])
    assert isinstance(page, list)
    assert [entry for entry, _ in page] == [b"10-0"]
    assert await bench.link.run([outbox.read(SOURCE, PROCESSOR, b"10-0", 2), outbox.read(SOURCE, "x", START, 2)]) == [[], []]


async def test_only_what_was_delivered_is_removed(bench: Bench) -> None:
    """Also when the outbox is another one by now: one that was dropped, and filled again, may have lower ids."""
    put(bench, "1-0", "2-0", "3-0")
    assert await bench.link.run([outbox.remove(SOURCE, PROCESSOR, [b"1-0", b"3-0"])]) == [2]
    assert await bench.link.run([outbox.remove(SOURCE, PROCESSOR, [b"1-0", b"3-0"])]) == [0]
    assert [entry for entry, _ in bench.redis.xrange(SOURCE.outbox(PROCESSOR))] == ["2-0"]
    put(bench, "4-0")
    bench.redis.delete(SOURCE.outbox(PROCESSOR))
    put(bench, "1-5", "2-5")
    assert await bench.link.run([outbox.remove(SOURCE, PROCESSOR, [b"2-0", b"4-0"])]) == [0]
    assert [entry for entry, _ in bench.redis.xrange(SOURCE.outbox(PROCESSOR))] == ["1-5", "2-5"]


async def test_an_outbox_that_was_emptied_gives_no_id_twice(bench: Bench) -> None:
    """Or the marks of its targets would be above what comes next."""
    put(bench, "99999999999999-5")
    await bench.link.run([outbox.remove(SOURCE, PROCESSOR, [b"99999999999999-5"])])
    assert bench.redis.xadd(SOURCE.outbox(PROCESSOR), {"data": "1"}) == "99999999999999-6"
