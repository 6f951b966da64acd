"""What an actor does beside its state while it handles one event: what it emits, and what it wants to be reminded of.

It is collected here, checked and encoded at once, and goes into the commit that marks the event done; or nowhere, if the
event fails.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import orjson
from attrs import define, field

from runnel.clock import Duration
from runnel.errors import ConfigurationError, RecordError
from runnel.records import key_bytes
from runnel.stream import HEADERS, KEY, Stream
from runnel.timing.delayed import Due, due

MOST_EMITTED, MOST_BYTES = 1_000, 2**20
"""What one event may emit: all of it goes into one script, which holds up the server while it runs."""

MOST_FIELDS = 7_900
"""Names and values of one record: Lua passes no more to a command, and would notice in the middle of a commit."""

LONGEST_NAME = 200
"""Bytes of a reminder's name."""


@define(eq=False)
class Turn:
    """Of one event.

    Attributes:
        emitted: The fields of outbox entries.
        reminders: Name → when it is due; None: it is cancelled.
    """

    emitted: list[list[bytes]] = field(factory=list)
    size: int = 0
    reminders: dict[str, Due | None] = field(factory=dict)

    def emit(self, stream: Stream[Any], records: tuple[Any, ...], key: object, headers: Mapping[str, str] | None) -> None:
        """Have these records sent: all of them, or, if it raises, none.

        Raises:
            RecordError: As `Stream.send`, or they are too many, or too large together.
        """
        if not isinstance(stream, Stream):
            raise ConfigurationError(f"emit: the first argument is a stream, not {stream!r}")
        if (tracing := stream.app.tracing) is None:
            return self._emit(stream, records, key, headers)
        with tracing.sending(stream.name, len(records), headers, "emit") as carried:
            self._emit(stream, records, key, carried)

    def _emit(self, stream: Stream[Any], records: tuple[Any, ...], key: object, headers: Mapping[str, str] | None) -> None:
        tail = (HEADERS, orjson.dumps(dict(headers))) if headers else ()
        emitted, size = list[list[bytes]](), self.size
        for record in records:
            fields = stream.codec.encode(record)
            of = stream.key_of(record) if key is None else key
            target = (stream.name, stream.hash(of), stream.partition_size, stream.overflow)
            entry = [b"~target", orjson.dumps(target), *fields, KEY, key_bytes(of), *tail]
            if len(entry) > MOST_FIELDS:
                raise RecordError(f"stream {stream.name!r}: a record of more than {MOST_FIELDS // 2} fields cannot be emitted")
            emitted.append(entry)
            size += sum(map(len, entry))
        if len(self.emitted) + len(emitted) > MOST_EMITTED or size > MOST_BYTES:
            raise RecordError(
                f"stream {stream.name!r}: an event emitted more than {MOST_EMITTED} records, or {MOST_BYTES} bytes: "
                "all of it is committed at once; send them from a processor, or in several steps"
            )
        self.emitted += emitted
        self.size = size

    def remind(self, name: str, after: Duration | None, at: datetime | None) -> None:
        """Have the actor reminded.

        Raises:
            RecordError: Name or moment do not fit.
        """
        if not isinstance(name, str) or not 0 < _size(name) <= LONGEST_NAME:
            raise RecordError(f"a reminder's name is a string of 1 to {LONGEST_NAME} bytes in UTF-8, not {name!r}")
        self.reminders[name] = due(f"reminder {name!r}", after, at, "after")

    def cancel_reminder(self, name: str) -> None:
        """Have the actor not reminded."""
        self.reminders[name] = None


def _size(name: str) -> int:
    """In bytes; of what is not Unicode, such as half of a pair, none."""
    try:
        return len(name.encode())
    except UnicodeEncodeError:
        return 0
