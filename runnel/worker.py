"""Worker: begins a tree of actors (roles/tree.py), and takes it down in order."""

import asyncio
import logging
import os
import secrets
import socket
from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any, Literal

from runnel.actors import ActorRef, ActorSnapshot, ActorSystem
from runnel.app import App
from runnel.discovery import discover
from runnel.errors import ConfigurationError
from runnel.heap import settled_heap
from runnel.logs import OF_WORKER
from runnel.processor import Processor
from runnel.roles.coordinator import CoordinatorMessage, Leave
from runnel.roles.roster import SETTLE
from runnel.roles.scheduler import Finish, SchedulerMessage
from runnel.roles.tree import Tree
from runnel.signals import Received
from runnel.store import scripts
from runnel.store.client import Store
from runnel.telemetry.board import Board
from runnel.telemetry.collect import Collector
from runnel.telemetry.diary import Diary
from runnel.timing.hooks import hooked
from runnel.timing.jobs import Progress

log = logging.getLogger(__name__)


class Worker:
    """Runs an app's processors in this process, as one member of the app's workers.

    Args:
        app: The app.
        settle: Seconds for which no worker may come or go before partitions are assigned: workers come in bursts.
        jobs: By name, what the app's jobs are at here, once it runs.
        diary: What happened here.
        board: What it tells of itself, once a second, to whoever reads it in this process: runnel/monitoring.
    """

    def __init__(self, app: App, *, settle: float = SETTLE) -> None:
        self.app = app
        self.settle = settle
        self.jobs: dict[str, Progress] = {}
        self.diary = Diary(app.clock)
        self.board = Board()
        self.id = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
        self._system: ActorSystem | None = None
        self._stopping: asyncio.Event | None = None
        self._running: asyncio.Task[None] | None = None
        self._signalled = False
        self._on_end: list[Callable[[ActorSnapshot], object]] = []
        self._began = app.clock.monotonic()

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
        if isinstance(names, str) and names != "all":
            raise ConfigurationError(f"processors must be \"all\" or a list of names, as [{names!r}], not {names!r}")
        chosen = list(known) if names == "all" else list(names)
        for name in chosen:
            if not isinstance(name, str):
                raise ConfigurationError(f"processors are given by their names, not {name!r}: it has {', '.join(known)}")
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
            tree = Tree(
                worker=self.id,
                app=self.app,
                store=store,
                processors=processors,
                settle=self.settle,
                progress=self.jobs,
                diary=self.diary,
                collector=self.collector(),
                is_draining=lambda: self.stopping,
                halted=halted,
                board=self.board,
            )
            scheduler, coordinator = tree.grow(system)
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

    def collector(self) -> Collector:
        """What makes reports of this worker."""
        return Collector(self.id, self._began, self.diary, self.app.jobs, self.jobs)

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


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop
