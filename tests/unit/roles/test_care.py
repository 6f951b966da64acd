"""Turns: of the events that may end a worker, the one that may be blamed for it runs beside no other."""

from typing import Any

import pytest
from attrs import define, evolve

from runnel.errors import StoreError, StoreUnavailable
from runnel.roles.care import Care, Turns
from runnel.roles.lease import Lease
from runnel.roles.parking import Replay
from runnel.roles.passing import Passing
from runnel.store.moves import Bury
from tests.unit.roles.stage import acquired, leases, processor


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


class Stopping(BaseException):
    """What `wait` raises when the partition is to stop."""


@define
class FakePassing:
    """Commits nothing; what is asked of the server is answered by the test."""

    lease: Lease
    answers: list[bool | StoreError]

    @property
    def link(self) -> "FakePassing":
        return self

    async def settle(self) -> None:
        """Nothing is done."""

    async def call(self, call: Any) -> bool:
        if isinstance(answer := self.answers.pop(0), StoreError):
            raise answer
        return answer


def suspected(*answers: bool | StoreError, patience: int = 10) -> tuple[Lease, Care]:
    """A partition whose next event, in hand, is a suspect, and how often it waits before it is to stop."""
    [lease] = some_leases(1)
    lease.crashes, lease.went = 3, "idle"
    lease.position.take_in([(b"1-0", [])])
    waits = iter(range(patience))

    async def wait(seconds: float) -> None:
        if next(waits, None) is None:
            raise Stopping

    return lease, Care(FakePassing(lease, list(answers)), Turns(), wait)  # type: ignore[arg-type]


async def test_a_suspect_that_could_not_be_noted_is_not_handed_out() -> None:
    lease, care = suspected(*[StoreUnavailable("away")] * 3, True)
    await care.step()
    assert lease.went == "well"
    assert care.turns.alone is lease
    assert not care.passing.answers  # type: ignore[attr-defined]


async def test_a_suspect_whose_token_is_void_is_never_handed_out() -> None:
    lease, care = suspected(*[False] * 10, patience=3)
    with pytest.raises(Stopping):
        await care.step()
    assert lease.went == "idle"


async def test_who_waits_for_its_turn_in_vain_has_run_nothing() -> None:
    lease, care = suspected(True, patience=3)
    [other] = some_leases(1)
    assert care.turns.take(other, alone=False)
    with pytest.raises(Stopping):
        await care.step()
    assert lease.went == "idle"


async def test_after_a_commit_nothing_is_suspected() -> None:
    lease, care = suspected(patience=0)
    lease.number = 1
    await care.step()
    assert care.turns.alone is None


@pytest.mark.parametrize(("crashes", "went"), [(0, "well"), (2, "idle")])
def test_a_term_after_a_crash_is_idle_until_it_comes_to_its_first_event(crashes: int, went: str) -> None:
    of = processor()
    lease = Lease.of(of, of.stream.partitions[0], evolve(acquired(), crashes=crashes), 1e12, "me")
    assert lease.went == went
    assert lease.release().args[-1] == went


async def test_who_has_to_wait_leaves_its_turn_and_is_suspected_no_more() -> None:
    lease, care = suspected(True, StoreUnavailable("away"), True)
    await care.step()
    await care.stand_aside(1, looks=False)
    assert care.turns.alone is lease, "it is noted still"
    await care.stand_aside(1, looks=False)
    assert care.turns.alone is None


def test_a_parked_event_that_becomes_a_dead_letter_is_not_done() -> None:
    """Or it would look as if the system were well again: a breaker would close."""
    [lease] = some_leases(1)
    entries: list[tuple[bytes, list[bytes]]] = [(b"1-0", []), (b"2-0", [])]
    lease.replay = Replay(cursor=b"0-0", count=0, entries=entries, main=lease.position, key=b"7", ids=[b"8-0", b"9-0"])
    lease.replay.leave(Bury([]))
    assert lease.done == 0
    lease.replay.done(1)
    assert lease.done == 1
    Passing(lease, *[None] * 4).end_replay()  # type: ignore[arg-type]
    assert lease.done == 1
