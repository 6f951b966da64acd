"""trim, register, reset, measure, look: what may be dropped, from where a processor reads, and how far behind it is."""

import pytest
from attrs import astuple

from runnel.errors import ConfigurationError
from runnel.store import scripts
from runnel.store.scripts import Acquired, Held, Look, Token
from tests.integration.scripts.bench import PROCESSOR, Bench

LARGEST = 18_446_744_073_709_551_615


def note(bench: Bench, **cursors: str) -> None:
    bench.redis.hset(bench.keys.cursors, mapping=cursors)


# ── trim ──


async def test_with_no_processor_nothing_is_dropped(bench: Bench) -> None:
    await bench.fill("1-0", "2-0")
    assert await bench.trim() == 0
    assert bench.ids == ["1-0", "2-0"]


async def test_without_a_log_nothing_is_dropped(bench: Bench) -> None:
    note(bench, bill="0-0")
    assert await bench.trim() == 0
    assert not bench.redis.exists(bench.keys.log)


async def test_what_all_have_done_is_dropped_and_no_more(bench: Bench) -> None:
    await bench.fill("1-0", "1-1", "2-0", "10-0")
    note(bench, fast="10-0", slow="1-1")
    assert await bench.trim() == 2
    assert bench.ids == ["2-0", "10-0"]
    assert await bench.trim() == 0


async def test_cursors_are_compared_as_numbers(bench: Bench) -> None:
    await bench.fill("2-0", "9-0", "10-0")
    note(bench, first="10-0", second="9-0")
    assert await bench.trim() == 2
    assert bench.ids == ["10-0"]


async def test_a_cursor_between_entries_drops_those_before_it(bench: Bench) -> None:
    await bench.fill("1-0", "3-0")
    note(bench, bill="2-5")
    assert await bench.trim() == 1
    assert bench.ids == ["3-0"]


async def test_all_may_be_dropped(bench: Bench) -> None:
    await bench.fill("1-0", "2-0")
    note(bench, bill="2-0")
    assert await bench.trim() == 2
    assert bench.ids == []


async def test_a_processor_that_was_registered_meanwhile_holds_back(bench: Bench) -> None:
    await bench.fill("1-0", "2-0")
    note(bench, bill="2-0")
    await bench.register("late")
    assert await bench.trim() == 0
    assert bench.ids == ["1-0", "2-0"]


async def test_large_numbers_are_not_rounded(bench: Bench) -> None:
    """2^53 and 2^53 + 1 are the same double."""
    await bench.fill("7-9007199254740992", "7-9007199254740993", "7-9007199254740994")
    note(bench, fast="7-9007199254740994", slow="7-9007199254740992")
    await bench.trim()
    assert bench.ids[-2:] == ["7-9007199254740993", "7-9007199254740994"]
    note(bench, slow="7-9007199254740993")
    await bench.trim()
    assert bench.ids[-1] == "7-9007199254740994"


async def test_the_exact_end_of_what_a_double_can_count(bench: Bench) -> None:
    await bench.fill("7-9007199254740990", "7-9007199254740991", f"7-{LARGEST}")
    note(bench, bill="7-9007199254740990")
    assert await bench.trim() == 1
    assert bench.ids == ["7-9007199254740991", f"7-{LARGEST}"]
    note(bench, bill=f"7-{LARGEST}")
    await bench.trim()
    assert bench.ids in ([], [f"7-{LARGEST}"])


# ── register ──


async def test_a_processor_is_registered_once(bench: Bench) -> None:
    await bench.fill("1-0", "2-0")
    assert await bench.register(PROCESSOR, "latest")
    assert not await bench.register(PROCESSOR, "earliest")
    assert bench.cursors == {PROCESSOR: "2-0"}
    assert bench.slot == {"count": "2"}


async def test_the_earliest_is_before_all_that_is_there(bench: Bench) -> None:
    await bench.fill("1-0", "2-0", "3-0")
    bench.redis.xtrim(bench.keys.log, minid="3-0", approximate=False)
    await bench.register(PROCESSOR, "earliest")
    assert (bench.cursors, bench.slot) == ({PROCESSOR: "0-0"}, {"count": "2"})


@pytest.mark.parametrize("start", ["earliest", "latest"])
async def test_a_log_that_is_not_there_yet_begins_at_zero(bench: Bench, start: str) -> None:
    await bench.register(PROCESSOR, start)  # type: ignore[arg-type]
    assert (bench.cursors, bench.slot) == ({PROCESSOR: "0-0"}, {"count": "0"})
    assert not bench.redis.exists(bench.keys.log)


async def test_the_latest_of_an_emptied_log_is_the_last_id_it_ever_gave(bench: Bench) -> None:
    await bench.fill("1-0", "2-0")
    bench.redis.xtrim(bench.keys.log, maxlen=0, approximate=False)
    await bench.register(PROCESSOR, "latest")
    assert (bench.cursors, bench.slot) == ({PROCESSOR: "2-0"}, {"count": "2"})


async def test_who_registers_leaves_a_lease_alone(bench: Bench) -> None:
    token = await bench.take()
    await bench.register(PROCESSOR)
    assert await bench.commit(token, 1, "1-0") == "OK"


# ── unregister ──


async def test_a_processor_that_is_forgotten_leaves_nothing_behind(bench: Bench) -> None:
    await bench.fill("1-0", "2-0", "3-0")
    bench.redis.hset(bench.keys.cursors, "ship", "2-0")
    token = await bench.take()
    await bench.release(token)
    assert bench.redis.xinfo_groups(bench.keys.log) != []
    assert await bench.trim() == 0
    assert await bench.unregister() is None
    assert (bench.cursors, bench.slot, bench.redis.xinfo_groups(bench.keys.log)) == ({"ship": "2-0"}, {}, [])
    assert await bench.trim() == 2


async def test_who_owns_a_partition_keeps_its_processor(bench: Bench) -> None:
    token = await bench.take(worker="w", lease=60)
    before = bench.everything()
    held = await bench.unregister()
    assert isinstance(held, Held)
    assert (held.owner, 59 < held.left <= 60) == ("w", True)
    assert bench.everything() == before
    assert await bench.commit(token, 1, "1-0") == "OK"


async def test_who_is_forced_can_commit_and_hold_nothing_any_more(bench: Bench) -> None:
    token = await bench.take()
    assert await bench.unregister(force=True) is None
    assert await bench.commit(token, 1, "1-0") == "FENCED"
    assert not await bench.renew(token)
    assert not await bench.release(token)
    assert (bench.cursors, bench.slot) == ({}, {})


async def test_who_takes_what_was_forgotten_begins_anew_and_the_old_token_stays_void(bench: Bench) -> None:
    await bench.fill("1-0", "2-0")
    old = await bench.take(b"one")
    await bench.commit(old, 1, "2-0", 2)
    await bench.unregister(force=True)
    assert await bench.acquire(b"two") == Acquired(Token(b"1", b"two"), b"0-0", 0)
    assert old.epoch == b"1"
    assert await bench.commit(old, 2, "2-0", 2) == "FENCED"
    assert not await bench.renew(old)


@pytest.mark.parametrize("end", ["release", "expire", "history"])
async def test_a_lease_that_is_over_keeps_nobody_from_forgetting(bench: Bench, end: str) -> None:
    token = await bench.take()
    if end == "release":
        await bench.release(token)
    elif end == "expire":
        bench.expire()
    else:
        bench.redis.hset(bench.keys.slot(PROCESSOR), "history", "0" * 40)
    assert await bench.unregister() is None
    assert (bench.cursors, bench.slot) == ({}, {})


async def test_what_is_not_registered_is_forgotten_already(bench: Bench) -> None:
    assert await bench.unregister() is None
    assert bench.everything() == {}


async def test_a_processor_is_forgotten_though_the_log_is_something_else(bench: Bench) -> None:
    await bench.register(PROCESSOR)
    bench.redis.set(bench.keys.log, "mine")
    assert await bench.unregister() is None
    assert bench.cursors == {}


# ── reset ──


@pytest.mark.parametrize(
    ("to", "cursor", "count"), [("earliest", "0-0", "1"), ("latest", "3-0", "3"), ("2-0", "2-0", "2")]
)
async def test_reset_sets_the_cursor(bench: Bench, to: str, cursor: str, count: str) -> None:
    await bench.fill("1-0", "2-0", "3-0")
    bench.redis.xtrim(bench.keys.log, minid="2-0", approximate=False)
    assert await bench.reset(to, 2) == cursor.encode()
    assert (bench.cursors, bench.slot["count"]) == ({PROCESSOR: cursor}, count)


async def test_reset_fences_the_owner_and_frees_the_partition(bench: Bench) -> None:
    await bench.fill("1-0", "2-0")
    old = await bench.take(b"one")
    await bench.commit(old, 1, "2-0", 2)
    await bench.reset("earliest")
    assert await bench.commit(old, 2, "2-0", 2) == "FENCED"
    assert not await bench.renew(old)
    assert not await bench.release(old)
    assert await bench.acquire(b"two") == Acquired(Token(b"3", b"two"), b"0-0", 0)


async def test_reset_leaves_other_processors_alone(bench: Bench) -> None:
    other = await bench.take(b"other", processor="ship")
    await bench.reset("latest")
    assert await bench.commit(other, 1, "1-0", processor="ship") == "OK"


@pytest.mark.parametrize(
    "cursor", ["", "5", "5-", "-5", "5-*", "$", "yesterday", f"{LARGEST + 1}-0", f"1-{LARGEST + 1}"]
)
async def test_reset_refuses_what_is_no_cursor(bench: Bench, cursor: str) -> None:
    with pytest.raises(ConfigurationError, match="cursor"):
        await bench.reset(cursor)
    assert bench.everything() == {}


# ── measure ──


async def test_measure_counts_what_comes_after_an_id(bench: Bench) -> None:
    await bench.fill("1-0", "2-0", "3-0")
    assert await bench.run(scripts.measure(bench.keys, b"1-0")) == (2, b"3-0", 3)
    assert await bench.run(scripts.measure(bench.keys, b"3-0")) == (0, b"3-0", 3)


async def test_measure_without_a_log(bench: Bench) -> None:
    assert await bench.run(scripts.measure(bench.keys, b"0-0")) == (0, b"0-0", 0)


async def test_measure_goes_on_where_it_ended(bench: Bench) -> None:
    await bench.append(*[b"x"] * 500, sequence=1)
    await bench.append(*[b"x"] * 101, sequence=2)
    first, last, added = await bench.run(scripts.measure(bench.keys, b"0-0"))
    assert (first, added) == (500, 601)
    assert await bench.run(scripts.measure(bench.keys, last)) == (101, bench.ids[-1].encode(), 601)


# ── look ──


async def look(bench: Bench) -> Look:
    return await bench.run(scripts.look(bench.keys, PROCESSOR))


async def test_look_at_nothing(bench: Bench) -> None:
    found = await look(bench)
    assert astuple(found)[:11] == ("", 0, 0.0, None, 0, "0-0", 0, 0, "0-0", "0-0", found.now)
    assert bench.everything() == {}


async def test_look_at_a_partition_at_work(bench: Bench) -> None:
    await bench.fill("1-0", "2-0", "3-0")
    token = await bench.take(worker="w", lease=60)
    await bench.commit(token, 1, "2-0", 2)
    await bench.trim()
    before = bench.everything()
    found = await look(bench)
    assert 59 < found.left <= 60
    assert astuple(found)[:11] == ("w", 1, found.left, "2-0", 2, "3-0", 3, 1, "3-0", "3-0", found.now)
    assert bench.everything() == before


async def test_look_tells_the_servers_time(bench: Bench) -> None:
    earlier, _ = bench.redis.time()
    found = await look(bench)
    later, _ = bench.redis.time()
    assert earlier <= found.now < later + 1


@pytest.mark.parametrize(
    ("cursor", "next_id"),
    [
        (None, "3-0"),
        ("0-0", "3-0"),
        ("2-0", "3-0"),
        ("3-0", "3-7"),
        ("3-5", "3-7"),
        ("9-0", "10-0"),
        ("10-0", f"{LARGEST}-{LARGEST}"),
        (f"{LARGEST}-{LARGEST}", "0-0"),
    ],
)
async def test_look_finds_the_first_entry_that_is_not_done(bench: Bench, cursor: str | None, next_id: str) -> None:
    await bench.fill("1-0", "3-0", "3-7", "10-0", f"{LARGEST}-{LARGEST}")
    bench.redis.xtrim(bench.keys.log, minid="3-0", approximate=False)
    if cursor is not None:
        note(bench, bill=cursor)
    assert (await look(bench)).next == next_id


async def test_of_a_log_that_was_emptied_nothing_is_left_to_do(bench: Bench) -> None:
    await bench.fill("1-0", "2-0")
    note(bench, bill="1-0")
    bench.redis.xtrim(bench.keys.log, maxlen=0, approximate=False)
    found = await look(bench)
    assert (found.first, found.next, found.last) == ("0-0", "0-0", "2-0")


@pytest.mark.parametrize("end", ["release", "expire", "history"])
async def test_nobody_owns_a_partition_whose_lease_is_over(bench: Bench, end: str) -> None:
    token = await bench.take(worker="w")
    if end == "release":
        await bench.release(token)
    elif end == "expire":
        bench.expire()
    else:
        bench.redis.hset(bench.keys.slot(PROCESSOR), "history", "0" * 40)
    found = await look(bench)
    assert (found.owner, found.left) == ("", 0.0)
