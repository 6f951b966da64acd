"""Events as people and programs are shown them: decoded, or else with the reason why not. Plain data."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import orjson
from attrs import field, frozen

from runnel.entity.messages import MESSAGE, REMINDER, TYPE
from runnel.errors import RecordError
from runnel.handling.failed import field_of
from runnel.handling.position import id_parts
from runnel.records import Codec, make_codec
from runnel.store.keys import PartitionKeys
from runnel.stream import HEADERS, KEY, TO, Stream

Entry = tuple[bytes, list[bytes]]


@frozen(kw_only=True)
class Shown:
    """An event, as people and programs are shown it.

    Attributes:
        record: The decoded record, in JSON's types; None if it does not decode.
        error: Why it does not; None if it does.
        to: The processor whose actor it is for, and no other; None: it is an event of the stream.
        what: Of such a message its type, or the reminder's name.
        now: When it was read, by the server's clock: seconds since the epoch.
    """

    keys: PartitionKeys
    xid: str
    key: str
    headers: Mapping[str, str]
    record: Any
    error: str | None
    to: str | None
    what: str | None
    fields: Mapping[str, str]
    now: float

    @property
    def id(self) -> str:
        """The event's id in the app."""
        return f"{self.keys.stream}/{self.keys.number}/{self.xid}"

    @property
    def sent(self) -> float:
        """When it was sent, going by its id: seconds since the epoch."""
        return id_parts(self.xid)[0] / 1000

    @property
    def age(self) -> float:
        """Seconds since then; a sender may have chosen an id that lies in the future: then 0."""
        return max(0.0, round(self.now - self.sent, 3))

    def as_dict(self) -> dict[str, Any]:
        """For programs. What does not decode is shown by its fields; what is no text there, in Python's escapes."""
        said: dict[str, Any] = {"id": self.id, "partition": self.keys.number, "key": self.key}
        said |= {"sent": _iso(self.sent), "age": self.age, "headers": dict(self.headers), "record": self.record}
        if self.to is not None:
            said |= {"to": self.to, "what": self.what}
        return said if self.error is None else {**said, "error": self.error, "fields": dict(self.fields)}


@frozen
class Decoder:
    """From entries to what is shown of them."""

    stream: Stream[Any]
    _plain: Codec[Any] = field(init=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "_plain", make_codec(self.stream.record))  # JSON, whatever its serializer is

    def shown(self, keys: PartitionKeys, entry: Entry, now: float) -> Shown:
        """What is shown of an entry, whatever it holds."""
        xid, fields = entry
        to = fields[1] if fields and fields[0] == TO else None
        record, error = self._message(fields) if to is not None else self._record(fields)
        what = field_of(fields, TYPE) or field_of(fields, REMINDER)
        return Shown(
            keys=keys,
            xid=xid.decode(),
            key=_text(field_of(fields, KEY) or b""),
            headers=_headers(field_of(fields, HEADERS)),
            record=record,
            error=error,
            to=None if to is None else _text(to),
            what=None if to is None or what is None else _text(what),
            fields={_text(fields[i]): _text(fields[i + 1]) for i in range(0, len(fields), 2)},
            now=now,
        )

    def _record(self, fields: Sequence[bytes]) -> tuple[Any, str | None]:
        try:
            return orjson.loads(self._plain.dumps(self.stream.codec.decode(fields))), None
        except RecordError as error:
            return None, str(error)

    def _message(self, fields: Sequence[bytes]) -> tuple[Any, str | None]:
        message = field_of(fields, MESSAGE)
        try:
            return None if message is None else orjson.loads(message), None
        except orjson.JSONDecodeError as error:
            return None, f"not JSON: {error}"


def _headers(found: bytes | None) -> Mapping[str, str]:
    try:
        headers = orjson.loads(found) if found else {}
    except orjson.JSONDecodeError:
        return {}
    return {str(name): str(value) for name, value in headers.items()} if isinstance(headers, dict) else {}


def _text(value: bytes) -> str:
    return value.decode("utf-8", "backslashreplace")


def _iso(seconds: float) -> str | None:
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat()
    except (ValueError, OverflowError):  # a sender may choose any id
        return None
