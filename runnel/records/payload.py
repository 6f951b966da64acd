"""The codec of records that are stored as one payload, in the field ``data`` of their entry."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import orjson

from runnel.errors import RecordError
from runnel.records.classes import Detailed, Fast
from runnel.records.codec import Codec
from runnel.records.compression import Compressor
from runnel.records.mismatch import Mismatch, shortened
from runnel.records.serialization import JSONSerializer, Serializer

R = TypeVar("R")

Unpack = Callable[[bytes], Any]

ROOMY = 2_048
"""What orjson makes keeps the 4 KiB in which it was made, however short it is: smaller payloads are copied out of it."""


class PayloadCodec(Codec[R]):
    """The whole record as one payload in the field ``data``."""

    names = (b"data",)

    def __init__(self, record: type[R], serializer: Serializer, max_payload: int) -> None:
        self.record = record
        self._max_payload = max_payload
        self._serializer = serializer
        classes = Fast(native=type(serializer) is JSONSerializer)
        self._load = classes.loader(record)
        self._dump = classes.dumper(record)
        self._dumps = _dumps_of(serializer)
        self._is_plain = type(serializer) is JSONSerializer and serializer.compressor is None and max_payload >= ROOMY
        self._compress = None if serializer.compressor is None else _compress_of(serializer.compressor)
        self._unpack = _unpacker(serializer, max_payload)

    def values(self, record: R) -> tuple[bytes]:
        return (self.dumps(record),)

    def dumps(self, record: R) -> bytes:
        if self._is_plain and record.__class__ is self.record:
            try:
                payload = orjson.dumps(self._dump(record))
            except Exception:
                pass  # below it says why
            else:
                if len(payload) < ROOMY:
                    return b"%b" % payload
        if not isinstance(record, self.record):
            raise RecordError(f"expected {self.record.__name__}, got {shortened(record)}")
        try:
            payload = self._dumps(self._dump(record))
            size = len(payload)
            if self._compress is not None:
                payload = self._compress(payload)
        except Exception as error:
            raise self._not_dumped(record, error) from (None if isinstance(error, Mismatch) else error)
        if size > self._max_payload:
            raise RecordError(
                f"{self.record.__name__}: the payload has {size} bytes, more than max_payload, {self._max_payload}"
            )
        return payload

    def decode(self, fields: Sequence[bytes]) -> R:
        try:
            if fields[0] == b"data":  # Runnel's own producers put it first
                loaded: R = self._load(self._unpack(fields[1]))
                return loaded
        except Exception:
            pass  # below it says where
        for name, payload in zip(fields[::2], fields[1::2], strict=False):
            if name == b"data":
                return self.loads(payload)
        names = ", ".join(shortened(name) for name in fields[:20:2])
        raise RecordError(f"{self.record.__name__}: the entry has no field data, but {names or 'nothing'}")

    def loads(self, payload: bytes) -> R:
        try:
            loaded: R = self._load(self._unpack(payload))
        except Exception as error:
            return self._load_in_detail(payload, error)
        return loaded

    def _not_dumped(self, record: R, error: Exception) -> RecordError:
        """What to say of a record that could not be dumped: the fast functions do not say where."""
        try:
            Detailed().dumper(self.record)(record)
        except Mismatch as mismatch:
            return mismatch.at(self.record.__name__)
        except Exception as detailed:
            error = detailed
        return self._failed("encoded", error)

    def _load_in_detail(self, payload: bytes, error: Exception) -> R:
        try:
            value = self._unpack(payload)
        except Exception as corrupt:
            raise self._failed("decoded", corrupt) from corrupt
        loaded = load_in_detail(Detailed(), self.record, value)
        # It loads now: what failed was a default or hook of the user's that does not always fail.
        del error
        return loaded

    def _failed(self, done: str, error: Exception) -> RecordError:
        name = self.record.__name__
        if isinstance(error, RecordError):
            return RecordError(f"{name}: {error}")
        if isinstance(error, RecursionError):
            return RecordError(f"{name}: nested too deeply, or contains itself")
        return RecordError(f"{name}: cannot be {done}: {type(error).__name__}: {error}")


def load_in_detail(classes: Detailed, record: type[R], value: Any) -> R:
    """Load plain data; if it does not fit, the error says where."""
    name = record.__name__
    try:
        loaded: R = classes.loader(record)(value)
    except Mismatch as mismatch:
        raise mismatch.at(name) from mismatch.__cause__
    except RecursionError:
        raise RecordError(f"{name}: nested too deeply") from None
    return loaded


def _compress_of(compressor: Compressor) -> Callable[[bytes], bytes]:
    return lambda data: _as_bytes(compressor.compress(data), compressor)


def _unpacker(serializer: Serializer, max_size: int) -> Unpack:
    loads = orjson.loads if type(serializer) is JSONSerializer else serializer.loads
    if serializer.compressor is None:
        return loads
    decompress = _bounded(serializer.compressor, max_size)
    return lambda payload: loads(decompress(payload))


def _dumps_of(serializer: Serializer) -> Callable[[Any], bytes]:
    if type(serializer) is JSONSerializer:
        return orjson.dumps
    return lambda value: _as_bytes(serializer.dumps(value), serializer)


def _as_bytes(made: object, maker: object) -> bytes:
    if isinstance(made, (bytes, bytearray, memoryview)):
        return bytes(made)
    raise RecordError(f"{type(maker).__name__} must return bytes, not {type(made).__name__}")


def _bounded(compressor: Compressor, max_size: int) -> Unpack:
    decompress: Callable[..., Any] = compressor.decompress
    if "max_size" in inspect.signature(decompress).parameters:
        return lambda payload: _as_bytes(decompress(payload, max_size=max_size), compressor)

    def decompress_then_look(payload: bytes) -> bytes:
        data = _as_bytes(decompress(payload), compressor)
        if len(data) > max_size:
            raise RecordError(f"the data expands to {len(data)} bytes, more than max_payload, {max_size}")
        return data

    return decompress_then_look
