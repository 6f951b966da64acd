"""append: all of the entries, once, or none; never over the cap while a processor has not done what is there."""

import pytest

from runnel.store.scripts import Appended, Full, IdNotAbove, StaleSequence
from tests.integration.scripts.bench import Bench
from tests.support import wait_until


def ids_from(first: bytes, count: int) -> list[str]:
    ms, seq = first.decode().split("-")
    return [f"{ms}-{n}" for n in range(int(seq), int(seq) + count)]


# ── once ──


async def test_a_sequence_that_is_repeated_is_answered_again_and_appended_once(bench: Bench) -> None:
    first = await bench.append(b"a", b"b", sequence=1)
    again = await bench.append(b"a", b"b", sequence=1)
    assert isinstance(first, Appended)
    assert again == first
    assert bench.payloads == ["a", "b"]


async def test_an_older_sequence_is_too_late(bench: Bench) -> None:
    await bench.append(b"a", sequence=1)
    await bench.append(b"b", sequence=2)
    before = bench.everything()
    assert await bench.append(b"a", sequence=1) == StaleSequence()
    assert bench.everything() == before


async def test_sequences_may_leave_gaps(bench: Bench) -> None:
    await bench.append(b"a", sequence=1)
    assert isinstance(await bench.append(b"b", sequence=7), Appended)
    assert bench.payloads == ["a", "b"]


async def test_producers_do_not_disturb_each_other(bench: Bench) -> None:
    await bench.append(b"a", sequence=1, producer="one")
    await bench.append(b"b", sequence=1, producer="two")
    assert bench.payloads == ["a", "b"]


async def test_sequences_are_compared_as_numbers(bench: Bench) -> None:
    await bench.append(b"a", sequence=9)
    assert isinstance(await bench.append(b"b", sequence=10), Appended)
    assert await bench.append(b"c", sequence=9) == StaleSequence()


async def test_the_mark_of_a_producer_lives_as_long_as_was_said_after_its_last_append(bench: Bench) -> None:
    mark = bench.keys.producer("till")
    await bench.append(b"a", sequence=1, lifetime=50)
    assert 49_000 < bench.redis.pttl(mark) <= 50_000
    await bench.append(b"b", sequence=2, lifetime=600)
    assert 599_000 < bench.redis.pttl(mark) <= 600_000
    assert bench.redis.pttl(bench.keys.log) == -1


async def test_a_refused_append_leaves_its_sequence_free(bench: Bench) -> None:
    await bench.append(b"a", sequence=1, cap=1)
    assert isinstance(await bench.append(b"b", sequence=2, cap=1), Full)
    assert isinstance(await bench.append(b"b", sequence=2, cap=2), Appended)
    assert bench.payloads == ["a", "b"]


async def test_a_repeated_sequence_is_answered_though_the_partition_is_full_by_now(bench: Bench) -> None:
    first = await bench.append(b"a", sequence=1, cap=1)
    assert await bench.append(b"a", sequence=1, cap=1) == first


# ── ids ──


shapes = pytest.mark.parametrize("names", [[b"data"], [b"data", b"~key"], [b"data", b"~key", b"~headers"]], ids=len)
"""The script knows a shorter way for entries of two fields."""


@shapes
async def test_entries_have_the_fields_they_were_given(bench: Bench, names: list[bytes]) -> None:
    await bench.append(b"a", b"b", sequence=1, names=names)
    await bench.append(b"c", b"d", sequence=2, names=names, ids=["99999999999999-0", "99999999999999-1"])
    found = [fields for _, fields in bench.redis.xrange(bench.keys.log)]
    assert found == [{name.decode(): value for name in names} for value in "abcd"]


@shapes
@pytest.mark.parametrize("count", [1, 2, 500])
async def test_ids_count_up_from_the_first(bench: Bench, count: int, names: list[bytes]) -> None:
    answer = await bench.append(*[b"x"] * count, sequence=1, names=names)
    assert isinstance(answer, Appended)
    assert bench.ids == ids_from(answer.first, count)


@shapes
async def test_ids_count_up_though_the_servers_clock_moves_on_meanwhile(bench: Bench, names: list[bytes]) -> None:
    payload = b"x" * 20_000  # 10 MB take the server some milliseconds
    answer = await bench.append(*[payload] * 500, sequence=1, names=names)
    assert isinstance(answer, Appended)
    assert bench.ids == ids_from(answer.first, 500)


@shapes
async def test_ids_count_up_behind_a_last_id_that_lies_in_the_future(bench: Bench, names: list[bytes]) -> None:
    await bench.fill("99999999999999-5")
    answer = await bench.append(b"a", b"b", sequence=1, names=names)
    assert answer == Appended(b"99999999999999-6", 0)
    assert bench.ids == ["99999999999999-5", "99999999999999-6", "99999999999999-7"]


async def test_ids_count_up_behind_a_last_id_that_is_no_double(bench: Bench) -> None:
    await bench.fill("99999999999999-9007199254740993")
    answer = await bench.append(b"a", b"b", sequence=1)
    assert answer == Appended(b"99999999999999-9007199254740994", 0)
    assert bench.ids[1:] == ["99999999999999-9007199254740994", "99999999999999-9007199254740995"]


async def test_appends_go_behind_each_other(bench: Bench) -> None:
    for sequence in range(1, 21):
        await bench.append(b"%d" % sequence, sequence=sequence)
    assert bench.payloads == [str(n) for n in range(1, 21)]


async def test_entries_get_the_ids_they_name(bench: Bench) -> None:
    answer = await bench.append(b"a", b"b", sequence=1, ids=["5-1", "7-0"])
    assert answer == Appended(b"5-1", 0)
    assert (bench.ids, bench.payloads) == (["5-1", "7-0"], ["a", "b"])


@pytest.mark.parametrize(
    ("last", "ids", "culprit"),
    [
        ("5-1", ["5-1"], "5-1"),
        ("5-1", ["5-0"], "5-0"),
        ("5-1", ["4-9"], "4-9"),
        ("10-0", ["9-0"], "9-0"),
        ("5-1", ["6-0", "6-0"], "6-0"),
        ("5-1", ["7-0", "6-0"], "6-0"),
        ("5-9007199254740993", ["5-9007199254740992"], "5-9007199254740992"),
        ("5-9007199254740993", ["5-9007199254740993"], "5-9007199254740993"),
        (None, ["0-0"], "0-0"),
    ],
)
async def test_an_id_that_is_not_above_the_last_one_refuses_all_of_them(
    bench: Bench, last: str | None, ids: list[str], culprit: str
) -> None:
    if last is not None:
        await bench.fill(last)
    before = bench.everything()
    assert await bench.append(*[b"x"] * len(ids), sequence=1, ids=ids) == IdNotAbove(culprit)
    assert bench.everything() == before


@pytest.mark.parametrize(
    ("last", "entry_id"),
    [
        ("5-9", "10-0"),
        ("9-9", "10-0"),
        ("5-9", "5-10"),
        ("5-9007199254740992", "5-9007199254740993"),
        ("9007199254740992-0", "9007199254740993-0"),
        ("1-18446744073709551614", "1-18446744073709551615"),
    ],
)
async def test_an_id_that_is_above_the_last_one_by_number_is_taken(bench: Bench, last: str, entry_id: str) -> None:
    await bench.fill(last)
    assert await bench.append(b"a", sequence=1, ids=[entry_id]) == Appended(entry_id.encode(), 0)


async def test_an_id_may_not_lie_below_that_of_an_entry_that_is_gone(bench: Bench) -> None:
    await bench.fill("5-0")
    bench.redis.xdel(bench.keys.log, "5-0")
    assert await bench.append(b"a", sequence=1, ids=["4-0"]) == IdNotAbove("4-0")


# ── the cap ──


@pytest.mark.parametrize("overflow", ["block", "reject"])
async def test_without_a_processor_nothing_counts_as_done(bench: Bench, overflow: str) -> None:
    await bench.append(b"a", b"b", sequence=1, cap=3)
    before = bench.everything()
    assert await bench.append(b"c", b"d", sequence=2, cap=3, overflow=overflow) == Full(1, "", "")  # type: ignore[arg-type]
    assert bench.everything() == before


async def test_it_may_be_filled_to_the_last_place(bench: Bench) -> None:
    await bench.append(b"a", b"b", sequence=1, cap=3)
    assert isinstance(await bench.append(b"c", sequence=2, cap=3), Appended)
    assert isinstance(await bench.append(b"d", sequence=3, cap=3), Full)


@pytest.mark.parametrize("overflow", ["block", "reject"])
async def test_full_names_the_processor_that_holds_back_and_its_cursor(bench: Bench, overflow: str) -> None:
    await bench.fill("1-0", "2-0", "3-0")
    bench.redis.hset(bench.keys.cursors, mapping={"fast": "3-0", "slow": "1-0", "middling": "2-0"})
    answer = await bench.append(b"a", b"b", sequence=1, cap=3, overflow=overflow)  # type: ignore[arg-type]
    assert answer == Full(1, "slow", "1-0")


async def test_at_the_cap_what_all_have_done_makes_room(bench: Bench) -> None:
    await bench.fill("1-0", "2-0", "3-0")
    bench.redis.hset(bench.keys.cursors, mapping={"fast": "3-0", "slow": "2-0"})
    assert isinstance(await bench.append(b"a", b"b", sequence=1, cap=3), Appended)
    assert bench.payloads == ["x", "a", "b"]
    assert bench.ids[0] == "3-0"


async def test_below_the_cap_nothing_is_dropped(bench: Bench) -> None:
    await bench.fill("1-0", "2-0")
    bench.redis.hset(bench.keys.cursors, "fast", "2-0")
    await bench.append(b"a", sequence=1, cap=3)
    assert len(bench.ids) == 3


async def test_drop_oldest_drops_what_it_must_and_counts_it(bench: Bench) -> None:
    await bench.fill("1-0", "2-0", "3-0")
    bench.redis.hset(bench.keys.cursors, "slow", "1-0")
    answer = await bench.append(b"a", b"b", sequence=1, cap=3, overflow="drop_oldest")
    assert isinstance(answer, Appended)
    assert answer.dropped == 1  # 1-0 was done, 2-0 was not
    assert bench.payloads == ["x", "a", "b"]
    assert bench.redis.hget(bench.keys.counts, "dropped") == "1"


async def test_drop_oldest_counts_all_it_ever_dropped(bench: Bench) -> None:
    for sequence in range(1, 6):
        await bench.append(b"%d" % sequence, sequence=sequence, cap=2, overflow="drop_oldest")
    assert bench.payloads == ["4", "5"]
    assert bench.redis.hget(bench.keys.counts, "dropped") == "3"


async def test_drop_oldest_drops_once_however_often_it_is_sent(bench: Bench) -> None:
    await bench.append(b"a", b"b", sequence=1, cap=2, overflow="drop_oldest")
    await bench.append(b"c", sequence=2, cap=2, overflow="drop_oldest")
    await bench.append(b"c", sequence=2, cap=2, overflow="drop_oldest")
    assert bench.payloads == ["b", "c"]
    assert bench.redis.hget(bench.keys.counts, "dropped") == "1"


async def test_a_mark_that_has_gone_is_no_protection(bench: Bench) -> None:
    """Why `send` stops sending again after at most 300 s: a mark lives for 600."""
    await bench.append(b"a", sequence=1, lifetime=0.001)
    await wait_until(lambda: not bench.redis.exists(bench.keys.producer("till")))
    await bench.append(b"a", sequence=1)
    assert bench.payloads == ["a", "a"]
