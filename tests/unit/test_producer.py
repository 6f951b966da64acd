"""What a producer's lane decides: which parts travel together, under which sequence, and what each answer means."""

import pytest

from runnel.errors import RecordError, StoreRefused, StoreUnavailable, StreamFull
from runnel.producer import MOST_BYTES, MOST_ENTRIES, Lane, Part
from runnel.store.keys import PartitionKeys
from runnel.store.scripts import AppendAnswer, Appended, Full, IdNotAbove, Overflow, StaleSequence

pytestmark = pytest.mark.asyncio


def lane(overflow: Overflow = "block", cap: int = 1_000) -> Lane:
    return Lane(PartitionKeys("shop", "orders", 3), cap, overflow, "till")


def part(*values: bytes, names: tuple[bytes, ...] = (b"data",), ids: bool = False, size: int = 0) -> Part:
    entries = len(values) // (len(names) + ids)
    return Part(names, ids, entries, size or sum(map(len, values)), list(values))


def sent(of: Lane) -> tuple[int, list[bytes]]:
    """What travels now: its sequence, and the values."""
    travelling = of.next_append()
    assert travelling is not None
    travelling.unanswered += 1
    width = len(travelling.parts[0].names)
    return travelling.sequence, list(travelling.call.args[6 + width :])


def wait(of: Lane, *parts: Part) -> None:
    of.waiting.extend(parts)


async def test_nothing_waits_nothing_travels() -> None:
    assert lane().next_append() is None


async def test_parts_of_one_shape_travel_together_in_their_order() -> None:
    it = lane()
    wait(it, part(b"a"), part(b"b", b"c"), part(b"d"))
    assert sent(it) == (1, [b"a", b"b", b"c", b"d"])


async def test_what_travels_stays_the_same_until_it_is_answered() -> None:
    it = lane()
    wait(it, part(b"a"))
    first = it.next_append()
    wait(it, part(b"b"))
    assert it.next_append() is first
    it.answered(Appended(b"5-0", 0))
    assert sent(it) == (2, [b"b"])


async def test_each_part_is_told_its_ids() -> None:
    it, one, two = lane(), part(b"a", b"b"), part(b"c")
    wait(it, one, two)
    sent(it)
    it.answered(Appended(b"5-7", 0))
    assert one.ids.result() == ["orders/3/5-7", "orders/3/5-8"]
    assert two.ids.result() == ["orders/3/5-9"]


async def test_ids_beyond_what_a_double_counts() -> None:
    it, one = lane(), part(b"a", b"b")
    wait(it, one)
    sent(it)
    it.answered(Appended(b"5-9007199254740993", 0))
    assert one.ids.result() == ["orders/3/5-9007199254740993", "orders/3/5-9007199254740994"]


async def test_parts_with_ids_of_their_own_travel_alone() -> None:
    it, one = lane(), part(b"5-0", b"a", b"6-0", b"b", ids=True)
    wait(it, part(b"x"), one, part(b"y"))
    assert sent(it) == (1, [b"x"])
    it.answered(Appended(b"1-0", 0))
    assert sent(it) == (2, [b"5-0", b"a", b"6-0", b"b"])
    it.answered(Appended(b"5-0", 0))
    assert one.ids.result() == ["orders/3/5-0", "orders/3/6-0"]


async def test_another_shape_ends_what_travels_together() -> None:
    it = lane()
    wait(it, part(b"a"), part(b"b", b"h", names=(b"data", b"~headers")), part(b"c"))
    assert sent(it) == (1, [b"a"])


@pytest.mark.parametrize(
    ("cap", "parts", "together"),
    [
        (1_000, [300, 200, 1], 2),
        (1_000, [MOST_ENTRIES, 1], 1),
        (4, [2, 2, 1], 2),
        (4, [3, 2], 1),
    ],
)
async def test_together_they_hold_what_a_script_and_a_partition_may(cap: int, parts: list[int], together: int) -> None:
    it = lane(cap=cap)
    wait(it, *[part(*[b"x"] * count) for count in parts])
    sent(it)
    assert len(it.waiting) == len(parts) - together


async def test_together_they_have_no_more_bytes_than_a_script_may() -> None:
    it = lane()
    wait(it, part(b"a", size=MOST_BYTES - 1), part(b"b", size=1), part(b"c", size=1))
    assert sent(it) == (1, [b"a", b"b"])


async def test_who_was_cancelled_before_it_left_does_not_travel() -> None:
    it, gone = lane(), part(b"a")
    wait(it, gone, part(b"b"))
    it.abandon(gone)
    assert sent(it) == (1, [b"b"])


async def test_who_was_cancelled_behind_another_does_not_travel_either() -> None:
    it, gone = lane(), [part(b"b"), part(b"d")]
    wait(it, part(b"a"), gone[0], part(b"c"), gone[1], part(b"e"))
    for each in gone:
        it.abandon(each)
    assert sent(it) == (1, [b"a", b"c", b"e"])


async def test_what_travels_for_somebody_goes_on_when_another_was_cancelled() -> None:
    it, gone, stays = lane(), part(b"a"), part(b"b")
    wait(it, gone, stays)
    sent(it)
    it.abandon(gone)
    assert sent(it) == (1, [b"a", b"b"])
    it.answered(Appended(b"5-0", 0))
    assert stays.ids.result() == ["orders/3/5-1"]


async def test_what_travels_for_nobody_is_not_sent_again_nor_is_its_sequence_used() -> None:
    it, gone = lane(), part(b"a")
    wait(it, gone)
    sent(it)
    it.abandon(gone)
    wait(it, part(b"b"))
    assert sent(it) == (2, [b"b"])


FULL = Full(0, "bill", "4-0")


async def test_under_block_what_does_not_fit_is_sent_again_under_its_sequence() -> None:
    it = lane("block")
    wait(it, part(b"a"))
    sent(it)
    it.answered(FULL)
    assert isinstance(it.blocked, StreamFull)
    assert sent(it) == (1, [b"a"])
    it.answered(Appended(b"5-0", 0))
    assert it.blocked is None


async def test_what_does_not_fit_together_is_tried_one_by_one_under_new_sequences() -> None:
    it, one, two = lane("reject"), part(b"a"), part(b"b")
    wait(it, one, two)
    sent(it)
    it.answered(Full(1, "bill", "4-0"))
    assert sent(it) == (2, [b"a"])
    it.answered(Appended(b"5-0", 0))
    assert sent(it) == (3, [b"b"])
    it.answered(FULL)
    assert one.ids.result() == ["orders/3/5-0"]
    with pytest.raises(StreamFull, match="'bill' has not done the 1000 events after 4-0") as full:
        two.ids.result()
    assert "runnel processor delete MODULE:APP --name bill --stream orders" in str(full.value)


@pytest.mark.parametrize("answer", [FULL, StoreRefused("no"), StaleSequence()])
async def test_what_its_sender_put_behind_a_part_that_fails_is_not_sent(answer: AppendAnswer | StoreRefused) -> None:
    it, one, two, three, other = lane("reject"), part(b"a"), part(*[b"x"] * MOST_ENTRIES), part(b"c"), part(b"d")
    one.next, two.next = two, three
    wait(it, one, two, three, other)
    sent(it)
    it.answered(answer)
    for each in (one, two, three):
        with pytest.raises((StreamFull, StoreRefused, StoreUnavailable)):
            each.ids.result()
    assert (two.fate(), three.fate()) == ("not in the log", "not in the log")
    assert sent(it) == (2, [b"d"])


async def test_what_was_sent_twice_is_not_taken_apart() -> None:
    """A copy of all of them may still arrive, after the first alone: it would be in the log twice."""
    it, one, two = lane("block"), part(b"a"), part(b"b")
    wait(it, one, two)
    sent(it)
    sent(it)
    it.answered(FULL)
    assert sent(it) == (1, [b"a", b"b"])


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (IdNotAbove("5-0"), RecordError),
        (StaleSequence(), StoreUnavailable),
        (StoreRefused("no"), StoreRefused),
        (StoreUnavailable("away"), StoreUnavailable),
    ],
)
async def test_what_is_refused_is_told(answer: AppendAnswer | StoreRefused, error: type[Exception]) -> None:
    it, one = lane(), part(b"a")
    wait(it, one)
    sent(it)
    it.answered(answer)
    with pytest.raises(error):
        one.ids.result()
    assert it.next_append() is None


async def test_what_is_refused_when_sent_again_may_be_in_the_log() -> None:
    it, one = lane(), part(b"a")
    wait(it, one)
    sent(it)
    sent(it)
    it.answered(StoreRefused("the server is full"))
    with pytest.raises(StoreUnavailable, match="may have been appended"):
        one.ids.result()


async def test_what_does_not_fit_when_sent_again_may_be_in_the_log() -> None:
    """The first copy may still arrive, when there is room again."""
    it, one = lane("reject"), part(b"a")
    wait(it, one)
    sent(it)
    sent(it)
    it.answered(FULL)
    with pytest.raises(StoreUnavailable, match=r"is full.*may have been appended"):
        one.ids.result()


# ── what is known of parts when their send has ended ──


async def test_what_was_answered_is_known() -> None:
    it, one, two = lane("reject"), part(b"a"), part(b"b", names=(b"other",))
    wait(it, one, two)
    sent(it)
    it.answered(Appended(b"5-0", 0))
    sent(it)
    it.answered(FULL)
    assert (one.fate(), two.fate()) == ("in the log", "not in the log")


async def test_what_was_given_up_before_its_answer_is_unknown_and_what_had_not_left_is_not_in_the_log() -> None:
    it, one, two = lane(), part(b"a"), part(b"b", names=(b"other",))
    wait(it, one, two)
    sent(it)
    it.abandon(one)
    it.abandon(two)
    assert (one.fate(), two.fate()) == ("unknown", "not in the log")


async def test_what_was_given_up_while_it_waited_for_room_is_not_in_the_log() -> None:
    it, one = lane("block"), part(b"a")
    wait(it, one)
    for _ in range(2):
        sent(it)
        it.answered(FULL)
    it.abandon(one)
    assert one.fate() == "not in the log"


async def test_what_waited_for_room_is_unknown_if_the_answer_to_an_earlier_copy_was_lost() -> None:
    it, one = lane("block"), part(b"a")
    wait(it, one)
    sent(it)
    sent(it)
    it.answered(FULL)
    it.abandon(one)
    assert one.fate() == "unknown"
