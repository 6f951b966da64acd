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
from runnel.entity.lane import NONE, Lane
from runnel.handling.window import WIDEST, Latest, Window
from runnel.roles.lanes import Lanes, key_of
from runnel.roles.lease import Lease
from runnel.roles.reader import Batch
from runnel.store.link import Link
from runnel.stream import KEY, TO

ENOUGH = 512
"""Events that wait for a runner: more in hand would only be cold in the processor's caches when their turn comes."""


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
        if not self.batches or len(self.lanes.waiting) >= ENOUGH:
            return False
        left = self.window.left
        return not left or left + len(self.batches[0].entries) <= WIDEST

    async def admit(self) -> None:
        """Take the next batch in hand.

        Raises:
            StoreError: The states cannot be read. The batch is lost: the partition has to begin anew.
        """
        entries = self.batches.popleft().entries
        lanes = self._lanes_of(entries)
        if None in lanes:
            known = self.lanes.by_key
            await self.make_lanes([*{key: None for _, fields in entries if (key := key_of(fields)) not in known}])
            lanes = self._lanes_of(entries)
        self._distribute(entries, lanes)

    def _lanes_of(self, entries: list[tuple[bytes, list[bytes]]]) -> list[Lane]:
        """The lane of each; None, where there is none."""
        find: Any = self.lanes.by_key.get
        return [find(fields[3] if len(fields) > 3 and fields[2] == KEY else key_of(fields)) for _, fields in entries]

    def _distribute(self, entries: list[tuple[bytes, list[bytes]]], lanes: list[Lane]) -> None:
        """Put events before the runners; not those that are done, or are for the actors of another processor."""
        window, now, done = self.window, self.clock.monotonic(), set(self.window.above)
        window.take_in(entries)
        pairs = [*zip(lanes, entries, strict=True)]
        if done or TO in [fields[0] for _, fields in entries]:
            pairs = [pair for pair in pairs if pair[1][0] not in done and self._is_ours(pair[1])]
        for lane, _ in pairs:
            lane.holds += 1
            lane.used = now
        self.lanes.waiting += pairs

    def _is_ours(self, entry: tuple[bytes, list[bytes]]) -> bool:
        ours = entry[1][0] != TO or entry[1][1] == self.lease.processor.options.name.encode()
        if not ours:
            self.window.finish(entry)
        return ours

    async def make_lanes(self, keys: list[bytes]) -> None:
        """Make lanes for these keys, which have none.

        Raises:
            StoreError: Their states cannot be read.
        """
        states = await self._stored("state", self.window.states, keys) if self.entity.state else {}
        reminders = await self._stored("reminders", self.window.reminders, keys) if self.entity.on_reminder else {}
        for key in keys:
            pending = reminders.get(key)
            self.lanes.by_key[key] = Lane(key, states.get(key), orjson.loads(pending) if pending else NONE)

    async def _stored(self, kind: str, latest: Latest, keys: list[bytes]) -> dict[bytes, bytes | None]:
        """What is stored of these keys; of what is not committed yet, what will be."""
        found = {key: latest.of(key) for key in keys if latest.knows(key)}
        if asked := [key for key in keys if key not in found]:
            where: Any = getattr(self.lease.keys, kind)(self.lease.processor.options.name)
            found |= zip(asked, await self.link.command("HMGET", where, *asked), strict=True)
        return found
