"""When a worker counts as alive and as ready, and how late its event loop is."""

from typing import Any

import pytest

from runnel.monitoring.beat import BEAT, WINDOW, LoopBeat
from runnel.monitoring.health import Health
from runnel.operations.status import PartitionStatus
from runnel.store.pausing import Paused
from runnel.telemetry.standing import Marks, Place, Standstill, standing


def health(**facts: Any) -> Health:
    return Health(**{"now": 100.0, "blocked_after": 5.0, "stalled_after": 60.0, **facts})


def still(seconds: float, partition: int = 3, why: str = "") -> Standstill:
    return Standstill(processor="bill", partition=partition, seconds=seconds, lag=1_200, why=why)


def test_a_worker_that_has_joined_and_has_nothing_to_do_is_alive_and_ready() -> None:
    assert health().live().ok
    assert health().ready().ok


@pytest.mark.parametrize(
    ("facts", "status"),
    [
        ({"beat_age": 5.1}, "blocked"),
        ({"stopping": True}, "leaving"),
        ({"joined": False}, "starting"),
        ({"server_up": False}, "server away"),
        ({"standstills": [still(60.0)]}, "stalled"),
    ],
)
def test_each_reason_not_to_be_ready_has_its_name(facts: dict[str, Any], status: str) -> None:
    verdict = health(**facts).ready()
    assert (verdict.ok, verdict.status) == (False, status)
    assert health(**facts).live().ok == (status != "blocked")


def test_who_stands_still_for_longest_is_named_and_the_others_counted() -> None:
    reason = health(standstills=[still(70.0, 1), still(90.0, 2, "it is quarantined: no"), still(59.0, 3)]).ready().reason
    assert reason == (
        "partition 2 of bill has 1,200 events to do, and has done none for 90 s: it is quarantined: no"
        "; likewise 1 partition more"
    )


def test_a_circuit_breaker_that_is_open_is_a_reason() -> None:
    reason = health(standstills=[still(100.0)], open_breakers={"bill"}).ready().reason
    assert reason.endswith("has done none for 100 s: its circuit breaker is open")


def test_what_has_stood_still_for_a_while_only_is_ready() -> None:
    assert health(standstills=[still(59.9)]).ready().ok


def test_what_is_paused_is_ready_and_is_told() -> None:
    verdict = health(paused=4).ready()
    assert verdict.ok
    assert "paused by an operator: 4 partitions, which is no fault" in verdict.reason


# ── which partitions stand still ──


def status(partition: int = 0, **values: Any) -> PartitionStatus:
    plain = {"owner": "w", "epoch": 1, "lease_left": 4.0, "cursor": "5-0", "lag": 7, "oldest_age": 2.0, "length": 9, "added": 9}
    none = {"parked": 0, "parked_keys": 0, "dead": 0, "crashes": 0, "suspect": None, "stopped": None, "states": 0, "emitted": 0}
    return PartitionStatus(**{"partition": partition, **plain, **none, **values})


def seen(*statuses: PartitionStatus) -> dict[Place, PartitionStatus]:
    return {("bill", each.partition): each for each in statuses}


def since(marks: Marks, now: float, *statuses: PartitionStatus) -> dict[int, float]:
    return {each.partition: now - each.seconds for each in marks.see(now, seen(*statuses))}


def test_a_partition_stands_still_from_the_first_look_that_saw_it_so() -> None:
    marks = Marks()
    assert since(marks, 10.0, status(), status(1, cursor="1-0")) == {0: 10.0, 1: 10.0}
    assert since(marks, 12.0, status(), status(1, cursor="2-0")) == {0: 10.0, 1: 12.0}
    assert since(marks, 14.0, status(lag=9), status(1, cursor="2-0", parked=1)) == {0: 10.0, 1: 14.0}


def test_one_with_nothing_to_do_or_paused_on_purpose_does_not() -> None:
    marks = Marks()
    paused = Paused(reason="", by="", since=0.0)
    assert since(marks, 10.0, status(lag=0), status(1, paused=paused)) == {}
    assert since(marks, 12.0, status(), status(1)) == {0: 12.0, 1: 12.0}, "time counts from when it should run"


def test_after_a_time_without_looks_it_begins_anew() -> None:
    marks = Marks()
    marks.see(10.0, seen(status()))
    marks.forget()
    assert since(marks, 90.0, status()) == {0: 90.0}


def test_it_says_what_is_known_of_why() -> None:
    first, second, third = Marks().see(1.0, seen(status(), status(1, stopped="E: no", owner=None), status(2, owner=None)))
    assert (first.why, second.why, third.why) == ("", "it is quarantined: E: no", "no worker has it")


def test_a_standing_is_the_sum_of_its_partitions_and_the_oldest_of_their_ages() -> None:
    found = standing("bill", [status(parked=2, dead=1), status(1, oldest_age=9.5), status(2, lag=0, oldest_age=None)])
    assert (found.lag, found.oldest_age, found.parked, found.dead) == (14, 9.5, 2, 1)
    assert standing("bill", []).oldest_age == 0.0


# ── the event loop's beat ──


def test_a_beat_that_is_late_is_remembered_for_a_while() -> None:
    beat = LoopBeat(0.0)
    assert beat.lag(0.0) == 0.0
    now = 0.0
    for late in (0.0, 0.5, 0.2, 0.0):
        now += BEAT + late
        beat.turned(now)
    assert beat.lag(now) == pytest.approx(0.5)
    while now < WINDOW:
        now += BEAT
        beat.turned(now)
    assert 0.19 < beat.lag(now + 0.01) < 0.51
    for _ in range(20):
        now += BEAT
        beat.turned(now)
    assert beat.lag(now) == pytest.approx(0.0, abs=1e-6)
    assert len(beat._worst) < 2 * WINDOW / BEAT


def test_a_loop_that_is_blocked_now_is_late_already() -> None:
    beat = LoopBeat(0.0)
    beat.turned(BEAT)
    assert beat.age(8.0) == pytest.approx(8.0 - BEAT)
    assert beat.lag(8.0) == pytest.approx(8.0 - 2 * BEAT)
