"""The promoter: moves delayed events into their logs when they are due.

Every worker has one, since any may do it and it needs no lease: the leader's looks often, the others' now and then, for the
time in which nobody leads. What moves, in which order, and that it moves once is the script's business.
"""

import logging
import random
from collections.abc import Sequence
from typing import Any

from attrs import define, field

from runnel.actors import Actor
from runnel.clock import DueTimes
from runnel.errors import StoreError
from runnel.roles.job import Look
from runnel.roles.timeline import Lead
from runnel.store import timing
from runnel.store.keys import AppKeys, PartitionKeys
from runnel.store.link import Link
from runnel.store.scripts import Call
from runnel.store.timing import Promoted

log = logging.getLogger(__name__)

LEADING, FOLLOWING = 0.2, 1.0
"""Seconds between two looks, at most."""

SOONEST = 0.02
"""And at least: where many events are due one after the other, a look moves some at once."""


@define(eq=False)
class Promoter(Actor[Look]):
    """Looks after delayed events, of all streams that ever had some, whoever declares them.

    Args:
        keys: The app's.
        link: A connection of its own.
        lead: Whether this worker leads.
        due_times: How far they are ahead.
    """

    keys: AppKeys
    link: Link
    lead: Lead
    due_times: DueTimes
    moved: int = 0
    held: set[PartitionKeys] = field(factory=set)
    """Partitions that have no room for what is due."""
    away: bool = False

    async def on_start(self) -> None:
        self.set_timer("look", Look(), 0)

    async def receive(self, message: Look) -> None:
        pace = LEADING if self.lead.token is not None else FOLLOWING * random.uniform(0.8, 1.2)
        try:
            wait = await self._promote(await self._partitions())
            if self.lead.token is not None and wait is not None:
                pace = max(SOONEST, min(pace, wait))
            self.away = False
        except StoreError as error:  # no reason to stop anything: look again later
            if not self.away:
                log.warning("delayed events cannot be moved, trying again", extra={"error": str(error)})
            self.away, pace = True, FOLLOWING
        self.set_timer("look", Look(), pace)

    async def on_stop(self) -> None:
        await self.link.close()

    def statistics(self) -> dict[str, object]:
        return {"moved": self.moved, **({"full": len(self.held)} if self.held else {})}

    async def _partitions(self) -> list[PartitionKeys]:
        counts: dict[bytes, bytes] = await self.link.command("HGETALL", self.keys.delaying)
        return [
            PartitionKeys(self.keys.app, stream.decode(), number)
            for stream, count in counts.items()
            for number in range(int(count))
        ]

    async def _promote(self, partitions: Sequence[PartitionKeys]) -> float | None:
        """Move all that is due; seconds until the next is, of those that have room, or None."""
        waits: list[float] = []
        refused: StoreError | None = None  # one partition holds up no other
        while partitions and not self.is_stopping:
            more = []
            calls: list[Call[Any]] = [timing.promote(keys, ahead=self.due_times.ahead) for keys in partitions]
            answers: list[Promoted | StoreError] = await self.link.run(calls)
            for keys, answer in zip(partitions, answers, strict=True):
                if isinstance(answer, StoreError):
                    refused = answer
                    continue
                self._note(keys, answer)
                if answer.wait == 0 and answer.holder is None:
                    more.append(keys)
                elif answer.wait is not None and answer.holder is None:
                    waits.append(answer.wait)
            partitions = more
        if refused is not None:
            raise refused
        return min(waits, default=None)

    def _note(self, keys: PartitionKeys, answer: Promoted) -> None:
        self.moved += answer.moved
        fields = {"app": keys.app, "stream": keys.stream, "partition": keys.number}
        if answer.dropped:
            log.warning("unprocessed events dropped", extra={**fields, "dropped": answer.dropped})
        if answer.holder is None:
            self.held.discard(keys)
        elif keys not in self.held:
            self.held.add(keys)
            log.warning("delayed events wait for room", extra={**fields, "processor": answer.holder or None})
