"""What one incarnation of an actor has going on besides its messages: timers, watches, background work.

All of it reports by messages, and all of it ends with the incarnation: nothing that the last one started reaches the
next.
"""

import functools
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Generic, Never, TypeVar, cast

from attrs import define

from runnel.actors.execution import Execution, settle
from runnel.actors.inbox import Inbox
from runnel.actors.mailbox import Envelope
from runnel.actors.ref import ActorRef, Terminated
from runnel.clock import Clock, Timer
from runnel.errors import ActorError, ActorStopped

M = TypeVar("M")
T = TypeVar("T")

# A background activity that outlives its cancellation is cancelled again after so many seconds.
PATIENCE = 5.0


class Activities(Generic[M]):
    """The timers, watches and background work of one incarnation.

    It is itself the source of the results of background work: they are delivered only as long as it is open.

    Args:
        inbox: Where everything is reported.
        fail: Fails the actor with an error that has no message of its own.
    """

    def __init__(self, inbox: Inbox[M], clock: Clock, fail: Callable[[BaseException], None]) -> None:
        self.live = True
        self._inbox = inbox
        self._clock = clock
        self._fail = fail
        self._timers: dict[object, _ActorTimer[M]] = {}
        self._watches: dict[ActorRef[Never], _Watch[M]] = {}
        self._background: set[Execution[Any]] = set()

    def delivered(self) -> None:
        """Nothing to note: see `Source`."""

    async def close(self, hurry: Callable[[], object]) -> None:
        """End everything; returns when no task is left."""
        self.live = False
        for key in list(self._timers):
            self.cancel_timer(key)
        for ref in list(self._watches):
            self.unwatch(ref)
        for execution in self._background:
            execution.end_by(self._clock.monotonic())
        await settle([execution.task for execution in self._background], hurry)

    def _check_open(self) -> None:
        if not self.live:
            raise ActorStopped(f"{self._inbox.path} is past its last message and begins nothing new")

    # --- timers ----------------------------------------------------------------------------------------------------

    def set_timer(self, key: object, message: M, delay: float, repeat: bool) -> None:
        self._check_open()
        if repeat and delay <= 0:
            raise ActorError(f"a repeating timer needs a positive delay, not {delay!r}")
        self.cancel_timer(key)
        timer = self._timers[key] = _ActorTimer(message, repeat, functools.partial(self._timers.pop, key, None))
        self._schedule(timer, delay)

    def cancel_timer(self, key: object) -> None:
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()

    def _schedule(self, timer: "_ActorTimer[M]", delay: float) -> None:
        timer.due = self._clock.call_later(delay, functools.partial(self._fire, timer, delay))

    def _fire(self, timer: "_ActorTimer[M]", delay: float) -> None:
        if timer.repeat:
            self._schedule(timer, delay)
        if not timer.queued:
            timer.queued = True
            self._inbox.deliver(Envelope(timer.message, source=timer))

    # --- watches ---------------------------------------------------------------------------------------------------

    def watch(self, ref: ActorRef[Never]) -> None:
        self._check_open()
        if ref not in self._watches:
            watch = self._watches[ref] = _Watch(ref, self._inbox)
            ref._add_watcher(watch)

    def unwatch(self, ref: ActorRef[Never]) -> None:
        watch = self._watches.pop(ref, None)
        if watch is not None:
            watch.live = False
            ref._remove_watcher(watch)

    # --- background work -------------------------------------------------------------------------------------------

    def pipe(
        self,
        awaitable: Awaitable[T],
        on_result: Callable[[T], M],
        on_error: Callable[[Exception], M] | None,
    ) -> None:
        if not self.live and isinstance(awaitable, Coroutine):
            awaitable.close()  # or Python complains that nobody awaited it
        self._check_open()
        execution = Execution(
            awaitable if isinstance(awaitable, Coroutine) else _outcome_of(awaitable),
            name=f"{self._inbox.path}#pipe",
            clock=self._clock,
            patience=PATIENCE,
            on_end=lambda ended: self._piped(ended, on_result, on_error),
        )
        self._background.add(execution)

    def _piped(
        self,
        execution: Execution[T],
        on_result: Callable[[T], M],
        on_error: Callable[[Exception], M] | None,
    ) -> None:
        self._background.discard(execution)
        error = execution.failure()
        if not self.live or (error is None and execution.task.cancelled()):
            return
        try:
            if error is None:
                message = on_result(execution.task.result())
            elif isinstance(error, Exception) and on_error is not None:
                message = on_error(error)
            else:
                raise error
            self._inbox.deliver(Envelope(message, source=self))
        except BaseException as failure:
            self._fail(failure)


async def _outcome_of(awaitable: Awaitable[T]) -> T:
    return await awaitable


@define(eq=False)
class _ActorTimer(Generic[M]):
    message: M
    repeat: bool
    forget: Callable[[], object]
    live: bool = True
    queued: bool = False
    due: Timer | None = None

    def delivered(self) -> None:
        self.queued = False
        if not self.repeat:
            self.forget()

    def cancel(self) -> None:
        self.live = False
        if self.due is not None:
            self.due.cancel()


@define(eq=False)
class _Watch(Generic[M]):
    ref: ActorRef[Never]
    inbox: Inbox[M]
    live: bool = True

    def delivered(self) -> None:
        """Nothing to note: an actor ends only once."""

    def ended(self, error: Exception | None) -> None:
        # Whoever watches has Terminated among its messages: the types cannot say so.
        self.inbox.deliver(Envelope(cast(M, Terminated(self.ref, error)), source=self))
