"""Background: the declarations of an app's jobs, and of what its workers call at their start and end."""

from collections.abc import Callable
from datetime import tzinfo
from typing import Any, TypeVar, overload

from runnel.clock import Duration, seconds
from runnel.errors import ConfigurationError
from runnel.settings import Settings
from runnel.timing.jobs import Job, JobFunction, Misfire, check_function, cron, every
from runnel.timing.schedule import Cron, Every

F = TypeVar("F", bound=JobFunction)


class Background:
    """The part of an `App` that declares what runs beside processors. Each decorator returns the function as it is."""

    settings: Settings

    def __init__(self) -> None:
        self.jobs: dict[str, Job] = {}
        self.starting: list[JobFunction] = []
        self.stopping: list[JobFunction] = []

    @overload
    def task(self, function: F, *, on_leader: bool = False, name: str | None = None) -> F: ...
    @overload
    def task(self, *, on_leader: bool = False, name: str | None = None) -> Callable[[F], F]: ...
    def task(
        self, function: F | None = None, *, on_leader: bool = False, name: str | None = None
    ) -> F | Callable[[F], F]:
        """Declare a function that each worker calls once, when it starts; `async def`, or `def`, which runs in a thread.

        One that fails is logged and called again, after a pause that grows up to 30 s.

        Args:
            function: The function, when it is used without parentheses.
            on_leader: Call it on the leader only, once a term of leadership. When the term ends, it is cancelled.
            name: In the tree of actors (the function's name).

        Raises:
            ConfigurationError: The name is taken, or the function needs other arguments.
        """

        def declare(function: F) -> F:
            return self._add(Job(name=_name(name, function), function=function, on_leader=on_leader), function)

        return declare if function is None else declare(function)

    def timer(
        self,
        interval: Duration,
        *,
        on_leader: bool = False,
        misfire: Misfire = "skip",
        overlap: bool = False,
        jitter: Duration = 0,
        name: str | None = None,
    ) -> Callable[[F], F]:
        """Declare a function that is called every `interval` seconds, by each worker, or in all the app once.

        It never drifts: a worker's own timer is due at multiples of the interval from its start, a leader's at multiples
        of it since 1970, by the server's clock. `def` runs in a thread. One that fails is logged, and goes on with the
        next due time. A function with a parameter is given the due time, a `datetime`.

        Args:
            interval: Seconds, or a timedelta; at least 1 ms.
            on_leader: Run once in the app: the leader claims each due time in Redis, under the job's name, before it runs
                it. No other worker then runs that one, whatever becomes of the leader; a run that is cut off is not repeated.
            misfire: What becomes of due times that passed while nobody could run them: "skip" (none is run that is late by
                more than two leases), "once" (the last one, for all of them) or "all" (each, in order).
            overlap: Whether a run may begin while the last one is under way. Otherwise "skip" passes over what falls due
                meanwhile, and the others run it when that one ends.
            jitter: Seconds by which each run begins later, at most, left to chance.
            name: Of its due times in Redis, and in the tree of actors (the function's name). Another name begins anew.

        Raises:
            ConfigurationError: An option does not fit, the name is taken, or the function needs other arguments.
        """
        _not_bare("timer", "interval=10", interval)
        options = {"on_leader": on_leader, "misfire": misfire, "overlap": overlap}
        return self._declares(lambda named: every(named, interval), name, jitter, options)

    def crontab(
        self,
        spec: str,
        *,
        timezone: str | tzinfo | None = None,
        on_leader: bool = False,
        misfire: Misfire = "skip",
        overlap: bool = False,
        jitter: Duration = 0,
        name: str | None = None,
    ) -> Callable[[F], F]:
        """Declare a function that is called at the times of a crontab, by each worker, or in all the app once: see `timer`.

        Args:
            spec: Minute, hour, day, month, weekday, and if you like a sixth field, the second; or @hourly, @daily, @weekly,
                @monthly, @yearly. Where the zone puts its clock forward, times that are left out are due, once, at the
                moment of the change; where it puts it back, times that come twice are due the first time only.
            timezone: A `ZoneInfo` or the name of one (the setting `timezone`, UTC).
            on_leader: See `timer`.
            misfire: See `timer`.
            overlap: See `timer`.
            jitter: See `timer`.
            name: See `timer`.

        Raises:
            ConfigurationError: The spec or the zone is none, an option does not fit, the name is taken, or the function
                needs other arguments.
        """
        _not_bare("crontab", '"45 17 * * *"', spec)
        zone = self.settings.timezone if timezone is None else timezone
        options = {"on_leader": on_leader, "misfire": misfire, "overlap": overlap}
        return self._declares(lambda named: cron(named, spec, zone), name, jitter, options)

    def _declares(
        self, schedule: Callable[[str], Every | Cron], name: str | None, jitter: Duration, options: dict[str, Any]
    ) -> Callable[[F], F]:
        def declare(function: F) -> F:
            named = _name(name, function)
            job = Job(name=named, function=function, schedule=schedule(named), jitter=_jitter(named, jitter), **options)
            return self._add(job, function)

        return declare

    def on_start(self, function: F) -> F:
        """Declare what each worker calls once, in order, before it takes its first event: to open a pool, for example.

        `def` or `async def`; it runs in the worker's event loop. If it fails, the worker does not start. A program that
        only sends does not call it.
        """
        return _hook(self.starting, "on_start", function)

    def on_stop(self, function: F) -> F:
        """Declare what each worker calls once, at its very end, when no event or job is under way: to close that pool.

        The last declared is called first, each of them, whatever the others raise; that is logged, and so is one that takes
        longer than `default_grace_period`. None is called if an `on_start` function has failed.
        """
        return _hook(self.stopping, "on_stop", function)

    def _add(self, job: Job, function: F) -> F:
        if job.name in self.jobs:
            raise ConfigurationError(f"job {job.name!r} is declared twice: give one of them a name=")
        self.jobs[job.name] = job
        return function


def _name(given: str | None, function: JobFunction) -> str:
    return given if given is not None else getattr(function, "__name__", repr(function))


def _jitter(name: str, jitter: Duration) -> float:
    try:
        return seconds(jitter) * 1000
    except (TypeError, ValueError):
        raise ConfigurationError(f"job {name!r}: jitter must be seconds or a timedelta, not {jitter!r}") from None


def _not_bare(decorator: str, example: str, given: object) -> None:
    if callable(given):
        raise ConfigurationError(f"@app.{decorator} says when: write @app.{decorator}({example})")


def _hook(known: list[JobFunction], kind: str, function: F) -> F:
    check_function(f"what @app.{kind} stands on", function)
    known.append(function)
    return function
