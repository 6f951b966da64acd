"""How a value that does not fit its declared type is told: where, what was expected, what came.

`Mismatch` travels inside this package only. It gathers its path on the way out, so that the way in costs nothing; at
the edge (`Record.__init__`, the codec) it becomes one `RecordError`.
"""

import reprlib
from collections.abc import Sequence
from typing import Final

from runnel.errors import RecordError


class _Absent:
    def __repr__(self) -> str:
        return "<absent>"


ABSENT: Final = _Absent()
"""Stands for a value that was not given; no field accepts it."""

_short = reprlib.Repr()
_short.maxstring = _short.maxother = _short.maxlong = 60


def shortened(value: object) -> str:
    """The type and a bounded repr of a value. A `__repr__` that fails does not make this fail."""
    if value is None:
        return "None"
    return f"{type(value).__name__} {_short.repr(value)}"


class Mismatch(Exception):
    """A value that does not fit.

    Args:
        expected: The declared type as a user would write it.
        value: What came instead, or `ABSENT`.
        reason: Said instead of "expected ..., got ..." where that would not explain it.
    """

    def __init__(self, expected: str, value: object, reason: str | None = None) -> None:
        super().__init__(expected)
        self.expected = expected
        self.value = value
        self.reason = reason
        self.path: list[str] = []

    def under(self, step: str) -> "Mismatch":
        """The same mismatch, seen from one level further out."""
        self.path.append(step)
        return self

    def at(self, root: str) -> RecordError:
        """The error to raise, for a value whose outermost type is `root`."""
        return RecordError(f"{root}{''.join(reversed(self.path))}: {self._explanation()}")

    def _explanation(self) -> str:
        if self.reason is not None:
            return self.reason
        if self.value is ABSENT:
            return f"missing, expected {self.expected}"
        return f"expected {self.expected}, got {shortened(self.value)}"


def unknown_field(known: Sequence[str]) -> Mismatch:
    """A field was given that the type does not have."""
    return Mismatch("", None, reason=f"unknown field, the fields are {', '.join(known) or '(none)'}")
