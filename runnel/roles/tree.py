"""The tree of a worker's actors, put together in one place.

worker
├── scheduler               what runs by the clock
│   ├── ~promoter           moves delayed events into the log when they are due
│   └── <job>               a task, timer or crontab
├── leader                  on one worker of all:
│   ├── trimmer             drops what is done when the server is nearly full
│   └── baton               says that this worker leads
├── telemetry               reports of all this, for people
├── gauge                   reads the lag, where metrics are served
├── coordinator             takes leases and gives them back
│   └── member              one of the app's workers: heartbeats, assignment
│       └── listener        hears what other workers post
└── <processor>             supervisor
├── committer           makes durable what is done
├── reader              feeds the partitions
├── relay               delivers what actors emitted
└── <partition>.<epoch> runs the processor's function, or its actors
"""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from attrs import define, field

from runnel.actors import Actor, ActorFailure, ActorRef, ActorSystem, Backoff, Directive, OneForOne
from runnel.app import App
from runnel.errors import ConfigurationError, StoreRefused
from runnel.processor import Processor
from runnel.roles.care import Turns
from runnel.roles.coordinator import Coordinator, CoordinatorMessage
from runnel.roles.failing import EventFailed
from runnel.roles.gauge import Gauge
from runnel.roles.heart import Heart, beat_interval
from runnel.roles.leader import Leader, LeaderMessage
from runnel.roles.member import Member
from runnel.roles.processor import CONTROL_MAILBOX, ProcessorSupervisor, escalate
from runnel.roles.scheduler import FOR_EVER, Baton, Scheduler, SchedulerMessage
from runnel.roles.telemetry import Telemetry
from runnel.roles.timeline import Lead
from runnel.roles.trimmer import Trimmer, partitions_of
from runnel.store.client import Store
from runnel.store.scripts import Token
from runnel.telemetry.board import Board
from runnel.telemetry.collect import Collector
from runnel.telemetry.diary import Diary, said
from runnel.timing.jobs import Progress


def decide(error: Exception) -> Directive:
    """What becomes of the worker when one of its top actors fails: what no restart can mend ends it."""
    return Directive.ESCALATE if isinstance(error, ConfigurationError | StoreRefused) else Directive.RESTART


@define(eq=False, kw_only=True)
class Tree:
    """Spawns a worker's actors.

    Args:
        worker: The worker's id.
        app: The app.
        store: Open.
        processors: Those to run.
        settle: Seconds for which no worker may come or go before partitions are assigned.
        progress: By name, what the jobs are at.
        diary: The worker's.
        is_draining: Whether the worker is about to stop.
        halted: Told when a handler's failure is to stop the worker.
        board: What the worker tells whoever reads it in this process.
    """

    worker: str
    app: App
    store: Store
    processors: Sequence[Processor]
    settle: float
    progress: dict[str, Progress]
    diary: Diary
    collector: Collector
    is_draining: Callable[[], bool]
    halted: "asyncio.Future[Exception]"
    board: Board = field(factory=Board)
    lease: float = field(init=False)
    supervision: OneForOne = field(init=False)

    def __attrs_post_init__(self) -> None:
        expiries = [processor.options.lock_expiry for processor in self.processors]
        self.lease = min(expiries, default=self.app.settings.default_lock_expiry)
        self.supervision = OneForOne(intensity=3, period=60, backoff=Backoff(0.2, max=5), decide=decide)

    def grow(self, system: ActorSystem) -> "tuple[ActorRef[SchedulerMessage], ActorRef[CoordinatorMessage]]":
        """Spawn them all; who is stopped first was spawned last."""
        system.on_failure(self._note)
        interval = beat_interval([self.lease])
        heart = Heart(self.store.blocking_link(max(interval, 0.5)), self.app.clock, interval)
        lead = Lead()
        scheduler = self._spawn_scheduler(system, lead)
        leader = self._spawn_leader(system, heart, partial(Baton, lead=lead, scheduler=scheduler))
        self._spawn_telemetry(system, heart)
        coordinator = self._spawn_coordinator(system, heart, leader)
        turns = Turns()
        for processor in self.processors:
            system.spawn(
                partial(
                    ProcessorSupervisor, processor, coordinator, self.store.link, turns, self.app.due_times, self.diary
                ),
                name=top_name(processor.options.name),
                mailbox=CONTROL_MAILBOX,
                supervision=self.supervision,
            )
        return scheduler, coordinator

    def _spawn_scheduler(self, system: ActorSystem, lead: Lead) -> "ActorRef[SchedulerMessage]":
        make = partial(
            Scheduler,
            jobs=list(self.app.jobs.values()),
            app=self.app.keys,
            worker=self.worker,
            open_link=self.store.link,
            lead=lead,
            due_times=self.app.due_times,
            grace=2 * self.lease,
            progress=self.progress,
        )
        return system.spawn(make, name="scheduler", supervision=self.supervision)

    def _spawn_leader(
        self, system: ActorSystem, heart: Heart, make_baton: Callable[[Token], Baton]
    ) -> "ActorRef[LeaderMessage]":
        partitions = partitions_of(stream.partitions for stream in self.app.streams.values())
        duties: dict[str, Callable[[Token], Actor[Any]]] = {
            "trimmer": lambda _: Trimmer(partitions, self.store.link()),
            "baton": make_baton,
        }
        make = partial(Leader, duties, self.supervision, heart, self.lease, self.diary)
        return system.spawn(make, name="leader", supervision=self.supervision)

    def _spawn_telemetry(self, system: ActorSystem, heart: Heart) -> None:
        make = partial(
            Telemetry,
            collector=self.collector,
            snapshot=system.snapshot,
            is_draining=self.is_draining,
            heart=heart,
            app=self.app.keys,
            board=self.board,
        )
        for_ever = OneForOne(intensity=FOR_EVER, period=60, backoff=Backoff(1, max=30))  # no report is worth a worker
        system.spawn(make, name="telemetry", supervision=for_ever)
        self.board.processors = [each.options.name for each in self.processors]
        self.board.server_answers = lambda: heart.is_answered
        if self.board.is_read:
            gauge = partial(Gauge, app=self.app, board=self.board, open_link=self.store.link)
            system.spawn(gauge, name="gauge", supervision=for_ever)

    def _spawn_coordinator(
        self, system: ActorSystem, heart: Heart, leader: "ActorRef[LeaderMessage]"
    ) -> "ActorRef[CoordinatorMessage]":
        def make_member(coordinator: "ActorRef[CoordinatorMessage]") -> Member:
            return Member(
                worker=self.worker,
                app=self.app.keys,
                processors=self.processors,
                lease=self.lease,
                settle=self.settle,
                heart=heart,
                open_link=self.store.link,
                coordinator=coordinator,
                leader=leader,
                diary=self.diary,
            )

        return system.spawn(
            lambda: Coordinator(
                worker=self.worker,
                app=self.app.keys,
                link=self.store.link(),
                heart=heart,
                make_member=make_member,
                halted=self.halted,
                diary=self.diary,
            ),
            name="coordinator",
            mailbox=CONTROL_MAILBOX,
            supervision=OneForOne(decide=escalate),  # what it knew of leases is gone: stop, and let others take over
        )

    def _note(self, failure: ActorFailure) -> None:
        if not isinstance(failure.error, EventFailed):  # that is told as what becomes of the event
            self.diary.happened("failure", f"{failure.path}: {said(failure.error)}")


def top_name(processor: str) -> str:
    """The name of a processor's supervisor in the tree, where some are taken."""
    return f"{processor}~" if processor in ("scheduler", "telemetry", "leader", "coordinator", "gauge") else processor
