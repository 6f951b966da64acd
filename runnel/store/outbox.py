"""The outbox: events that a processor's commits have emitted, on their way to the partitions that they are for.

A commit puts them there (`move.lua`). Whoever relays them reads a page, delivers it, and removes what was delivered; each of
the three may be sent again, late, and by several at once: an event is delivered once, since its target remembers the
last one of each outbox, and only ids that were delivered are ever removed.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import orjson
from attrs import frozen

from runnel.store.keys import PartitionKeys, encoded
from runnel.store.script import SCRIPTS, Call, Command
from runnel.store.scripts import Overflow

PAGE = 500
"""Events that one call delivers, at most: a script holds up the server while it runs."""

LARGEST = 2**20
"""Bytes that one call delivers, unless a single event is larger."""

TARGET = b"~target"
"""The first field of an entry: where its event, which is the fields behind it, is to go."""

Entry = tuple[bytes, list[bytes]]


@frozen
class Target:
    """The partition that an event is for, and what a full one does about it, as its stream says."""

    keys: PartitionKeys
    cap: int
    overflow: Overflow

    @property
    def field(self) -> bytes:
        """As the field `TARGET` holds it."""
        return orjson.dumps((self.keys.stream, self.keys.number, self.cap, self.overflow))


class Emitted(NamedTuple):
    """An event in an outbox."""

    id: bytes
    target: Target
    fields: list[bytes]
    """Name, value, name, value, ..., exactly as they are to lie in the target's log."""

    @classmethod
    def of(cls, app: str, entry: Entry) -> "Emitted":
        """An entry of an outbox of this app.

        Raises:
            ValueError: It is none that a commit has written.
        """
        entry_id, fields = entry
        if len(fields) < 4 or len(fields) % 2 or fields[0] != TARGET:
            raise ValueError(f"it does not begin with {TARGET.decode()}, or there is nothing behind that")
        return cls(entry_id, _target(app, fields[1]), fields[2:])


@frozen
class Delivered:
    """What `deliver` did."""

    appended: int
    """Events: the others were there already."""
    dropped: int
    """Events, not processed yet, that overflow `drop_oldest` dropped for them."""


def read(source: PartitionKeys, processor: str, after: bytes, most: int) -> Command[list[Entry]]:
    """The first entries of an outbox that lie behind `after`."""
    words = (b"XRANGE", source.outbox(processor), b"(" + after, b"+", b"COUNT", most)
    return Command(words, lambda reply: [(entry_id, fields) for entry_id, fields in reply])


def deliver(source: PartitionKeys, processor: str, events: Sequence[Emitted]) -> Call[Delivered]:
    """Append events of an outbox to the log that they are for, each once.

    An event that is left out is never delivered once a later one was.

    Args:
        source: The partition that they were emitted from.
        processor: Who emitted them.
        events: Of one target, in the order of the outbox, none of them left out; at most `PAGE`, and `LARGEST` bytes.
    """
    args: list[Any] = [outbox_name(source, processor)]
    for entry_id, target, fields in events:
        args += (entry_id, target.cap, target.overflow, len(fields))
        args += fields
    keys = events[0].target.keys
    keys_used = (keys.log, keys.cursors, keys.counts, keys.relayed)
    return Call(SCRIPTS["deliver"], keys_used, args, lambda reply: Delivered(*reply))


def remove(source: PartitionKeys, processor: str, ids: Sequence[bytes]) -> Command[int]:
    """Take events out of an outbox that were delivered, and no others; how many were still there.

    Not all up to the last one: what has come there since, by whatever way and in whatever order, was not delivered.
    """
    return Command((b"XDEL", source.outbox(processor), *ids), int)


def outbox_name(source: PartitionKeys, processor: str) -> str:
    """Under which name a target remembers the outbox of a partition and processor."""
    return f"{encoded(source.stream)}/{source.number}/{encoded(processor)}"


@lru_cache(maxsize=4096)
def _target(app: str, said: bytes) -> Target:
    try:
        place = orjson.loads(said)
    except orjson.JSONDecodeError:
        place = None
    match place:
        case [str(stream), int(number), int(cap), ("block" | "reject" | "drop_oldest") as overflow]:
            if number >= 0 and cap >= 1 and bool not in (type(number), type(cap)):
                return Target(PartitionKeys(app, stream, number), cap, overflow)
    raise ValueError(f"{TARGET.decode()} is {said.decode(errors='replace')[:200]}, not stream, partition, cap, overflow")
