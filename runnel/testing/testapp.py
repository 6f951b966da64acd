"""TestApp: an app under test, on a server of its own that is thrown away, with a real worker in the running event loop."""

import asyncio
import math
import weakref
from collections.abc import Awaitable, Callable, Iterable, Iterator
from types import TracebackType
from typing import Literal, Self

from runnel.actors import ActorSnapshot
from runnel.app import App
from runnel.clock import Duration, checked_seconds, seconds
from runnel.errors import ConfigurationError, NotDrained
from runnel.processor import Processor
from runnel.roles.tree import top_name
from runnel.store.throwaway import ThrowawayServer
from runnel.testing.reasons import of_jobs, reasons
from runnel.testing.standing import Onlooker, Standing, Undone
from runnel.timing.jobs import Progress
from runnel.worker import Worker

START = 30.0
"""Seconds that the worker may take to be ready."""

SOONEST, LATEST = 0.0005, 0.01
"""Seconds between two looks: longer and longer ones. Each look answers for certain whether all is done."""

_in_use: weakref.WeakSet[App] = weakref.WeakSet()


class TestApp:
    """An app with a server and a worker for one test. Needs `pip install 'runnel[embedded]'`, and nothing that runs.

        async with TestApp(app) as t:
            await orders.send(Order(order_id=1, amount=99))
            await t.drained()

    The body begins when the worker runs all partitions of its processors, `on_start` functions have run and timers count.
    Within it all that the app does goes to the throw-away server; leaving it, the worker stops in order (at once, if the body
    raised), and the server and its data are gone. The app has its `redis_url` and its due times back, and may go into the next
    TestApp, in this event loop or another. TestApps of different apps may run side by side.

    Args:
        app: The app. What it has open in the running event loop is closed first.
        processors: The names of those to run, as for `Worker.start`. Nobody waits for the others.

    Raises:
        ConfigurationError: `app` is none. `async with`: the app is in another TestApp, the server is not installed, or what a
            worker raises.
        StartFailed: `async with`: an `on_start` function failed.
        HandlerFailed: At the end of the `async with`: a handler failed under HALT, and no call has raised that before. So with
            all that ends a worker; not if the body raises.

    Attributes:
        app: The app.
        worker: The worker.
    """

    __test__ = False  # or pytest would take it for a test, going by its name

    def __init__(self, app: App, *, processors: Literal["all"] | Iterable[str] = "all") -> None:
        if not isinstance(app, App):
            raise ConfigurationError(f"TestApp: give it the App itself, not {app!r}")
        self.app = app
        self.worker = Worker(app, settle=0.0)  # no others come
        self._names = processors if isinstance(processors, str) else list(processors)
        self._server: ThrowawayServer | None = None
        self._running: asyncio.Task[None] | None = None
        self._onlooker: Onlooker | None = None
        self._standing = Standing(now=0, undone=(), next_due=None)
        self._is_told = False

    async def __aenter__(self) -> Self:
        if self.app in _in_use:
            raise ConfigurationError(f"app {self.app.name!r} is in a TestApp already: leave that one first")
        _in_use.add(self.app)
        self._is_told = False
        self._before = self.app.settings.redis_url, self.app.due_times.ahead
        try:
            await self._start()
        except BaseException:
            await self._end(in_order=False)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        failure = await self._end(in_order=error is None)
        if failure is None or self._is_told:
            return
        if error is None:
            raise failure
        error.add_note(f"meanwhile the worker of the TestApp failed: {type(failure).__name__}: {failure}")

    async def drained(self, timeout: Duration = 10) -> None:
        """Wait until every event is done by every processor of this worker: those sent so far, and those that come of them.

        There was a moment then at which nothing was left: no event in a log, none on its way from one stream to another
        (`emit`), none that is due and waits for its move into the log, and no parked key that was released. Delayed events that
        are not due stay. Parked events and dead letters count as done. An app that feeds itself for ever is never drained.

        Args:
            timeout: How long to wait, in seconds of the real clock; or a timedelta.

        Raises:
            HandlerFailed: A handler failed under HALT; at once. `__cause__` is its error.
            NotDrained: A partition is quarantined or paused, or the worker was stopped: at once; or time is up. It names the
                processor, partition and event that it waits for.
            StoreError: The server cannot be reached; or what else ended the worker.

        Cancelling it changes nothing.
        """
        patience = checked_seconds(timeout, "drained: timeout")
        if not await self._comes(self._is_drained, patience):
            raise NotDrained(await self._told(f"not drained within {patience:g} s", self._standing.undone))

    async def advance(self, duration: Duration, timeout: Duration = 10) -> None:
        """Let time pass for what goes by due times: timers, crontabs, delayed events, reminders.

        As if so much time went by: what falls due runs at its own due time, in that order, and each time all that comes of
        it is done, as by `drained`, before the next falls due. So a timer of 10 s runs 360 times in an hour, and a reminder
        that sets another one gets that, too. When it returns, no timer or crontab is running (a task may be), and whatever is
        due next lies ahead. Each due time costs the test some 3 ms.

        Leases, time-outs, the pauses of `retry`, `park_retry` and `breaker`, and `within` of `take` go by the real clock.
        A job that fails is logged, and goes on, as in production.

        Args:
            duration: Seconds, or a timedelta.
            timeout: How long what is due at one moment may take, in seconds of the real clock; or a timedelta.

        Raises:
            ConfigurationError: The duration is none.
            HandlerFailed, NotDrained, StoreError: As `drained`; NotDrained also for a job that does not end.

        Cancelled, it has let some of the time pass.
        """
        due_times, patience = self.app.due_times, checked_seconds(timeout, "advance: timeout")
        target = due_times.ahead + _checked(duration)
        wait = await self._settled(patience)
        while due_times.ahead < target:
            left = target - due_times.ahead
            due_times.advance(left if wait is None else min(left, wait))
            wait = await self._settled(patience)

    # ── waiting ──

    async def _comes(self, is_so: Callable[[], Awaitable[bool]], timeout: float) -> bool:
        """Wait until it is so; False: time is up. Raises what has ended the worker, as soon as it has."""
        clock, running, pause = self.app.clock, self._running, SOONEST
        if running is None:
            raise ConfigurationError("a TestApp runs within its `async with` only")
        give_up = clock.monotonic() + timeout
        while True:
            self._check(running)
            if await is_so():
                return True
            if clock.monotonic() >= give_up:
                if not self.worker.stopping:
                    return False
                self.worker.stop()  # it has failed, and leaves other handlers their grace period: for what nobody waits here
                await asyncio.wait((running,))
                continue
            await asyncio.wait((running,), timeout=pause)
            pause = min(2 * pause, LATEST)

    def _check(self, running: "asyncio.Task[None]") -> None:
        if not running.done():
            return
        self._is_told = True
        if not running.cancelled() and (error := running.exception()) is not None:
            raise error
        raise NotDrained("the worker was stopped: nothing is done any more")

    async def _is_drained(self) -> bool:
        assert self._onlooker is not None
        standing = self._standing = await self._onlooker.look()
        if stopped := [each for each in standing.undone if each.stopped or each.paused is not None]:
            raise NotDrained(await self._told("never drained", stopped))
        if any(each.what == "due" for each in standing.undone):
            self.app.due_times.advance(0)  # nothing but a hint: the worker's promoter looks now, and not in its own time
        return not standing.undone

    async def _settled(self, timeout: float) -> float | None:
        """Wait until nothing is due or under way; seconds until something is due, at least 1 ms. None: nothing ever is."""
        if not await self._comes(self._is_settled, timeout):
            told = await self._told(f"what is due is not done within {timeout:g} s", self._standing.undone)
            raise NotDrained("\n  ".join((told, *of_jobs(self._jobs(), self._standing.now))))
        dues = [progress.next for _, progress in self._jobs()] + [self._standing.next_due]
        wait = min((due - self._standing.now for due in dues if due is not None), default=None)
        return None if wait is None else max(wait, 1) / 1000

    async def _is_settled(self) -> bool:
        # Both before and after, or a job that ended meanwhile could have sent what the look came too early for.
        runs = self._runs()
        is_drained = await self._is_drained()
        now = self._standing.now
        at_rest = runs is not None and runs == self._runs() and all((job.next or 0) > now for _, job in self._jobs())
        return is_drained and at_rest

    def _jobs(self) -> Iterator[tuple[str, Progress]]:
        """The jobs that have due times."""
        for name, job in self.app.jobs.items():
            if job.schedule is not None:
                yield name, self.worker.jobs.get(name, Progress())

    def _runs(self) -> int | None:
        """How many runs of jobs have ended; None: one is under way."""
        jobs = [progress for _, progress in self._jobs()]
        return None if any(each.running for each in jobs) else sum(each.runs for each in jobs)

    async def _told(self, what: str, undone: Iterable[Undone]) -> str:
        assert self._onlooker is not None
        return "\n  ".join((f"{what}:", *await reasons(list(undone), self._onlooker.link, self.worker.snapshot())))

    # ── beginning and end ──

    async def _start(self) -> None:
        app = self.app
        server = self._server = ThrowawayServer("TestApp")
        await server.ready(app.clock)
        await app.close()
        app.override(redis_url=server.url)
        self._running = asyncio.create_task(self.worker.run(self._names), name="runnel-test-app")
        if not await self._comes(self._is_ready, START):
            raise NotDrained(f"the worker of app {app.name!r} is not ready within {START:g} s")
        self._onlooker = Onlooker(app.keys, self._processors(), app.due_times, (await app.open()).link())

    def _processors(self) -> list[Processor]:
        names = self.app.processors if self._names == "all" else self._names
        return [self.app.processors[name] for name in names]

    async def _is_ready(self) -> bool:
        """Whether it runs all partitions that it takes at once, and knows when each job is due."""
        tree = self.worker.snapshot()
        if tree is None or any(progress.next is None for _, progress in self._jobs()):
            return False
        return all(_has_all(tree, each) for each in self._processors() if not each.options.join_delay)

    async def _end(self, *, in_order: bool) -> BaseException | None:
        """Put everything back, whatever happens meanwhile; what the worker failed with."""
        try:
            if self._running is not None:
                return await self._stop(self._running, in_order)
        finally:
            try:
                await self.app.close()
            finally:
                self._put_back()
        return None

    async def _stop(self, running: "asyncio.Task[None]", in_order: bool) -> BaseException | None:
        self.worker.stop()
        if not in_order and not running.done():
            self.worker.stop()  # at once
            running.cancel()  # if it was not so far yet that it could be stopped
        try:
            await asyncio.wait((running,))
        except asyncio.CancelledError:
            running.cancel()
            await asyncio.wait((running,))
            raise
        return None if running.cancelled() else running.exception()

    def _put_back(self) -> None:
        redis_url, ahead = self._before
        self.app.override(redis_url=redis_url)
        self.app.due_times.advance(ahead - self.app.due_times.ahead)
        _in_use.discard(self.app)
        if self._server is not None:
            self._server.close()


def _checked(duration: Duration) -> float:
    try:
        length = seconds(duration)
    except (TypeError, ValueError):
        length = math.nan
    if not 0 <= length < math.inf:
        raise ConfigurationError(f"advance: give seconds, at least 0, or a timedelta, not {duration!r}")
    return length


def _has_all(tree: ActorSnapshot, processor: Processor) -> bool:
    supervisor = next((each for each in tree.children if each.name == top_name(processor.options.name)), None)
    return supervisor is not None and supervisor.details.get("partitions") == processor.stream.partition_count
