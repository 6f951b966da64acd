"""Keys, timers, failures, workers, events: a line each."""

from collections.abc import Iterable

from rich.text import Text

from runnel.operations.status import WorkerStatus
from runnel.telemetry.report import FailureReport, JobReport, KeyReport, Report
from runnel.view import words
from runnel.view.model import Model
from runnel.view.pages.page import Page, Row, Target, left, right

# ── keys ──


def keys(model: Model) -> Iterable[Row]:
    """Those with most events in hand, and those that are parked."""
    found = {(key.processor, key.partition, key.key): (worker, key) for worker, key in _said(model)}
    for parked in () if model.overview is None else model.overview.parked:
        place = (parked.processor, parked.partition, parked.key)
        worker, known = found.get(place, ("", None))
        failures = 0 if known is None else known.failures
        found[place] = worker, KeyReport(
            processor=parked.processor,
            partition=parked.partition,
            key=parked.key,
            state="parked",
            waiting=parked.events,
            failures=failures,
        )
    return (_key(worker, key) for worker, key in found.values())


def _said(model: Model) -> Iterable[tuple[str, KeyReport]]:
    return ((report.worker, key) for report in model.reports for key in report.keys)


def _key(worker: str, key: KeyReport) -> Row:
    place = f"{key.processor}/{key.partition}"
    return Row(
        id=f"{place}/{key.key}",
        cells=(
            Text(key.key),
            words.state(key.state),
            words.number(key.waiting),
            words.bad(key.failures),
            Text(place),
            Text(worker, style="dim"),
        ),
        order=(key.key, key.state, key.waiting, key.failures, (key.processor, key.partition), worker),
        target=Target(processor=key.processor, partition=key.partition, worker=worker, key=key.key),
        detail=(
            ("key", key.key),
            ("state", key.state),
            ("parked events" if key.state == "parked" else "events in hand", str(key.waiting)),
            ("failures of the event under way", str(key.failures)),
            ("partition", place),
            ("worker", worker),
        ),
    )


KEYS = Page(
    name="keys",
    columns=[*left("key", "state"), *right("waiting", "failures"), *left("partition", "worker")],
    rows=keys,
    sort=2,
    falling=True,
    empty="no key has events in hand, and none is parked",
    about="the hottest keys of handler actors, and keys that are parked",
)


# ── timers ──


def timers(model: Model) -> Iterable[Row]:
    """Each worker's tasks, timers and crontabs; what runs once in the app where it runs, or will."""
    for report in model.reports:
        for each in report.jobs:
            yield _job(report.worker, each)


def _job(worker: str, job: JobReport) -> Row:
    return Row(
        id=f"{worker}/{job.job}",
        cells=(
            Text(job.job),
            words.state("running" if job.running else "idle"),
            Text("-" if job.next is None else words.clock(job.next)),
            Text("-" if job.last is None else words.clock(job.last)),
            words.number(job.runs),
            Text(job.schedule),
            Text("the leader" if job.on_leader else "each worker"),
            Text(worker, style="dim"),
            words.error(job.error),
        ),
        order=(
            job.job,
            job.running,
            job.next or 0.0,
            job.last or 0.0,
            job.runs,
            job.schedule,
            job.on_leader,
            worker,
            job.error or "",
        ),
        target=Target(worker=worker),
        detail=(
            ("job", job.job),
            ("schedule", job.schedule),
            ("runs on", "the leader" if job.on_leader else "each worker"),
            ("next due", "-" if job.next is None else words.clock(job.next)),
            ("last run", "-" if job.last is None else words.clock(job.last)),
            ("runs", f"{job.runs:,}, {job.running} of them not ended"),
            ("last error", job.error or "-"),
            ("worker", worker),
        ),
    )


TIMERS = Page(
    name="timers",
    columns=[*left("job", "state"), *right("next", "last", "runs"), *left("schedule", "runs on", "worker", "")],
    rows=timers,
    sort=0,
    empty="the app has no tasks, timers or crontabs",
    about="what runs by the clock: when it is due next, when it ran last, what it failed with",
)


# ── failures ──


def failures(model: Model) -> Iterable[Row]:
    """Events that failed last, the newest first."""
    found = [(report.worker, each) for report in model.reports for each in report.failures]
    for worker, each in sorted(found, key=lambda pair: -pair[1].at):
        yield _failure(worker, each)


def _failure(worker: str, failure: FailureReport) -> Row:
    return Row(
        id=f"{failure.processor}/{failure.event}",
        cells=(
            Text(words.clock(failure.at), style="dim"),
            Text(failure.fate, style="yellow" if failure.fate == "tried again" else "red"),
            Text(failure.processor),
            Text(failure.key),
            words.error(failure.error),
            Text(failure.event, style="dim"),
        ),
        order=(failure.at, failure.fate, failure.processor, failure.key, failure.error, failure.event),
        target=Target(processor=failure.processor, partition=failure.partition, worker=worker, key=failure.key),
        detail=(
            ("event", failure.event),
            ("key", failure.key),
            ("processor", failure.processor),
            ("worker", worker),
            ("at", words.clock(failure.at)),
            ("attempt", str(failure.attempt)),
            ("what became of it", failure.fate),
            ("error", failure.error),
            *[("", line) for line in failure.traceback.splitlines()],
        ),
    )


FAILURES = Page(
    name="failures",
    columns=left("at", "fate", "processor", "key", "error", "event"),
    rows=failures,
    sort=0,
    falling=True,
    empty="nothing has failed since the workers began",
    about="events that failed last, why, and what became of them; Enter shows the traceback",
)


# ── workers ──


def worker_detail(worker: WorkerStatus, report: Report | None) -> tuple[tuple[str, str], ...]:
    """What Enter shows of a worker."""
    counters = {} if report is None else report.counters
    return (
        ("worker", worker.worker),
        ("host, process", f"{worker.host}, {worker.pid}"),
        ("version", "-" if report is None else report.version),
        ("leads", "yes" if worker.leads else "no"),
        ("membership ends in", f"{worker.left:.1f} s, unless it beats"),
        ("processors", ", ".join(worker.processors) or "none: it is about to stop"),
        ("event loop late by", words.took(0.0 if report is None else report.loop_lag).plain),
        *((name, f"{count:,}") for name, count in counters.items()),
    )


def workers(model: Model) -> Iterable[Row]:
    """A line each."""
    for worker in model.workers:
        report = model.report(worker.worker)
        owned = sum(
            each.owner == worker.worker for processor in model.processors for each in processor.partitions
        )
        lag = 0.0 if report is None else report.loop_lag
        rate = 0.0 if report is None else sum(each.rate for each in report.processors)
        restarts = 0 if report is None else sum(each.restarts for each in report.processors)
        heard = None if model.overview is None else model.overview.ages.get(worker.worker)
        state = "no report" if report is None else report.state
        name = Text(worker.worker)
        if worker.leads:
            name.append(" leads", style="cyan")
        yield Row(
            id=worker.worker,
            cells=(
                name,
                words.state(state),
                words.number(owned),
                words.rate(rate),
                Text(words.took(lag).plain, style="red" if lag >= 0.25 else ""),
                Text("-" if report is None else words.size(report.memory)),
                words.bad(restarts),
                words.age(None if report is None else report.uptime),
                words.age(heard),
                Text(f"{worker.host}/{worker.pid}", style="dim"),
                Text(", ".join(worker.processors)),
            ),
            order=(
                worker.worker,
                state,
                owned,
                rate,
                lag,
                0 if report is None else report.memory,
                restarts,
                0.0 if report is None else report.uptime,
                heard or 0.0,
                worker.pid,
                worker.processors,
            ),
            target=Target(worker=worker.worker),
            detail=worker_detail(worker, report),
        )


WORKERS = Page(
    name="workers",
    columns=[
        *left("worker", "state"),
        *right("partitions", "rate/s", "loop lag", "memory", "restarts", "up", "heard"),
        *left("host/pid", "processors"),
    ],
    rows=workers,
    sort=0,
    empty="no worker runs: start one with `runnel run`",
    about="processes: what they own, how late their event loops are, their memory, when they were heard of last",
)


# ── events ──


def events(model: Model) -> Iterable[Row]:
    """What happened on workers, the newest first."""
    found = [(report.worker, at, each) for report in model.reports for at, each in enumerate(report.happenings)]
    for worker, at, each in sorted(found, key=lambda found: -found[2].at):
        bad = each.kind in ("lost", "failure", "quarantine", "breaker")
        yield Row(
            id=f"{worker}/{each.at}/{at}",
            cells=(
                Text(words.clock(each.at), style="dim"),
                Text(each.kind, style="red" if bad else "cyan"),
                Text(" ".join(each.text.split())),
                Text(worker, style="dim"),
            ),
            order=(each.at, each.kind, each.text, worker),
            target=Target(worker=worker),
            detail=(("at", words.clock(each.at)), ("what", each.kind), ("worker", worker), ("", each.text)),
        )


EVENTS = Page(
    name="events",
    columns=left("at", "what", "", "worker"),
    rows=events,
    sort=0,
    falling=True,
    empty="nothing has happened yet",
    about="rebalances, takeovers, lost partitions, restarts, circuit breakers, leaders",
)
