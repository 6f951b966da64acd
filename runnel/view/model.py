"""What the view knows of an app: the last overview, and what changes from one to the next. No clock, no rich."""

from collections import deque
from collections.abc import Iterator

from attrs import define, evolve, field

from runnel.operations.overview import Overview
from runnel.operations.status import PartitionStatus, ProcessorStatus, WorkerStatus
from runnel.telemetry.report import PartitionReport, Report

WINDOW = 5.0
"""Seconds over which rates are taken."""

CURVE = 24
"""Points of the curve of the rate."""


@define(eq=False)
class Model:
    """Of one app.

    Attributes:
        overview: The last one; None: there is none yet.
        problem: Why there is no newer one.
        incoming: Events sent a second.
        done: Events done a second.
        curve: How `done` went.
    """

    overview: Overview | None = None
    problem: str | None = None
    incoming: float = 0.0
    done: float = 0.0
    curve: deque[float] = field(factory=lambda: deque(maxlen=CURVE))
    _history: deque[tuple[float, int, int]] = field(factory=deque)

    def update(self, overview: Overview, now: float) -> None:
        """Take in what was read at `now` (seconds, monotonic)."""
        self.overview, self.problem = overview, None
        added, done = _added(overview), _done(overview)
        self._history.append((now, added, done))
        while len(self._history) > 2 and now - self._history[0][0] > WINDOW:
            self._history.popleft()
        then, added_then, done_then = self._history[0]
        if now > then:
            self.incoming = max(0.0, (added - added_then) / (now - then))
            self.done = max(0.0, (done - done_then) / (now - then))
        self.curve.append(self.done)

    def report_freshly(self, report: Report) -> None:
        """A worker of this very process says this now."""
        if self.overview is not None:
            self.overview = evolve(
                self.overview,
                reports={**self.overview.reports, report.worker: report},
                ages={**self.overview.ages, report.worker: 0.0},
            )

    # ── what pages ask for ──

    @property
    def processors(self) -> tuple[ProcessorStatus, ...]:
        """As they stand."""
        return () if self.overview is None else self.overview.status.processors

    @property
    def workers(self) -> tuple[WorkerStatus, ...]:
        """Those that are there."""
        return () if self.overview is None else self.overview.status.workers

    def report(self, worker: str) -> Report | None:
        """What a worker said last."""
        return None if self.overview is None else self.overview.reports.get(worker)

    @property
    def reports(self) -> Iterator[Report]:
        """What workers said, by name."""
        return (report for worker in self.workers if (report := self.report(worker.worker)) is not None)

    def partitions(self) -> Iterator[tuple[ProcessorStatus, PartitionStatus, PartitionReport | None]]:
        """All of them, with what their owners say."""
        said = {
            (report.worker, each.processor, each.partition): each
            for report in self.reports
            for each in report.partitions
        }
        for processor in self.processors:
            for each in processor.partitions:
                yield processor, each, said.get((each.owner or "", processor.processor, each.partition))


def _added(overview: Overview) -> int:
    """Events ever sent, of each stream once."""
    streams = {each.stream: each.partitions for each in overview.status.processors}
    return sum(partition.added for partitions in streams.values() for partition in partitions)


def _done(overview: Overview) -> int:
    """Entries behind the cursors of all processors: it grows as events are done, whoever does them."""
    return sum(each.added - each.lag for processor in overview.status.processors for each in processor.partitions)
