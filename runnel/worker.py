"""Worker: puts the tree of actors together, and takes it down in order."""

import asyncio
import logging
import os
import secrets
import socket
from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager, nullcontext
from functools import partial
from typing import Any, Literal

from runnel.actors import Actor, ActorRef, ActorSnapshot, ActorSystem, Backoff, Directive, OneForOne
from runnel.app import App
from runnel.discovery import discover
from runnel.errors import ConfigurationError, StoreRefused
from runnel.heap import settled_heap
from runnel.logs import OF_WORKER
from runnel.processor import Processor
from runnel.roles.care import Turns
from runnel.roles.coordinator import Coordinator, CoordinatorMessage, Leave
from runnel.roles.heart import Heart, beat_interval
from runnel.roles.leader import Leader
from runnel.roles.member import Member
from runnel.roles.processor import CONTROL_MAILBOX, ProcessorSupervisor, escalate
from runnel.roles.roster import SETTLE
from runnel.roles.scheduler import Baton, Finish, Scheduler, SchedulerMessage
from runnel.roles.timeline import Lead
from runnel.roles.trimmer import Trimmer, partitions_of
from runnel.signals import Received
from runnel.store import scripts
from runnel.store.client import Store
from runnel.store.scripts import Token
from runnel.timing.hooks import hooked
from runnel.timing.jobs import Progress

log = logging.getLogger(__name__)


def decide(error: Exception) -> Directive:
    """What becomes of the worker when one of its top actors fails: what no restart can mend ends it."""
    return Directive.ESCALATE if isinstance(error, ConfigurationError | StoreRefused) else Directive.RESTART


class Worker:
    """Runs an app's processors in this process, as one member of the app's workers.

    Args:
        app: The app.
        settle: Seconds for which no worker may come or go before partitions are assigned: workers come in bursts.
        jobs: By name, what the app's jobs are at here, once it runs.

    The tree of actors:

        worker
        ├── scheduler               what runs by the clock
        │   ├── ~promoter           moves delayed events into the log when they are due
        │   └── <job>               a task, timer or crontab
        ├── leader                  on one worker of all:
        │   ├── trimmer             drops what is done when the server is nearly full
        │   └── baton               says that this worker leads
        ├── coordinator             takes leases and gives them back
        │   └── member              one of the app's workers: heartbeats, assignment
        │       └── listener        hears what other workers post
        └── <processor>             supervisor
            ├── committer           makes durable what is done
            ├── reader              feeds the partitions
            └── <partition>.<epoch> runs the processor's function
    """

    def __init__(self, app: App, *, settle: float = SETTLE) -> None:
        self.app = app
        self.settle = settle
        self.jobs: dict[str, Progress] = {}
        self.id = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
        self._system: ActorSystem | None = None
        self._stopping: asyncio.Event | None = None
        self._running: asyncio.Task[None] | None = None
        self._signalled = False
        self._on_end: list[Callable[[ActorSnapshot], object]] = []

    def start(
        self,
        processors: Literal["all"] | Iterable[str] = "all",
        *,
        within: Callable[[], AbstractAsyncContextManager[Any]] = nullcontext,
        ready: Callable[[], object] = lambda: None,
    ) -> None:
        """Run until a signal (SIGINT, SIGTERM, SIGHUP) or a failure; on uvloop where it is installed.

        The first signal lets events under way finish, commits, and gives partitions back; a second one ends them at once,
        and the process, too, if a handler has blocked the event loop since the first.

        Args:
            processors: The names of those to run.
            within: Makes a context to run in, entered in the worker's event loop: a view of it, for example.
            ready: Called when the app and the server are found to be as they must be, before the first partition is taken.

        Raises:
            ConfigurationError: The app or the server is not as it must be.
            StoreError: The server cannot be reached, or refuses.
            HandlerFailed: A handler failed under the policy HALT.
        """
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(self._run_until_signal(processors, within, ready))

    async def run(
        self, processors: Literal["all"] | Iterable[str] = "all", *, ready: Callable[[], object] = lambda: None
    ) -> None:
        """Run in the running event loop until `stop`; raises as `start` does. Cancelling it stops the worker in order."""
        self._stopping = asyncio.Event()
        OF_WORKER.set(self.id)
        chosen = self._chosen(processors)
        store = await self.app.open()
        for processor in chosen:
            await self.app.check_stream(processor.stream)
            await self._register(store, processor)
        async with hooked(self.app):
            ready()
            with settled_heap():
                await self._work(store, chosen, self._stopping)

    def stop(self) -> None:
        """Stop in order; called again, at once. Harmless when not running."""
        if self._stopping is None:
            return
        if self._stopping.is_set() and self._system is not None:
            log.warning("stopping at once", extra={"worker": self.id})
            task = asyncio.ensure_future(self._system.stop(grace=0))
            task.add_done_callback(lambda done: done.exception())
        self._stopping.set()

    @property
    def stopping(self) -> bool:
        """Whether it was told to stop, or stops by itself."""
        return self._stopping is not None and self._stopping.is_set()

    def snapshot(self) -> ActorSnapshot | None:
        """The tree of actors as it is now; None when not running."""
        return None if self._system is None else self._system.snapshot()

    def on_end(self, callback: Callable[[ActorSnapshot], object]) -> None:
        """Call back with the last snapshot of each actor that stops, from the next start on."""
        self._on_end.append(callback)

    def _chosen(self, names: Literal["all"] | Iterable[str]) -> list[Processor]:
        if self.app.settings.autodiscover is not None:
            discover(self.app.settings.autodiscover)
        known = self.app.processors
        chosen = list(known) if names == "all" else list(names)
        for name in chosen:
            if name not in known:
                raise ConfigurationError(f"app {self.app.name!r} has no processor {name!r}: it has {', '.join(known)}")
        if not chosen and not self.app.jobs:
            raise ConfigurationError(
                f"app {self.app.name!r} has no processors: declare one with @app.processor(stream), "
                "or something to run by the clock with @app.timer(interval)"
            )
        return [known[name] for name in chosen]

    async def _register(self, store: Store, processor: Processor) -> None:
        """Note the processor in all partitions, so that from now on none of their events is trimmed before it is done."""
        name, start = processor.options.name, processor.options.start
        link = store.link()
        try:
            calls = [scripts.register(keys, name, start) for keys in processor.stream.partitions]
            for answer in await link.run(calls, patience=5):
                if isinstance(answer, Exception):
                    raise answer
        finally:
            await link.close()

    async def _work(self, store: Store, processors: list[Processor], stopping: asyncio.Event) -> None:
        halted: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()
        halted.add_done_callback(lambda _: stopping.set())
        async with ActorSystem("worker", clock=self.app.clock) as system:
            self._system = system
            for callback in self._on_end:
                system.on_end(callback)
            lease = min((p.options.lock_expiry for p in processors), default=self.app.settings.default_lock_expiry)
            lead = Lead()
            scheduler = self._spawn_scheduler(system, store, lead, lease)
            coordinator = self._spawn(system, store, processors, halted, lease, partial(Baton, lead=lead, scheduler=scheduler))
            log.info("worker started", extra={"worker": self.id, "processors": [p.options.name for p in processors]})
            ended = asyncio.ensure_future(system.stopped())
            ended.add_done_callback(lambda _: stopping.set())
            try:
                await stopping.wait()
            finally:
                await self._leave(coordinator, scheduler, ended)
                ended.cancel()
        log.info("worker stopped", extra={"worker": self.id})
        if halted.done() and not halted.cancelled():
            raise halted.result()

    def _spawn_scheduler(self, system: ActorSystem, store: Store, lead: Lead, lease: float) -> "ActorRef[SchedulerMessage]":
        make = partial(
            Scheduler,
            jobs=list(self.app.jobs.values()),
            app=self.app.keys,
            worker=self.id,
            open_link=store.link,
            lead=lead,
            due_times=self.app.due_times,
            grace=2 * lease,
            progress=self.jobs,
        )
        supervision = OneForOne(intensity=3, period=60, backoff=Backoff(0.2, max=5), decide=decide)
        return system.spawn(make, name="scheduler", supervision=supervision)

    def _spawn(
        self,
        system: ActorSystem,
        store: Store,
        processors: list[Processor],
        halted: "asyncio.Future[Exception]",
        lease: float,
        make_baton: Callable[[Token], Baton],
    ) -> "ActorRef[CoordinatorMessage]":
        supervision = OneForOne(intensity=3, period=60, backoff=Backoff(0.2, max=5), decide=decide)
        partitions = partitions_of(stream.partitions for stream in self.app.streams.values())
        duties: dict[str, Callable[[Token], Actor[Any]]] = {
            "trimmer": lambda _: Trimmer(partitions, store.link()),
            "baton": make_baton,
        }
        interval = beat_interval([lease])
        heart = Heart(store.blocking_link(max(interval, 0.5)), self.app.clock, interval)
        leader = system.spawn(lambda: Leader(duties, supervision, heart, lease), name="leader", supervision=supervision)
        turns = Turns()

        def make_member(coordinator: "ActorRef[CoordinatorMessage]") -> Member:
            return Member(
                worker=self.id,
                app=self.app.keys,
                processors=processors,
                lease=lease,
                settle=self.settle,
                heart=heart,
                open_link=store.link,
                coordinator=coordinator,
                leader=leader,
            )

        coordinator = system.spawn(
            lambda: Coordinator(
                worker=self.id,
                app=self.app.keys,
                link=store.link(),
                heart=heart,
                make_member=make_member,
                halted=halted,
            ),
            name="coordinator",
            mailbox=CONTROL_MAILBOX,
            supervision=OneForOne(decide=escalate),  # what it knew of leases is gone: stop, and let others take over
        )
        for processor in processors:
            system.spawn(
                lambda processor=processor: ProcessorSupervisor(processor, coordinator, store.link, turns, self.app.due_times),  # type: ignore[misc]
                name=top_name(processor.options.name),
                mailbox=CONTROL_MAILBOX,
                supervision=supervision,
            )
        return coordinator

    async def _leave(
        self,
        coordinator: "ActorRef[CoordinatorMessage]",
        scheduler: "ActorRef[SchedulerMessage]",
        ended: "asyncio.Future[None]",
    ) -> None:
        """Let events and jobs under way finish, commit, and give all partitions back."""
        if ended.done():
            return
        loop = asyncio.get_running_loop()
        left: asyncio.Future[None] = loop.create_future()
        finished: asyncio.Future[None] = loop.create_future()
        await scheduler.tell(Finish(self.app.settings.default_grace_period, finished))
        await coordinator.tell(Leave(left))
        for done in (left, finished):  # the system itself would stop jobs one after the other, and without a limit
            await asyncio.wait((done, ended), return_when=asyncio.FIRST_COMPLETED)

    async def _run_until_signal(
        self,
        processors: Literal["all"] | Iterable[str],
        within: Callable[[], AbstractAsyncContextManager[Any]],
        ready: Callable[[], object],
    ) -> None:
        with Received(asyncio.get_running_loop(), self._stop_at_signal):
            async with within():
                running = self._running = asyncio.ensure_future(self.run(processors, ready=ready))
                if self._signalled:
                    running.cancel()
                try:
                    await asyncio.wait((running,))
                finally:
                    await self.app.close()
                if not running.cancelled():
                    running.result()

    def _stop_at_signal(self) -> None:
        self._signalled = True
        if self._running is None or self._running.done():
            return
        if self._system is None:
            self._running.cancel()  # still connecting: there is nothing to stop in order
        self.stop()


def top_name(processor: str) -> str:
    """The name of its supervisor in the tree, where some are taken."""
    return f"{processor}~" if processor in ("scheduler", "leader", "coordinator") else processor


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop
