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
    """

    def __init__(self, clock: Clock, limit: float) -> None:
        self._clock = clock
        self._limit = limit
        self._task = asyncio.current_task()
        self._since: float | None = None
        self._timer: Timer | None = None
        self._rang = False

    def begin(self) -> None:
        """The function gets an event."""
        self._since = self._clock.monotonic()
        if self._timer is None:
            self._timer = self._clock.call_later(self._limit, self._look)

    def next(self, moment: float) -> None:
        """The function comes back, at this moment, and gets the next one.

        Raises:
            TimedOut: It was interrupted, and swallowed that.
        """
        if self._rang:
            raise self._error()
        self._since = moment

    def pause(self) -> None:
        """The function has come back, and nothing is out for now.

        Raises:
            TimedOut: As `next`.
        """
        if self._rang:
            raise self._error()
        self._since = None

    def verdict(self, interrupted: bool) -> TimedOut | None:
        """The function has ended: why, if it was interrupted and nobody else wants it to end.

        Args:
            interrupted: Whether it ended with a `CancelledError`.
        """
        self._since = None
        if self._timer is not None:
            self._timer.cancel()
        if not self._rang or self._task is None:
            return None
        others = self._task.uncancel()
        return None if interrupted and others else self._error()

    def _look(self) -> None:
        self._timer = None
        if self._since is None or self._task is None:
            return  # the next event sets it again
        left = self._since + self._limit - self._clock.monotonic()
        if left > 0:
            self._timer = self._clock.call_later(left, self._look)
        else:
            self._rang = True
            self._task.cancel()

    def _error(self) -> TimedOut:
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
    except Exception as error:
        if alarm:
            alarm.verdict(interrupted=False)
        return error
    return alarm.verdict(interrupted=False) if alarm else None
