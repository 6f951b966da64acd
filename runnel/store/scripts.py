"""The Lua scripts, with typed signatures: one function a script makes a `Call`, plain data that a `Link` carries out.

Each script is idempotent: sent again with the same nonce, number or sequence, it answers again and changes nothing. So a
call whose reply was lost may always be resent as it is.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Literal

from attrs import field, frozen

from runnel.errors import ConfigurationError
from runnel.store.keys import PartitionKeys
from runnel.store.parked import ParkedNow as ParkedNow
from runnel.store.parked import Tries as Tries
from runnel.store.pausing import Paused as Paused
from runnel.store.script import SCRIPTS as SCRIPTS
from runnel.store.script import Call as Call
from runnel.store.script import Script as Script

Start = Literal["earliest", "latest"]
Overflow = Literal["block", "reject", "drop_oldest"]
Went = Literal["well", "idle", "lost"]
CommitAnswer = Literal["OK", "ALREADY", "FENCED", "CONFLICT"]

START = b"0-0"
"""The cursor before all entries."""

LARGEST = 2**64 - 1
"""The largest number that either part of an id may be."""


def entry_id(text: str) -> bytes | None:
    """An entry's id ("ms-seq", two numbers of up to 64 bits) as the scripts compare it, or None if it is none."""
    ms, dash, seq = text.partition("-")
    if not (dash and text.isascii() and ms.isdigit() and seq.isdigit() and len(text) < 64):
        return None
    numbers = int(ms), int(seq)
    return b"%d-%d" % numbers if max(numbers) <= LARGEST else None


@frozen
class Token:
    """The right to change a partition for a processor: void once either part is not the slot's any more."""

    epoch: bytes
    nonce: bytes


@frozen
class Acquired:
    """The partition is ours; read on from `cursor`, up to which the log had `count` entries since it began."""

    token: Token
    cursor: bytes
    count: int
    parked: ParkedNow = field(factory=ParkedNow)
    crashes: int = 0
    """How many owners in a row were lost since the last commit, while something waited."""
    culprit: bytes | None = None
    """The event that ran alone when the last of them was lost."""


@frozen
class Stopped:
    """Nobody may own the partition until an operator releases it."""

    reason: str


@frozen
class Held:
    """Another worker owns the partition, for `left` more seconds unless it renews."""

    owner: str
    left: float


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


AcquireAnswer = Acquired | Held | Stopped | Paused
RenewAnswer = bool | Paused
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


def acquire(
    keys: PartitionKeys, processor: str, *, worker: str, nonce: bytes, lease: float, start: Start
) -> Call[AcquireAnswer]:
    """Take a partition if nobody holds it; the same nonce again gets the same answer. `lease` is in seconds."""

    def answer(reply: list[Any]) -> AcquireAnswer:
        if reply[0] == b"HELD":
            return Held(reply[1].decode(), reply[2] / 1000)
        if reply[0] == b"STOPPED":
            return Stopped(reply[1].decode())
        if reply[0] == b"PAUSED":
            return Paused.of(reply[1])
        crashes, culprit, *parked = reply[4:]
        token = Token(reply[1], nonce)
        return Acquired(token, reply[2], int(reply[3]), ParkedNow.of(parked), crashes, culprit or None)

    args = (processor, worker, nonce, b"%d" % round(lease * 1000), start)
    keys_used = (keys.slot(processor), keys.cursors, keys.log, *keys.of_parked(processor))
    return Call(SCRIPTS["acquire"], keys_used, args, answer)


def renew(keys: PartitionKeys, processor: str, token: Token, lease: float) -> Call[RenewAnswer]:
    """Prolong a lease to `lease` seconds from now; False: the token is void; `Paused`: it is to be given back."""

    def answer(reply: Any) -> RenewAnswer:
        return Paused.of(reply[1]) if isinstance(reply, list) else _is_ok(reply)

    args = (token.epoch, token.nonce, b"%d" % round(lease * 1000), processor)
    return Call(SCRIPTS["renew"], (keys.slot(processor), keys.cursors, keys.log), args, answer)


def release(keys: PartitionKeys, processor: str, token: Token, went: Went = "well") -> Call[bool]:
    """Give it back ("idle": before its first event came; "lost": its lease was over before). False: the token is void."""
    args = (token.epoch, token.nonce, processor, went)
    return Call(SCRIPTS["release"], (keys.slot(processor), keys.cursors, keys.log), args, _is_ok)


def commit(
    keys: PartitionKeys, processor: str, token: Token, number: int, cursor: bytes, count: int
) -> Call[CommitAnswer]:
    """Move the cursor. `number` is one above that of the token's last commit (the first is 1).

    `count` is how many entries the log had, since it began, up to `cursor`.
    """
    args = (processor, token.epoch, token.nonce, b"%d" % number, cursor, b"%d" % count)
    return Call(SCRIPTS["commit"], (keys.slot(processor), keys.cursors), args, _text)


def trim(keys: PartitionKeys) -> Call[int]:
    """Drop the entries that every registered processor has done; with none registered, nothing."""
    return Call(SCRIPTS["trim"], (keys.log, keys.cursors), (), int)


def register(keys: PartitionKeys, processor: str, start: Start) -> Call[bool]:
    """Note a processor in a partition; False when it was noted already."""
    return Call(SCRIPTS["register"], (keys.cursors, keys.log, keys.slot(processor)), (processor, start), bool)


def unregister(keys: PartitionKeys, processor: str, *, force: bool) -> Call[Held | None]:
    """Forget a processor in a partition, and fence its owner if it is forced; else the answer may be who that is."""

    def answer(reply: list[Any]) -> Held | None:
        return Held(reply[1].decode(), reply[2] / 1000) if reply[0] == b"HELD" else None

    args = (processor, "force" if force else "ask")
    keys_used = (keys.slot(processor), keys.cursors, keys.log, keys.dead(processor), *keys.of_parked(processor))
    return Call(SCRIPTS["unregister"], keys_used, args, answer)


def reset(keys: PartitionKeys, processor: str, cursor: str, count: int = 0) -> Call[bytes]:
    """Set a processor's cursor ("earliest", "latest" or an id) and fence the partition's owner.

    `count` goes with an id: how many entries the log had, since it began, up to it.

    Raises:
        ConfigurationError: The cursor is none of these. In the hash of cursors it would break every later append.
    """
    to = cursor.encode() if cursor in ("earliest", "latest") else entry_id(cursor)
    if to is None:
        raise ConfigurationError(f'{cursor!r} is no cursor: give "earliest", "latest" or an id like 1595369377000-0')
    keys_used = (keys.slot(processor), keys.cursors, keys.log, *keys.of_parked(processor))
    return Call(SCRIPTS["reset"], keys_used, (processor, to, b"%d" % count), bytes)


def measure(keys: PartitionKeys, after: bytes) -> Call[tuple[int, bytes, int]]:
    """Count up to 500 entries after an id: how many, the last one's id, entries ever added to the log."""
    return Call(SCRIPTS["measure"], (keys.log,), (after,), lambda reply: (reply[0], reply[1], reply[2]))


@frozen(kw_only=True)
class Look:
    """How one partition stands for one processor, at one moment. Ids are "0-0" where there is none."""

    owner: str
    epoch: int
    left: float
    """Seconds until the owner's lease ends; 0 when nobody owns the partition."""
    cursor: str | None
    """None: the processor never ran."""
    count: int
    last: str
    added: int
    length: int
    first: str
    next: str
    """The first entry after the cursor; without a cursor the first one held."""
    now: float
    """The server's clock, in seconds since the epoch."""
    parked: int = 0
    parked_keys: int = 0
    dead: int = 0
    crashes: int = 0
    """How many owners in a row were lost since the last commit."""
    suspect: str | None = None
    """The event that runs alone for it, if one does."""
    stopped: str | None = None
    """Why nobody may own the partition."""
    paused: Paused | None = None


def look(keys: PartitionKeys, processor: str) -> Call[Look]:
    """See how a partition stands for a processor; changes nothing."""

    def answer(reply: list[Any]) -> Look:
        return Look(
            owner=reply[0].decode(),
            epoch=int(reply[1]),
            left=max(0.0, reply[2] / 1000),
            cursor=None if reply[3] is None else reply[3].decode(),
            count=int(reply[4]),
            last=reply[5].decode(),
            added=reply[6],
            length=reply[7],
            first=reply[8].decode(),
            next=reply[9].decode(),
            now=reply[10] / 1000,
            parked=reply[11],
            parked_keys=reply[12],
            dead=reply[13],
            crashes=reply[14],
            suspect=reply[15].decode() or None,
            stopped=None if reply[16] is None else reply[16].decode(),
            paused=None if reply[17] is None else Paused.of(reply[17]),
        )

    keys_used = (*(keys.slot(processor), keys.cursors, keys.log, keys.dead(processor)), *keys.of_parked(processor)[:2])
    return Call(SCRIPTS["look"], keys_used, (processor,), answer)


def _is_ok(reply: bytes) -> bool:
    return reply == b"OK"


def _text(reply: bytes) -> Any:
    return reply.decode()
