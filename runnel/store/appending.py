"""Appending entries to a partition's log (append.lua): one call for entries of one shape."""

from collections.abc import Iterable, Sequence
from typing import Any, Literal

from attrs import frozen

from runnel.store.keys import PartitionKeys
from runnel.store.script import SCRIPTS, Call

Overflow = Literal["block", "reject", "drop_oldest"]


@frozen
class Appended:
    """All entries are in the log. Without explicit ids they count up from `first`."""

    first: bytes
    dropped: int


@frozen
class Full:
    """Nothing was appended: there is room for `room` entries, and `processor` (if any) holds the rest back."""

    room: int
    processor: str
    cursor: str


@frozen
class StaleSequence:
    """A newer append of this producer is in the log: this one came too late, and nobody waits for it."""


@frozen
class IdNotAbove:
    """Nothing was appended: the explicit id is not above the last one of the log."""

    id: str


AppendAnswer = Appended | Full | StaleSequence | IdNotAbove


def append(
    keys: PartitionKeys,
    producer: str,
    sequence: int,
    names: Sequence[bytes],
    values: Iterable[bytes],
    *,
    cap: int,
    overflow: Overflow,
    explicit_ids: bool = False,
    lifetime: float = 600.0,
) -> Call[AppendAnswer]:
    """Append entries of one shape (field names) to a partition's log: all or none, once per sequence.

    Args:
        keys: The partition's.
        producer: Who appends; its mark lives for `lifetime` seconds after its last append.
        sequence: Higher than that of any append of other entries by this producer to this partition.
        names: The fields of every entry.
        values: Entry after entry its id (if `explicit_ids`) and the values of its fields.
        cap: How many entries the log may hold.
        overflow: Whether entries that are not processed yet are dropped for room.
        explicit_ids: Whether each entry names its id.
        lifetime: For how long a repeated sequence is recognised, in seconds.
    """
    head = (
        b"%d" % sequence,
        b"%d" % round(lifetime * 1000),
        b"%d" % cap,
        overflow.encode(),
        b"explicit" if explicit_ids else b"auto",
        b"%d" % len(names),
    )
    keys_used = (keys.log, keys.cursors, keys.counts, keys.producer(producer))
    return Call(SCRIPTS["append"], keys_used, (*head, *names, *values), _append_answer)


def _append_answer(reply: list[Any]) -> AppendAnswer:
    match reply:
        case [b"OK" | b"ALREADY", first, dropped]:
            return Appended(first, dropped)
        case [b"FULL", room, processor, cursor]:
            return Full(room, processor.decode(), cursor.decode())
        case [b"ID", entry_id]:
            return IdNotAbove(entry_id.decode())
        case _:
            return StaleSequence()
