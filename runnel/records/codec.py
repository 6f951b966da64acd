"""The codec: a record to the fields of a Redis entry, and back.

It stands between `Stream.send` and the append script on the way in, and between a partition and the user's code on the
way out. It checks everything in both directions: what it emits decodes, and what does not fit raises `RecordError`,
never another error, and never gives a value of the wrong type.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Generic, TypeVar

R = TypeVar("R")


class Codec(ABC, Generic[R]):
    """How one record type is stored. Made by `make_codec`; safe to share between threads.

    Attributes:
        record: The type.
        names: The names of the entry's fields, the same for all records.
    """

    record: type[R]
    names: tuple[bytes, ...]

    @abstractmethod
    def values(self, record: R) -> Sequence[bytes]:
        """The values of the entry's fields, in the order of `names`.

        Raises:
            RecordError: Not an instance of the type, a value that does not fit, or more than `max_payload` bytes.
        """

    def encode(self, record: R) -> list[bytes]:
        """The fields of the entry: name, value, name, value...

        Raises:
            RecordError: As `values`.
        """
        return [part for field in zip(self.names, self.values(record), strict=True) for part in field]

    @abstractmethod
    def decode(self, fields: Sequence[bytes]) -> R:
        """The record of an entry's fields, as Redis returned them. Unknown and Runnel's own (``~...``) are ignored.

        Raises:
            RecordError: Fields are missing or of the wrong type, or the payload is corrupt or too large.
        """

    @abstractmethod
    def dumps(self, record: R) -> bytes:
        """The record as one value, for what is no entry: a state, a message.

        Raises:
            RecordError: As `values`.
        """

    @abstractmethod
    def loads(self, payload: bytes) -> R:
        """The record of such a value.

        Raises:
            RecordError: As `decode`.
        """
