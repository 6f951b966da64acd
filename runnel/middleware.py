"""Middleware that comes with Runnel: dead letters, a log line for each event, a limit to their rate.

It stands in a processor's pipeline (pipeline.py), between the log and the function.
"""

import logging
import math
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

from attrs import define

from runnel.app import App
from runnel.errors import ConfigurationError, RecordError
from runnel.handling.event import Event
from runnel.handling.events import Events
from runnel.interfaces import Middleware
from runnel.records import Record, is_primitive
from runnel.stream import Stream

__all__ = ["Dead", "DeadLetterMiddleware", "LoggingMiddleware", "Middleware", "RateLimitMiddleware"]

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
    """Sends each event whose handling failed for good to a stream; then the processor's policy decides, as without it.

    Under a `retry` that is after the last attempt. The policy to go with it is usually IGNORE. Of a batch that failed, every
    event is sent, in order; under DEAD_LETTER and PARK its events are tried one by one first, and the culprit is sent.

    At least once: the event is in the sink before its partition goes on, so none is lost by a crash between the two; it
    is then handled again, and if it fails again it is in the sink twice, with the same `partition` and `xid`. While the
    sink cannot take it (the server is away, the sink is full, or was made with other options) the partition does not go on
    either: the event stays the next one. Events of one partition are in the sink in the order in which they failed. Key and
    headers are not kept.

    It sends what fails behind it, so it should be the first of a processor's middleware.

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
        """Pass on what comes; send what failed for good."""
        events: Events[Any] = kwargs["events"]
        async for item in parent:
            try:
                yield item
            except Exception as error:
                if not events.tries_again(error):
                    await self._send(_events(item))
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


class LoggingMiddleware(Middleware):
    """Logs what becomes of each event, or batch, that reaches it.

    The messages are "event done", "event failed" (always a warning) and "event left undone", the last when its partition is
    given away in the middle of it, or the function left its loop: it will run again. Fields: `app`, `stream`, `processor`,
    `partition`, `entry` (of a batch, its first event's), `events` (how many), `attempt`, `elapsed_ms` (until the function, and
    the middleware between, came back), and `error`, the type of what was raised. Its text and traceback are not logged, since
    an error's text may quote the event; the policy's own line has them.

    Args:
        level: Of all but failures: "debug", "info", ...
        payload_bytes: How many bytes of each payload are logged, as `payload`, undecoded. 0: none.

    Raises:
        ConfigurationError: There is no such level, or `payload_bytes` is negative.
    """

    def __init__(self, level: str = "info", payload_bytes: int = 0) -> None:
        levels = logging.getLevelNamesMapping()
        if level.upper() not in levels or payload_bytes < 0:
            raise ConfigurationError(f"LoggingMiddleware: level {level!r}, payload_bytes {payload_bytes!r}: do not fit")
        self._level = levels[level.upper()]
        self._payload_bytes = payload_bytes

    async def handler(self, parent: AsyncIterator[Any], **kwargs: Any) -> AsyncIterator[Any]:
        """Pass on what comes, and log when it is back."""
        events: Events[Any] = kwargs["events"]
        async for item in parent:
            fields = self._fields(events, _events(item))
            begun = events.clock.monotonic()
            level, text = self._level, "event left undone"
            try:
                yield item
                text = "event done"
            except Exception as error:
                level, text = logging.WARNING, "event failed"
                fields["error"] = type(error).__name__
                raise
            finally:
                fields["elapsed_ms"] = round(1000 * (events.clock.monotonic() - begun), 3)
                log.log(level, text, extra=fields)

    def _fields(self, events: Events[Any], batch: list[Event]) -> dict[str, object]:
        fields: dict[str, object] = {
            "app": events.stream.app.name,
            "stream": events.stream.name,
            "processor": events.group,
            "partition": events.partition,
            "entry": batch[0].id,
            "events": len(batch),
            "attempt": batch[0].attempt,
        }
        if self._payload_bytes:
            fields["payload"] = [_payload(event)[: self._payload_bytes].decode(errors="replace") for event in batch]
        return fields


class RateLimitMiddleware(Middleware):
    """Bounds how fast a processor's events begin: a token bucket for each partition, by the app's clock.

    Each event takes a token. A batch waits for as many tokens as it has events, or for `burst` if it has more, and what it
    takes beyond that is waited for before the next. The bucket of a partition is full when a worker first gets it.

    An event that waits has not begun. When its partition is given away, or the worker stops, it stays the next one, at once.
    A retry and an event that is handled again take tokens, too.

    Args:
        rate: Tokens a second, for each partition: of 16 partitions, all together 16 times as many.
        burst: How many tokens a bucket holds: how many events may follow at once after a pause.

    Raises:
        ConfigurationError: `rate` is not greater than 0, or `burst` is less than 1, or one of them is not finite.
    """

    def __init__(self, rate: float, burst: float = 1) -> None:
        if not (0 < rate < math.inf and 1 <= burst < math.inf):
            raise ConfigurationError(f"RateLimitMiddleware: rate {rate!r}, burst {burst!r}: at least above 0, and 1")
        self._rate = rate
        self._burst = burst
        self._buckets: dict[tuple[str, str, int], _Bucket] = {}

    async def handler(self, parent: AsyncIterator[Any], **kwargs: Any) -> AsyncIterator[Any]:
        """Pass on what comes, when there is a token for it."""
        events: Events[Any] = kwargs["events"]
        now = events.clock.monotonic
        # Kept from call to call: each event that fails begins the pipeline anew, and must not fill the bucket.
        bucket = self._buckets.setdefault(
            (events.group, events.stream.name, events.partition), _Bucket(self._rate, self._burst)
        )
        async for item in parent:
            tokens = len(_events(item))
            if (delay := bucket.delay(tokens, now())) > 0 and not await events.pause(delay):
                return
            bucket.take(tokens, now())
            yield item


@define
class _Bucket:
    """A token bucket. All it has to know is since when it fills: `empty_at`, the moment at which it had no token."""

    rate: float
    burst: float
    empty_at: float = -math.inf

    def delay(self, tokens: float, now: float) -> float:
        """Seconds until it has so many tokens, or is full."""
        return self.empty_at + min(tokens, self.burst) / self.rate - now

    def take(self, tokens: float, now: float) -> None:
        """Take tokens out, also more than there are."""
        self.empty_at = max(self.empty_at, now - self.burst / self.rate) + tokens / self.rate


def _events(item: Any) -> list[Event]:
    """What middleware gets, an event or a batch, as a list."""
    return item if isinstance(item, list) else [item]


def _payload(event: Event) -> bytes:
    """An event's record as it is stored; of a primitive one its fields, in a line."""
    pairs = zip(event.fields[::2], event.fields[1::2], strict=True)
    return event.data or b" ".join(name + b"=" + value for name, value in pairs if not name.startswith(b"~"))
