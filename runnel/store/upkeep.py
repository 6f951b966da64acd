"""The scripts by which operators look after streams, with typed signatures: trimming, deleting, what a user may do.

As in `scripts.py` each is idempotent.
"""

from collections.abc import Sequence
from typing import Any

import orjson
from attrs import frozen

from runnel.store.keys import AppKeys, PartitionKeys
from runnel.store.script import SCRIPTS, Call
from runnel.store.scripts import Held


@frozen
class Undone:
    """Events that would be lost: not done by `processor`, or in its outbox; "": none is registered, or they are delayed."""

    processor: str
    events: int


@frozen
class Changed:
    """Other processors are registered than the caller knows of: look again."""


Erased = Held | Undone | Changed | None


def cut(keys: PartitionKeys, *, below: bytes | None = None, keep: int = 0, force: bool = False) -> Call[int]:
    """Drop the oldest entries of a log, up to 500; how many it dropped: to be called again until there are none.

    Args:
        keys: The partition's.
        below: Only entries with smaller ids; None: whatever their ids are.
        keep: How many entries stay, at least.
        force: Also those that some processor has not done. Otherwise none of these, nor any if none is registered.
    """
    args = (below or b"", b"%d" % keep, b"force" if force else b"ask")
    return Call(SCRIPTS["cut"], (keys.log, keys.cursors), args, int)


def erase(keys: PartitionKeys, processors: Sequence[str], *, force: bool) -> Call[Erased]:
    """Delete a partition with all that these processors have noted of it; they must be all that are registered.

    Without `force` it is refused while a worker owns it, or if any event would be lost that is not done.
    """

    def answer(reply: list[Any]) -> Erased:
        match reply:
            case [b"HELD", owner, left]:
                return Held(owner.decode(), left / 1000)
            case [b"UNDONE", processor, events]:
                return Undone(processor.decode(), events)
            case [b"CHANGED"]:
                return Changed()
        return None

    of_each = [keys.of_processor(name) for name in processors]
    size = len(keys.of_processor(""))
    args = (b"force" if force else b"ask", b"%d" % size, *processors)
    return Call(SCRIPTS["erase"], (*keys.of_stream, *(key for found in of_each for key in found)), args, answer)


PARTITION_COMMANDS = (
    *("DEL k", "EXISTS k", "HDEL k f", "HEXISTS k f", "HGET k f", "HGETALL k", "HINCRBY k f 1", "HKEYS k", "HLEN k"),
    *("HMGET k f", "HSET k f v", "PEXPIRE k 1", "SADD k m", "SCARD k", "SMEMBERS k", "SREM k m", "UNLINK k"),
    *("XADD k * f v", "XDEL k 0-1", "XGROUP CREATE k g 0", "XGROUP DESTROY k g", "XGROUP SETID k g 0", "XINFO STREAM k"),
    *("XLEN k", "XRANGE k - +", "XREAD COUNT 1 STREAMS k 0", "XREVRANGE k + -", "XTRIM k MINID 0"),
    *("ZADD k 1 m", "ZCARD k", "ZRANGE k 0 1", "ZRANGEBYSCORE k 0 1", "ZREM k m"),
)
APP_COMMANDS = (
    *("HGET k f", "HGETALL k", "HSET k f v", "HSETNX k f v", "XADD k * f v", "XREAD COUNT 1 STREAMS k 0"),
    *("ZADD k 1 m", "ZRANGE k 0 1", "SET k v PX 1", "MGET k"),
)
OTHER_COMMANDS = ("INFO replication", "TIME", "CLIENT ID", "CLIENT UNBLOCK 1", "PING")
"""What workers, producers and scripts run; `k` stands for a key."""


def permitted(keys: PartitionKeys, app: AppKeys) -> Call[list[str]]:
    """See which commands, each with its key, the user of the connection may not run; none of them is run."""
    commands = [
        *(line.replace(" k", f" {keys.log.decode()}", 1) for line in PARTITION_COMMANDS),
        *(line.replace(" k", f" {app.control.decode()}", 1) for line in APP_COMMANDS),
        *OTHER_COMMANDS,
    ]

    def answer(reply: list[int]) -> list[str]:
        return [command for command, may in zip(commands, reply, strict=True) if not may]

    args = [orjson.dumps(command.split()) for command in commands]
    return Call(SCRIPTS["permitted"], (keys.log, keys.cursors), args, answer)
