"""Looking at actors: what one remembers and what waits for it, and which keys have one that remembers something.

Only what is committed is read: that changes nothing, wakes no actor, and needs no worker.
"""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any

import orjson
from attrs import frozen

from runnel.app import App
from runnel.entity.declaration import Entity
from runnel.errors import ConfigurationError, RecordError, RunnelError
from runnel.operations.release import chosen_partitions
from runnel.operations.status import look
from runnel.processor import Processor
from runnel.records import key_bytes
from runnel.store.keys import PartitionKeys
from runnel.store.link import Link
from runnel.stream import TO

PAGE = 100
"""Keys, or entries of the log, that are asked for at once: a server that is at work must not be held up."""

FARTHEST, LARGEST = 2_000, 4 * 2**20
"""Entries of the log, and bytes, that are looked through for events of one key."""


class NothingKnown(RunnelError):
    """An actor has no state, no reminder, and no event that waits."""


@frozen(kw_only=True)
class Remembered:
    """What an actor remembers, as it is committed."""

    key: bytes
    partition: int
    state: bytes | None
    """As it is stored; None: it has none, and its next event finds the initial one."""
    reminders: Mapping[str, int]
    """What it is to be reminded of → when that is due, in ms since the epoch."""

    def as_dict(self) -> dict[str, Any]:
        """For programs."""
        dues = {name: datetime.fromtimestamp(due / 1000, UTC).isoformat() for name, due in self.reminders.items()}
        return {"key": text(self.key), "partition": self.partition, "state": _data(self.state), "reminders": dues}


@frozen(kw_only=True)
class ActorStatus:
    """How one actor stands."""

    processor: str
    stream: str
    remembered: Remembered
    unreadable: str | None
    """Why the code that is here cannot read the state; None: it can."""
    owner: str | None
    """The worker that runs its partition; None: nobody."""
    waiting: int
    """How many events of its key are in the log, and not done."""
    looked_through: bool
    """Whether these are all: else the log is too long to look."""
    parked: int
    """How many of its events are parked."""
    now: float
    """The server's clock, in seconds since the epoch."""

    def as_dict(self) -> dict[str, Any]:
        """For programs."""
        return {
            "processor": self.processor,
            "stream": self.stream,
            **self.remembered.as_dict(),
            "unreadable": self.unreadable,
            "owner": self.owner,
            "waiting": self.waiting,
            "waiting_is_exact": self.looked_through,
            "parked": self.parked,
        }


async def show(app: App, processor: Processor, key: str) -> ActorStatus:
    """How the actor of a key stands.

    Raises:
        ConfigurationError: The processor has no actors, or only a function, which remembers nothing.
        NothingKnown: Nothing is known of the key.
        StoreError: The server cannot be reached, or refuses.
    """
    entity, name, wanted = _remembering(processor), processor.options.name, key_bytes(key)
    keys = processor.stream.partitions[processor.stream.hash(key)]
    link = (await app.open()).link()
    try:
        [seen] = await look(link, [keys], name)
        state, reminders, parked = await link.at_once(
            [
                ("HGET", keys.state(name), wanted),
                ("HGET", keys.reminders(name), wanted),
                ("HGET", keys.parked_keys(name), wanted),
            ]
        )
        waiting, all_of_them = await _waiting(link, keys, name, wanted, (seen.cursor or "0-0").encode())
    finally:
        await link.close()
    if state is None and reminders is None and not (int(parked or 0) or waiting):
        raise NothingKnown(
            f"actor {name!r} knows nothing of key {key!r}: it has no state and no reminder, and none of its events waits"
        )
    return ActorStatus(
        processor=name,
        stream=keys.stream,
        remembered=_remembered(keys, wanted, state, reminders),
        unreadable=_unreadable(entity, state),
        owner=seen.owner or None,
        waiting=waiting,
        looked_through=all_of_them,
        parked=int(parked or 0),
        now=seen.now,
    )


async def find(
    app: App, processor: Processor, partitions: Sequence[int] = (), limit: int = PAGE
) -> tuple[list[Remembered], int]:
    """Some of the actors that have a state, by partition and key, and how many there are in all.

    What is in the middle of a change may be there or not.

    Args:
        app: The processor's; it is opened.
        processor: Which actors.
        partitions: The partitions' numbers; none: all.
        limit: At most so many.

    Raises:
        ConfigurationError: As `show`, or there is no such partition.
        StoreError: The server cannot be reached, or refuses.
    """
    _remembering(processor)
    name, chosen, found = processor.options.name, chosen_partitions(processor, partitions), dict[bytes, Remembered]()
    link = (await app.open()).link()
    try:
        total = sum(each.states for each in await look(link, chosen, name))
        for keys in chosen:
            async with aclosing(_pages(link, keys, name)) as pages:
                async for page in pages:
                    found |= {each.key: each for each in page}  # HSCAN may tell of one twice
                    if len(found) >= limit:
                        break
            if len(found) >= limit:
                break
    finally:
        await link.close()
    return sorted([*found.values()][:limit], key=lambda each: (each.partition, each.key)), total


async def _pages(link: Link, keys: PartitionKeys, processor: str) -> AsyncGenerator[list[Remembered], None]:
    cursor: Any = b"0"
    while True:
        cursor, flat = await link.command("HSCAN", keys.state(processor), cursor, "COUNT", PAGE)
        states = dict(zip(flat[::2], flat[1::2], strict=True))
        reminders = await link.command("HMGET", keys.reminders(processor), *states) if states else []
        pairs = zip(states.items(), reminders, strict=True)
        yield [_remembered(keys, key, state, pending) for (key, state), pending in pairs]
        if int(cursor) == 0:
            return


async def _waiting(link: Link, keys: PartitionKeys, processor: str, key: bytes, cursor: bytes) -> tuple[int, bool]:
    """How many events of a key are not done, and whether the whole log was looked through for them."""
    done = set(await link.command("SMEMBERS", keys.done(processor)))
    count = entries = size = 0
    while entries < FARTHEST and size < LARGEST:
        page = await link.command("XRANGE", keys.log, b"(" + cursor, "+", "COUNT", PAGE)
        for xid, fields in page:
            size += sum(map(len, fields))
            is_ours = fields[0] != TO or fields[1] == processor.encode()
            count += is_ours and xid not in done and _key_of(fields) == key
        if len(page) < PAGE:
            return count, True
        entries, cursor = entries + len(page), page[-1][0]
    return count, False


def _key_of(fields: Sequence[bytes]) -> bytes:
    return dict(zip(fields[::2], fields[1::2], strict=True)).get(b"~key", b"")


def _remembered(keys: PartitionKeys, key: bytes, state: bytes | None, reminders: bytes | None) -> Remembered:
    pending = orjson.loads(reminders) if reminders else {}
    return Remembered(key=key, partition=keys.number, state=state, reminders=pending)


def _unreadable(entity: Entity, state: bytes | None) -> str | None:
    if state is None or entity.state is None:
        return None
    try:
        entity.state.load(state)
    except RecordError as error:
        return str(error)
    return None


def entity_of(processor: Processor) -> Entity:
    """Its actors.

    Raises:
        ConfigurationError: It has none.
    """
    if processor.entity is None:
        raise ConfigurationError(
            f"processor {processor.options.name!r} has no actors: it is a function over a partition's events"
        )
    return processor.entity


def _remembering(processor: Processor) -> Entity:
    entity = entity_of(processor)
    if entity.kind == "function":
        raise ConfigurationError(f"actor {processor.options.name!r} is a function: it remembers nothing")
    return entity


# ── for programs ──


def as_json(value: ActorStatus) -> str:
    """One of them, for programs."""
    return pretty(value.as_dict())


def list_as_json(processor: Processor, found: Sequence[Remembered], total: int) -> str:
    """Some of them, for programs."""
    head = {"processor": processor.options.name, "stream": processor.stream.name, "total": total}
    return pretty({**head, "actors": [each.as_dict() for each in found]})


def pretty(data: Any) -> str:
    """JSON that people read."""
    return orjson.dumps(data, option=orjson.OPT_INDENT_2).decode()


def _data(stored: bytes | None) -> Any:
    """JSON as data; what is none, since anybody can write to the server, as text."""
    if stored is None:
        return None
    try:
        return orjson.loads(stored)
    except orjson.JSONDecodeError:
        return text(stored)


def text(value: bytes) -> str:
    """Bytes as people can read them."""
    return value.decode("utf-8", "backslashreplace")
