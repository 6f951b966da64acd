"""Processors that are plain `def` functions: each partition's runs in a thread of its own, over events that cross to it.

`SyncEvents` is in the thread what `Events` is in the event loop, and gets all it hands out from there. One by one and without
middleware, several events cross at once: the thread counts which of them are done, and the event loop moves the position.
Everything else crosses as one thing, an event or a batch, and is asked of the very iterators that async functions use.
"""

import inspect
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import Future
from contextlib import nullcontext
from typing import Any, Generic, TypeVar

from attrs import define, field

from runnel.clock import Duration
from runnel.errors import ConfigurationError
from runnel.handling.crossing import Crossing, wait_for
from runnel.handling.event import Event
from runnel.handling.events import Batches, Events
from runnel.handling.progress import Chunk, Progress

R = TypeVar("R")
T = TypeVar("T")

log = logging.getLogger(__name__)

END: Any = object()


class SyncEvents(Generic[R]):
    """The events of one partition of a stream, in order, without end, for a processor that is a plain function.

    As `Events`: iterate over it for raw events, over `records()` for records, over `take(n)` for batches. The loop ends when
    the partition is given to another worker, or the worker stops. To be used in the function's own thread only.

    Attributes:
        stream: Whose events.
        partition: The number of the partition.
        group: The name of the processor.

    Raises:
        LeaseLost: Where the loop comes back for the next event: the partition was taken away meanwhile, or the function has
            taken longer than `grace_period` when it was to be let go. What was out is not done.
        TimedOut: There, too: the event took longer than `timeout`.
    """

    def __init__(self, events: Events[R], crossing: Crossing, progress: Progress) -> None:
        self.stream = events.stream
        self.partition = events.partition
        self.group = events.group
        self._events = events
        self._crossing = crossing
        self._progress = progress

    def __iter__(self) -> Iterator[Event]:
        if self._events._middleware:
            return self._each(self._events.__aiter__)
        return self._chunked(self._events._event)

    def records(self) -> Iterator[R]:
        """Decoded records, one by one. Each is decoded at its turn: one that does not decode has failed."""
        if self._events._middleware:
            return self._each(self._events.records)
        return self._chunked(lambda xid, fields: self.stream.codec.decode(fields))

    def take(self, n: int, within: Duration = 1.0) -> "SyncBatches[R]":
        """Batches of 1 to `n` events; see `Events.take`."""
        return SyncBatches(self, self._events.take(n, within))

    def run(self, awaitable: Awaitable[T]) -> T:
        """Wait for something that needs the worker's event loop, such as `events.run(invoices.send(invoice))`.

        Raises:
            LeaseLost: The function's time was up before it was done.
        """
        tracing = self._events.stream.app.tracing
        context = None if tracing is None else tracing.current()

        async def awaited() -> T:
            with nullcontext() if tracing is None else tracing.within(context):
                return await awaitable

        try:
            return self._crossing.ask(awaited)
        finally:
            if inspect.iscoroutine(awaitable):
                awaitable.close()  # if it was not begun Python would complain that nobody awaited it

    def _chunked(self, make: Callable[[bytes, list[bytes]], T]) -> Iterator[T]:
        progress, chunk = self._progress, Chunk(self._events._source, self._progress, make)
        while items := self._crossing.ask(chunk.next):
            last = len(items) - 1
            for n, item in enumerate(items):
                progress.begin()
                yield item
                if not progress.done(more=n < last):
                    return

    def _each(self, iterate: Callable[[], AsyncIterator[T]]) -> Iterator[T]:
        progress, items, tracing = self._progress, list[AsyncIterator[T]](), self._events.stream.app.tracing

        async def following() -> tuple[T, Any]:
            progress.take_back()
            progress.verdict()
            if not items:
                items.append(iterate())
            item = await anext(items[0], END)
            return item, None if tracing is None else tracing.current()

        while True:
            item, context = self._crossing.ask(following)
            if tracing is not None:  # the event's span is current in this thread, too
                tracing.enter(context)
            if item is END:
                return
            progress.begin()
            yield item
            progress.back()


class SyncBatches(Generic[R]):
    """Batches of events; made by `SyncEvents.take`."""

    def __init__(self, events: SyncEvents[R], batches: Batches[R]) -> None:
        self._events = events
        self._batches = batches

    def __iter__(self) -> Iterator[list[Event]]:
        return self._events._each(self._batches.__aiter__)

    def records(self) -> Iterator[list[R]]:
        """Lists of decoded records."""
        return self._events._each(self._batches.records)


@define(eq=False)
class InThreads:
    """Calls a processor's plain function, for each partition in one thread at a time.

    Args:
        function: Called with `SyncEvents`.
        name: The processor's.
        limit: Seconds that an event, or a batch, may take; None: as long as it wants.
    """

    function: Callable[[Any], object]
    name: str
    limit: float | None
    _calls: dict[int, "Future[None]"] = field(factory=dict)
    """The last call for each partition."""

    async def __call__(self, events: Events[Any]) -> None:
        """Call it, and wait for it; cancelled, leave its thread to itself, which then counts for nothing."""
        if not await self._alone(events):
            return
        crossing = Crossing()
        progress = Progress(events._source, crossing, self.limit)
        progress.on_late = lambda: log.warning(
            "an event takes longer than its timeout: a thread is not interrupted, the event fails when it returns",
            extra={**self._fields(events), "entry": events._next_id, "limit": self.limit},
        )
        given = SyncEvents(events, crossing, progress)
        crossing.start(lambda: self._live(given), f"{self.name}/{events.partition}")
        self._calls[events.partition] = crossing.ended
        try:
            progress.watch_the_time()
            await crossing.serve()
        finally:
            progress.end()
        progress.verdict()

    def _live(self, events: SyncEvents[Any]) -> None:
        found = self.function(events)
        events._progress.look_at_the_time()
        if inspect.isawaitable(found):
            if inspect.iscoroutine(found):
                found.close()
            raise ConfigurationError(
                f"processor {self.name!r} returned something to be awaited: declare it with `async def`"
            )

    async def _alone(self, events: Events[Any]) -> bool:
        """Wait for the thread of an earlier call that was left to itself. False: the partition is to be let go."""
        earlier = self._calls.get(events.partition)
        if earlier is None or earlier.done():
            return True
        log.warning(
            "the function's last call for this partition has not returned: waiting for its thread",
            extra=self._fields(events),
        )
        return await wait_for(earlier, events._source.position)

    def _fields(self, events: Events[Any]) -> dict[str, object]:
        return {"processor": self.name, "stream": events.stream.name, "partition": events.partition}
