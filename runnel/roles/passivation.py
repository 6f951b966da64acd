"""Which actors go, since their keys were idle for long, or too many are active. What they remember stays.

Part of the partition actor, by which it is called.
"""

from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from attrs import define

from runnel.clock import Clock
from runnel.entity.context import Entry
from runnel.entity.lane import Lane
from runnel.entity.performing import Performer
from runnel.roles.lanes import Lanes

GOING: Entry = (b"", [])
"""What is under way in a lane whose actor is about to go."""

SOONEST, LATEST = 0.05, 60.0
"""Seconds between two looks for idle keys: each goes through all that are active."""


def pace(idle_timeout: float) -> float:
    """Seconds from one sweep to the next."""
    return max(SOONEST, min(idle_timeout / 4, LATEST))


@define(eq=False)
class Passivation:
    """Of one partition.

    Args:
        lanes: The partition's.
        performer: Tells actors that they go.
        clock: The clock.
        share: How many may be active.
        begin: Has something run in the background, and calls back when it has ended.
    """

    lanes: Lanes
    performer: Performer
    clock: Clock
    share: Callable[[], int]
    begin: Callable[[Coroutine[Any, Any, None], Callable[[], None]], None]
    passivated: int = 0

    def make_room(self) -> None:
        """Have those go that were used least recently, if there are too many."""
        self._passivate(self.lanes.beyond(self.share()))

    def sweep(self) -> None:
        """Have those go whose keys were idle for long."""
        self._passivate(self.lanes.idle_since(self.clock.monotonic() - self.performer.entity.options.idle_timeout))

    async def passivate_all(self) -> None:
        """The partition goes."""
        await self._tell(self.lanes.by_key.values())

    def _passivate(self, lanes: list[Lane]) -> None:
        self.passivated += len(lanes)
        told = [lane for lane in lanes if self.performer.entity.on_stop is not None and lane.actor is not None]
        for lane in told:
            lane.at = GOING
        if told:
            self.begin(self._tell(told), lambda: self._forget(told))
        self._forget([lane for lane in lanes if lane.at is None])

    async def _tell(self, lanes: Iterable[Lane]) -> None:
        for lane in lanes:
            await self.performer.passivate(lane)

    def _forget(self, lanes: list[Lane]) -> None:
        for lane in lanes:
            if lane.at is not None and lane.at is not GOING:
                continue  # an event that runs alone (solo.py) does not wait until its actor is gone
            lane.at = None
            if not lane.holds:
                del self.lanes.by_key[lane.key]
            elif lane.waiting:  # an event came meanwhile
                self.lanes.freed.append(lane)
