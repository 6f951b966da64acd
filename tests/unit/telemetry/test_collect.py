"""What a worker reports, from pictures of its tree."""

from typing import Any

import pytest

from runnel.actors import ActorSnapshot, State
from runnel.clock import ManualClock
from runnel.errors import RunnelError
from runnel.handling.durations import Durations, coarse
from runnel.telemetry.collect import MOST_ACTORS, MOST_BROTHERS, Collector
from runnel.telemetry.diary import LONGEST, MOST_FAILURES, MOST_HAPPENINGS, Diary
from runnel.telemetry.report import Report


def actor(path: str, kind: str = "Actor", *children: ActorSnapshot, **values: Any) -> ActorSnapshot:
    values = {"state": State.IDLE, "mailbox_capacity": 10, **values}
    return ActorSnapshot(path=path, name=path.rpartition("/")[2], kind=kind, children=children, **values)


def counts(*took: float) -> tuple[int, ...]:
    durations = Durations()
    for seconds in took:
        durations.add(seconds)
    return tuple(durations.counts)


def tree(done: int = 0, took: tuple[int, ...] = (), **values: str) -> ActorSnapshot:
    said = {f"~{name}": value for name, value in values.items()}
    details = {"done": done, "buffered": 3, "retries": 2, "~counts": took, **said}
    partition = actor("worker/bill/3.7", "Partition", details=details, mailbox_depth=1, restarts=1, last_error="ValueError: no")
    committer = actor("worker/bill/committer", "Committer", details={"commits": 9})
    of_bill = {"stream": "orders", "~processor": "bill", "~done": done, "~counts": took, "~seconds": 0.5}
    bill = actor("worker/bill", "ProcessorSupervisor", committer, partition, details=of_bill)
    return actor("worker", "ActorSystem", actor("worker/coordinator"), bill, details={"dead_letters": 4})


@pytest.fixture
def collector() -> Collector:
    return Collector("w1", 100.0, Diary(ManualClock()))


def test_rates_are_what_was_done_from_picture_to_picture(collector: Collector) -> None:
    assert collector.report(tree(100), 110.0).processors[0].rate == 0.0
    report = collector.report(tree(300), 112.0)
    [processor], [partition] = report.processors, report.partitions
    assert (processor.processor, processor.stream, processor.done, processor.rate) == ("bill", "orders", 300, 100.0)
    assert (partition.processor, partition.partition, partition.epoch, partition.rate) == ("bill", 3, 7, 100.0)
    assert (processor.commits, processor.retries, processor.restarts, processor.mailbox) == (9, 2, 1, 1)
    assert (report.uptime, report.dead_letters, report.state) == (12.0, 4, "running")
    assert (partition.error, partition.buffered, partition.state) == ("ValueError: no", 3, "idle")


def test_rates_forget_what_is_long_ago(collector: Collector) -> None:
    for second in range(20):
        report = collector.report(tree(1_000), 100.0 + second)
    assert report.processors[0].rate == 0.0


def test_durations_are_those_of_the_last_while(collector: Collector) -> None:
    collector.report(tree(2, counts(9.0, 9.0)), 100.0)
    report = collector.report(tree(4, counts(9.0, 9.0, 0.002, 0.002)), 101.0)
    assert 0.001 <= (report.partitions[0].p99 or 0) <= 0.0025
    of_all_time = coarse(counts(9.0, 9.0, 0.002, 0.002))
    assert report.processors[0].counts == of_all_time, "monitoring takes differences itself"


def test_it_says_for_how_long_an_event_is_in_hand(collector: Collector) -> None:
    collector.report(tree(at="orders/3/1-0"), 100.0)
    [partition] = collector.report(tree(at="orders/3/1-0"), 107.0).partitions
    assert (partition.at, partition.age) == ("orders/3/1-0", 7.0)
    [partition] = collector.report(tree(at="orders/3/2-0"), 108.0).partitions
    assert (partition.at, partition.age) == ("orders/3/2-0", 0.0)


def test_a_partition_says_itself_what_it_is_at_unless_the_kernel_knows_worse(collector: Collector) -> None:
    assert collector.report(tree(state="draining"), 100.0).partitions[0].state == "draining"


def test_only_the_busiest_of_many_brothers_have_a_line(collector: Collector) -> None:
    brothers = [actor(f"worker/bill/{n}.1", "Partition", mailbox_depth=n % 7) for n in range(500)]
    bad = actor("worker/bill/999.1", "Partition", last_error="ValueError: no")
    bill = actor("worker/bill", "ProcessorSupervisor", *brothers, bad, details={"~processor": "bill"})
    report = collector.report(actor("worker", "ActorSystem", bill), 100.0)
    assert len(report.actors) == 1 + MOST_BROTHERS <= MOST_ACTORS
    assert report.hidden == 501 - MOST_BROTHERS
    assert "999.1" in [each.name for each in report.actors]
    assert len(report.to_json()) < 300_000


def test_actors_that_are_gone_are_forgotten(collector: Collector) -> None:
    collector.report(tree(), 100.0)
    collector.report(actor("worker", "ActorSystem"), 101.0)
    assert set(collector._seen) == {"worker"}


def test_a_report_survives_its_way_and_what_is_new_or_missing_in_it(collector: Collector) -> None:
    collector.diary.happened("lost", "bill: a partition")
    report = collector.report(tree(1), 100.0)
    assert Report.from_json(report.to_json()) == report
    assert Report.from_json(b'{"worker": "w2", "news": 1}') == Report(worker="w2")
    with pytest.raises(RunnelError, match="cannot be read"):
        Report.from_json(b'{"workers": 1}')


# ── the diary ──


def fail(diary: Diary, event: str, fate: str = "parked", attempt: int = 1) -> None:
    try:
        raise ValueError("x" * 5_000 + "\nline")
    except ValueError as error:
        diary.failed(processor="bill", partition=1, event=event, key="k", attempt=attempt, fate=fate, error=error)


def test_of_an_event_that_fails_again_the_last_time_is_kept_and_what_is_kept_is_bounded() -> None:
    diary = Diary(ManualClock())
    for attempt in (1, 2):
        fail(diary, "orders/1/1-0", "tried again", attempt)
    assert [each.attempt for each in diary.failures] == [2]
    for n in range(2 * MOST_FAILURES):
        fail(diary, f"orders/1/{n + 2}-0")
        diary.happened("lost", "y" * 1_000)
    assert len(diary.failures) == MOST_FAILURES
    assert diary.failures[0].event == f"orders/1/{2 * MOST_FAILURES + 1}-0", "the newest first"
    assert len(diary.failures[0].error) == LONGEST
    assert "test_collect.py" in diary.failures[0].traceback or len(diary.failures[0].traceback) == 2_000
    assert diary.counters["failed"] == 2 * MOST_FAILURES + 2
    assert len(diary.happenings) <= MOST_HAPPENINGS
