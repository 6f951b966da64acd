"""The codec of primitive records: their fields are those of the Redis entry, for any Redis client to read and write."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from runnel.errors import RecordError
from runnel.records.codec import Codec
from runnel.records.mismatch import ABSENT, Mismatch, shortened
from runnel.records.record import record_fields

R = TypeVar("R")

_BOOLS = {b"true": True, b"false": False, b"1": True, b"0": False, b"True": True, b"False": False}

_TO_TEXT: dict[type, Callable[[Any], bytes]] = {
    int: lambda value: b"%d" % value,
    float: lambda value: repr(value).encode(),
    bool: lambda value: b"true" if value else b"false",
    str: str.encode,
    bytes: bytes,
}

_FROM_TEXT: dict[type, Callable[[bytes], Any]] = {
    int: int,
    float: float,
    bool: _BOOLS.__getitem__,
    str: bytes.decode,
    bytes: bytes,
}


class PrimitiveCodec(Codec[R]):
    """Native fields: numbers in decimal, bools as ``true`` and ``false`` (``1`` and ``0`` are read too), text in UTF-8.

    Args:
        record: A primitive record.
        payloads: For `dumps` and `loads`, which make one value of it.
    """

    def __init__(self, record: type[R], payloads: Codec[R]) -> None:
        self.record = record
        self._payloads = payloads
        self._encoders: list[tuple[str, Callable[[Any], Any], Callable[[Any], bytes]]] = []
        self._decoders: dict[bytes, tuple[str, type, Callable[[bytes], Any]]] = {}
        for field in record_fields(record):
            # Not `exact`, which floats do not have.
            cls: type = field.shape.cls  # type: ignore[attr-defined]
            self._encoders.append((field.name, field.shape.check, _TO_TEXT[cls]))
            self._decoders[field.name.encode()] = (field.name, cls, _FROM_TEXT[cls])
        self.names = tuple(self._decoders)

    def values(self, record: R) -> list[bytes]:
        if not isinstance(record, self.record):
            raise RecordError(f"expected {self.record.__name__}, got {shortened(record)}")
        values: list[bytes] = []
        name = ""
        try:
            for name, check, to_text in self._encoders:
                values.append(to_text(check(getattr(record, name, ABSENT))))
        except Mismatch as mismatch:
            raise mismatch.under(f".{name}").at(self.record.__name__) from None
        except ValueError as error:  # text that is not Unicode, an int of thousands of digits
            raise RecordError(f"{self.record.__name__}.{name}: cannot be encoded: {error}") from None
        return values

    def decode(self, fields: Sequence[bytes]) -> R:
        arguments: dict[str, Any] = {}
        decoders = self._decoders
        pairs = iter(fields)
        for stored_name, text in zip(pairs, pairs, strict=False):
            if stored_name in decoders:
                name, cls, from_text = decoders[stored_name]
                try:
                    arguments[name] = from_text(text)
                except (ValueError, KeyError):
                    raise Mismatch(cls.__name__, text).under(f".{name}").at(self.record.__name__) from None
        return self._built(arguments)

    def _built(self, arguments: dict[str, Any]) -> R:
        try:
            return self.record(**arguments)
        except RecordError:
            raise
        except Exception as error:  # a validator of the user's
            raise RecordError(f"{self.record.__name__}: {type(error).__name__}: {error}") from error

    def dumps(self, record: R) -> bytes:
        return self._payloads.dumps(record)

    def loads(self, payload: bytes) -> R:
        return self._payloads.loads(payload)
