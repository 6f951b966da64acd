"""What a processor's function iterates over: the events of one partition, one by one or in batches.

`Events` gets entries from a `Source` (the partition actor) and gives events or records to the user's function. An event
is done when the function comes back for the next one; nothing else moves the position.
"""

import asyncio
import logging
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack
from typing import Any, Generic, TypeVar

from runnel.clock import Clock, Duration, seconds
from runnel.errors import ConfigurationError, RecordError, RunnelError
from runnel.handling.alarm import timed
from runnel.handling.breath import BREATH, Breath, breathe
from runnel.handling.event import Event
from runnel.handling.pipeline import Pipeline, pause
from runnel.handling.source import Source
from runnel.interfaces import Middleware
from runnel.stream import Stream

R = TypeVar("R")
T = TypeVar("T")

log = logging.getLogger(__name__)


class Events(Generic[R]):
    """The events of one partition of a stream, in order, without end.

    Iterate over it for raw events, over `records()` for records, over `take(n)` for batches. The loop ends when the
    partition is given to another worker, or the worker stops.
    """

    def __init__(
        self, source: Source, stream: Stream[R], partition: int, group: str, middleware: Sequence[Middleware]
    ) -> None:
        self.stream = stream
        self.partition = partition
        self.group = group
        self._source = source
        self._middleware = tuple(middleware)
        self._pipelines: list[Pipeline] = []
        self._generators: list[AsyncGenerator[Any, Any]] = []
        self._limit: int | None = None
        self._undecoded: RecordError | None = None

    def __aiter__(self) -> AsyncIterator[Event]:
        return self._timed(self._through_middleware(self._one_by_one))

    def records(self) -> AsyncIterator[R]:
        """Decoded records, one by one. Each is decoded at its turn: one that does not decode has failed."""
        if not self._middleware:
            return self._opened(self._records())
        return self._timed(self._opened(self._decoded(self._one_by_one, lambda event: event.record())))

    def take(self, n: int, within: Duration = 1.0) -> "Batches[R]":
        """Batches of 1 to `n` events.

        Args:
            n: How many events a batch has at most.
            within: How long after its first event a batch is handed out although it is not full, in seconds.

        Raises:
            ConfigurationError: `n` is less than 1, or `within` is negative.
        """
        if n < 1 or seconds(within) < 0:
            raise ConfigurationError(f"take({n!r}, within={within!r}): n must be at least 1, and within at least 0")
        return Batches(self, n, seconds(within))

    @property
    def clock(self) -> Clock:
        """The app's clock."""
        return self._source.clock

    def tries_again(self, error: Exception) -> bool:
        """Whether the event, or batch, that is out just now will be tried again, in place, if it fails with this error.

        For a middleware that does something about what has failed for good: it asks where the error comes back to its `yield`.
        True, too, for a batch whose events are going to be tried one by one.
        """
        return error is not self._undecoded and self._source.tries_again(error)

    # ── what hands out what is in hand ──

    async def _records(self) -> AsyncGenerator[R, None]:
        # The fastest way, and the most frequent: every statement here is paid for each event.
        source, position, decode = self._source, self._source.position, self.stream.codec.decode
        now, alarm, durations = source.clock.monotonic, source.alarm, position.durations
        breath = now() + BREATH
        while position.left or await source.fill():
            entries, first = position.entries, position.at
            if alarm is not None:
                alarm.begin()
            began = before = moment = now()
            for at in range(first, len(entries)):
                position.out = 1
                try:
                    record = decode(entries[at][1])
                except RecordError as error:
                    if not source.excuses(error):
                        raise
                    await breathe(0)
                    first += 1
                    break  # what is in hand may be other events now
                yield record
                before, moment = moment, now()
                if alarm is not None:
                    if alarm.rang:
                        raise alarm.error()
                    alarm.since = moment
                position.at = at + 1
                if not position.dirty:
                    position.mark()
                if position.closing or moment >= breath:
                    break
            position.out = 0
            durations.add_run(at + 1 - first, began, before, moment)
            if alarm is not None:
                alarm.pause()
            if position.closing:
                return
            if (moment := now()) >= breath:
                await breathe(moment - breath)
                breath = now() + BREATH

    async def _one_by_one(self) -> AsyncGenerator[Event, None]:
        source, position, now = self._source, self._source.position, self.clock.monotonic
        breath = Breath(source.clock)
        while not position.closing and (position.left or await source.fill()):
            xid, fields = position.entries[position.at]
            position.out = 1
            began = now()
            yield self._event(xid, fields)
            position.durations.add(now() - began)
            position.done(1)
            await breath()

    def _event(self, xid: bytes, fields: list[bytes]) -> Event:
        return Event(self.stream, self.partition, self.group, xid, fields, self._source.attempt)

    async def _batches(self, n: int, within: float) -> AsyncGenerator[list[tuple[bytes, list[bytes]]], None]:
        source, position, now = self._source, self._source.position, self.clock.monotonic
        breath = Breath(source.clock)
        while (position.left or await source.fill()) and await self._gather(n, within):
            most, self._limit = 1 if position.singly else min(n, self._limit or n), None
            batch = position.entries[position.at : position.at + most]
            position.out = len(batch)
            began = now()
            yield batch
            position.durations.add((now() - began) / len(batch), position.out)
            position.done(position.out)
            await breath()

    async def _gather(self, n: int, within: float) -> bool:
        """Wait until there are `n` events in hand, or for `within` seconds. False if the partition is to stop."""
        source = self._source
        deadline = source.clock.monotonic() + within
        n = 1 if source.position.singly else n
        while source.position.left < n and (wait := deadline - source.clock.monotonic()) > 0:
            if not await source.fill(wait):
                break
        return not source.position.closing

    async def _event_batches(self, n: int, within: float) -> AsyncGenerator[list[Event], None]:
        async for batch in self._batches(n, within):
            attempt = self._source.attempt
            yield [Event(self.stream, self.partition, self.group, xid, fields, attempt) for xid, fields in batch]

    async def _record_batches(self, n: int, within: float) -> AsyncGenerator[list[R], None]:
        decode = self.stream.codec.decode
        async for batch in self._batches(n, within):
            try:
                records = [decode(fields) for _, fields in batch]
            except RecordError:
                records = self._before_culprit(batch)
            if records:
                yield records

    def _before_culprit(self, batch: list[tuple[bytes, list[bytes]]]) -> list[R]:
        """The records before the first event that does not decode. It comes next, alone: then it has failed."""
        position = self._source.position
        records: list[R] = []
        try:
            for _, fields in batch:
                records.append(self.stream.codec.decode(fields))
        except RecordError as error:
            position.out = len(records) or 1
            if not records and not self._source.excuses(error):
                raise
        return records

    # ── middleware ──

    async def pause(self, delay: Duration) -> bool:
        """Let time pass, by the app's clock, in a middleware that holds an event, or batch, which it has not yielded yet.

        Args:
            delay: How long, in seconds.

        Returns:
            False as soon as the partition is to be let go. Then return from the handler, without yielding: what it holds
            stays the next event, and the hand-over does not wait for it.
        """
        return await pause(self._source.position, self.clock, seconds(delay))

    async def _decoded(
        self, root: Callable[[], AsyncGenerator[Any, None]], decode: Callable[[Any], Any]
    ) -> AsyncGenerator[Any, None]:
        """Decode behind the middleware, so that it sees what does not decode fail, as it sees handlers fail."""
        going = True
        while going:
            going = False
            pipeline = self._piped(root())
            async for item in pipeline.items:
                try:
                    record = decode(item)
                except RecordError as error:
                    await self._undecodable(pipeline, item, error)
                    going = True  # the middleware has ended: begin it anew
                    break
                yield record

    async def _undecodable(self, pipeline: Pipeline, item: Any, error: RecordError) -> None:
        """End the middleware, by the error if it is that of one event; of a batch, find the culprit first."""
        is_one = not (isinstance(item, list) and len(item) > 1)
        self._undecoded = error
        await pipeline.end(error if is_one else None)
        self._pipelines.remove(pipeline)
        if not is_one:
            self._narrow(item)
        elif not self._source.excuses(error):
            raise error

    def _narrow(self, batch: list[Event]) -> None:
        """Let the next batch end before the first event that does not decode, or hold it alone."""
        good = 0
        try:
            for event in batch:
                event.record()
                good += 1
        except RecordError:
            self._limit = max(1, good)

    def _through_middleware(self, root: Callable[[], AsyncGenerator[Any, None]]) -> AsyncIterator[Any]:
        return self._piped(root()).items if self._middleware else self._opened(root())

    def _piped(self, root: AsyncGenerator[Any, None]) -> Pipeline:
        stream = self.stream
        fields = {"app": stream.app.name, "stream": stream.name, "processor": self.group, "partition": self.partition}
        pipeline = Pipeline(root, self._source.position, fields)
        self._pipelines.append(pipeline)
        for item in self._middleware:
            pipeline.add(item, events=self)
        return pipeline

    def _opened(self, items: AsyncGenerator[T, None]) -> AsyncIterator[T]:
        self._generators.append(items)
        return items

    def _timed(self, items: AsyncIterator[T]) -> AsyncIterator[T]:
        alarm = self._source.alarm
        return items if alarm is None else self._opened(timed(items, alarm))

    @property
    def _next_id(self) -> str:
        position = self._source.position
        return f"{self.stream.name}/{self.partition}/{position.entries[position.at][0].decode()}"

    async def end(self, error: Exception | None) -> None:
        """The function has ended, with its error or without: middleware hears of it, and all generators are closed.

        Called in a `finally`: that shows whether the function was cancelled.

        Raises:
            StoreError, StreamFull: A middleware could not keep the event that failed.
            ConfigurationError, RunnelError: A middleware is broken, or failed outside of an event.

        After any of these no event has failed: what was out must stay the next one.
        """
        cancelled = isinstance(sys.exception(), asyncio.CancelledError)
        if cancelled and (out := self._source.position.out):
            fields = {"processor": self.group, "entry": self._next_id, "events": out}
            log.warning("cut off in the middle of an event, which will run again", extra=fields)
        try:
            async with AsyncExitStack() as stack:
                for pipeline in self._pipelines[:-1]:  # of loops that the function broke off
                    stack.push_async_callback(pipeline.end)
                for pipeline in self._pipelines[-1:]:
                    stack.push_async_callback(pipeline.end, error)
                for generator in self._generators:
                    stack.push_async_callback(generator.aclose)
        except RunnelError:
            if not cancelled:
                raise


class Batches(Generic[R]):
    """Batches of events; made by `Events.take`."""

    def __init__(self, events: Events[R], n: int, within: float) -> None:
        self._events = events
        self._n = n
        self._within = within

    def __aiter__(self) -> AsyncIterator[list[Event]]:
        events = self._events
        return events._timed(events._through_middleware(lambda: events._event_batches(self._n, self._within)))

    def records(self) -> AsyncIterator[list[R]]:
        """Lists of decoded records."""
        events = self._events
        if not events._middleware:
            return events._timed(events._opened(events._record_batches(self._n, self._within)))
        decoded = events._decoded(
            lambda: events._event_batches(self._n, self._within), lambda batch: [event.record() for event in batch]
        )
        return events._timed(events._opened(decoded))
