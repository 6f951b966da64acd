"""From pictures of a worker's tree of actors to its reports: rates and recent durations, and which actors get a line.

A collector is shown a picture now and then, and compares it with earlier ones. It costs nothing for an event: only as many
steps as there are actors, each time. No clock, no Redis.
"""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from attrs import define, field

from runnel.actors import ActorSnapshot
from runnel.handling.durations import coarse, quantile
from runnel.telemetry.diary import Diary
from runnel.telemetry.mailboxes import mailboxes
from runnel.telemetry.memory import resident
from runnel.telemetry.report import ActorReport, JobReport, KeyReport, PartitionReport, ProcessorReport, Report
from runnel.telemetry.totals import Totals
from runnel.timing.jobs import Job, Progress
from runnel.version import __version__

WINDOW = 5.0
"""Seconds over which rates and durations are taken."""

MOST_ACTORS, MOST_BROTHERS, MOST_PARTITIONS, MOST_KEYS = 300, 64, 512, 50
"""Of how many a report tells, at most: the busiest."""

PARTITIONS = ("Partition", "KeyedPartition")
SUPERVISOR = "ProcessorSupervisor"
"""Kinds of actors that stand for something of the user's."""

Counts = Sequence[int]


@define
class _Seen:
    """An actor, over the last while: when, how much it had done, and how long its events had taken."""

    history: deque[tuple[float, int, Counts]] = field(factory=deque)
    at: str | None = None
    since: float = 0.0

    def see(self, now: float, done: int, counts: Counts, at: str | None) -> None:
        self.history.append((now, done, counts))
        while len(self.history) > 2 and now - self.history[0][0] > WINDOW:
            self.history.popleft()
        if at != self.at:
            self.at, self.since = at, now

    @property
    def rate(self) -> float:
        then, before, _ = self.history[0]
        now, done, _ = self.history[-1]
        return max(0.0, (done - before) / (now - then)) if now > then else 0.0

    @property
    def recent(self) -> list[int]:
        before, counts = self.history[0][2], self.history[-1][2]
        if len(self.history) < 2 or not before:
            return list(counts)
        if before == counts:
            return []
        return [late - early for late, early in zip(counts, before, strict=True)]


@define(eq=False)
class Collector:
    """Of one worker.

    Args:
        worker: Its id.
        began: When it began, by the monotonic clock.
        diary: Its diary.
        jobs: What it runs by the clock.
        progress: What these are at, by name.
    """

    worker: str
    began: float
    diary: Diary
    jobs: Mapping[str, Job] = field(factory=dict)
    progress: Mapping[str, Progress] = field(factory=dict)
    _seen: dict[str, _Seen] = field(factory=dict)
    _totals: Totals = field(factory=Totals)

    def report(self, tree: ActorSnapshot, now: float, *, lag: float = 0.0, draining: bool = False) -> Report:
        """What to say at `now` (by the monotonic clock), when the event loop was late by `lag` seconds."""
        self._see(tree, now)
        supervisors = [actor for actor in tree.children if actor.kind == SUPERVISOR]
        groups = {_processor_of(actor): list(_all(actor)) for actor in supervisors}
        groups[""] = [each for top in tree.children if top.kind != SUPERVISOR for each in _all(top)]
        for name, actors in groups.items():
            self._totals.see(name, actors)
        self._totals.seen_all()
        rows: list[ActorReport] = []
        for actor in tree.children:
            self._rows(actor, 0, now, rows)
        return Report(
            worker=self.worker,
            version=__version__,
            uptime=round(now - self.began, 1),
            state="draining" if draining else "running",
            memory=resident(),
            loop_lag=round(lag, 4),
            dead_letters=_number(tree, "dead_letters"),
            leads=any(each.details.get("leads") is True for each in groups[""]),
            restarts=self._totals.of("", "restarts"),
            counters=dict(self.diary.counters),
            processors=tuple(self._processor(actor, groups[_processor_of(actor)]) for actor in supervisors),
            partitions=tuple(self._partitions(supervisors, now)),
            mailboxes=tuple(box for name, actors in groups.items() for box in mailboxes(name, actors)),
            keys=tuple(_keys(supervisors)),
            jobs=tuple(self._jobs()),
            failures=self.diary.failures,
            happenings=self.diary.happenings,
            actors=tuple(rows[:MOST_ACTORS]),
            hidden=max(0, _count(tree) - 1 - min(len(rows), MOST_ACTORS)),
        )

    def _see(self, tree: ActorSnapshot, now: float) -> None:
        paths: set[str] = set()
        for actor in _all(tree):
            counts = actor.details.get("~counts", ())
            at = actor.details.get("~at")
            seen = self._seen.setdefault(actor.path, _Seen())
            seen.see(now, _done(actor), counts, at if isinstance(at, str) else None)  # type: ignore[arg-type]
            paths.add(actor.path)
        for gone in self._seen.keys() - paths:
            del self._seen[gone]

    # ── the parts ──

    def _processor(self, actor: ActorSnapshot, below: Sequence[ActorSnapshot]) -> ProcessorReport:
        partitions = [each for each in below if each.kind in PARTITIONS]
        name, total = _processor_of(actor), self._totals.of
        return ProcessorReport(
            processor=name,
            stream=str(actor.details.get("stream", "")),
            kind="actors" if any(each.kind == "Relay" for each in below) else "processor",
            done=total(name, "done"),
            rate=round(self._seen[actor.path].rate, 1),
            commits=total(name, "commits"),
            retries=total(name, "retries"),
            restarts=total(name, "restarts"),
            active=sum(_number(each, "active") for each in partitions),
            passivated=total(name, "passivated"),
            owned=len(partitions),
            read=total(name, "read"),
            emitted=total(name, "emitted"),
            failed=self.diary.failures_of[name],
            mailbox=max((each.mailbox_depth for each in partitions), default=0),
            breaker=str(actor.details.get("breaker", "closed")),
            counts=coarse(actor.details.get("~counts", ())),  # type: ignore[arg-type]
            seconds=round(float(actor.details.get("~seconds", 0.0)), 6),  # type: ignore[arg-type]
        )

    def _partitions(self, supervisors: Iterable[ActorSnapshot], now: float) -> list[PartitionReport]:
        found = [
            self._partition(_processor_of(supervisor), each, now)
            for supervisor in supervisors
            for each in supervisor.children
            if each.kind in PARTITIONS
        ]
        if len(found) > MOST_PARTITIONS:
            found = sorted(found, key=lambda each: (each.error is None, each.state == "idle", -each.rate))[:MOST_PARTITIONS]
        return found

    def _partition(self, processor: str, actor: ActorSnapshot, now: float) -> PartitionReport:
        number, _, epoch = actor.name.partition(".")
        seen = self._seen[actor.path]
        recent = seen.recent
        return PartitionReport(
            processor=processor,
            partition=int(number),
            epoch=int(epoch),
            state=standing(actor),
            done=_done(actor),
            rate=round(seen.rate, 1),
            p50=_rounded(quantile(recent, 0.5)),
            p99=_rounded(quantile(recent, 0.99)),
            buffered=_number(actor, "buffered"),
            at=seen.at,
            age=None if seen.at is None else round(now - seen.since, 1),
            retries=_number(actor, "retries"),
            restarts=actor.restarts,
            error=actor.last_error,
        )

    def _rows(self, actor: ActorSnapshot, depth: int, now: float, rows: list[ActorReport]) -> None:
        rows.append(self._row(actor, depth, now))
        shown = {id(child) for child in busiest(actor.children, MOST_BROTHERS)}
        for child in actor.children:
            if id(child) in shown:
                self._rows(child, depth + 1, now, rows)

    def _row(self, actor: ActorSnapshot, depth: int, now: float) -> ActorReport:
        seen = self._seen[actor.path]
        recent = seen.recent
        return ActorReport(
            depth=depth,
            name=actor.name,
            kind=actor.kind,
            state=standing(actor),
            path=actor.path,
            mailbox=actor.mailbox_depth,
            capacity=actor.mailbox_capacity,
            processed=_done(actor),
            rate=round(seen.rate, 1),
            p50=_rounded(quantile(recent, 0.5)),
            p99=_rounded(quantile(recent, 0.99)),
            at=seen.at,
            age=_rounded(actor.message_age if seen.at is None else now - seen.since),
            restarts=actor.restarts,
            error=actor.last_error,
            details=details(actor.details),
        )

    def _jobs(self) -> list[JobReport]:
        return [
            JobReport(
                job=name,
                schedule="task" if job.schedule is None else str(job.schedule),
                on_leader=job.on_leader,
                next=_moment(known.next),
                last=_moment(known.last_run),
                runs=known.runs,
                running=known.running,
                error=known.last_error,
            )
            for name, job in self.jobs.items()
            if (known := self.progress.get(name)) is not None
        ]


def _keys(supervisors: Iterable[ActorSnapshot]) -> list[KeyReport]:
    """The keys with most events in hand."""
    found = [
        KeyReport(
            processor=_processor_of(supervisor),
            partition=int(partition.name.partition(".")[0]),
            key=key.name,
            state=standing(key),
            waiting=key.mailbox_depth,
            failures=key.restarts,
        )
        for supervisor in supervisors
        for partition in supervisor.children
        if partition.kind in PARTITIONS
        for key in partition.children
        if key.is_resident
    ]
    return sorted(found, key=lambda each: -each.waiting)[:MOST_KEYS]


# ── of one actor ──


def standing(actor: ActorSnapshot) -> str:
    """What it is at: as it says itself, else as the kernel does."""
    said = actor.details.get("~state")
    return said if isinstance(said, str) and said and actor.state in ("idle", "running") else str(actor.state)


def details(said: Mapping[str, object]) -> str:
    """What it says of itself, in a line."""
    return "  ".join(f"{name} {_shown(value)}" for name, value in said.items() if not name.startswith("~"))


def busiest(actors: Sequence[ActorSnapshot], most: int) -> Sequence[ActorSnapshot]:
    """Those that are worth a line: which failed, are not idle, have most to do."""
    if len(actors) <= most:
        return actors
    return sorted(actors, key=lambda each: (each.last_error is None, standing(each) == "idle", -each.mailbox_depth))[:most]


def _done(actor: ActorSnapshot) -> int:
    """Events done where it knows of events, else messages handled."""
    done = actor.details.get("~done", actor.details.get("done"))
    return done if isinstance(done, int) else actor.processed


def _processor_of(supervisor: ActorSnapshot) -> str:
    return str(supervisor.details.get("~processor", supervisor.name))


def _number(actor: ActorSnapshot, name: str) -> int:
    found = actor.details.get(name, 0)
    return found if isinstance(found, int) else 0


def _all(tree: ActorSnapshot) -> Iterable[ActorSnapshot]:
    yield tree
    for child in tree.children:
        yield from _all(child)


def _count(tree: ActorSnapshot) -> int:
    return 1 + sum(map(_count, tree.children))


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 6)


def _moment(milliseconds: int | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else str(value)
