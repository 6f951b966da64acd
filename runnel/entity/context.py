"""What a handler knows of the event that it handles, and what it may have done together with it.

A function gets it as an argument, an actor of one's own class is one.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import frozen

from runnel.entity.turn import Turn
from runnel.handling.event import Event
from runnel.stream import Stream

Entry = Sequence[Any]
"""An entry as Redis returns it: its id, and a flat list of its fields and values."""


@frozen
class Place:
    """Where actors live: the partition that their keys belong to."""

    stream: Stream[Any]
    partition: int
    processor: str

    @property
    def log_fields(self) -> dict[str, object]:
        """What log lines carry."""
        return {
            "app": self.stream.app.name,
            "stream": self.stream.name,
            "processor": self.processor,
            "partition": self.partition,
        }


class Context:
    """The event at hand, and its key. To be used while the event is handled, by its handler only."""

    _place: Place
    _key: bytes
    _entry: Entry
    _attempt: int = 1
    _turn: Turn | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.key!r}>"

    @property
    def key(self) -> str:
        """The key, as text."""
        return self._key.decode("utf-8", "surrogateescape")

    @property
    def event(self) -> Event:
        """The event, undecoded: its id, which is good as an idempotency key, its headers, its time."""
        place, (xid, fields) = self._place, self._entry
        return Event(place.stream, place.partition, place.processor, xid, fields, self._attempt)

    @property
    def attempt(self) -> int:
        """1 when this owner of the partition handles the event for the first time, then 2, 3, ..."""
        return self._attempt

    @property
    def log(self) -> "logging.LoggerAdapter[logging.Logger]":
        """A logger whose lines say which event they are about."""
        place, (xid, _) = self._place, self._entry
        entry = f"{place.stream.name}/{place.partition}/{xid.decode()}"
        fields = {**place.log_fields, "key": self.key, "entry": entry, "attempt": self._attempt}
        return logging.LoggerAdapter(logging.getLogger(f"runnel.actor.{place.processor}"), fields)

    def emit(
        self, stream: Stream[Any], *records: Any, key: object = None, headers: Mapping[str, str] | None = None
    ) -> None:
        """Send records to a stream of the app in the very commit that marks the event done; never, if the event fails.

        They arrive soon after that commit, each exactly once, those of one partition in the order in which they were emitted.
        A full partition takes them all the same: nobody waits for room, so actors that emit to each other cannot block each
        other.

        Args:
            stream: Where to.
            *records: What; checked and encoded now.
            key: Their partition key, instead of what the stream's `partition_by` says.
            headers: Strings that travel with each.

        Raises:
            RecordError: A record does not fit, or the event emits more than 1,000 records or 1 MiB.
        """
        self._now.emit(stream, records, key, headers)

    @property
    def _now(self) -> Turn:
        if self._turn is None:
            self._turn = Turn()
        return self._turn

