"""Scalars: one table says for each how a Python value is checked, loaded from JSON, dumped to it, and used as a key.

Strict: only an int is taken for a float; a bool is no int, a datetime no date. Numbers must be finite, as JSON has no
others.
"""

import base64
import math
import re
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any
from uuid import UUID

from runnel.records.mismatch import Mismatch, shortened
from runnel.records.shapes import Classes, Dump, Key, Load, Shape


class Scalar(Shape):
    """A type with one fixed form in JSON.

    Args:
        cls: The Python type.
        check: Returns the value, or raises `Mismatch`.
        load: From JSON.
        dump: To JSON, for a value that passed `check`; None: it is its own JSON.
        kinds: What it is in JSON.
        key: How it is written as a key.
        native: As `dump`, checking too, for orjson, which writes some types itself, and faster.
    """

    def __init__(
        self,
        cls: type,
        check: Dump,
        load: Load,
        dump: Dump | None,
        kinds: set[str],
        key: Key | None = None,
        native: Dump | None = None,
    ) -> None:
        self.expected = "None" if cls is type(None) else cls.__name__
        self.cls = cls
        # Floats are looked at one by one: nan and inf are of the right class.
        self.exact = None if cls is float else cls
        self.kinds = frozenset(kinds)
        self.loaded_by_check = load is check
        self._check = check
        self._load = load
        self._dump = dump
        self._key = key
        self._native = native

    def check(self, value: Any) -> Any:
        return self._check(value)

    def loader(self, classes: Classes) -> Load:
        return self._load

    def dumper(self, classes: Classes) -> Dump:
        check, dump = self._check, self._dump
        if dump is None:
            return check
        if classes.native and self._native is not None:
            return self._native
        return lambda value: dump(check(value))

    def key(self) -> Key | None:
        return self._key


_BEYOND = 2.0**63
"""Beyond this orjson reads an int as a float."""


def _check_int(value: Any, _: object = None) -> Any:
    if value.__class__ is int:
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return int(value)  # an IntEnum's member is stored, and comes back, as a plain int
    if value.__class__ is float and _BEYOND <= abs(value) < math.inf:
        raise Mismatch("int", value, f"expected int of at most 64 bits (in JSON), got {shortened(value)}")
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


def _textual(
    cls: type,
    parse: Callable[[str], Any],
    dump: Dump,
    expected: str,
    check: Dump | None = None,
    native: Dump | None = None,
) -> Scalar:
    """A type that is a string in JSON, and so may also be a key."""
    load = _parsed(parse, expected)
    return Scalar(cls, check or _instance_of(cls), load, dump, {"string"}, Key(load=load, dump=dump), native)


def _native_datetime(value: Any) -> Any:
    if value.__class__ is datetime and (value.tzinfo is None or value.tzinfo is UTC):
        return value
    # orjson knows few other zones, rounds their offsets to minutes, and takes no subclass.
    return datetime.isoformat(_check_datetime(value))


def _native_uuid(value: Any) -> Any:
    return value if value.__class__ is UUID else str(_check_uuid(value))


_check_datetime = _instance_of(datetime)
_check_uuid = _instance_of(UUID)
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
        _textual(
            datetime,
            datetime.fromisoformat,
            datetime.isoformat,
            "datetime in ISO 8601",
            _check_datetime,
            _native_datetime,
        ),
        _textual(date, date.fromisoformat, date.isoformat, "date in ISO 8601", _check_date),
        _textual(time, time.fromisoformat, time.isoformat, "time in ISO 8601"),
        _textual(timedelta, _parse_duration, _format_duration, "timedelta as an ISO 8601 duration"),
        _textual(UUID, UUID, str, "UUID", _check_uuid, _native_uuid),
        _textual(Decimal, Decimal, str, "Decimal in a string"),
    )
}
