"""The partitions of all processors: who owns them, how far they are, and how fast they get along."""

from collections.abc import Iterable
from functools import partial

from rich.text import Text

from runnel.operations.status import PartitionStatus, ProcessorStatus
from runnel.telemetry.report import PartitionReport
from runnel.view import words
from runnel.view.model import Model
from runnel.view.pages.page import Page, Row, Target, left, right


def rows(model: Model) -> Iterable[Row]:
    """A line each."""
    return (_row(*each) for each in model.partitions())


def standing(processor: ProcessorStatus, partition: PartitionStatus, report: PartitionReport | None) -> str:
    """What a partition is at."""
    if partition.stopped is not None:
        return "quarantined"
    if partition.paused is not None:
        return "paused" if partition.owner is None else "draining"
    if partition.owner is None:
        return "unowned"
    return "running" if report is None else report.state


def _row(processor: ProcessorStatus, partition: PartitionStatus, report: PartitionReport | None) -> Row:
    state = standing(processor, partition, report)
    rate = 0.0 if report is None else report.rate
    return Row(
        id=f"{processor.processor}/{partition.partition}",
        make=partial(_whole, processor, partition, report, state),
        order=(
            (processor.processor, partition.partition),
            state,
            partition.lag,
            partition.oldest_age or 0.0,
            rate,
            _drained(partition, rate) or 0.0,
            0.0 if report is None else report.p99 or 0.0,
            partition.parked,
            partition.dead,
            partition.owner or "-",
            partition.epoch,
            partition.lease_left,
            partition.cursor or "",
            _error(partition, report) or "",
        ),
        target=Target(processor=processor.processor, partition=partition.partition, worker=partition.owner),
    )


def _drained(partition: PartitionStatus, rate: float) -> float | None:
    return partition.lag / rate if rate and partition.lag else None


def _error(partition: PartitionStatus, report: PartitionReport | None) -> str | None:
    return partition.stopped or (None if report is None else report.error)


def _whole(processor: ProcessorStatus, partition: PartitionStatus, report: PartitionReport | None, state: str) -> Row:
    rate = 0.0 if report is None else report.rate
    drained, error = _drained(partition, rate), _error(partition, report)
    owner = partition.owner or "-"
    p99 = None if report is None else report.p99
    name = f"{processor.processor}/{partition.partition}"
    return Row(
        id=name,
        cells=(
            Text(name),
            words.state(state),
            words.lag(partition.lag),
            words.waited(partition.oldest_age),
            words.rate(rate),
            words.age(drained),
            words.quantile(p99),
            words.bad(partition.parked),
            words.bad(partition.dead),
            Text(owner, style="" if partition.owner else "red"),
            words.number(partition.epoch),
            Text(f"{partition.lease_left:.1f} s" if partition.owner else "-", style="dim"),
            Text(partition.cursor or "-", style="dim"),
            words.error(error),
        ),
        detail=(
            ("processor", processor.processor),
            ("stream", processor.stream),
            ("partition", str(partition.partition)),
            ("state", state),
            ("owner", owner),
            ("epoch", str(partition.epoch)),
            ("lease left", f"{partition.lease_left:.1f} s"),
            ("cursor", partition.cursor or "it never ran"),
            ("lag", f"{partition.lag:,} of {partition.length:,} events in the log, {partition.added:,} ever sent"),
            ("oldest", words.waited(partition.oldest_age).plain),
            ("rate", f"{rate:,.1f}/s"),
            ("time to drain", words.age(drained).plain),
            ("p50, p99", f"{words.quantile(None if report is None else report.p50).plain}, {words.quantile(p99).plain}"),
            ("in hand", "-" if report is None else report.at or "-"),
            ("parked", f"{partition.parked:,} events of {partition.parked_keys:,} keys"),
            ("dead letters", f"{partition.dead:,}"),
            ("workers lost at its next event", str(partition.crashes)),
            ("runs alone", partition.suspect or "-"),
            ("quarantined", partition.stopped or "no"),
            ("paused", _paused(partition)),
            ("last error", error or "-"),
        ),
    )


def _paused(partition: PartitionStatus) -> str:
    paused = partition.paused
    if paused is None:
        return "no"
    return f"since {words.clock(paused.since)} by {paused.by}" + (f": {paused.reason}" if paused.reason else "")


PARTITIONS = Page(
    name="partitions",
    columns=[
        *left("partition", "state"),
        *right("lag", "oldest", "rate/s", "drains in", "p99", "parked", "dead"),
        *left("owner"),
        *right("epoch", "lease"),
        *left("cursor", ""),
    ],
    rows=rows,
    sort=2,
    falling=True,
    empty="the app has no processors",
    about="partitions of each processor: lag (events not done), the age of the oldest, when they will be caught up",
)
