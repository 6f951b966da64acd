"""Streams: from a record to its key, its partition, and its place in the log."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from datetime import datetime
from operator import attrgetter
from typing import Any, Generic, Protocol, TypeVar, overload

import orjson
from attrs import evolve, field, frozen
from xxhash import xxh64_intdigest as xxh64

from runnel.clock import Duration
from runnel.errors import ConfigurationError, RecordError, StreamFull
from runnel.fitness import check_options
from runnel.producer import MOST_BYTES, MOST_ENTRIES, Fate, Lane, Part, Producer
from runnel.records import Codec, Serializer, default_hasher, key_bytes, make_codec
from runnel.store.keys import PartitionKeys
from runnel.store.scripts import Overflow, entry_id
from runnel.timing.delayed import Delayed, Delayer, Due, Shape, due
from runnel.tracing import Tracing

R = TypeVar("R")

KEY = b"~key"
HEADERS = b"~headers"
TO = b"~to"
"""Fields of an entry that are Runnel's own begin with `~`. An entry that begins with `~to` is no event of the stream, but for
the actors of one processor (entity/messages.py): all others pass it over."""


class Home(Protocol):
    """What a stream knows of its app: its name, and how to reach the server from the running loop."""

    @property
    def name(self) -> str:
        """The app's name."""

    @property
    def send_timeout(self) -> float:
        """How long `send` waits, in seconds."""

    @property
    def tracing(self) -> Tracing | None:
        """What makes spans, or None."""

    async def producer_for(self, stream: "Stream[Any]") -> Producer:
        """The running loop's producer, once the stream's options are checked against what the server remembers."""

    async def delayer_for(self, stream: "Stream[Any]") -> Delayer:
        """What puts events aside in the running loop, likewise."""


@frozen(eq=False, kw_only=True)
class Stream(Generic[R]):
    """A stream of records, partitioned by key; events of one key are in the order in which they were sent.

    Made by `App.stream`, which says what the options mean.
    """

    app: Home
    name: str
    record: type[R]
    partition_by: str | Callable[[R], object]
    partition_count: int
    partition_size: int
    serializer: Serializer | None
    hasher: Callable[[Any], int] | None
    overflow: Overflow
    max_payload: int
    codec: Codec[R] = field(init=False, repr=False)
    key_of: Callable[[R], object] = field(init=False, repr=False)
    partitions: tuple[PartitionKeys, ...] = field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        check_options(self)
        by = self.partition_by
        keys = tuple(PartitionKeys(self.app.name, self.name, n) for n in range(self.partition_count))
        object.__setattr__(self, "codec", make_codec(self.record, self.serializer, self.max_payload))
        object.__setattr__(self, "key_of", attrgetter(by) if isinstance(by, str) else by)
        object.__setattr__(self, "partitions", keys)

    @overload
    async def send(
        self,
        *records: R,
        key: object = None,
        headers: Mapping[str, str] | None = None,
        stream_ids: Iterable[str] | None = None,
    ) -> list[str]: ...
    @overload
    async def send(
        self, *records: R, key: object = None, headers: Mapping[str, str] | None = None, delay: Duration
    ) -> list[Delayed]: ...
    @overload
    async def send(
        self, *records: R, key: object = None, headers: Mapping[str, str] | None = None, at: datetime
    ) -> list[Delayed]: ...
    async def send(
        self,
        *records: R,
        key: object = None,
        headers: Mapping[str, str] | None = None,
        stream_ids: Iterable[str] | None = None,
        delay: Duration | None = None,
        at: datetime | None = None,
    ) -> list[str] | list[Delayed]:
        """Append records to the log, each to the partition of its key.

        Records of one key are in the log in the order given, and in that of awaited calls. Those of one partition are
        appended together, all or none, if they are at most 500 and 1 MiB; more go in several appends, in order, and if one
        fails, the later ones are not sent. None is appended twice, however often a lost reply makes this send it again.
        Calls that run at once travel together.

        Args:
            *records: What to send, all checked and encoded before the first is sent.
            key: The partition key of all of them, instead of what `partition_by` says.
            headers: Strings that travel with each event (`event.headers`).
            stream_ids: For each record its entry's id ("ms-seq"), above all ids of its partition.
            delay: Seconds, or a timedelta: append them only then. They are kept on the server until they are due, and moved
                into the log by any of the app's workers, each once, none early, those of one partition in the order of
                their due times, and then of sending. A full partition drops what is oldest, or lets them wait, as
                `overflow` says; nobody is left to hear of "reject".
            at: Instead of `delay`, the moment: a datetime with a time zone.

        Returns:
            For each record the id of its event: `stream/partition/ms-seq`; or, if it is delayed, a `Delayed`.

        Raises:
            RecordError: A record is not of the stream's type, or its key is None.
            StreamFull: A partition has no room (see `overflow`): at once, or after `send_timeout`. Those for other
                partitions may be in the log. More records for a partition than `partition_size`: under "reject" none is
                sent; under "block" they go as room appears, `partition_size` at a time.
            StoreUnavailable: The server did not answer within `send_timeout`; the records may or may not be in the log.
            StoreRefused: The server refused, for example because it is out of memory.

        Cancelling it leaves open which records are in the log, never their order.
        """
        tracing = self.app.tracing
        with nullcontext(headers) if tracing is None else tracing.sending(self.name, len(records), headers) as carried:
            if delay is not None or at is not None:
                return await self._put_aside(records, key, carried, stream_ids, due(f"stream {self.name!r}", delay, at))
            sending = await prepare(self, records, key=key, headers=carried, stream_ids=stream_ids)
            await sending.run()
            ids = sending.ids()
            return ids if tracing is None else tracing.sent(ids)

    async def _put_aside(
        self, records: Sequence[R], key: object, headers: Mapping[str, str] | None, ids: Iterable[str] | None, due: Due
    ) -> list[Delayed]:
        if ids is not None:
            raise RecordError(f"stream {self.name!r}: events that are delayed get their ids when they are due")
        own, tail = ((KEY, HEADERS), (orjson.dumps(dict(headers)),)) if headers else ((KEY,), ())
        entries = []
        for record in records:
            values = self.codec.values(record)
            of = self.key_of(record) if key is None else key
            entries.append((self.partitions[self.hash(of)], (*values, key_bytes(of), *tail)))
        delayer = await self.app.delayer_for(self)
        shape = Shape((*self.codec.names, *own), self.partition_size, self.overflow)
        return await delayer.put_aside(self.name, self.partition_count, entries, shape, due, self.app.send_timeout)

    @property
    def hasher_name(self) -> str:
        """All that can be told of its hasher: another one of one's own is not recognised."""
        return "xxh64" if self.hasher in (None, default_hasher) else "custom"

    @property
    def fixed_options(self) -> dict[str, object]:
        """Options that decide where events lie: they may not change while it holds any."""
        return {"partition_count": self.partition_count, "hasher": self.hasher_name}

    def hash(self, key: object) -> int:
        """The number of the partition that events of `key` go to."""
        return (self.hasher or default_hasher)(key) % self.partition_count

    def route(self, key: object) -> str:
        """The Redis key of the log of the partition that events of `key` go to."""
        return self.partitions[self.hash(key)].log.decode()

    def serialize(self, record: R) -> dict[bytes, bytes]:
        """A record as the fields of an entry."""
        return dict(zip(self.codec.names, self.codec.values(record), strict=True))

    def deserialize(self, value: Mapping[bytes, bytes]) -> R:
        """The record in the fields of an entry; the opposite of `serialize`."""
        return self.codec.decode([part for pair in value.items() for part in pair])

    def clone(self, **changes: Any) -> "Stream[R]":
        """A stream of the same app with some options changed (`name`, `partition_count`, ...)."""
        try:
            return evolve(self, **changes)
        except TypeError as error:
            raise ConfigurationError(f"stream {self.name!r}: clone: {error}") from error


async def prepare(
    stream: Stream[Any],
    records: Sequence[Any],
    *,
    key: object = None,
    headers: Mapping[str, str] | None = None,
    stream_ids: Iterable[str] | None = None,
) -> "Sending":
    """Check and encode records, as `Stream.send` does, without sending them yet.

    Raises:
        RecordError, StreamFull, StoreError: As `Stream.send`; nothing is in the log.
    """
    producer = await stream.app.producer_for(stream)
    sending = Sending(stream, producer, headers, _explicit_ids(stream, stream_ids, len(records)))
    sending.add(records, key)
    if stream.overflow == "reject" and len(records) > stream.partition_size:
        sending.check_fit()
    return sending


class Sending:
    """One call of `send`, spread over partitions."""

    def __init__(
        self, stream: Stream[Any], producer: Producer, headers: Mapping[str, str] | None, ids: Sequence[bytes] | None
    ) -> None:
        self._stream = stream
        self._producer = producer
        self._tail = (orjson.dumps(dict(headers)),) if headers else ()
        self._own_names = (KEY, HEADERS) if headers else (KEY,)
        self._ids = None if ids is None else iter(ids)
        self._open: dict[int, Part] = {}
        self._order: list[Part] = []
        self._parts: list[tuple[Lane, Part]] = []

    def add(self, records: Sequence[Any], key: object) -> None:
        """Encode the records and put each into the part of its partition."""
        stream, ids, opened, order, tail = self._stream, self._ids, self._open, self._order, self._tail
        encoded, key_of, hasher, count = stream.codec.values, stream.key_of, stream.hasher, stream.partition_count
        most, tail_size = min(MOST_ENTRIES, stream.partition_size), sum(map(len, tail))
        is_single = len(stream.codec.names) == 1
        for record in records:  # paid for each event that is sent
            fields = encoded(record)
            of = key_of(record) if key is None else key
            text = key_bytes(of)
            number = (xxh64(text) if hasher is None else hasher(of)) % count
            size = tail_size + len(text) + (len(fields[0]) if is_single else sum(map(len, fields)))
            part = opened.get(number)
            if part is None or part.entries == most or part.size + size > MOST_BYTES:
                part = opened[number] = self._begin(number)
            values = part.values
            if ids is not None:
                values.append(next(ids))
            values += fields
            values.append(text)
            if tail:
                values += tail
            part.entries += 1
            part.size += size
            order.append(part)

    def _begin(self, number: int) -> Part:
        stream = self._stream
        part = Part((*stream.codec.names, *self._own_names), self._ids is not None)
        if (earlier := self._open.get(number)) is not None:
            earlier.next = part
        lane = self._producer.lane(stream.partitions[number], stream.partition_size, stream.overflow)
        self._parts.append((lane, part))
        return part

    def check_fit(self) -> None:
        """Refuse more records than a partition can ever hold.

        Raises:
            StreamFull: It says so.
        """
        entries: Counter[Lane] = Counter()
        for lane, part in self._parts:
            entries[lane] += part.entries
        for lane, count in entries.items():
            if count > lane.cap:
                raise StreamFull(
                    f"partition {lane.keys.number} of stream {lane.keys.stream!r} holds {lane.cap} events at most: "
                    f"{count} records in one send can never fit, send fewer at a time"
                )

    async def run(self, on_full: Callable[[StreamFull], None] = lambda full: None) -> None:
        """Send them; `on_full` is told of each partition that is full.

        Raises:
            StreamFull, StoreError, RecordError: As `Stream.send`. `fates` tells what is in the log.
        """
        if self._parts:
            await self._producer.send(self._parts, self._stream.app.send_timeout, on_full)
            for _, part in self._parts:
                part.ids.result()

    def ids(self) -> list[str]:
        """The ids of the records' events, in the order of the records."""
        answers = {part: iter(part.ids.result()) for _, part in self._parts}
        return [next(answers[part]) for part in self._order]

    def fates(self) -> list[Fate]:
        """What became of each record, in their order, once `run` has ended, however it did."""
        fates = {part: part.fate() for _, part in self._parts}
        return [fates[part] for part in self._order]


def _explicit_ids(stream: Stream[Any], ids: Iterable[str] | None, records: int) -> list[bytes] | None:
    """The ids that the caller chose; None when Redis is to choose them, which 0.1 wrote as a list of "*"."""
    chosen = None if ids is None else list(ids)
    if not chosen or set(chosen) == {"*"}:
        return None
    if len(chosen) != records:
        raise RecordError(f"stream {stream.name!r}: {records} records came with {len(chosen)} stream_ids")
    return [_explicit_id(stream, text) for text in chosen]


def _explicit_id(stream: Stream[Any], text: str) -> bytes:
    if (known := entry_id(text)) is None:
        raise RecordError(f"stream {stream.name!r}: stream id {text!r} is not of the form 1595369377000-0")
    return known
