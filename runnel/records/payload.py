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

Pack = Callable[[Any], bytes]
Unpack = Callable[[bytes], Any]


class PayloadCodec(Codec[R]):
    """The whole record as one payload in the field ``data``."""

    def __init__(self, record: type[R], serializer: Serializer, max_payload: int) -> None:
        self.record = record
        self._max_payload = max_payload
        self._serializer = serializer
        classes = Fast()
        self._load = classes.loader(record)
        self._dump = classes.dumper(record)
        self._pack = _packer(serializer)
        self._unpack = _unpacker(serializer, max_payload)

    def encode(self, record: R) -> list[bytes]:
        return [b"data", self.dumps(record)]

    def decode(self, fields: Sequence[bytes]) -> R:
        # Runnel's own producers put it first.
        if fields and fields[0] == b"data":
            return self.loads(fields[1])
        for index in range(0, len(fields), 2):
            if fields[index] == b"data":
                return self.loads(fields[index + 1])
        names = ", ".join(shortened(name) for name in fields[:20:2])
        raise RecordError(f"{self.record.__name__}: the entry has no field data, but {names or 'nothing'}")

    def dumps(self, record: R) -> bytes:
        if not isinstance(record, self.record):
            raise RecordError(f"expected {self.record.__name__}, got {shortened(record)}")
        try:
            packed, size = self._pack(self._dump(record))
        except Exception as error:
            raise self._not_dumped(record, error) from error
        if size > self._max_payload:
            raise RecordError(
                f"{self.record.__name__}: the payload has {size} bytes, more than max_payload, {self._max_payload}"
            )
        return packed

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


def _packer(serializer: Serializer) -> Callable[[Any], tuple[bytes, int]]:
    """From plain data to the payload, and its size before compression."""
    dumps, compressor = _dumps_of(serializer), serializer.compressor
    if compressor is None:

        def pack(value: Any) -> tuple[bytes, int]:
            data = dumps(value)
            return data, len(data)

        return pack
    compress = compressor.compress

    def pack_compressed(value: Any) -> tuple[bytes, int]:
        data = dumps(value)
        return _as_bytes(compress(data), compressor), len(data)

    return pack_compressed


def _unpacker(serializer: Serializer, max_size: int) -> Unpack:
    loads = orjson.loads if type(serializer) is JSONSerializer else serializer.loads
    if serializer.compressor is None:
        return loads
    decompress = _bounded(serializer.compressor, max_size)
    return lambda payload: loads(decompress(payload))


def _dumps_of(serializer: Serializer) -> Pack:
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
