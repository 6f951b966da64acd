"""What a field's annotation means: which Python values fit it, and how they are written as JSON types.

A shape is built once, from an annotation (`annotations.py`). `check` guards the way in (building a record, assigning to
it); the functions made by `loader` and `dumper` translate between stored JSON types and Python values, and check as
they go, so that nothing is stored which could not be read again. The shapes themselves are in `scalars.py`,
`choices.py` and `containers.py`.
"""

from collections.abc import Callable
from typing import Any, Protocol

from attrs import frozen

from runnel.records.mismatch import Mismatch

Load = Callable[..., Any]
"""`load(value, _=None)`: a JSON value to a Python value. The second argument is what cattrs passes, and is not used."""

Dump = Callable[[Any], Any]
"""`dump(value)`: a Python value to a JSON value."""

JSON_KINDS: dict[type, str] = {
    type(None): "null",
    bool: "bool",
    int: "int",
    float: "float",
    str: "string",
    list: "array",
    dict: "object",
}


class Classes(Protocol):
    """Where a shape finds the functions for a class with fields; see `classes.py`.

    Attributes:
        native: Whether what is dumped goes to orjson, which writes some types itself.
    """

    native: bool

    def loader(self, cls: type) -> Load: ...

    def dumper(self, cls: type) -> Dump: ...


@frozen
class Key:
    """How a value is written as the key of a JSON object, which is always a string."""

    load: Callable[[str], Any]
    dump: Callable[[Any], str]


class Shape:
    """One annotation.

    Attributes:
        expected: The type as a user would write it, for messages.
        kinds: The JSON kinds (`JSON_KINDS`) its values are stored as; unions tell their members apart by it.
        exact: The one class whose direct instances fit without a closer look, if there is one.
        loaded_by_check: Whether loading is no more than `check`, so that who checks need not load.
    """

    expected: str
    kinds: frozenset[str]
    exact: type | None = None
    loaded_by_check: bool = False

    def check(self, value: Any) -> Any:
        """The value, or the one it stands for (int for float). Raises `Mismatch`."""
        raise NotImplementedError

    def loader(self, classes: Classes) -> Load:
        """The function that makes a Python value of a JSON value."""
        raise NotImplementedError

    def dumper(self, classes: Classes) -> Dump:
        """The function that makes a JSON value of a Python value; it checks again, for what was changed in place."""
        raise NotImplementedError

    def key(self) -> Key | None:
        """How a value is written as a key, if it can be one."""
        return None


class Instance(Shape):
    """A class with fields: a record, an attrs class or dataclass, a msgspec Struct, a pydantic model."""

    def __init__(self, cls: type, kinds: frozenset[str] = frozenset({"object"})) -> None:
        self.cls = cls
        self.kinds = kinds
        self.exact = cls
        self.expected = cls.__name__

    def check(self, value: Any) -> Any:
        if isinstance(value, self.cls):
            return value
        raise Mismatch(self.expected, value)

    def loader(self, classes: Classes) -> Load:
        return classes.loader(self.cls)

    def dumper(self, classes: Classes) -> Dump:
        check, dump = self.check, classes.dumper(self.cls)
        return lambda value: dump(check(value))


class Anything(Shape):
    """`Any` and `object`: whatever JSON can hold, as it is."""

    expected = "a JSON value"
    kinds = frozenset(JSON_KINDS.values())

    def check(self, value: Any) -> Any:
        kind = value.__class__
        if kind is list:
            for index, item in enumerate(value):
                self._inner(item, f"[{index}]")
        elif kind is dict:
            for name, item in value.items():
                if name.__class__ is not str:
                    raise Mismatch("str as a key", name)
                self._inner(item, f"[{name!r}]")
        elif kind not in JSON_KINDS or (kind is float and value - value):
            raise Mismatch(self.expected, value)
        return value

    def _inner(self, item: Any, step: str) -> None:
        try:
            self.check(item)
        except Mismatch as mismatch:
            raise mismatch.under(step) from None

    def loader(self, classes: Classes) -> Load:
        return lambda value, _=None: value

    def dumper(self, classes: Classes) -> Dump:
        return self.check
