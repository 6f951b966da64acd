"""Delayed events: from a send to the set of what waits in its partition. A worker's promoter moves them into the log.

What is sent is put aside by one producer an event loop, one call at a time: each lies there once, however often a lost answer
makes us send it again.
"""

import asyncio
import secrets
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from attrs import define, field, frozen

from runnel.clock import Clock, DueTimes, Duration, io_timeout, seconds
from runnel.errors import RecordError, StoreError, StoreUnavailable
from runnel.store import timing
from runnel.store.keys import AppKeys, PartitionKeys
from runnel.store.link import Link
from runnel.store.scripts import Call, Overflow
from runnel.store.timing import PutAside

MOST_ENTRIES, MOST_BYTES = 500, 2**20
"""What one call may hold: a script holds up the server while it runs."""

RETRY = 0.1
"""Seconds until the server is asked again when it is away."""

LATEST = datetime(9999, 1, 1, tzinfo=UTC).timestamp()

Entry = tuple[PartitionKeys, Sequence[bytes]]


@frozen
class Due:
    """When events are due: `after` so many seconds, or `at` a moment, in seconds since the epoch."""

    after: float | None = None
    at: float | None = None


def due(where: str, delay: Duration | None, at: datetime | None, delay_name: str = "delay") -> Due:
    """What `send` was told, or an actor's `remind`.

    Args:
        where: For errors: the stream, or the reminder.
        delay: Seconds from now.
        at: Or the moment.
        delay_name: What the caller calls the delay.

    Raises:
        RecordError: It does not fit.
    """
    if (delay is None) is (at is None):
        raise RecordError(f"{where}: it is due after a delay or at a moment: give one of {delay_name}= and at=")
    if delay is not None:
        try:
            after = seconds(delay)
        except (TypeError, ValueError):
            raise RecordError(f"{where}: {delay_name} must be seconds or a timedelta, not {delay!r}") from None
        if not 0 <= after < LATEST:
            raise RecordError(f"{where}: {delay_name} must be at least 0, not {delay!r}")
        return Due(after=after)
    if not isinstance(at, datetime):
        raise RecordError(f"{where}: at must be a datetime, not {at!r}")
    if at.tzinfo is None:
        raise RecordError(f"{where}: at={at.isoformat()} has no time zone: give it one, such as tzinfo=datetime.UTC")
    return Due(at=max(0.0, at.timestamp()))


@frozen
class Shape:
    """What events put aside together have in common: their fields, and what becomes of them in a full log."""

    names: tuple[bytes, ...]
    cap: int
    overflow: Overflow


@frozen(eq=False)
class Delayed:
    """An event that is delayed.

    Attributes:
        id: `stream/partition/number`. It is not that of the event, which it gets when it is due.
        due: When, in UTC.
    """

    id: str
    due: datetime
    _delayer: "Delayer" = field(repr=False)
    _keys: PartitionKeys = field(repr=False)
    _number: int = field(repr=False)

    async def cancel(self) -> bool:
        """Take the event back.

        Returns:
            False: It is in the log already, or was cancelled before.

        Raises:
            StoreError: The server cannot be reached, or refuses; it may or may not be cancelled. Call it again.
        """
        return await self._delayer.cancel(self._keys, self._number)


@define(eq=False)
class _Chunk:
    """Events of one partition that are put aside by one call, and their places among all."""

    keys: PartitionKeys
    places: list[int] = field(factory=list)
    values: list[bytes] = field(factory=list)
    size: int = 0


class Delayer:
    """Puts events of one event loop aside.

    Args:
        link: A connection of its own.
        clock: The app's.
        app: The app's keys.
        due_times: How far they are ahead.
    """

    def __init__(self, link: Link, clock: Clock, app: AppKeys, due_times: DueTimes) -> None:
        self._link = link
        self._clock = clock
        self._app = app
        self._due_times = due_times
        self._name = f"{secrets.token_hex(8)}.delayed"
        self._sequences: Counter[PartitionKeys] = Counter()
        self._noted: set[str] = set()
        self._turn = asyncio.Lock()

    async def put_aside(
        self, stream: str, partitions: int, entries: Sequence[Entry], shape: Shape, due: Due, timeout: float
    ) -> list[Delayed]:
        """Put them aside, in their order; all or none of one partition, if they are at most 500 and 1 MiB.

        Raises:
            StoreUnavailable: The server did not answer within `timeout` seconds; some of them may be put aside.
            StoreRefused: The server refused.
        """
        chunks = list(_chunks(entries))
        give_up = self._clock.monotonic() + timeout
        try:
            async with io_timeout(timeout), self._turn:
                await self._note(stream, partitions, give_up)
                found: dict[int, Delayed] = {}
                while chunks:  # at most one of each partition at once, or a later one could go in before
                    first = list({chunk.keys: chunk for chunk in reversed(chunks)}.values())
                    chunks = [chunk for chunk in chunks if chunk not in first]
                    found |= await self._exchange(first, shape, due, give_up)
                if any(delayed._number == 1 for delayed in found.values()):  # the server may have lost what was noted
                    self._noted.discard(stream)
                    await self._note(stream, partitions, give_up)
        except TimeoutError:
            raise StoreUnavailable(f"the server did not answer within {timeout:g} s") from None
        return [found[place] for place in range(len(entries))]

    async def cancel(self, keys: PartitionKeys, number: int) -> bool:
        """Take one back; False: it is not there any more."""
        cancelled = await self._link.call(timing.cancel(keys, [number]), patience=5)
        return cancelled > 0

    async def _note(self, stream: str, partitions: int, give_up: float) -> None:
        """Let workers know that there is something to look after, before there is."""
        while stream not in self._noted:
            try:
                await self._link.command("HSET", self._app.delaying, stream, partitions)
                self._noted.add(stream)
            except StoreUnavailable:
                if self._clock.monotonic() + RETRY > give_up:
                    raise
                await self._clock.sleep(RETRY)

    async def _exchange(self, chunks: Sequence[_Chunk], shape: Shape, due: Due, give_up: float) -> dict[int, Delayed]:
        calls = [self._call(chunk, shape, due) for chunk in chunks]
        answers = await self._link.run(calls, patience=give_up - self._clock.monotonic())
        found = {}
        for chunk, answer in zip(chunks, answers, strict=True):
            if isinstance(answer, StoreError):
                raise answer
            if answer is None:
                raise StoreUnavailable("the server answered too late to recognise what was sent again")
            for n, place in enumerate(chunk.places, answer.first):
                keys = chunk.keys
                moment = datetime.fromtimestamp(answer.due / 1000, UTC)
                found[place] = Delayed(f"{keys.stream}/{keys.number}/{n}", moment, self, keys, n)
        return found

    def _call(self, chunk: _Chunk, shape: Shape, due: Due) -> "Call[PutAside | None]":
        self._sequences[chunk.keys] += 1
        return timing.delay(
            chunk.keys,
            self._name,
            self._sequences[chunk.keys],
            shape.names,
            chunk.values,
            after=due.after,
            at=due.at,
            cap=shape.cap,
            overflow=shape.overflow,
            ahead=self._due_times.ahead,
        )


def _chunks(entries: Sequence[Entry]) -> Iterator[_Chunk]:
    """Of each partition in the order of its events."""
    chunks: dict[PartitionKeys, _Chunk] = {}
    for place, (keys, values) in enumerate(entries):
        size = sum(map(len, values))
        chunk = chunks.get(keys)
        if chunk is not None and (len(chunk.places) == MOST_ENTRIES or chunk.size + size > MOST_BYTES):
            yield chunk
            chunk = None
        if chunk is None:
            chunk = chunks[keys] = _Chunk(keys)
        chunk.places.append(place)
        chunk.values += values
        chunk.size += size
    yield from chunks.values()
