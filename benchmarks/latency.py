"""Latencies: pacing of senders, and the order statistics of what receivers see."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from benchmarks.process import Figures

WARMUP = 100
"""So many first latencies are left out."""


async def paced(events: int, rate: float, send: Callable[[int], Awaitable[object]]) -> None:
    """Send events one at a time, `rate` a second; each carries its own `time_ns`."""
    start = time.perf_counter()
    for number in range(events):
        wait = start + number / rate - time.perf_counter()
        if wait > 0:
            await asyncio.sleep(wait)
        await send(time.time_ns())


class Latencies:
    """What a receiver collects."""

    def __init__(self, events: int) -> None:
        self.missing = events
        self._ns: list[int] = []

    def arrived(self, sent_at: int) -> bool:
        """Note an event that was sent at `time_ns`; whether it was the last."""
        self._ns.append(time.time_ns() - sent_at)
        self.missing -= 1
        return self.missing <= 0

    def figures(self) -> Figures:
        """Percentiles in milliseconds."""
        ordered = sorted(self._ns[WARMUP:] or self._ns)
        return {
            "p50": ordered[len(ordered) // 2] / 1e6,
            "p99": ordered[int(len(ordered) * 0.99)] / 1e6,
            "max": ordered[-1] / 1e6,
        }
