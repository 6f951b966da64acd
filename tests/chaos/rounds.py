"""One round: a timeline comes over a world that is at work, then it is left in peace, and its record is judged."""

import asyncio
import time
import traceback
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from attrs import field, frozen

from runnel.errors import StoreError
from tests.chaos.checks import violations
from tests.chaos.faults import FAULTS, heal
from tests.chaos.record import Record
from tests.chaos.timeline import Moment, Timeline, lasting, planned
from tests.chaos.world import World, opened
from tests.integration.faults.ledger import Order

KEYS = range(12)
PACE = 0.06
"""Seconds between one event of each key and the next."""


@frozen
class Outcome:
    """What came of a round."""

    timeline: Timeline
    violations: list[str]
    folder: Path
    events: int
    repeated: int

    def __str__(self) -> str:
        wrong = [f"{len(self.violations)} violations:", *self.violations[:20]] if self.violations else ["all is well"]
        return "\n".join([str(self.timeline), f"{self.summary}; {self.folder}", *wrong])

    @property
    def summary(self) -> str:
        return f"{self.events} events, {self.repeated} repeated"


async def nothing_more(world: World) -> None:
    """Peace is all that a world needs to come to its end."""


@frozen(kw_only=True)
class Trade:
    """What the workers of a world do, what has to be done in peace before all is done, and what is judged then."""

    plan: dict[str, Any] = field(factory=dict)
    faults: Mapping[str, Callable[[World, Moment], Awaitable[None]]] = field(factory=lambda: FAULTS)
    in_peace: Callable[[World], Awaitable[None]] = nothing_more
    violations: Callable[[Record], list[str]] = violations


async def run(timeline: Timeline, folder: Path, without: str = "", trade: Trade = Trade()) -> Outcome:
    """Have the timeline come over a new world."""
    replica = any(moment.fault == "failover" for moment in timeline.moments)
    async with opened(folder, replica=replica, without=without, **trade.plan) as world:
        found: list[str] = []
        try:
            await _live_through(timeline, world, found, trade)
        except Exception:
            found.append(f"it came to no end: {traceback.format_exc()}")
        record = world.record()
        repeated = world.shop.ledger.repeated()
        return Outcome(timeline, found + trade.violations(record), folder, len(record.sent), len(repeated))


async def _live_through(timeline: Timeline, world: World, found: list[str], trade: Trade) -> None:
    first = [await world.hire() for _ in range(2)]
    over = asyncio.Event()
    selling = asyncio.create_task(_sell(world, over))
    for worker in first:
        await world.ready(worker)
    start = time.monotonic()
    striking = []
    for moment in timeline.moments:
        await planned(start + moment.at)
        striking.append(asyncio.create_task(_strike(world, moment, found, trade)))
    await asyncio.gather(*striking)
    await lasting(0.5)
    over.set()
    await selling
    await heal(world)
    await world.settled()
    await trade.in_peace(world)
    await world.go_home()
    await world.settled(0.0)
    await world.watch.looked()


async def _strike(world: World, moment: Moment, found: list[str], trade: Trade) -> None:
    try:
        await world.at_least(2)  # those that found no server when they started have ended
        await trade.faults[moment.fault](world, moment)
    except Exception:
        found.append(f"the fault itself failed: {moment}: {traceback.format_exc()}")


async def _sell(world: World, over: asyncio.Event) -> None:
    """Send an event of each key, and again, until it is over. Numbers whose sending failed are not used again."""
    number = 0
    while not over.is_set():
        try:
            await world.send(Order(key, number) for key in KEYS)
        except StoreError:
            pass  # whether they are in the log is not known: the log will tell
        number += 1
        await lasting(PACE)
