"""Commits that carry more than a cursor, and what operators do about events that failed.

A move is a change that goes into the same fenced script as the cursor. Its `args` are what `move.lua` reads.
"""

from collections.abc import Iterable, Sequence
from typing import Protocol

from attrs import field, frozen

from runnel.store.keys import PartitionKeys
from runnel.store.scripts import SCRIPTS, Call, CommitAnswer, ParkedNow, Token

MOST = 200
"""Moves that one commit carries. Each is up to two commands, and scripts shall not hold up the server."""

LARGEST = 2**20
"""Bytes that one commit carries, unless a single event is larger."""


class Move(Protocol):
    """A change that a commit carries."""

    @property
    def args(self) -> Sequence[bytes]:
        """As the script reads them."""


@frozen
class Bury:
    """An event goes into the dead letters. `fields` are name, value, name, value, ..."""

    fields: Sequence[bytes]
    args: Sequence[bytes] = field(init=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "args", (b"bury", b"%d" % len(self.fields), *self.fields))


@frozen
class Park:
    """An event goes behind the parked ones, and its key is parked from now on."""

    key: bytes
    fields: Sequence[bytes]
    args: Sequence[bytes] = field(init=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "args", (b"park", self.key, b"%d" % len(self.fields), *self.fields))


@frozen
class Unpark:
    """A parked event has run; with its last one its key is free."""

    key: bytes
    entry: bytes

    @property
    def args(self) -> Sequence[bytes]:
        return (b"done", self.key, self.entry)


@frozen
class Hold:
    """An event of a parked key has failed: the key is not to run again for now.

    Attributes:
        key: Which key.
        operated: How often operators had changed parked events, as far as was known: a release since then still stands.
        tried: How often the event was tried again.
        wait: Seconds until it is tried again by itself; None: it is not.
    """

    key: bytes
    operated: int = 0
    tried: int = 0
    wait: float | None = None

    @property
    def args(self) -> Sequence[bytes]:
        wait = -1 if self.wait is None else round(self.wait * 1000)
        return (b"hold", self.key, b"%d" % self.operated, b"%d" % self.tried, b"%d" % wait)


@frozen
class Stop:
    """Nobody may acquire the partition until an operator releases it."""

    reason: str

    @property
    def args(self) -> Sequence[bytes]:
        return (b"stop", self.reason.encode())


def size(move: Move) -> int:
    """Bytes of a move."""
    return sum(map(len, move.args))


def move(
    keys: PartitionKeys,
    processor: str,
    token: Token,
    number: int,
    cursor: bytes,
    count: int,
    moves: Iterable[Move],
    of_actors: Sequence[bytes] = (),
) -> Call[CommitAnswer]:
    """Move the cursor, as `scripts.commit` and in its chain, and make these changes with it: all or none.

    Args:
        keys: The partition's.
        processor: Whose cursor.
        token: The owner's.
        number: One above that of the token's last commit.
        cursor: Up to where all is done.
        count: How many entries the log had, since it began, up to `cursor`.
        moves: At most `MOST`, and `LARGEST` bytes.
        of_actors: The keys that changes of actors need (acts.py).
    """
    head = (processor, token.epoch, token.nonce, b"%d" % number, cursor, b"%d" % count)
    keys_used = (keys.slot(processor), keys.cursors, keys.dead(processor), *keys.of_parked(processor), *of_actors)
    args = (*head, *(arg for each in moves for arg in each.args))
    return Call(SCRIPTS["move"], keys_used, args, lambda reply: reply.decode())


def parked(keys: PartitionKeys, processor: str) -> Call[ParkedNow]:
    """See what an owner must know of parked events; changes nothing."""
    return Call(SCRIPTS["parked"], (keys.slot(processor), *keys.of_parked(processor)), (), ParkedNow.of)


def release_keys(keys: PartitionKeys, processor: str, released: Iterable[bytes]) -> Call[int]:
    """Let parked keys run again; how many of them are parked."""
    args = (b"release", *released)
    return Call(SCRIPTS["unpark"], (keys.slot(processor), *keys.of_parked(processor)), args, int)


def discard_parked(keys: PartitionKeys, processor: str, entries: Iterable[tuple[bytes, bytes]]) -> Call[int]:
    """Drop parked events, each given as its key and id; how many were there."""
    args = (b"discard", *(part for entry in entries for part in entry))
    return Call(SCRIPTS["unpark"], (keys.slot(processor), *keys.of_parked(processor)), args, int)


def revive(keys: PartitionKeys, processor: str, entries: Iterable[tuple[bytes, bytes]]) -> Call[int]:
    """Have dead letters run again, each given as its key and id; how many were there."""
    keys_used = (keys.slot(processor), keys.dead(processor), *keys.of_parked(processor))
    return Call(SCRIPTS["revive"], keys_used, tuple(part for entry in entries for part in entry), int)


def suspect(keys: PartitionKeys, processor: str, token: Token, entry: bytes) -> Call[bool]:
    """Note which event is about to run alone, by its id in the log (none: b""); False when the token is void."""
    args = (token.epoch, token.nonce, entry)
    return Call(SCRIPTS["suspect"], (keys.slot(processor),), args, lambda reply: reply == b"OK")


def reopen(keys: PartitionKeys, processor: str) -> Call[bool]:
    """Let a partition that is stopped be acquired again; False when it was not."""
    return Call(SCRIPTS["reopen"], (keys.slot(processor),), (), bool)
