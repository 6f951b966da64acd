"""Jobs: declarations of what a worker runs beside its processors, at its start, by a timer or by a crontab. Plain data.

Also the decision what a job does now: `decide` gets its schedule, what it did last and the time, and answers `Run` or `Wait`.
"""

import inspect
from collections.abc import Callable
from datetime import UTC, datetime, tzinfo
from functools import partial
from typing import Any, Literal, get_args
from zoneinfo import ZoneInfo

from attrs import define, frozen
from xxhash import xxh64_intdigest

from runnel.clock import Duration, seconds
from runnel.errors import ConfigurationError
from runnel.timing.schedule import Cron, Every, Schedule

Misfire = Literal["skip", "once", "all"]
JobFunction = Callable[..., Any]

SHORTEST = 0.001
"""Seconds: due times are whole milliseconds."""


@frozen(kw_only=True, eq=False)
class Job:
    """A function that workers call by themselves. `App.task`, `App.timer` and `App.crontab` say what the options mean.

    Attributes:
        schedule: When it is due; None: it is a task, which runs from the start on.
        jitter: In milliseconds.
    """

    name: str
    function: JobFunction
    schedule: Every | Cron | None = None
    on_leader: bool = False
    misfire: Misfire = "skip"
    overlap: bool = False
    jitter: float = 0.0

    def __attrs_post_init__(self) -> None:
        if not self.name or "/" in self.name or self.name.startswith("~"):
            raise ConfigurationError(f"job {self.name!r}: a name is not empty, has no slash, and does not begin with ~")
        check_function(f"job {self.name!r}", self.function, due=self.schedule is not None)
        if self.misfire not in get_args(Misfire):
            raise ConfigurationError(f"job {self.name!r}: misfire must be skip, once or all, not {self.misfire!r}")
        if self.jitter < 0:
            raise ConfigurationError(f"job {self.name!r}: jitter must be at least 0")
        if isinstance(self.schedule, Every) and self.jitter >= self.schedule.interval:
            raise ConfigurationError(f"job {self.name!r}: jitter must be shorter than the interval")

    def call(self, due: int | None) -> Callable[[], Any]:
        """Its function, bound to the due time if it asks for it: in the zone of a crontab, a timer's in UTC."""
        if due is None or not required(self.function):
            return self.function
        zone = self.schedule.zone if isinstance(self.schedule, Cron) else UTC
        return partial(self.function, datetime.fromtimestamp(due / 1000, zone))

    def start(self, due: int, salt: str = "") -> int:
        """When the run of a due time begins: up to `jitter` later, always the same for a due time, name and salt."""
        luck = xxh64_intdigest(f"{salt}/{self.name}/{due}".encode()) / 2**64
        return due + int(luck * self.jitter)


def every(name: str, interval: Duration) -> Every:
    """The schedule of a timer.

    Raises:
        ConfigurationError: The interval is too short, or no duration.
    """
    try:
        length = seconds(interval)
    except (TypeError, ValueError):
        raise ConfigurationError(
            f"timer {name!r}: interval must be seconds or a timedelta, not {interval!r}"
        ) from None
    if not SHORTEST <= length < float("inf"):
        raise ConfigurationError(f"timer {name!r}: interval must be at least {SHORTEST:g} s, not {interval!r}")
    return Every(length * 1000)


def cron(name: str, spec: str, zone: str | tzinfo) -> Cron:
    """The schedule of a crontab.

    Raises:
        ConfigurationError: There is no such zone, or the spec is none.
    """
    try:
        found = _zone(zone)
    except (KeyError, ValueError, TypeError):
        raise ConfigurationError(
            f"crontab {name!r}: there is no time zone {zone!r} here; pip install tzdata brings all"
        ) from None
    try:
        return Cron(spec, found)
    except ConfigurationError as error:
        raise ConfigurationError(f"crontab {name!r}: {error}") from None


def _zone(zone: str | tzinfo) -> tzinfo:
    """The zone by that name. Those of pytz, which Runnel 0.1 took, mean something else to Python's own datetime."""
    name = zone if isinstance(zone, str) else getattr(zone, "zone", None)
    if name is not None:
        return ZoneInfo(name)
    if not isinstance(zone, tzinfo):
        raise TypeError
    return zone


def check_function(what: str, function: Any, *, due: bool = False) -> None:
    """Refuse what cannot be called without arguments, or, if `due`, with a due time.

    Raises:
        ConfigurationError: It says what is asked for.
    """
    if not callable(function):
        raise ConfigurationError(f"{what} must be a function, not {function!r}")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise ConfigurationError(f"{what}: its function has a `yield`: called, it would do nothing")
    if len(needed := required(function)) > due:
        given = "at most the time at which it is due" if due else "no arguments"
        raise ConfigurationError(f"{what}: its function is given {given}, and asks for {', '.join(needed)}")


def required(function: Callable[..., Any]) -> list[str]:
    """The arguments without which it cannot be called."""
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    parameters = inspect.signature(function).parameters.values()
    return [each.name for each in parameters if each.default is inspect.Parameter.empty and each.kind not in kinds]


# ── what a job did, and what it does next ──


@define(kw_only=True)
class Progress:
    """What is known of a job's runs: it outlives the actor that runs them. Moments are milliseconds, as in `schedule.py`.

    Attributes:
        last: The due time up to which all is run or passed over; None: not known yet.
        free_since: When its last run ended.
        next: When it runs next, since the epoch; None: not here.
        last_run: When its last run began, since the epoch.
        last_due: For which due time, since the epoch.
        last_error: With what a run failed last.
        runs: How many began.
        running: How many of them have not ended.
        passed: How often due times were passed over.
        ended: Whether it is a task that has returned.
    """

    last: int | None = None
    free_since: int = 0
    next: int | None = None
    last_run: int | None = None
    last_due: int | None = None
    last_error: str | None = None
    runs: int = 0
    running: int = 0
    passed: int = 0
    ended: bool = False

    def begin(self, now: float, due: int | None) -> None:
        """A run begins."""
        self.last_run = int(now * 1000)
        self.last_due = due
        self.runs += 1
        self.running += 1


@frozen
class Run:
    """Run it now, for this due time; those before it count as passed over."""

    due: int


@frozen
class Wait:
    """Nothing is to run before `until`. All up to `passed` is run or passed over."""

    until: int
    passed: int
    late: bool = False
    """Whether what was passed over was too late."""


def decide(job: Job, schedule: Schedule, progress: Progress, now: int, grace: int, salt: str = "") -> Run | Wait:
    """What a job that is free does now.

    Of the due times that lie behind, `all` runs each, the oldest first; `once` runs the newest, for all of them; `skip` runs
    the newest unless it is late by more than `grace`, or fell due while the job was running.

    Args:
        job: The job.
        schedule: When it is due.
        progress: What it did last; `last` is known.
        now: The moment.
        grace: In milliseconds: how late may be what counts as on time.
        salt: See `Job.start`.
    """
    assert progress.last is not None
    first = schedule.after(progress.last)
    if now < job.start(first, salt):
        return Wait(job.start(first, salt), progress.last)
    if job.misfire == "all":
        return Run(first)
    newest = schedule.latest(now)
    while newest > first and now < job.start(newest, salt):
        newest = schedule.latest(newest - 1)
    if job.misfire == "once":
        return Run(newest)
    on_time = now - job.start(newest, salt) <= grace
    was_busy = not job.overlap and job.start(newest, salt) <= progress.free_since
    if on_time and not was_busy:
        return Run(newest)
    return Wait(job.start(schedule.after(newest), salt), newest, late=not on_time)


def shown(moment: int) -> str:
    """A moment since the epoch, as people read it."""
    return datetime.fromtimestamp(moment / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
