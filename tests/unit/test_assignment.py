"""The assignment: complete, balanced to within one, as few moves as possible, the same wherever it is computed."""

import itertools
from collections import Counter
from collections.abc import Collection, Sequence

from hypothesis import given
from hypothesis import strategies as st

from runnel.assignment import assign

WORKERS = tuple("abcdefgh")

members = st.sets(st.sampled_from(WORKERS))
lasts = st.lists(st.none() | st.sampled_from([*WORKERS, "gone"]), max_size=40)


def moves(before: Sequence[str | None], after: Sequence[str | None]) -> int:
    return sum(old != new for old, new in zip(before, after, strict=True))


def fewest_moves(members: Collection[str], last: Sequence[str | None]) -> int:
    """By trying every way of giving away the odd partitions."""
    each, odd = divmod(len(last), len(members))
    held = Counter(owner for owner in last if owner in members)
    return min(
        len(last) - sum(min(held[member], each + (member in lucky)) for member in members)
        for lucky in itertools.combinations(sorted(members), odd)
    )


@given(members, lasts)
def test_every_partition_has_an_owner_that_is_there(members: set[str], last: list[str | None]) -> None:
    owners = assign(members, last)
    assert len(owners) == len(last)
    assert set(owners) <= members or (not members and set(owners) <= {None})


@given(members.filter(bool), lasts)
def test_no_worker_has_two_more_than_another(members: set[str], last: list[str | None]) -> None:
    counts = Counter(assign(members, last))
    assert max(counts[member] for member in members) - min(counts[member] for member in members) <= 1


@given(members.filter(bool), lasts)
def test_no_way_to_balance_moves_fewer(members: set[str], last: list[str | None]) -> None:
    assert moves(last, assign(members, last)) == fewest_moves(members, last)


@given(members.filter(bool), lasts, st.text(max_size=3))
def test_nothing_moves_when_nothing_changes(members: set[str], last: list[str | None], salt: str) -> None:
    settled = assign(members, last, salt)
    assert assign(members, settled, salt) == settled
    assert assign(members, settled, "other") == settled


@given(st.permutations(WORKERS), lasts)
def test_the_order_in_which_workers_are_named_does_not_matter(members: list[str], last: list[str | None]) -> None:
    assert assign(members, last) == assign(sorted(members), last)


@given(st.lists(st.tuples(st.booleans(), st.sampled_from(WORKERS)), max_size=20), st.integers(0, 40))
def test_a_worker_that_joins_only_takes_and_one_that_leaves_only_gives(
    changes: list[tuple[bool, str]], partitions: int
) -> None:
    there: set[str] = set()
    owners: Sequence[str | None] = (None,) * partitions
    for joins, worker in changes:
        before, owners_before = set(there), owners
        there = there | {worker} if joins else there - {worker}
        owners = assign(there, owners)
        if before and there and before != there:
            moved = [(old, new) for old, new in zip(owners_before, owners, strict=True) if old != new]
            assert {new if joins else old for old, new in moved} <= {worker}


def test_the_odd_partitions_of_many_processors_are_spread() -> None:
    owners = Counter(assign(WORKERS, [None], f"processor-{n}")[0] for n in range(400))
    assert set(owners) == set(WORKERS)
    assert max(owners.values()) < 3 * min(owners.values())
