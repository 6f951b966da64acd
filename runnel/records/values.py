"""Values that are no whole records, such as what a function returns, to JSON and back: as its annotation says.

Any annotation fits that a field of a record may have. What is written reads back as the same; what does not fit raises
`RecordError`, as with records.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import orjson

from runnel.errors import RecordError
from runnel.records.annotations import shape_of
from runnel.records.classes import Detailed
from runnel.records.mismatch import Mismatch

T = TypeVar("T")


class Values:
    """Values of one annotation.

    Args:
        annotation: A type without strings in it; `Any`: whatever orjson writes, read back as plain data of JSON types.
        where: Whose values they are, for errors.

    Raises:
        ConfigurationError: Values of this type could not be stored, or not be read again for certain.
    """

    def __init__(self, annotation: Any, where: str) -> None:
        self._where = where
        self._load: Callable[[Any], Any] = _as_it_is
        self._dump: Callable[[Any], Any] = _as_it_is
        if annotation not in (Any, object):
            shape, classes = shape_of(annotation, where), Detailed()
            self._load, self._dump = shape.loader(classes), shape.dumper(classes)

    def dumps(self, value: Any) -> bytes:
        """The value as JSON.

        Raises:
            RecordError: It does not fit; the error says where in it.
        """
        return self._through("encoded", lambda: orjson.dumps(self._dump(value)))

    def loads(self, payload: bytes) -> Any:
        """The value that this JSON stands for.

        Raises:
            RecordError: It is no such value.
        """
        return self._through("decoded", lambda: self._load(orjson.loads(payload)))

    def _through(self, done: str, change: Callable[[], T]) -> T:
        try:
            return change()
        except Mismatch as mismatch:
            raise mismatch.at(self._where) from mismatch.__cause__
        except RecursionError:
            raise RecordError(f"{self._where}: nested too deeply, or contains itself") from None
        except Exception as error:
            raise RecordError(f"{self._where}: cannot be {done}: {type(error).__name__}: {error}") from error


def _as_it_is(value: Any) -> Any:
    return value
