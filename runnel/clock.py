"""Time, as a parameter: nothing else in Runnel reads a clock or sleeps.

`SystemClock` is the machine's. `ManualClock` stands still until a test moves it.
"""

import asyncio
import heapq
import itertools
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Protocol

from runnel.errors import ConfigurationError

Duration = float | int | timedelta
"""Seconds, or a timedelta."""


def seconds(duration: Duration) -> float:
    """A duration in seconds."""
    return duration.total_seconds() if isinstance(duration, timedelta) else float(duration)


def checked_seconds(duration: object, what: str) -> float:
    """A duration that somebody gave as `what`, in seconds.

    Raises:
        ConfigurationError: It is none.
    """
    try:
        return seconds(duration)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise ConfigurationError(f"{what} must be seconds, or a timedelta, not {duration!r}") from None


class Timer(Protocol):
    """A callback that is due later."""

    def cancel(self) -> None:
        """Do not call it any more; harmless when it has been called already."""


class Clock(Protocol):
    """What the rest of Runnel knows of time. All durations are seconds."""

    def monotonic(self) -> float:
        """Seconds since an arbitrary moment; never goes back. For deadlines."""

    def time(self) -> float:
        """Seconds since the epoch (UTC). For what people read and for due times."""

    def call_later(self, delay: float, callback: Callable[[], object]) -> Timer:
        """Call back in the running loop after `delay` seconds."""

    async def sleep(self, delay: float) -> None:
        """Suspend the calling task for `delay` seconds."""


class io_timeout:  # noqa: N801 - used like asyncio.timeout
    """Bound an exchange with a server. The network does not wait for a manual clock: this one is always real.

    When time is up the loop still gets some turns: a handler that blocks it makes a reply late that has long arrived, and
    such a reply is not the server's fault.

    Args:
        seconds: How long it may take; None: for ever.

    Raises:
        TimeoutError: At the end of the `async with`, when it took longer.
    """

    TURNS = 20

    def __init__(self, seconds: float | None) -> None:
        self._seconds = seconds
        self._limit = asyncio.timeout(None)
        self._handle: asyncio.Handle | None = None

    async def __aenter__(self) -> None:
        await self._limit.__aenter__()
        if self._seconds is not None:
            self._handle = asyncio.get_running_loop().call_later(self._seconds, self._expire, self.TURNS)

    async def __aexit__(self, *exc: Any) -> None:
        if self._handle is not None:
            self._handle.cancel()
        await self._limit.__aexit__(*exc)

    def _expire(self, turns: int) -> None:
        loop = asyncio.get_running_loop()
        if turns:
            self._handle = loop.call_soon(self._expire, turns - 1)
        else:
            self._limit.reschedule(loop.time())


class SystemClock:
    """The machine's clocks and the running event loop's timers."""

    monotonic = staticmethod(time.monotonic)
    time = staticmethod(time.time)

    def call_later(self, delay: float, callback: Callable[[], object]) -> Timer:
        return asyncio.get_running_loop().call_later(delay, callback)

    async def sleep(self, delay: float) -> None:
        await asyncio.sleep(delay)


class DueTimes:
    """By how much due times (of timers, crontabs, delayed events) are ahead of the clocks: a test lets them pass with it.

    Leases, time-outs and pauses never look at it.
    """

    def __init__(self) -> None:
        self.ahead = 0.0
        self._watchers: list[Callable[[], object]] = []

    def advance(self, seconds: float) -> None:
        """Let what is due within so many seconds be due now."""
        self.ahead += seconds
        for watcher in list(self._watchers):
            watcher()

    def watch(self, callback: Callable[[], object]) -> Callable[[], None]:
        """Call back whenever they were advanced; returns a function that ends this."""
        self._watchers.append(callback)
        return lambda: self._watchers.remove(callback)


class ManualClock:
    """A clock for tests: time passes only in `advance`, which fires what falls due, in order."""

    def __init__(self, start: float = 1_000_000.0) -> None:
        self._now = start
        self._order = itertools.count()
        self._due: list[tuple[float, int, _ManualTimer]] = []

    def monotonic(self) -> float:
        return self._now

    def time(self) -> float:
        return self._now

    def call_later(self, delay: float, callback: Callable[[], object]) -> Timer:
        timer = _ManualTimer(callback)
        heapq.heappush(self._due, (self._now + max(0.0, delay), next(self._order), timer))
        return timer

    async def sleep(self, delay: float) -> None:
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def wake() -> None:
            if not woken.done():
                woken.set_result(None)

        timer = self.call_later(delay, wake)
        try:
            await woken
        finally:
            timer.cancel()

    def advance(self, seconds: float) -> None:
        """Let time pass, calling back at each due moment. What the callbacks wake runs when the loop next turns."""
        until = self._now + seconds
        while self._due and self._due[0][0] <= until:
            self._now, _, timer = heapq.heappop(self._due)
            timer.fire()
        self._now = until


class _ManualTimer:
    def __init__(self, callback: Callable[[], object]) -> None:
        self._callback: Callable[[], object] | None = callback

    def cancel(self) -> None:
        self._callback = None

    def fire(self) -> None:
        if self._callback is not None:
            self._callback()
