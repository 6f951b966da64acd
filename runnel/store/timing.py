"""The scripts that go by due times, with typed signatures: what a leader's job claims, and delayed events.

As in `scripts.py` each is idempotent. Due times are compared with the server's clock, plus `ahead`: seconds by which tests
let due times pass. Leases never look at that.
"""

import math
import secrets
from collections.abc import Sequence
from typing import Any, Literal

from attrs import frozen

from runnel.store.keys import AppKeys, PartitionKeys
from runnel.store.script import SCRIPTS, Call
from runnel.store.scripts import Overflow, Token

MOST, MOST_BYTES = 500, 2**20
"""Delayed events that one `promote` moves, at most: a script holds up the server while it runs."""


# ── what a leader's job claims ──


@frozen
class Tick:
    """How a job stands: a claim is ours if it is "OK". Moments are in ms since the epoch; `now` is the server's."""

    answer: Literal["OK", "LAST", "TAKEN", "EARLY", "FENCED"]
    now: int
    last: int


def tick(
    keys: AppKeys, job: str, leader: Token, *, due: int | None = None, claim: bytes = b"", ahead: float = 0.0
) -> Call[Tick]:
    """Claim a due time of a job for this leader; each is claimed once, and none after a later one.

    Args:
        keys: The app's.
        job: Its name.
        leader: The term of leadership. A claim that took effect is answered even when the term is over.
        due: In ms; None: only ask for the last one claimed, and begin to count.
        claim: Another one for each due time that is tried, the same when a claim is sent again.
        ahead: Seconds by which due times are ahead of the clock.
    """
    wanted = b"" if due is None else b"%d" % due
    args = (job.encode(), leader.epoch, leader.nonce, b"%d" % round(ahead * 1000), wanted, claim)
    return Call(SCRIPTS["tick"], (keys.ticks, keys.leader), args, lambda reply: Tick(reply[0].decode(), *reply[1:]))


# ── delayed events ──


@frozen
class PutAside:
    """The events wait under the numbers from `first` on; `due` is in ms since the epoch."""

    first: int
    due: int


@frozen
class Promoted:
    """What `promote` did."""

    moved: int
    dropped: int
    wait: float | None
    """Seconds until the next one is due; None: there is none."""
    holder: str | None
    """The log is full, and this processor holds it back ("": none is registered). None: it is not full."""


@frozen
class Aside:
    """A delayed event or reminder: its id, its due time in ms since the epoch, and its fields, as they will be in the log."""

    id: bytes
    """The number of an event that was sent; a reminder's begins with `~`, see `acts.wake`."""
    due: int
    fields: dict[bytes, bytes]


def delay(
    keys: PartitionKeys,
    producer: str,
    sequence: int,
    names: Sequence[bytes],
    values: Sequence[bytes],
    *,
    after: float | None = None,
    at: float | None = None,
    cap: int,
    overflow: Overflow,
    ahead: float = 0.0,
    lifetime: float = 600.0,
) -> Call[PutAside | None]:
    """Put events of one shape aside until they are due: all or none, once per sequence. None: it came too late.

    Args:
        keys: The partition's.
        producer: Who does it; its mark lives for `lifetime` seconds. No producer that appends has the same name.
        sequence: Higher than that of any earlier one of this producer in this partition.
        names: The fields of every event.
        values: Event after event the values of its fields.
        after: Seconds from now until they are due.
        at: Or when they are due, in seconds since the epoch.
        cap: How many entries the log may hold when they move into it.
        overflow: What becomes of them when it holds as many.
        ahead: Seconds by which due times are ahead of the clock.
        lifetime: For how long a repeated sequence is recognised, in seconds.
    """
    kind, moment = (b"at", at) if after is None else (b"in", after)
    assert moment is not None
    head = (
        b"%d" % sequence,
        b"%d" % round(lifetime * 1000),
        b"%d" % round(ahead * 1000),
        kind,
        b"%d" % math.ceil(moment * 1000),  # never early
        b"%d" % cap,
        overflow.encode(),
        b"%d" % len(names),
    )
    keys_used = (keys.delayed, keys.delayed_entries, keys.counts, keys.producer(producer))

    def answer(reply: list[Any]) -> PutAside | None:
        return None if reply[0] == b"STALE" else PutAside(reply[1], reply[2])

    return Call(SCRIPTS["delay"], keys_used, (*head, *names, *values), answer)


def promote(keys: PartitionKeys, *, ahead: float = 0.0, most: int = MOST, most_bytes: int = MOST_BYTES) -> Call[Promoted]:
    """Move delayed events that are due into the log, in order; some of them, if they are many."""

    def answer(reply: list[Any]) -> Promoted:
        moved, dropped, wait, full, holder = reply
        return Promoted(moved, dropped, None if wait < 0 else wait / 1000, holder.decode() if full else None)

    args = (b"%d" % round(ahead * 1000), b"%d" % most, b"%d" % most_bytes)
    keys_used = (keys.delayed, keys.delayed_entries, keys.log, keys.cursors, keys.counts)
    return Call(SCRIPTS["promote"], keys_used, args, answer)


def cancel(keys: PartitionKeys, numbers: Sequence[int]) -> Call[int]:
    """Take delayed events back; how many of them were not in the log yet. Sent again, the call is answered as before."""
    args = (b"60000", *(b"%016d" % number for number in numbers))
    mark = keys.producer(f"{secrets.token_hex(8)}.cancel")
    return Call(SCRIPTS["cancel"], (keys.delayed, keys.delayed_entries, mark), args, int)


def delayed(
    keys: PartitionKeys, *, skip: int = 0, most: int = 100, first: bool = True
) -> Call[tuple[int, list[Aside]]]:
    """See how many delayed events and reminders there are, and some of them, first or last due first; changes nothing."""

    def answer(reply: list[Any]) -> tuple[int, list[Aside]]:
        count, *found = reply
        pairs = [(id, due, zip(fields[::2], fields[1::2], strict=True)) for id, due, fields in found]
        return count, [Aside(id, due, dict(fields)) for id, due, fields in pairs]

    args = (b"%d" % skip, b"%d" % most, b"first" if first else b"last")
    return Call(SCRIPTS["delayed"], (keys.delayed, keys.delayed_entries), args, answer)
