"""Middleware that comes with Runnel: failed events go to a stream of their own.

It stands in a processor's pipeline (events.py), between the log and the function.
"""

import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

from runnel.app import App
from runnel.errors import ConfigurationError, RecordError
from runnel.events import Event
from runnel.interfaces import Middleware
from runnel.records import Record, is_primitive
from runnel.stream import Stream

__all__ = ["Dead", "DeadLetterMiddleware", "Middleware"]

log = logging.getLogger(__name__)


class Dead(Record, primitive=True):
    """An event that failed, undecoded: that it does not decode may be why.

    Attributes:
        failed_at: When, by the worker's clock: ISO 8601, in UTC.
        partition: The Redis key of the log that it lies in.
        xid: Its id there. Partition and xid together are the same each time an event fails.
        data: Its encoded record.
    """

    failed_at: str
    partition: str
    xid: str
    data: bytes


class DeadLetterMiddleware(Middleware):
    """Sends each event whose handling failed to a stream; then the processor's policy decides, as without it.

    The policy to go with it is usually IGNORE. Of a batch that failed, every event is sent, in order.

    At least once: the event is in the sink before its partition goes on, so none is lost by a crash between the two; it
    is then handled again, and if it fails again it is in the sink twice, with the same `partition` and `xid`. While the
    sink cannot take it (the server is away, or the sink is full) the partition does not go on either: the event stays
    the next one. Events of one partition are in the sink in the order in which they failed. Key and headers are not kept.

    Args:
        source: The stream of the processor that it is given to.

    Attributes:
        sink: The stream `dead.<source>`, of one partition: of `Dead` records, or, if the source's records are primitive,
            of those. Processors can be declared over it. It has the app's default `overflow`; another one:
            `middleware.sink = middleware.sink.clone(overflow="drop_oldest")`.
    """

    def __init__(self, source: Stream[Any]) -> None:
        app, name = source.app, f"dead.{source.name}"
        if not isinstance(app, App):
            raise ConfigurationError(f"stream {source.name!r} belongs to no app")
        self.source = source
        self.sink: Stream[Any]
        self._clock = app.clock
        self._is_primitive = is_primitive(source.record)
        if self._is_primitive:
            self.sink = app.streams.setdefault(name, source.clone(name=name, partition_count=1))
        else:
            self.sink = app.stream(name, record=Dead, partition_by="partition", partition_count=1)

    async def handler(self, parent: AsyncIterator[Any], **kwargs: Any) -> AsyncIterator[Any]:
        """Pass on what comes; send what failed."""
        async for item in parent:
            try:
                yield item
            except Exception:
                await self._send(item if isinstance(item, list) else [item])
                raise

    async def _send(self, events: list[Event]) -> None:
        dead = [record for event in events if (record := self._dead(event)) is not None]
        log.warning("events failed", extra={"stream": self.source.name, "sink": self.sink.name, "events": len(dead)})
        await self.sink.send(*dead)

    def _dead(self, event: Event) -> Any:
        if not self._is_primitive:
            return Dead(
                failed_at=datetime.fromtimestamp(self._clock.time(), UTC).isoformat(),
                partition=self.source.partitions[event.partition].log.decode(),
                xid=event.xid,
                data=event.data,
            )
        try:
            return event.record()
        except RecordError as error:  # nobody could read it from the sink
            log.error(
                "a primitive event that does not decode is not sent on", extra={"entry": event.id, "error": str(error)}
            )
            return None
