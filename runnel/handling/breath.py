"""Turns for the event loop, between the events that a partition hands out from memory.

Iterating over events in hand suspends nothing by itself: without this, commits and other partitions would wait for all of it.
"""

import asyncio

from runnel.clock import Clock

BREATH = 0.0005
"""Seconds for which a partition hands out events in hand before the event loop gets a turn. A commit takes some turns, and
all partitions of a worker have theirs in each: with 5 ms, commits of 16 busy partitions came two seconds late."""

BLOCKED, TURNS = 0.01, 8
"""Seconds by which a turn is late after a handler that blocks, and how many turns the loop gets then: a commit takes some."""


class Breath:
    """Gives the event loop a turn, when it is time."""

    def __init__(self, clock: Clock) -> None:
        self._now = clock.monotonic
        self._due = self._now() + BREATH

    async def __call__(self) -> None:
        if (now := self._now()) >= self._due:
            await breathe(now - self._due)
            self._due = self._now() + BREATH


async def breathe(late: float) -> None:
    """Give the event loop a turn; several after a handler that blocked it, or commits would wait for many such handlers."""
    for _ in range(1 if late < BLOCKED else TURNS):
        await asyncio.sleep(0)
