"""The scheduler: the parent of an actor for each job that the app declares, and of the promoter of delayed events.

It hears from `Baton`, a duty of the leader's, whether this worker leads, and lets its children look. A job that fails is
restarted, and takes nothing else down.
"""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from attrs import define, field, frozen

from runnel.actors import Actor, ActorRef, Backoff, OneForOne
from runnel.clock import DueTimes
from runnel.errors import ActorStopped, MailboxFull
from runnel.roles.job import Look, Task, TimedJob
from runnel.roles.promoter import Promoter
from runnel.roles.timeline import Lead, LeadersLine, OwnLine, Timeline
from runnel.store.keys import AppKeys
from runnel.store.link import Link
from runnel.store.scripts import Token
from runnel.timing.jobs import Job, Progress

FOR_EVER = 2**31
"""Restarts: a job that fails goes on."""

PROMOTER = "~promoter"
"""Its name among the jobs."""


# ── messages ──


@frozen
class Finish:
    """Begin no run any more, and let those under way finish, all within `grace` seconds; `finished` is done then."""

    grace: float
    finished: "asyncio.Future[None]"


@frozen
class _Gone:
    pass


SchedulerMessage = Look | Finish | _Gone


@define(eq=False, kw_only=True)
class Scheduler(Actor[SchedulerMessage]):
    """Runs the app's jobs on this worker.

    Args:
        jobs: Their declarations.
        app: The app's keys.
        worker: This worker's id.
        open_link: Makes connections: for claims, and for the promoter.
        lead: Whether this worker leads.
        due_times: How far they are ahead.
        grace: Seconds by which a run may be late that is not missed.
        progress: By name, what the jobs are at; shared with who looks at it from outside.
    """

    jobs: Sequence[Job]
    app: AppKeys
    worker: str
    open_link: Callable[[], Link]
    lead: Lead
    due_times: DueTimes
    grace: float
    progress: dict[str, Progress] = field(factory=dict)
    link: Link | None = None
    looking: "dict[str, ActorRef[Look]]" = field(factory=dict)
    leading: "list[ActorRef[Any]]" = field(factory=list)
    """Tasks of the present term."""
    term: Token | None = None
    finished: "asyncio.Future[None] | None" = None
    unwatch_due_times: Callable[[], None] = lambda: None

    async def on_start(self) -> None:
        self.link = self.open_link()
        self.progress.update({job.name: Progress() for job in self.jobs})
        self.looking[PROMOTER] = self.spawn(
            lambda: Promoter(self.app, self.open_link(), self.lead, self.due_times),
            name=PROMOTER,
            supervision=OneForOne(intensity=FOR_EVER, period=60, backoff=Backoff(0.2, max=5)),
        )
        for job in self.jobs:
            if job.schedule is not None:
                self._spawn_timed(job, self._line(job, self.link))
            elif not job.on_leader:
                self._spawn_task(job)
        self.unwatch_due_times = self.due_times.watch(lambda: poke(self.ref))
        await self._look()

    async def receive(self, message: SchedulerMessage) -> None:
        match message:
            case Look() if self.finished is None:
                await self._look()
            case Finish(grace, finished):
                self.finished = finished
                for child in self.children:  # all at once: one that takes its time takes it from no other
                    self.pipe_to_self(child.stop(grace=grace), lambda _: _Gone())
        if self.finished is not None and not self.children and not self.finished.done():
            self.finished.set_result(None)

    async def _look(self) -> None:
        for each in self.looking.values():
            poke(each)
        if self.lead.token != self.term:
            self.term = self.lead.token
            for task in self.leading:
                await task.stop(grace=0)
            tasks = [job for job in self.jobs if job.schedule is None and job.on_leader]
            self.leading = [] if self.term is None else [self._spawn_task(job) for job in tasks]

    async def on_stop(self) -> None:
        self.unwatch_due_times()
        if self.link is not None:
            await self.link.close()

    def statistics(self) -> dict[str, object]:
        return {"jobs": len(self.jobs), "leads": self.lead.token is not None}

    def _line(self, job: Job, link: Link) -> Timeline:
        if job.on_leader:
            return LeadersLine(job, self.clock, self.due_times, self.app, link, self.lead)
        return OwnLine(job, self.clock, self.due_times)

    def _spawn_timed(self, job: Job, line: Timeline) -> None:
        make: Callable[[], TimedJob] = partial(
            TimedJob,
            job=job,
            progress=self.progress[job.name],
            line=line,
            grace=self.grace,
            salt="" if job.on_leader else self.worker,
        )
        # No pause: it runs again when it is next due. No period: any number of failures, however close.
        supervision = OneForOne(intensity=FOR_EVER, period=0)
        self.looking[job.name] = self.spawn(make, name=job.name, supervision=supervision)

    def _spawn_task(self, job: Job) -> "ActorRef[Any]":
        progress = self.progress[job.name] = Progress()
        supervision = OneForOne(intensity=FOR_EVER, period=60, backoff=Backoff(0.5, max=30))
        return self.spawn(lambda: Task(job, progress), name=job.name, supervision=supervision)


@define(eq=False)
class Baton(Actor[None]):
    """A duty of the leader's: for as long as it lives, this worker leads.

    Args:
        token: Of the term.
        lead: Where that is noted.
        scheduler: Who is to look.
    """

    token: Token
    lead: Lead
    scheduler: "ActorRef[Look]"

    async def on_start(self) -> None:
        self._tell(self.token)

    async def on_stop(self) -> None:
        self._tell(None)

    def _tell(self, token: Token | None) -> None:
        self.lead.token = token
        poke(self.scheduler)


def poke(ref: "ActorRef[Look]") -> None:
    """Let an actor look, unless it is about to anyway, or has stopped."""
    try:
        ref.tell_nowait(Look())
    except (MailboxFull, ActorStopped):
        pass
