"""The actors of jobs: one for each task, timer and crontab. They get `Look`, and call the user's function when it is time.

A run that fails fails its actor, which the scheduler restarts; what was run and claimed is kept outside the actor, so that a
restart neither repeats nor loses a due time.
"""

import logging
from typing import Any

from attrs import define, field, frozen

from runnel.actors import Actor, Directive, OneForOne
from runnel.errors import StoreError
from runnel.handling.calling import call
from runnel.roles.timeline import SYNC, Timeline
from runnel.timing.jobs import Job, Progress, Run, decide, shown

log = logging.getLogger(__name__)

RETRY = 0.2
"""Seconds until the server is asked again when it is away."""


# ── messages ──


@frozen
class Look:
    """Something may be due: another leads, or due times were advanced."""


@frozen
class _Ended:
    pass


def stop_it(error: Exception) -> Directive:
    """One run of several that failed is not run again."""
    return Directive.STOP


@define(eq=False, kw_only=True)
class TimedJob(Actor[Look]):
    """Runs a timer or a crontab.

    Args:
        job: Its declaration.
        progress: What it has done.
        line: Its time.
        grace: Seconds by which a run may be late that is not missed.
        salt: See `Job.start`.
    """

    job: Job
    progress: Progress
    line: Timeline
    grace: float
    salt: str = ""
    away: bool = False
    each: OneForOne = field(factory=lambda: OneForOne(decide=stop_it))

    async def on_start(self) -> None:
        self.set_timer("look", Look(), 0)

    async def receive(self, message: Look) -> None:
        try:
            due = await self._due()
            self.away = False
        except StoreError as error:  # no failure of the job's
            if not self.away:
                log.warning("a job cannot ask the server, trying again", extra={"job": self.job.name, "error": str(error)})
            self.away = True
            return self.set_timer("look", Look(), RETRY)
        if due is not None:
            self.set_timer("look", Look(), 0)
            await self._run(due)

    def statistics(self) -> dict[str, object]:
        return {"schedule": str(self.job.schedule), **details(self.progress)}

    async def _due(self) -> int | None:
        """The due time that is to run now, and is ours; or None, and when to look again is seen to."""
        progress, line = self.progress, self.line
        if (due := await line.unanswered(progress)) is not None:
            return due
        if pause := await line.pause(progress):
            progress.next = None
            self.set_timer("look", Look(), pause)
            return None
        now = line.now()
        decision = decide(self.job, line.schedule, progress, now, int(self.grace * 1000), self.salt)
        if isinstance(decision, Run):
            if await line.claim(progress, decision.due):
                return decision.due
            self.set_timer("look", Look(), 0)
            return None
        if decision.passed != progress.last:
            progress.last, progress.passed = decision.passed, progress.passed + 1
        if decision.late:
            log.warning("a job was late and is passed over", extra={"job": self.job.name})
        progress.next = line.wall(decision.until)
        self.set_timer("look", Look(), min(SYNC, (decision.until - now) / 1000))
        return None

    async def _run(self, due: int) -> None:
        self.progress.begin(self.clock.time(), self.line.wall(due))
        self.progress.next = self.line.wall(self.job.start(self.line.schedule.after(due), self.salt))
        if self.job.overlap:
            wall = self.line.wall(due)
            self.spawn(lambda: OneRun(self.job, self.progress, wall), name=f"run-{due}", supervision=self.each)
            return
        try:
            await attempt(self.job, self.progress, self.line.wall(due))
        finally:
            self.progress.free_since = self.line.now()


@define(eq=False)
class OneRun(Actor[Any]):
    """One run of a job whose runs may overlap."""

    job: Job
    progress: Progress
    due: int

    async def run(self) -> None:
        await attempt(self.job, self.progress, self.due)


@define(eq=False)
class Task(Actor[_Ended]):
    """Runs a task once, and stays, to be seen; one that fails is run again. It is cancelled when it is to stop."""

    job: Job
    progress: Progress

    async def on_start(self) -> None:
        self.progress.begin(self.clock.time(), None)
        self.pipe_to_self(attempt(self.job, self.progress, None), lambda _: _Ended())

    async def receive(self, message: _Ended) -> None:
        self.progress.ended = True

    def statistics(self) -> dict[str, object]:
        return {"ended": self.progress.ended, **details(self.progress)}


async def attempt(job: Job, progress: Progress, due: int | None) -> None:
    """Call its function, for a due time since the epoch; what it fails with is kept."""
    try:
        await call(job.call(due), job.name)
    except Exception as error:
        progress.last_error = f"{type(error).__name__}: {error}"[:200]
        raise
    finally:
        progress.running -= 1


def details(progress: Progress) -> dict[str, object]:
    """What is shown of a job in the tree."""
    found: dict[str, object] = {"runs": progress.runs}
    for name, moment in (("next", progress.next), ("last_run", progress.last_run)):
        if moment is not None:
            found[name] = shown(moment)
    if progress.last_error is not None:
        found["last_error"] = progress.last_error
    return found
