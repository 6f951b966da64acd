"""The alarm: interrupts a processor's function that takes too long over an event.

There is one timer a partition, not one an event: it looks when the present event began, and goes on if there is time left.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable
from typing import TypeVar

from runnel.clock import Clock, Timer
from runnel.errors import TimedOut

T = TypeVar("T")


class Alarm:
    """Of one call of a function, in whose task it is made.

    Args:
        clock: By which the time is measured.
        limit: Seconds that an event, or a batch, may take.

    Attributes:
        since: When the function got what is out; None: nothing is. Who hands out events one by one sets it himself.
        rang: Whether the function was interrupted: it has failed with `error`, even if it comes back for more.
    """

    def __init__(self, clock: Clock, limit: float) -> None:
        self._clock = clock
        self._limit = limit
        self._task = asyncio.current_task()
        self.since: float | None = None
        self._timer: Timer | None = None
        self.rang = False

    def begin(self) -> None:
        """The function gets an event."""
        self.since = self._clock.monotonic()
        if self._timer is None:
            self._timer = self._clock.call_later(self._limit, self._look)

    def pause(self) -> None:
        """The function has come back, and nothing is out for now.

        Raises:
            TimedOut: It was interrupted, and swallowed that.
        """
        if self.rang:
            raise self.error()
        self.since = None

    def verdict(self, interrupted: bool) -> TimedOut | None:
        """The function has ended: why, if it was interrupted and nobody else wants it to end.

        Args:
            interrupted: Whether it ended with a `CancelledError`.
        """
        self.since = None
        if self._timer is not None:
            self._timer.cancel()
        if not self.rang or self._task is None:
            return None
        others = self._task.uncancel()
        return None if interrupted and others else self.error()

    def _look(self) -> None:
        self._timer = None
        if self.since is None or self._task is None:
            return  # the next event sets it again
        left = self.since + self._limit - self._clock.monotonic()
        if left > 0:
            self._timer = self._clock.call_later(left, self._look)
        else:
            self.rang = True
            self._task.cancel()

    def error(self) -> TimedOut:
        """What it fails with that took too long."""
        return TimedOut(f"took longer than {self._limit:g} s")


async def timed(items: AsyncIterator[T], alarm: Alarm) -> AsyncGenerator[T, None]:
    """Pass items on, under an alarm."""
    async for item in items:
        alarm.begin()
        yield item
        alarm.pause()


async def outcome(running: Awaitable[object], alarm: Alarm | None) -> Exception | None:
    """Let a function run to its end: what it has failed with, if it has.

    Raises:
        CancelledError: It was cancelled, and not by the alarm.
    """
    try:
        await running
    except asyncio.CancelledError:
        failure = alarm.verdict(interrupted=True) if alarm else None
        if failure is None:
            raise
        return failure
    except (Exception, SystemExit) as error:
        if alarm:
            alarm.verdict(interrupted=False)
        return error if isinstance(error, Exception) else _exits(error)
    return alarm.verdict(interrupted=False) if alarm else None


def _exits(error: SystemExit) -> RuntimeError:
    """A call of `sys.exit` fails as any error does: it would end the event loop, and leave half of the worker."""
    failure = RuntimeError(f"called sys.exit({error.code!r})")
    failure.__cause__ = error
    return failure
