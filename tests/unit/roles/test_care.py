"""Turns: of the events that may end a worker, the one that may be blamed for it runs beside no other."""

from runnel.roles.care import Turns
from runnel.roles.lease import Lease
from tests.unit.roles.stage import leases, processor


def some_leases(count: int) -> list[Lease]:
    return leases(processor(count))


def test_first_events_run_beside_each_other() -> None:
    turns, (one, two) = Turns(), some_leases(2)
    assert turns.take(one, alone=False)
    assert turns.take(two, alone=False)


def test_a_suspect_waits_for_first_events_and_these_for_it() -> None:
    turns, (one, two, three) = Turns(), some_leases(3)
    assert turns.take(one, alone=False)
    assert not turns.take(two, alone=True)
    turns.leave(one)
    assert turns.take(two, alone=True)
    assert not turns.take(one, alone=False)
    assert not turns.take(three, alone=True)
    turns.leave(two)
    assert turns.take(three, alone=True)


def test_who_has_a_turn_may_take_it_again() -> None:
    """As after a retry, or a restart of its actor."""
    turns, (one, two) = Turns(), some_leases(2)
    assert turns.take(one, alone=False)
    assert turns.take(one, alone=True)
    assert turns.take(one, alone=True)
    turns.leave(two)
    assert not turns.take(two, alone=False)
