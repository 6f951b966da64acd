"""The life of one actor: its incarnations one after the other, its failures, and its end.

    start ──► on_start ──► run ──► (returned, or told to stop) ──► wind down ──► on_stop ──► stopped
      ▲                     │
      │                   failed: the parent's `Children` decide
      └── on_restart ◄── wind down

At any time one task moves an actor on: its own code (`_body`), the parent's restart (`tear_down`), or `_finish`, which
waits for both.
"""

import asyncio
import contextvars
import logging
import math
from collections.abc import Callable, Coroutine
from enum import Enum, auto
from typing import Generic, Never, Protocol, TypeVar

from runnel.actors.activities import Activities
from runnel.actors.actor import Actor, System
from runnel.actors.children import Children
from runnel.actors.execution import Execution, conduct, deadline, settle
from runnel.actors.inbox import Inbox, sender_of
from runnel.actors.ref import ActorRef, Watcher
from runnel.actors.runtime import Runtime, log_failure
from runnel.actors.snapshot import ActorFailure, ActorSnapshot, State
from runnel.actors.supervision import Directive, OneForOne, Strategy
from runnel.clock import Clock
from runnel.errors import ActorError

M = TypeVar("M")
N = TypeVar("N")

logger = logging.getLogger(__name__)


class Parent(Protocol):
    """What an actor needs of its parent, which may be the system."""

    @property
    def path(self) -> str: ...
    @property
    def ref(self) -> ActorRef[Never] | None: ...
    @property
    def children(self) -> Children: ...
    def fail(self, error: BaseException, *, of_child: str = "") -> None: ...


class _Fate(Enum):
    """What is decided about the present incarnation."""

    LIVES = auto()
    RESUMES = auto()
    """Its code is being interrupted, to be called again."""
    DOOMED = auto()
    """A restart takes it down, or has."""


def spawn(
    runtime: Runtime,
    parent: Parent,
    factory: Callable[[], Actor[N]],
    name: str | None,
    mailbox: int,
    supervision: Strategy | None,
) -> ActorRef[N]:
    """Add an actor to a parent and let it start; see `Actor.spawn`."""
    if mailbox < 1:
        raise ActorError(f"a mailbox holds at least one message, not {mailbox}")
    name = parent.children.choose_name(name, _kind(factory))
    cell = Cell(runtime, parent, factory, name, mailbox, OneForOne() if supervision is None else supervision)
    parent.children.add(cell)
    cell.start()
    return cell.ref


class Cell(Generic[M]):
    """What stays of an actor while its incarnations come and go."""

    def __init__(
        self,
        runtime: Runtime,
        parent: Parent,
        factory: Callable[[], Actor[M]],
        name: str,
        capacity: int,
        strategy: Strategy,
    ) -> None:
        self.name = name
        self.path = f"{parent.path}/{name}"
        self.strategy = strategy
        self.serial = parent.children.next_serial()
        self.clock: Clock = runtime.clock
        self.system: System = runtime.system
        self.parent = parent.ref
        self.stopped: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.inbox: Inbox[M] = Inbox(self.path, capacity, runtime.clock, runtime.executing, self._bury)
        self.ref: ActorRef[M] = ActorRef(name, self.inbox, self)
        self.children = Children(self.path, runtime.clock)
        self.activities: Activities[M] = Activities(self.inbox, runtime.clock, self.fail)
        self._runtime = runtime
        self._supervisor = parent
        self._factory = factory
        self._context = contextvars.copy_context()
        self._watchers: list[Watcher] = []
        self._actor: Actor[M] | None = None
        self._started = False
        self._fate = _Fate.LIVES
        self._body: Execution[None] | None = None
        self._clearing: asyncio.Future[None] | None = None
        self._finisher: asyncio.Task[None] | None = None
        self._deadline = math.inf
        self._error: Exception | None = None
        self._last_error: str | None = None
        self._restarts = 0

    # --- for the living instance -----------------------------------------------------------------------------------

    @property
    def child_refs(self) -> tuple[ActorRef[Never], ...]:
        return self.children.refs

    def spawn(
        self, factory: Callable[[], Actor[N]], name: str | None, mailbox: int, supervision: Strategy | None
    ) -> ActorRef[N]:
        return spawn(self._runtime, self, factory, name, mailbox, supervision)

    def stop_after_this(self) -> None:
        self.request_stop(math.inf)

    # --- running ---------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin an incarnation."""
        if self.stopping:
            return
        if self._fate is _Fate.DOOMED:
            self._restarts += 1
            self._clearing = None
            self.children = Children(self.path, self.clock)
            self.activities = Activities(self.inbox, self.clock, self.fail)
        self._fate = _Fate.LIVES
        self._execute_body()

    def _execute_body(self) -> None:
        self._body = self._execute(self._live(), self.path, self._body_ended)

    async def _live(self) -> None:
        if self._actor is None:
            if self.stopping:
                return
            self._actor = self._factory()
            self._actor._cell = self
        if not self._started:
            await self._actor.on_start()
            self._started = True
        await self._actor.run()

    def _execute(
        self, code: Coroutine[object, object, None], name: str, on_end: Callable[[Execution[None]], object]
    ) -> Execution[None]:
        patience = Actor.cleanup_timeout if self._actor is None else self._actor.cleanup_timeout
        execution = Execution(
            code, name=name, clock=self.clock, patience=patience, on_end=on_end, context=self._context.copy()
        )
        self._runtime.executing[execution.task] = self.inbox
        return execution

    def _body_ended(self, body: Execution[None]) -> None:
        self._runtime.executing.pop(body.task)
        error = body.failure()
        if error is None and not body.task.cancelled():
            self.inbox.complete()
        else:
            self.inbox.interrupt(error if isinstance(error, Exception) else None)
        if error is not None:
            self.fail(error)
        if self._fate is _Fate.RESUMES and not self.stopping:
            self._fate = _Fate.LIVES
            self._execute_body()
        elif error is None and self._fate is _Fate.LIVES and not self.stopping:
            self._end_without_error(body)

    def _end_without_error(self, body: Execution[None]) -> None:
        if body.cancelled_from_outside:
            logger.warning("actor cancelled from outside", extra={"actor": self.path})
            self.request_stop(self.clock.monotonic())
        else:
            self.request_stop(math.inf)

    # --- failing ---------------------------------------------------------------------------------------------------

    def fail(self, error: BaseException, *, of_child: str = "") -> None:
        """Treat a failure of this actor: of its own code, of its background work, or one that a child escalated."""
        if not isinstance(error, Exception):
            return self._runtime.panic(error)
        self._last_error = f"{type(error).__name__}: {error}"[:200]
        log_failure(self.strategy, error, of_child, actor=self.path, restarts=self._restarts)
        self._runtime.failures.show(lambda: ActorFailure(path=self.path, error=error), self.path)
        if self.stopping:
            self._error = error
            self._end_body_by(self.clock.monotonic())
        elif self._fate is _Fate.LIVES:
            self._follow(self._supervisor.children.treat(self, error, resumable=self._started), error)

    def _follow(self, directive: Directive, error: Exception) -> None:
        if directive is Directive.RESUME:
            self._fate = _Fate.RESUMES
        elif directive is not Directive.RESTART:
            self._error = error
            self.request_stop(self.clock.monotonic())
        self._end_body_by(self.clock.monotonic())
        if directive is Directive.ESCALATE:
            self._supervisor.fail(error, of_child=self.path)

    def _end_body_by(self, moment: float) -> None:
        if self._body is not None:
            self._body.end_by(moment)

    def doom(self) -> None:
        self._fate = _Fate.DOOMED

    async def tear_down(self, error: Exception) -> None:
        """Clear this incarnation away for the next one, interrupting what it does."""
        if self.stopping:
            return
        self._clearing = asyncio.get_running_loop().create_future()
        try:
            await self._wind_down(self.clock.monotonic())
            if self._actor is not None:
                await self._clear_away(self._actor, error)
        finally:
            self._clearing.set_result(None)

    async def _clear_away(self, actor: Actor[M], error: Exception) -> None:
        if self._started:
            await self._call_hook(actor, actor.on_restart(error), "on_restart")
        self._actor = None
        self._started = False
        self.inbox.recover(clear=actor.clear_mailbox_on_restart)

    # --- stopping --------------------------------------------------------------------------------------------------

    @property
    def stopping(self) -> bool:
        """Whether it is to stop for good, or has."""
        return self._finisher is not None

    @property
    def is_stopped(self) -> bool:
        return self.stopped.done()

    async def stop(self, grace: float | None) -> None:
        sender = sender_of(self._runtime.executing)
        if sender is not None and f"{sender.path}/".startswith(f"{self.path}/"):
            raise ActorError(f"{sender.path} waits for the end of {self.path}, which waits for it; use Actor.stop")
        self.request_stop(deadline(self.clock, grace))
        await asyncio.shield(self.stopped)

    def request_stop(self, deadline: float) -> None:
        """Begin to stop, or shorten the time for it."""
        if self._finisher is None:
            self.inbox.close()
            self._finisher = conduct(self._finish(), f"{self.path}#stop")
        self._deadline = min(self._deadline, deadline)
        self._end_body_by(self._deadline)
        self.children.hurry(self._deadline)

    async def _finish(self) -> None:
        try:
            if self._clearing is not None:
                await settle([self._clearing], self._hurry)
            await self._wind_down(self._deadline)
            if self._started and self._actor is not None:
                await self._call_hook(self._actor, self._actor.on_stop(), "on_stop")
        finally:
            self._conclude()

    async def _wind_down(self, moment: float) -> None:
        """The order of the end: first the own code, then what it started, then the children."""
        if self._body is not None:
            self._body.end_by(moment)
            await settle([self._body.task], self._hurry)
        await self.activities.close(self._hurry)
        await self.children.stop_all(min(moment, self._deadline))

    async def _call_hook(self, actor: Actor[M], hook: Coroutine[object, object, None], name: str) -> None:
        execution = self._execute(hook, f"{self.path}#{name}", lambda ended: self._runtime.executing.pop(ended.task))
        execution.end_by(self.clock.monotonic() + actor.cleanup_timeout)
        await settle([execution.task], lambda: None)
        error = execution.failure()
        if error is not None or execution.killed:
            logger.warning("hook failed", extra={"actor": self.path, "hook": name}, exc_info=error)
        if error is not None and not isinstance(error, Exception):
            self._runtime.panic(error)

    def _hurry(self) -> None:
        self.request_stop(self.clock.monotonic())

    def _conclude(self) -> None:
        self._runtime.ends.show(self.snapshot, self.path)
        self._actor = None
        self.inbox.reject_all()
        self._supervisor.children.remove(self)
        self.stopped.set_result(None)
        for watcher in self._watchers:
            watcher.ended(self._error)
        self._watchers.clear()

    # --- for others ------------------------------------------------------------------------------------------------

    def add_watcher(self, watcher: Watcher) -> None:
        if self.is_stopped:
            watcher.ended(self._error)
        else:
            self._watchers.append(watcher)

    def remove_watcher(self, watcher: Watcher) -> None:
        if watcher in self._watchers:
            self._watchers.remove(watcher)

    def _bury(self, message: object) -> None:
        self._runtime.dead_letters.bury(self.ref, message)

    @property
    def state(self) -> State:
        if self.stopping:
            return State.STOPPED if self.is_stopped else State.STOPPING
        if self._fate is _Fate.DOOMED:
            return State.RESTARTING if self._clearing is None or not self._clearing.done() else State.BACKOFF
        if self.inbox.blocked:
            return State.BLOCKED
        if not self._started:
            return State.STARTING
        return State.IDLE if self.inbox.mailbox.awaited else State.RUNNING

    def snapshot(self) -> ActorSnapshot:
        details, residents = self._says()
        return ActorSnapshot(
            path=self.path,
            name=self.name,
            kind=_kind(self._factory) if self._actor is None else type(self._actor).__name__,
            state=self.state,
            mailbox_depth=len(self.inbox.mailbox),
            mailbox_capacity=self.inbox.mailbox.capacity,
            processed=self.inbox.processed,
            restarts=self._restarts,
            last_error=self._last_error,
            message_age=self.inbox.age(self.clock.monotonic()),
            details=details,
            children=(*(child.snapshot() for child in self.children), *residents),
        )

    def _says(self) -> tuple[dict[str, object], tuple[ActorSnapshot, ...]]:
        """What the actor itself says: details, and who lives in it."""
        if self._actor is None or not self._started:
            return {}, ()
        try:
            return dict(self._actor.statistics()), tuple(self._actor.residents())
        except Exception as error:
            # The view must work above all when an actor does not.
            return {"statistics": f"{type(error).__name__}: {error}"[:200]}, ()


def _kind(factory: object) -> str:
    """What a factory makes, as far as its name tells."""
    inner = getattr(factory, "func", factory)
    return str(getattr(inner, "__name__", type(inner).__name__)).strip("<>")
