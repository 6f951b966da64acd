"""The Lua scripts, with typed signatures: one function a script makes a `Call`, plain data that a `Link` carries out.

Each script is idempotent: sent again with the same nonce, number or sequence, it answers again and changes nothing. So a
call whose reply was lost may always be resent as it is.
"""

from typing import Any, Literal

from attrs import field, frozen

from runnel.errors import ConfigurationError
from runnel.store.appending import AppendAnswer as AppendAnswer
from runnel.store.appending import Appended as Appended
from runnel.store.appending import Full as Full
from runnel.store.appending import IdNotAbove as IdNotAbove
from runnel.store.appending import Overflow as Overflow
from runnel.store.appending import StaleSequence as StaleSequence
from runnel.store.appending import append as append
from runnel.store.keys import PartitionKeys
from runnel.store.parked import ParkedNow as ParkedNow
from runnel.store.parked import Tries as Tries
from runnel.store.pausing import Paused as Paused
from runnel.store.script import SCRIPTS as SCRIPTS
from runnel.store.script import Call as Call
from runnel.store.script import Script as Script

Start = Literal["earliest", "latest"]
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


AcquireAnswer = Acquired | Held | Stopped | Paused
RenewAnswer = bool | Paused


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
    own = keys.slot(processor), keys.cursors, keys.log, keys.dead(processor)
    keys_used = (*own, *keys.of_parked(processor), *keys.of_actors(processor)[:4])
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
    own = keys.slot(processor), keys.cursors, keys.log
    keys_used = (*own, *keys.of_parked(processor), *keys.of_actors(processor)[:3])
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
    states: int = 0
    """Keys whose actors remember something."""
    reminding: int = 0
    """Keys whose actors are to be reminded of something."""
    emitted: int = 0
    """Events that actors emitted, and that are not delivered yet."""


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
            states=reply[16],
            reminding=reply[17],
            emitted=reply[18],
            stopped=None if reply[19] is None else reply[19].decode(),
            paused=None if reply[20] is None else Paused.of(reply[20]),
        )

    of_actors = keys.state(processor), keys.reminders(processor), keys.outbox(processor)
    own = keys.slot(processor), keys.cursors, keys.log, keys.dead(processor)
    keys_used = (*own, *keys.of_parked(processor)[:2], *of_actors)
    return Call(SCRIPTS["look"], keys_used, (processor,), answer)


def _is_ok(reply: bytes) -> bool:
    return reply == b"OK"


def _text(reply: bytes) -> Any:
    return reply.decode()
