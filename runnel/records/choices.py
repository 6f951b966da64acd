"""Values that are one of a few: `Enum`, `Flag`, `Literal`. They are stored by value, so that members can be renamed."""

from enum import Enum, Flag
from typing import Any

from runnel.records.mismatch import Mismatch
from runnel.records.shapes import JSON_KINDS, Classes, Dump, Key, Load, Shape


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
        if value.__class__ is int:
            try:
                return self.cls(value)
            except ValueError:
                pass
        raise Mismatch(self.expected, value)

    def loader(self, classes: Classes) -> Load:
        return self._load

    def dumper(self, classes: Classes) -> Dump:
        return lambda value: self.check(value).value


def enum_members(cls: type[Enum]) -> list[tuple[Any, Any]]:
    """The stored and the Python value of each member, without aliases."""
    return [(member.value, member) for member in cls]
