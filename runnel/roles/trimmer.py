"""The trimmer: gives memory back when the server has little left, by dropping events that every processor has done.

Logs keep what is done until an append needs its room, and an append is what a full server refuses: without this it would
stay full for ever. It gets nothing from the other actors and tells them nothing. It drops no event that a registered
processor has not done, whoever owns the partition: the script sees to that, so that any worker may trim.
"""

import logging
import re
from collections.abc import Iterable, Sequence

from attrs import define, frozen

from runnel.actors import Actor
from runnel.errors import StoreError
from runnel.store import scripts
from runnel.store.keys import PartitionKeys
from runnel.store.link import Link

log = logging.getLogger(__name__)

INTERVAL = 1.0
"""Seconds between looks at the server's memory."""

NEARLY_FULL = 0.9
"""The share of `maxmemory` in use from which on there is trimming."""


# ── messages ──


@frozen
class _Look:
    pass


@define(eq=False)
class Trimmer(Actor[_Look]):
    """Looks after the memory of the server.

    Args:
        partitions: Of all streams that this worker's processors read.
        link: A connection of its own.
    """

    partitions: Sequence[PartitionKeys]
    link: Link
    trimmed: int = 0
    failing: bool = False

    async def on_start(self) -> None:
        self.set_timer("look", _Look(), INTERVAL)

    async def receive(self, message: _Look) -> None:
        try:
            if is_nearly_full(await self.link.command("INFO", "memory")):
                await self._trim()
            self.failing = False
        except StoreError as error:  # no reason to stop anything: look again later
            if not self.failing:
                log.warning("cannot look after the server's memory, trying again", extra={"error": str(error)})
            self.failing = True
        self.set_timer("look", _Look(), INTERVAL)

    async def on_stop(self) -> None:
        await self.link.close()

    def statistics(self) -> dict[str, object]:
        return {"trimmed": self.trimmed}

    async def _trim(self) -> None:
        dropped = 0
        for answer in await self.link.run([scripts.trim(keys) for keys in self.partitions]):
            if isinstance(answer, StoreError):
                raise answer
            dropped += answer
        self.trimmed += dropped
        if dropped:
            log.info("the server is nearly full: events that are done dropped", extra={"events": dropped})


def is_nearly_full(memory: bytes) -> bool:
    """Whether, by `INFO memory`, the server will soon refuse writes. What replicas and files need does not count."""
    found = {name: int(value) for name, value in re.findall(rb"^(\w+):(\d+)\r?$", memory, re.MULTILINE)}
    limit, used = found.get(b"maxmemory", 0), found.get(b"used_memory", 0)
    return limit > 0 and used - found.get(b"mem_not_counted_for_evict", 0) >= NEARLY_FULL * limit


def partitions_of(streams: Iterable[Sequence[PartitionKeys]]) -> list[PartitionKeys]:
    """Each partition once, also where several processors read a stream."""
    return list(dict.fromkeys(keys for partitions in streams for keys in partitions))
