"""The checks find what is wrong in a record, and nothing in one where all went well, takeover and zombie included."""

from collections.abc import Callable
from typing import Any

import pytest
from attrs import evolve

from tests.chaos.checks import violations
from tests.chaos.record import Entry, Era, Life, Record, Sample, Sent
from tests.integration.faults.ledger import Line, Order

Change = Callable[[Record], Record]


def line(worker: str, term: str, number: int, at: float, what: str = "begun") -> Line:
    return Line(worker, 0, Order(1, number), what, term, at)


def sample(at: float, pid: int, epoch: int, number: int, cursor: int, nonce: str = "") -> Sample:
    return Sample(
        at=at,
        era=0,
        partition=0,
        owner=f"host-{pid}-x",
        epoch=epoch,
        nonce=nonce or f"n{epoch}",
        history="h0",
        number=number,
        cursor=f"{cursor}-0",
    )


def life(name: str, pid: int, **changes: Any) -> Life:
    found = Life(name=name, pid=pid, flawed=False, doomed=False, ready=0.0)
    return evolve(found, **changes)


WELL = Record(
    lease=1.0,
    prefetch=4,
    sent={Order(1, n): Sent(f"sales/0/{n + 1}-0", 0) for n in range(4)},
    lines=[
        line("a", "1/n1", 0, 1.0),
        line("a", "1/n1", 0, 1.0, "finished"),
        line("a", "1/n1", 1, 1.1),  # and is stopped
        line("b", "2/n2", 1, 3.0),  # b takes over
        line("b", "2/n2", 1, 3.0, "finished"),
        line("b", "2/n2", 2, 3.1),
        line("a", "1/n1", 2, 3.2),  # a goes on with what it has in hand
        line("b", "2/n2", 2, 3.3, "finished"),
        line("b", "2/n2", 3, 3.4),
        line("b", "2/n2", 3, 3.5, "finished"),
    ],
    eras=[Era(number=0, began=0.0, logs={0: [Entry(Order(1, n), f"{n + 1}-0") for n in range(4)]})],
    samples=[sample(0.9, 1, 1, 0, 0), sample(1.05, 1, 1, 1, 1), sample(2.9, 2, 2, 0, 1), sample(3.6, 2, 2, 2, 4)],
    lives=[life("a", 1, stopped=[(1.2, 3.15)]), life("b", 2)],
    unrest=[],
    over=5.0,
)


def without_line(at: float, what: str) -> Change:
    return lambda record: evolve(record, lines=[x for x in record.lines if (x.at, x.what) != (at, what)])


def with_line(more: Line) -> Change:
    return lambda record: evolve(record, lines=[*record.lines, more])


def with_sample(more: Sample) -> Change:
    return lambda record: evolve(record, samples=[*record.samples, more])


def with_entries(*numbers: int) -> Change:
    entries = [Entry(Order(1, number), f"{place + 1}-0") for place, number in enumerate(numbers)]
    return lambda record: evolve(record, eras=[evolve(record.eras[0], logs={0: entries})])


def with_lives(*lives: Life) -> Change:
    return lambda record: evolve(record, lives=lives)


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (without_line(3.5, "finished"), "lost: Order(key=1, number=3) at sales/0/4-0 was never finished"),
        (with_entries(0, 1, 2), "lost: Order(key=1, number=3) was sent to sales/0/4-0 and is at []"),
        (with_entries(0, 1, 2, 3, 3), "is in the log more than once"),
        (without_line(3.4, "begun"), ""),
        (without_line(1.0, "begun"), "with 1 before it not begun"),
        (with_line(line("b", "2/n2", 1, 4.0)), "went from place 3 to place 1"),
        (with_line(line("b", "2/n2", 9, 4.0)), "which is not in the log"),
        (with_line(line("c", "3/n3", 0, 4.0)), "repeated_too_much: partition 0, era 0: c (term 3/n3) began with"),
        (with_sample(sample(4.0, 2, 2, 3, 3)), "the cursor went back"),
        (with_sample(sample(4.0, 1, 1, 9, 4)), "the epoch went back"),
        (with_sample(sample(4.0, 1, 2, 2, 4, "other")), "two owners in one epoch"),
        (with_sample(sample(4.0, 2, 2, 1, 4)), "the commits' number went back"),
        (with_sample(sample(4.0, 2, 2, 2, 5)), "the cursor moved without a commit"),
        (with_lives(life("a", 1, ended=1.2, exit_code=-9, doomed=True), life("b", 2)), ""),
        (with_lives(life("a", 1), life("b", 2, ended=4.0, exit_code=1)), "b, not told to, ended with 1"),
        (with_lives(life("a", 1), life("b", 2, ended=4.0, exit_code=0, dismissed=True)), ""),
    ],
)
def test_a_check_finds_what_is_wrong_and_nothing_else(change: Change, found: str) -> None:
    violated = violations(change(WELL))
    assert any(found in text for text in violated) if found else violated == []


def test_a_partition_that_nobody_takes_over_is_found_unless_nobody_could() -> None:
    dead = with_lives(life("a", 1, ended=1.2, exit_code=-9, doomed=True), life("b", 2))
    orphaned = evolve(dead(WELL), samples=WELL.samples[:2], over=60.0)
    assert any("nobody for" in text for text in violations(orphaned))
    assert violations(evolve(orphaned, unrest=[(1.0, 60.0)])) == []
    assert violations(evolve(orphaned, lives=[orphaned.lives[0]])) == []


def test_events_that_a_failover_lost_are_not_missed_and_who_has_them_in_hand_is_not_judged() -> None:
    older = evolve(WELL.eras[0], ended=4.0)
    newer = Era(number=1, began=4.0, cursors={0: "2-0"}, older={"n1", "n2"}, logs={0: older.logs[0][:2]})
    failed_over = evolve(
        WELL,
        eras=[older, newer],
        lines=[*WELL.lines, line("b", "2/n2", 7, 4.1)],
    )
    assert violations(failed_over) == []
    assert violations(evolve(failed_over, sent={Order(1, 3): Sent("sales/0/4-0", 1)})) != []

    again = evolve(sample(4.05, 2, 2, 0, 2), era=1, history="h1")  # the same nonce, and acquired anew
    judged = violations(with_sample(again)(failed_over))
    assert any("which is not in the log" in text for text in judged)
