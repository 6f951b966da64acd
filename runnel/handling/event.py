"""One event as it lies in the log: what iterating over `Events` without decoding gives."""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from runnel.stream import HEADERS, KEY, Stream


class Event:
    """An entry of the log with its place. Not decoded: `record()` does that.

    Attributes:
        partition: The number of its partition.
        group: The name of the processor that handles it.
        attempt: 1 when it is handled for the first time by this owner of the partition, then 2, 3, ...
        fields: The entry's fields as Redis returned them, flat: name, value, name, value, ...
    """

    __slots__ = ("_stream", "_xid", "attempt", "fields", "group", "partition")

    def __init__(
        self, stream: Stream[Any], partition: int, group: str, xid: bytes, fields: Sequence[bytes], attempt: int
    ) -> None:
        self._stream = stream
        self._xid = xid
        self.partition = partition
        self.group = group
        self.fields = fields
        self.attempt = attempt

    def __repr__(self) -> str:
        return f"<Event {self.id}>"

    @property
    def id(self) -> str:
        """`stream/partition/xid`: unique in the app and always the same for this event. Good as an idempotency key."""
        return f"{self._stream.name}/{self.partition}/{self.xid}"

    @property
    def xid(self) -> str:
        """The id of the entry in its log: milliseconds and a number, "1595369377000-0"."""
        return self._xid.decode()

    @property
    def timestamp(self) -> float:
        """When it was sent, by the server's clock: seconds since the epoch."""
        return int(self._xid.partition(b"-")[0]) / 1000

    @property
    def data(self) -> bytes:
        """The encoded record; empty for a primitive record, whose fields are in `fields`."""
        return self._field(b"data") or b""

    @property
    def key(self) -> str:
        """The partition key, as text."""
        return (self._field(KEY) or b"").decode("utf-8", "surrogateescape")

    @property
    def headers(self) -> Mapping[str, str]:
        """What was given to `send` as `headers=`."""
        found = self._field(HEADERS)
        headers: Mapping[str, str] = orjson.loads(found) if found else {}
        return headers

    def record(self) -> Any:
        """The decoded record.

        Raises:
            RecordError: It does not decode.
        """
        return self._stream.codec.decode(self.fields)

    def _field(self, name: bytes) -> bytes | None:
        for i in range(0, len(self.fields), 2):
            if self.fields[i] == name:
                return self.fields[i + 1]
        return None
