"""Which codec a record type gets, and records from plain data."""

from collections.abc import Mapping
from typing import Any, TypeVar

from runnel.errors import ConfigurationError
from runnel.records.annotations import is_model
from runnel.records.classes import Detailed
from runnel.records.codec import Codec
from runnel.records.payload import PayloadCodec, load_in_detail
from runnel.records.primitive import PrimitiveCodec
from runnel.records.record import Record
from runnel.records.serialization import JSONSerializer, Serializer

R = TypeVar("R")

MAX_PAYLOAD = 16 * 2**20


def make_codec(record: type[R], serializer: Serializer | None = None, max_payload: int = MAX_PAYLOAD) -> Codec[R]:
    """The codec of a record type.

    Args:
        record: A `Record`, an attrs class, a dataclass, a msgspec Struct or a pydantic model.
        serializer: How payloads become bytes; None: JSON.
        max_payload: The largest payload, in bytes before compression, that is stored or read.

    Raises:
        ConfigurationError: Not such a type, one with a field that cannot be stored, or a primitive record with a
            serializer.
    """
    if not is_model(record) or record is Record:
        raise ConfigurationError(
            f"{record!r} cannot be the type of a stream's records: "
            "use a Record, an attrs class, a dataclass, a msgspec Struct or a pydantic model"
        )
    if is_primitive(record):
        if serializer is not None:
            raise ConfigurationError(
                f"{record.__name__} is primitive: its fields are stored as they are, without a serializer"
            )
        return PrimitiveCodec(record, PayloadCodec(record, JSONSerializer(), max_payload))
    return PayloadCodec(record, JSONSerializer() if serializer is None else serializer, max_payload)


def is_primitive(record: type) -> bool:
    """Whether a record type is stored as native fields of the entry, without a serializer."""
    return isinstance(record, type) and issubclass(record, Record) and record.__runnel_primitive__


def build(record: type[R], data: Mapping[str, Any], *, strict: bool = True) -> R:
    """A record from plain data of JSON types, such as the command line's: a datetime is a string, bytes are base64.

    Args:
        record: As for `make_codec`.
        data: The fields.
        strict: Refuse unknown fields, which may be misspelt. False: ignore them, as decoding does.

    Raises:
        RecordError: The data does not fit the type.
    """
    if not is_model(record):
        raise ConfigurationError(f"{record!r} is no type of records")
    return load_in_detail(Detailed(strict), record, dict(data) if isinstance(data, Mapping) else data)
