"""From batches that were read to lanes: each key with events in hand has one, with its state.

Part of the partition actor, by which it is called. States of keys that are not active are read a batch at a time. What is in
hand is bounded: so far may events be done before an earlier one is.
"""

from collections import deque
from typing import Any

import orjson
from attrs import define, field

from runnel.clock import Clock
from runnel.entity.declaration import Entity
from runnel.entity.lane import Lane
from runnel.handling.window import WIDEST, Latest, Window
from runnel.roles.lanes import Lanes, key_of
from runnel.roles.lease import Lease
from runnel.roles.reader import Batch
from runnel.store.link import Link
from runnel.stream import TO


@define(eq=False)
class Admission:
    """Of one partition.

    Attributes:
        batches: What was read and is not in hand yet.
    """

    lease: Lease
    window: Window
    lanes: Lanes
    entity: Entity
    link: Link
    clock: Clock
    batches: deque[Batch] = field(factory=deque)

    @property
    def has_room(self) -> bool:
        """Whether a batch is there, and may come in."""
        left = self.window.left
        return bool(self.batches) and (not left or left + len(self.batches[0].entries) <= WIDEST)

    async def admit(self) -> None:
        """Take the next batch in hand.

        Raises:
            StoreError: The states cannot be read. The batch is lost: the partition has to begin anew.
        """
        entries = self.batches.popleft().entries
        keys = [key_of(entry[1]) for entry in entries]
        await self.make_lanes([*{key: None for key in keys if key not in self.lanes.by_key}])
        self._distribute(entries, keys)

    def _distribute(self, entries: list[tuple[bytes, list[bytes]]], keys: list[bytes]) -> None:
        window, lanes, now = self.window, self.lanes, self.clock.monotonic()
        by_key, waiting, name = lanes.by_key, lanes.waiting, self.lease.processor.options.name.encode()
        done = set(window.above)
        window.take_in(entries)
        for entry, key in zip(entries, keys, strict=True):
            fields = entry[1]
            if entry[0] in done:
                continue
            if fields[0] == TO and fields[1] != name:
                window.finish(entry[0])  # it is for the actors of another processor
            else:
                lane = by_key[key]
                lane.holds += 1
                lane.used = now
                waiting.append((lane, entry))

    async def make_lanes(self, keys: list[bytes]) -> None:
        """Make lanes for these keys, which have none.

        Raises:
            StoreError: Their states cannot be read.
        """
        states = await self._stored("state", self.window.states, keys) if self.entity.state else {}
        reminders = await self._stored("reminders", self.window.reminders, keys) if self.entity.on_reminder else {}
        for key in keys:
            pending = reminders.get(key)
            self.lanes.by_key[key] = Lane(key, states.get(key), orjson.loads(pending) if pending else {})

    async def _stored(self, kind: str, latest: Latest, keys: list[bytes]) -> dict[bytes, bytes | None]:
        """What is stored of these keys; of what is not committed yet, what will be."""
        found = {key: latest.of(key) for key in keys if latest.knows(key)}
        if asked := [key for key in keys if key not in found]:
            where: Any = getattr(self.lease.keys, kind)(self.lease.processor.options.name)
            found |= zip(asked, await self.link.command("HMGET", where, *asked), strict=True)
        return found
