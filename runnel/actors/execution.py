"""Running an actor's own code in a task that can be ended at a deadline, and waiting for such tasks.

The only place of the kernel that creates tasks.
"""

import asyncio
import logging
import math
from collections.abc import Callable, Coroutine, Iterable
from contextvars import Context
from typing import Any, Generic, TypeVar

from runnel.actors.inbox import ActorStopping
from runnel.clock import Clock, Timer
from runnel.errors import ActorError

T = TypeVar("T")

logger = logging.getLogger(__name__)


def deadline(clock: Clock, grace: float | None) -> float:
    """The moment on the clock that a grace period ends; infinite for None."""
    return math.inf if grace is None else clock.monotonic() + grace


class Execution(Generic[T]):
    """One task of an actor's own code.

    Args:
        patience: Seconds after which a task that outlives its cancellation is cancelled again: it is never abandoned.
        on_end: Called with this object when the task has ended, before anyone who waits for the task.
    """

    def __init__(
        self,
        coroutine: Coroutine[Any, Any, T],
        *,
        name: str,
        clock: Clock,
        patience: float,
        on_end: "Callable[[Execution[T]], object]",
        context: Context | None = None,
    ) -> None:
        self.task = asyncio.get_running_loop().create_task(coroutine, name=name, context=context)
        self.killed = False
        self._clock = clock
        self._patience = patience
        self._on_end = on_end
        self._deadline = math.inf
        self._killer: Timer | None = None
        self.task.add_done_callback(self._ended)

    @property
    def cancelled_from_outside(self) -> bool:
        """Whether someone other than the kernel cancelled the task, and it obeyed."""
        return not self.killed and self.task.cancelled() and self.task.cancelling() > 0

    def failure(self) -> BaseException | None:
        """What the ended task failed with; None if it ended in order, or by cancellation of the task itself."""
        if not self.task.cancelled():
            return _unless_stopping(self.task.exception())
        if self.task.cancelling():
            return None
        # Nobody cancelled this task: the code awaited something that was cancelled, and let that pass.
        return ActorError("awaited something that was cancelled")

    def end_by(self, moment: float) -> None:
        """Cancel the task at `moment`, if it still runs; now, if that has passed. Only ever shortens its time."""
        if self.task.done() or self.killed or moment >= self._deadline:
            return
        self._deadline = moment
        remaining = moment - self._clock.monotonic()
        if remaining > 0:
            self._rearm(remaining)
        else:
            self._kill()

    def _kill(self) -> None:
        if self.killed:
            logger.warning("actor outlives its cancellation", extra={"actor": self.task.get_name()})
        self.killed = True
        self.task.cancel()
        self._rearm(self._patience)

    def _rearm(self, delay: float) -> None:
        self._disarm()
        self._killer = self._clock.call_later(delay, self._kill)

    def _disarm(self) -> None:
        if self._killer is not None:
            self._killer.cancel()

    def _ended(self, _task: asyncio.Task[T]) -> None:
        self._disarm()
        self._on_end(self)


def conduct(coroutine: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
    """Start a task of the kernel's own, which brings something to its end."""
    return asyncio.get_running_loop().create_task(coroutine, name=name)


async def settle(futures: Iterable[asyncio.Future[T]], hurry: Callable[[], object]) -> None:
    """Wait until all are done, whatever their outcome, even if the waiter is cancelled meanwhile.

    Then `hurry` is called, and the cancellation is kept: it meets the waiter again at its next wait, or at its end. So
    what has to be brought to an end is, and no cancellation is swallowed.
    """
    cancelled = False
    pending: set[asyncio.Future[T]] = {future for future in futures if not future.done()}
    while pending:
        try:
            _, pending = await asyncio.wait(pending)
        except asyncio.CancelledError:
            cancelled = True
            hurry()
            pending = {future for future in pending if not future.done()}
    task = asyncio.current_task()
    if cancelled and task is not None:
        task.cancel()


def _unless_stopping(error: BaseException | None) -> BaseException | None:
    # A task group in `run` wraps the signal into a group.
    if isinstance(error, BaseExceptionGroup):
        return error.split(ActorStopping)[1]
    return None if isinstance(error, ActorStopping) else error
