"""Events that a processor keeps aside: dead letters and parked events. Finding them, and what operators do about them.

Looking changes nothing. What is done is done in calls of bounded size, each atomic; done again, it does no harm.
"""

from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any, Literal

import orjson
from attrs import evolve, frozen

from runnel.app import App
from runnel.errors import ConfigurationError, StoreError
from runnel.handling.failed import ATTEMPTS, ERROR, FAILED_AT, TRACEBACK, WORKER, field_of, restored
from runnel.handling.policy import ExceptionPolicy
from runnel.handling.position import id_parts
from runnel.operations.release import chosen_partitions
from runnel.operations.reset import moment
from runnel.processor import Processor, ProcessorOptions
from runnel.store import moves
from runnel.store.keys import PartitionKeys
from runnel.store.scripts import Call, ParkedNow, Tries
from runnel.stream import KEY

Where = Literal["dead", "parked"]

PAGE = 500
AT_ONCE = 200
"""Events that one call changes."""


@frozen(kw_only=True)
class Kept:
    """A dead letter, or a parked event."""

    keys: PartitionKeys
    entry: str
    """Its id where it is kept."""
    xid: str
    """Its id in the log."""
    key: bytes
    fields: tuple[bytes, ...]
    """Its own, as in the log."""
    noted: dict[bytes, bytes]
    """Why and when it failed; nothing for one that only lies behind such an event."""
    again: Tries | None = None
    """How often its key was tried again, and when it is next; None: it is a dead letter."""
    now: float = 0.0
    """When this was so, by the server's clock."""

    @property
    def name(self) -> str:
        """By which operators call it: partition and id."""
        return f"{self.keys.number}/{self.entry}"

    @property
    def event_id(self) -> str:
        """The event's id in the app."""
        return f"{self.keys.stream}/{self.keys.number}/{self.xid}"

    @property
    def error(self) -> str:
        """Why it failed; nothing if it did not."""
        return self.noted.get(ERROR, b"").decode(errors="replace")

    @property
    def at(self) -> float:
        """When it failed, or else was sent: seconds since the epoch."""
        return float(self.noted.get(FAILED_AT) or id_parts(self.xid)[0] / 1000)

    def as_dict(self) -> dict[str, Any]:
        """For programs. What is no text is told in Python's escapes."""
        texts = {_text(self.fields[i]): _text(self.fields[i + 1]) for i in range(0, len(self.fields), 2)}
        said = {
            "name": self.name,
            "id": self.event_id,
            "key": _text(self.key),
            "at": datetime.fromtimestamp(self.at, UTC).isoformat(),
            "error": self.error or None,
            "attempts": int(self.noted.get(ATTEMPTS, b"0")),
            "worker": _text(self.noted.get(WORKER, b"")) or None,
            "traceback": _text(self.noted.get(TRACEBACK, b"")) or None,
            "fields": texts,
        }
        return said if self.again is None else said | {"tried_again": self.again.tried, "next_try": self.next_try}

    @property
    def next_try(self) -> str | None:
        """When its key runs again: ISO 8601; None: not by itself."""
        due = None if self.again is None else self.again.due
        return None if due is None else datetime.fromtimestamp(due, UTC).isoformat()


@frozen(kw_only=True)
class Choice:
    """Which of them.

    Attributes:
        partitions: The partitions' numbers; none: all.
        keys: Their keys; none: all.
        error: A part of what they failed with.
        since: Failed then or later (those that did not fail: sent): seconds since the epoch.
        limit: At most so many.
    """

    partitions: Sequence[int] = ()
    keys: Sequence[str] = ()
    error: str | None = None
    since: float | None = None
    limit: int | None = None

    def takes(self, kept: Kept) -> bool:
        """Whether it is one of them, but for the limit."""
        if self.keys and kept.key.decode("utf-8", "surrogateescape") not in self.keys:
            return False
        if self.error is not None and (not kept.error or self.error not in kept.error):
            return False
        return self.since is None or kept.at >= self.since


async def since_of(app: App, text: str | None) -> float | None:
    """A moment as `processor reset` understands it, by the server's clock.

    Raises:
        ConfigurationError: It is none.
    """
    if text is None:
        return None
    seconds, _ = await (await app.open()).command("TIME")
    return moment(text, int(seconds))


async def find(app: App, processor: Processor, where: Where, choice: Choice) -> list[Kept]:
    """Those that are chosen, in the order in which they are kept in each partition.

    Raises:
        ConfigurationError: There is no such partition.
        StoreError: The server cannot be reached, or refuses.
    """
    found: list[Kept] = []
    for keys in chosen_partitions(processor, choice.partitions):
        async with aclosing(_pages(app, keys, processor, where)) as pages:
            async for kept in pages:
                if choice.limit is not None and len(found) >= choice.limit:
                    return found
                if choice.takes(kept):
                    found.append(kept)
    return found


async def find_one(app: App, processor: Processor, where: Where, name: str) -> Kept:
    """The one of this name.

    Raises:
        ConfigurationError: There is none.
        StoreError: The server cannot be reached, or refuses.
    """
    number, _, entry = name.partition("/")
    if number.isdigit() and int(number) < processor.stream.partition_count:
        keys = processor.stream.partitions[int(number)]
        async with aclosing(_pages(app, keys, processor, where)) as pages:
            async for kept in pages:
                if kept.entry == entry:
                    return kept
    raise ConfigurationError(f"processor {processor.options.name!r} keeps no {where} event {name!r}: `{where} list` has names")


async def _pages(app: App, keys: PartitionKeys, processor: Processor, where: Where) -> AsyncGenerator[Kept, None]:
    link, name = (await app.open()).link(), processor.options.name
    stream = keys.dead(name) if where == "dead" else keys.parked(name)
    after = "-"
    try:
        parked = ParkedNow() if where == "dead" else await link.call(moves.parked(keys, name))
        while page := await link.command("XRANGE", stream, after, "+", "COUNT", PAGE):
            for entry, fields in page:
                xid, own, noted = restored(fields)
                key = field_of(own, KEY) or b""
                kept = Kept(keys=keys, entry=entry.decode(), xid=xid.decode(), key=key, fields=tuple(own), noted=noted)
                again = None if where == "dead" else _again(processor.options, parked, key)
                yield evolve(kept, again=again, now=parked.now)
            after = f"({page[-1][0].decode()}"
    finally:
        await link.close()


def _again(options: ProcessorOptions, parked: ParkedNow, key: bytes) -> Tries:
    """What its owner is going to do; what should have run already is due now."""
    tries = parked.tries.get(key, Tries(tried=0, due=parked.now))
    if key in parked.released:
        return Tries(tries.tried, parked.now)
    by_itself = options.exception_policy is ExceptionPolicy.PARK and options.park_retry is not None
    return Tries(tries.tried, max(tries.due, parked.now) if by_itself and tries.due is not None else None)


# ── deeds ──


async def retry_dead(app: App, processor: Processor, chosen: Iterable[Kept]) -> int:
    """Have dead letters run again, by this processor only; how many were there.

    Raises:
        StoreError: The server cannot be reached, or refuses; some may be under way already.
    """
    name = processor.options.name
    return await _do(app, chosen, lambda keys, some: moves.revive(keys, name, _entries(some)))


async def discard_dead(app: App, processor: Processor, chosen: Iterable[Kept]) -> int:
    """Drop dead letters; how many were there.

    Raises:
        StoreError: The server cannot be reached, or refuses; some may be dropped already.
    """
    store, count = await app.open(), 0
    for keys, some in _in_parts(chosen):
        count += int(await store.command("XDEL", keys.dead(processor.options.name), *(each.entry for each in some)))
    return count


async def release_parked(app: App, processor: Processor, chosen: Iterable[Kept]) -> int:
    """Let the keys of parked events run again; how many keys.

    Raises:
        StoreError: The server cannot be reached, or refuses; some may run already.
    """
    name = processor.options.name
    first_of_keys = {(each.keys, each.key): each for each in reversed(list(chosen))}
    release = lambda keys, some: moves.release_keys(keys, name, [each.key for each in some])  # noqa: E731
    return await _do(app, first_of_keys.values(), release)


async def discard_parked(app: App, processor: Processor, chosen: Iterable[Kept]) -> int:
    """Drop parked events; how many were there.

    Raises:
        StoreError: The server cannot be reached, or refuses; some may be dropped already.
    """
    name = processor.options.name
    return await _do(app, chosen, lambda keys, some: moves.discard_parked(keys, name, _entries(some)))


async def _do(app: App, chosen: Iterable[Kept], make: Callable[[PartitionKeys, list[Kept]], Call[int]]) -> int:
    link, count = (await app.open()).link(), 0
    try:
        for keys, some in _in_parts(chosen):
            [answer] = await link.run([make(keys, some)])
            if isinstance(answer, StoreError):
                raise answer
            count += answer
    finally:
        await link.close()
    return count


def _in_parts(chosen: Iterable[Kept]) -> Iterator[tuple[PartitionKeys, list[Kept]]]:
    partitions: dict[PartitionKeys, list[Kept]] = {}
    for each in chosen:
        partitions.setdefault(each.keys, []).append(each)
    for keys, some in partitions.items():
        for i in range(0, len(some), AT_ONCE):
            yield keys, some[i : i + AT_ONCE]


def _entries(some: Iterable[Kept]) -> list[tuple[bytes, bytes]]:
    return [(each.key, each.entry.encode()) for each in some]


def as_json(kept: Iterable[Kept]) -> str:
    """All of them, for programs."""
    return orjson.dumps([each.as_dict() for each in kept], option=orjson.OPT_INDENT_2).decode()


def as_line(kept: Kept) -> str:
    """One of them, as a line of JSON."""
    return orjson.dumps(kept.as_dict()).decode()


def _text(value: bytes) -> str:
    return value.decode("utf-8", "backslashreplace")
