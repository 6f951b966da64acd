"""Scalars: one table says for each how a Python value is checked, loaded from JSON, dumped to it, and used as a key.

Strict: only an int is taken for a float; a bool is no int, a datetime no date. Numbers must be finite, as JSON has no others.
"""

import base64
import re
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from enum import Enum, Flag
from typing import Any
from uuid import UUID

from runnel.records.mismatch import Mismatch
from runnel.records.shapes import JSON_KINDS, Classes, Dump, Key, Load, Shape


class Scalar(Shape):
    """A type with one fixed form in JSON.

    Args:
        cls: The Python type.
        check: Returns the value, or raises `Mismatch`.
        load: From JSON.
        dump: To JSON, for a value that passed `check`; None: it is its own JSON.
        kinds: What it is in JSON.
        key: How it is written as a key.
    """

    def __init__(
        self, cls: type, check: Dump, load: Load, dump: Dump | None, kinds: set[str], key: Key | None = None
    ) -> None:
        self.expected = "None" if cls is type(None) else cls.__name__
        self.cls = cls
        # Floats are looked at one by one: nan and inf are of the right class.
        self.exact = None if cls is float else cls
        self.kinds = frozenset(kinds)
        self.check = check  # type: ignore[method-assign]
        self._load = load
        self._dump = dump
        self._key = key

    def loader(self, classes: Classes) -> Load:
        return self._load

    def dumper(self, classes: Classes) -> Dump:
        check, dump = self.check, self._dump
        if dump is None:
            return check
        return lambda value: dump(check(value))

    def key(self) -> Key | None:
        return self._key


def _check_int(value: Any, _: object = None) -> Any:
    if value.__class__ is int:
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return int(value)  # an IntEnum's member is stored, and comes back, as a plain int
    raise Mismatch("int", value)


def _check_float(value: Any, _: object = None) -> Any:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            number = value if value.__class__ is float else float(value)
        except OverflowError:
            raise Mismatch("float", value) from None
        if not number - number:  # nan - nan and inf - inf are nan, which is true
            return number
        raise Mismatch("a finite float", value)
    raise Mismatch("float", value)


def _check_str(value: Any, _: object = None) -> Any:
    if value.__class__ is str:
        return value
    if isinstance(value, str):
        return str.__str__(value)
    raise Mismatch("str", value)


def _check_bytes(value: Any) -> Any:
    if value.__class__ is bytes:
        return value
    if isinstance(value, bytes):
        return bytes(value)
    raise Mismatch("bytes", value)


def _check_date(value: Any) -> Any:
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    raise Mismatch("date", value)


def _instance_of(cls: type) -> Dump:
    def check(value: Any, _: object = None) -> Any:
        if isinstance(value, cls):
            return value
        raise Mismatch("None" if cls is type(None) else cls.__name__, value)

    return check


def _parsed(parse: Callable[[str], Any], expected: str) -> Load:
    """From a JSON string that `parse` understands."""

    def load(value: Any, _: object = None) -> Any:
        if value.__class__ is not str:
            raise Mismatch(expected, value)
        try:
            return parse(value)
        except (ValueError, OverflowError, InvalidOperation):
            raise Mismatch(expected, value) from None

    return load


def _canonical_key(parse: Callable[[str], Any], expected: str) -> Key:
    """A key that is not a string in JSON: only its one spelling is accepted, so that no two keys become one."""

    def load(text: str) -> Any:
        try:
            value = parse(text)
        except (ValueError, KeyError):
            raise Mismatch(f"{expected} as a key", text) from None
        if dump(value) != text:
            raise Mismatch(f"{expected} as a key", text)
        return value

    def dump(value: Any) -> str:
        return str(value).lower() if value.__class__ is bool else str(value)

    return Key(load=load, dump=dump)


_DURATION = re.compile(
    r"(?P<sign>[-+])?P(?:(?P<weeks>\d+)W)?(?:(?P<days>\d+)D)?"
    r"(?:T(?:(?P<hours>\d+)H)?(?:(?P<minutes>\d+)M)?(?:(?P<seconds>\d+)(?:\.(?P<fraction>\d{1,6}))?S)?)?",
    re.ASCII,
)


def _parse_duration(text: str) -> timedelta:
    """ISO 8601 without years and months, which have no fixed length."""
    match = _DURATION.fullmatch(text)
    if match is None or text[-1] in "PT":
        raise ValueError(text)
    parts = {name: int(match[name] or 0) for name in ("weeks", "days", "hours", "minutes", "seconds")}
    length = timedelta(**parts, microseconds=int((match["fraction"] or "").ljust(6, "0")))
    return -length if match["sign"] == "-" else length


def _format_duration(value: timedelta) -> str:
    """Exact to the microsecond, where a number of seconds would be rounded."""
    sign, value = ("-", -value) if value < timedelta(0) else ("", value)
    fraction = f".{value.microseconds:06d}".rstrip("0") if value.microseconds else ""
    return f"{sign}P{value.days}DT{value.seconds}{fraction}S"


def _textual(cls: type, parse: Callable[[str], Any], dump: Dump, expected: str, check: Dump | None = None) -> Scalar:
    """A type that is a string in JSON, and so may also be a key."""
    load = _parsed(parse, expected)
    return Scalar(cls, check or _instance_of(cls), load, dump, {"string"}, Key(load=load, dump=dump))


def _isoformat(value: Any) -> str:
    text: str = value.isoformat()
    return text


_check_bool = _instance_of(bool)
_check_none = _instance_of(type(None))

SCALARS: dict[type, Scalar] = {
    shape.cls: shape
    for shape in (
        Scalar(int, _check_int, _check_int, None, {"int"}, _canonical_key(int, "int")),
        Scalar(float, _check_float, _check_float, None, {"int", "float"}, _canonical_key(float, "float")),
        Scalar(
            bool,
            _check_bool,
            _check_bool,
            None,
            {"bool"},
            _canonical_key({"true": True, "false": False}.__getitem__, "bool"),
        ),
        Scalar(type(None), _check_none, _check_none, None, {"null"}),
        Scalar(str, _check_str, _check_str, None, {"string"}, Key(load=_check_str, dump=_check_str)),
        _textual(
            bytes,
            lambda text: base64.b64decode(text, validate=True),
            lambda value: base64.b64encode(value).decode("ascii"),
            "bytes in base64",
            _check_bytes,
        ),
        _textual(datetime, datetime.fromisoformat, _isoformat, "datetime in ISO 8601"),
        _textual(date, date.fromisoformat, _isoformat, "date in ISO 8601", _check_date),
        _textual(time, time.fromisoformat, _isoformat, "time in ISO 8601"),
        _textual(timedelta, _parse_duration, _format_duration, "timedelta as an ISO 8601 duration"),
        _textual(UUID, UUID, str, "UUID"),
        _textual(Decimal, Decimal, str, "Decimal in a string"),
    )
}


class Choice(Shape):
    """One of some given values: an `Enum`, stored by its members' values, or a `Literal`.

    Args:
        expected: For messages.
        members: The stored value (an int, str, bool or None) and the Python value of each.
    """

    def __init__(self, expected: str, members: list[tuple[Any, Any]]) -> None:
        self.expected = expected
        # By class and value: in Python 1 == True == 1.0, in JSON they differ.
        self._by_stored = {(type(stored), stored): value for stored, value in members}
        self._by_value = {(type(value), value): stored for stored, value in members}
        self._by_text = {str(stored): value for stored, value in members if type(stored) in (str, int)}
        self.kinds = frozenset(JSON_KINDS[type(stored)] for stored, _ in members)

    def check(self, value: Any) -> Any:
        self._dump(value)
        return value

    def _dump(self, value: Any) -> Any:
        try:
            return self._by_value[type(value), value]
        except (KeyError, TypeError):  # TypeError: not hashable
            raise Mismatch(self.expected, value) from None

    def _load(self, value: Any, _: object = None) -> Any:
        try:
            return self._by_stored[type(value), value]
        except (KeyError, TypeError):
            raise Mismatch(self.expected, value) from None

    def loader(self, classes: Classes) -> Load:
        return self._load

    def dumper(self, classes: Classes) -> Dump:
        return self._dump

    def key(self) -> Key | None:
        if len(self._by_text) != len(self._by_stored):
            return None  # True and None have no text of their own; 1 and "1" share one
        return Key(load=self._load_key, dump=lambda value: str(self._dump(value)))

    def _load_key(self, text: str) -> Any:
        if text not in self._by_text:
            raise Mismatch(f"{self.expected} as a key", text)
        return self._by_text[text]


class Flags(Shape):
    """A `Flag`: any combination of its members, stored as the number."""

    kinds = frozenset({"int"})

    def __init__(self, cls: type[Flag]) -> None:
        self.cls = cls
        self.exact = cls
        self.expected = cls.__name__

    def check(self, value: Any) -> Any:
        if isinstance(value, self.cls):
            return value
        raise Mismatch(self.expected, value)

    def _load(self, value: Any, _: object = None) -> Any:
        try:
            return self.cls(_check_int(value))
        except (ValueError, Mismatch):
            raise Mismatch(self.expected, value) from None

    def loader(self, classes: Classes) -> Load:
        return self._load

    def dumper(self, classes: Classes) -> Dump:
        return lambda value: self.check(value).value


def enum_members(cls: type[Enum]) -> list[tuple[Any, Any]]:
    """The stored and the Python value of each member, without aliases."""
    return [(member.value, member) for member in cls]
