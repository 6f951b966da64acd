"""Serializers: between plain data of JSON types and bytes."""

from typing import Any

import orjson

from runnel.records.compression import Compressor


class Serializer:
    """Subclass this, with `dumps` and `loads`, to store payloads in a format of your own.

    `dumps` gets plain data: dict (with str keys), list, str, int, float, bool and None. Dates, UUIDs, Decimals and
    durations are strings already, bytes are base64, enums are their values. `loads` must return the same. What they
    raise becomes a `RecordError`. The compressor is applied by Runnel, not by them.

    Attributes:
        compressor: Applied to what `dumps` returns; None: not compressed.
    """

    compressor: Compressor | None = None

    def dumps(self, value: Any) -> bytes:
        """The bytes to store."""
        raise NotImplementedError

    def loads(self, value: bytes) -> Any:
        """What was given to `dumps`."""
        raise NotImplementedError


class JSONSerializer(Serializer):
    """JSON, by orjson.

    Args:
        compressor: Applied to the JSON.
    """

    def __init__(self, compressor: Compressor | None = None) -> None:
        self.compressor = compressor

    def __repr__(self) -> str:
        return f"JSONSerializer(compressor={self.compressor!r})"

    def dumps(self, value: Any) -> bytes:
        """JSON in UTF-8. Integers must fit 64 bits."""
        return orjson.dumps(value)

    def loads(self, value: bytes) -> Any:
        """What the JSON says."""
        return orjson.loads(value)
