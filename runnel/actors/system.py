"""The root of a tree of actors, and the way in from outside."""

import asyncio
import logging
import math
from collections.abc import Callable
from types import TracebackType
from typing import Never, TypeVar

from runnel.actors import cell
from runnel.actors.actor import MAILBOX_CAPACITY, Actor
from runnel.actors.children import Children
from runnel.actors.execution import conduct, deadline
from runnel.actors.inbox import sender_of
from runnel.actors.ref import ActorRef, DeadLetter
from runnel.actors.runtime import Runtime
from runnel.actors.snapshot import ActorFailure, ActorSnapshot, State
from runnel.actors.supervision import Strategy
from runnel.clock import Clock, SystemClock
from runnel.errors import ActorError

M = TypeVar("M")

logger = logging.getLogger(__name__)


class ActorSystem:
    """Runs actors in the current event loop.

    As an async context manager it stops all actors when it is left: in order, waiting for the messages under way, if
    the body ended well; cancelling them at once, if the body raised or was cancelled. An actor's failure that no
    supervision treats stops the system by itself; `stopped()` and the end of the `async with` then raise the actor's
    own error.

    Args:
        name: The first part of all paths.
        clock: The time of timers, timeouts, grace periods and restarts.
        failure_grace: Seconds for the messages under way when a failure stops the system; None waits for ever.
    """

    def __init__(self, name: str, clock: Clock | None = None, *, failure_grace: float | None = 5.0) -> None:
        self.name = name
        self.clock: Clock = SystemClock() if clock is None else clock
        self._failure_grace = failure_grace
        self._runtime = Runtime(self, self.clock, self._panic)
        self._root = _Root(name, Children(name, self.clock), self._fail)
        self._errors: list[BaseException] = []
        self._failure: BaseException | None = None
        self._deadline = math.inf
        self._conductor: asyncio.Task[None] | None = None
        self._stopped = asyncio.Event()

    async def __aenter__(self) -> "ActorSystem":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._request_stop(math.inf if error is None else self.clock.monotonic())
        await self._see_out()
        if self._failure is None or error is self._failure:
            return
        if error is None or isinstance(error, ActorError):
            raise self._failure  # an ActorStopped in the body is but a consequence; it stays as the context
        if isinstance(error, Exception):
            raise BaseExceptionGroup(f"the body and the actors of {self.name} failed", [error, self._failure])

    def spawn(
        self,
        factory: Callable[[], Actor[M]],
        *,
        name: str | None = None,
        mailbox: int = MAILBOX_CAPACITY,
        supervision: Strategy | None = None,
    ) -> ActorRef[M]:
        """Start an actor at the top; see `Actor.spawn`. Needs a running event loop."""
        return cell.spawn(self._runtime, self._root, factory, name, mailbox, supervision)

    async def stop(self, grace: float | None = None) -> None:
        """Stop all actors, the last spawned first, and return when no task is left; see `ActorRef.stop`.

        A second call can shorten the grace period. Cancelling the caller does not call off the stop. Failures are
        raised by `stopped` and at the end of the `async with`, not here.

        Raises:
            ActorError: Called by an actor of this system, which would wait for its own end.
        """
        sender = sender_of(self._runtime.executing)
        if sender is not None:
            raise ActorError(f"{sender.path} waits for the end of its system, which waits for it")
        self._request_stop(deadline(self.clock, grace))
        await self._stopped.wait()

    async def stopped(self) -> None:
        """Wait until the system has stopped, by `stop` or by a failure.

        Raises:
            Exception: The error that the system failed with; an ExceptionGroup if there were several.
        """
        await self._stopped.wait()
        if self._failure is not None:
            raise self._failure

    @property
    def dead_letters(self) -> int:
        """How many told messages found nobody to handle them."""
        return self._runtime.dead_letters.count

    def on_dead_letter(self, callback: Callable[[DeadLetter], object]) -> Callable[[], None]:
        """Call back for each dead letter; returns a function that ends this. What the callback raises is logged."""
        return self._runtime.dead_letters.spectators.subscribe(callback)

    def on_end(self, callback: Callable[[ActorSnapshot], object]) -> Callable[[], None]:
        """Call back with the last snapshot of each actor that stops for good; returns a function that ends this.

        The actor's own code has ended by then, so what its `statistics()` says is final. What the callback raises is
        logged.
        """
        return self._runtime.ends.subscribe(callback)

    def on_failure(self, callback: Callable[[ActorFailure], object]) -> Callable[[], None]:
        """Call back for each failure of an actor; returns a function that ends this. What the callback raises is logged."""
        return self._runtime.failures.subscribe(callback)

    def snapshot(self) -> ActorSnapshot:
        """The whole tree at this moment; the system itself is its root."""
        return ActorSnapshot(
            path=self.name,
            name=self.name,
            kind=type(self).__name__,
            state=self._state(),
            last_error=None if not self._errors else f"{type(self._errors[0]).__name__}: {self._errors[0]}"[:200],
            details={"dead_letters": self.dead_letters},
            children=tuple(child.snapshot() for child in self._root.children),
        )

    def _state(self) -> State:
        if self._conductor is None:
            return State.RUNNING
        return State.STOPPED if self._stopped.is_set() else State.STOPPING

    # --- the end ---------------------------------------------------------------------------------------------------

    def _fail(self, error: BaseException, of_child: str = "") -> None:
        if of_child:  # whose line has the traceback
            logger.error("actor system failed", extra={"actor": self.name, "child": of_child})
        else:
            logger.error("actor system failed", extra={"actor": self.name}, exc_info=error)
        if error not in self._errors:
            self._errors.append(error)
        self._request_stop(deadline(self.clock, self._failure_grace))

    def _panic(self, error: BaseException) -> None:
        self._fail(error)
        self._request_stop(self.clock.monotonic())

    def _request_stop(self, moment: float) -> None:
        if self._stopped.is_set():
            return
        if self._conductor is None:
            self._conductor = conduct(self._shut_down(), f"{self.name}#stop")
        self._deadline = min(self._deadline, moment)
        self._root.children.hurry(self._deadline)

    async def _shut_down(self) -> None:
        try:
            await self._root.children.stop_all(self._deadline)
        finally:
            if self._errors:
                several = len(self._errors) > 1
                self._failure = (
                    BaseExceptionGroup(f"actors of {self.name} failed", self._errors) if several else self._errors[0]
                )
            self._stopped.set()

    async def _see_out(self) -> None:
        cancelled: asyncio.CancelledError | None = None
        while not self._stopped.is_set():
            try:
                await self._stopped.wait()
            except asyncio.CancelledError as error:
                # No task may be left: cancelled, it hurries, and passes the cancellation on at the end.
                cancelled = error
                self._request_stop(self.clock.monotonic())
        if cancelled is not None:
            raise cancelled


class _Root:
    """The parent of the actors at the top."""

    ref: ActorRef[Never] | None = None

    def __init__(self, path: str, children: Children, fail: Callable[[BaseException, str], None]) -> None:
        self.path = path
        self.children = children
        self._fail = fail

    def fail(self, error: BaseException, *, of_child: str = "") -> None:
        self._fail(error, of_child)
