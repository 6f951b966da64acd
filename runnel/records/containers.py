"""Lists, sets, tuples, dicts and unions. Every element is checked, and a mismatch says which one it was."""

from collections.abc import Callable, Iterable
from typing import Any

from runnel.errors import ConfigurationError
from runnel.records.mismatch import Mismatch
from runnel.records.shapes import JSON_KINDS, Classes, Dump, Instance, Key, Load, Shape

TAG = "_type"
"""Which class of a union an object belongs to."""


def _each(items: Iterable[Any], function: Callable[[Any], Any]) -> list[Any]:
    results: list[Any] = []
    add = results.append
    try:
        for item in items:
            add(function(item))
    except Mismatch as mismatch:
        raise mismatch.under(f"[{len(results)}]") from None
    return results


class Many(Shape):
    """`list`, `set`, `frozenset` and `tuple[X, ...]`: an array in JSON."""

    kinds = frozenset({"array"})

    def __init__(self, cls: type[Any], item: Shape, expected: str) -> None:
        self.cls: Any = cls
        self.item = item
        self.expected = expected

    def check(self, value: Any) -> Any:
        if not isinstance(value, self.cls):
            raise Mismatch(self.expected, value)
        exact, check = self.item.exact, self.item.check
        for index, item in enumerate(value):
            if item.__class__ is not exact:
                try:
                    check(item)
                except Mismatch as mismatch:
                    raise mismatch.under(f"[{index}]") from None
        return value

    def loader(self, classes: Classes) -> Load:
        load, make = self.item.loader(classes), self.cls

        def load_many(value: Any, _: object = None) -> Any:
            if not isinstance(value, list):
                raise Mismatch(self.expected, value)
            items = _each(value, load)
            return items if make is list else make(items)

        return load_many

    def dumper(self, classes: Classes) -> Dump:
        dump, cls = self.item.dumper(classes), self.cls

        def dump_many(value: Any) -> Any:
            if not isinstance(value, cls):
                raise Mismatch(self.expected, value)
            return _each(value, dump)

        return dump_many


class Fixed(Shape):
    """`tuple[X, Y]`: an array of exactly these."""

    kinds = frozenset({"array"})

    def __init__(self, items: list[Shape], expected: str) -> None:
        self.items = items
        self.expected = expected

    def _apply(self, value: Any, functions: list[Any]) -> list[Any]:
        if len(value) != len(functions):
            raise Mismatch(self.expected, value)
        pairs = iter(functions)
        return _each(value, lambda item: next(pairs)(item))

    def check(self, value: Any) -> Any:
        if not isinstance(value, tuple):
            raise Mismatch(self.expected, value)
        self._apply(value, [item.check for item in self.items])
        return value

    def loader(self, classes: Classes) -> Load:
        loads = [item.loader(classes) for item in self.items]

        def load_fixed(value: Any, _: object = None) -> Any:
            if not isinstance(value, list):
                raise Mismatch(self.expected, value)
            return tuple(self._apply(value, loads))

        return load_fixed

    def dumper(self, classes: Classes) -> Dump:
        dumps = [item.dumper(classes) for item in self.items]

        def dump_fixed(value: Any) -> Any:
            if not isinstance(value, tuple):
                raise Mismatch(self.expected, value)
            return self._apply(value, dumps)

        return dump_fixed


class Mapping(Shape):
    """`dict[K, V]`: an object in JSON, its keys as strings."""

    kinds = frozenset({"object"})

    def __init__(self, keys: Shape, key: Key, item: Shape, expected: str) -> None:
        self.keys = keys
        self.text = key
        self.item = item
        self.expected = expected

    def check(self, value: Any) -> Any:
        if not isinstance(value, dict):
            raise Mismatch(self.expected, value)
        for key, item in value.items():
            try:
                self.keys.check(key)
                self.item.check(item)
            except Mismatch as mismatch:
                raise mismatch.under(f"[{key!r}]") from None
        return value

    def loader(self, classes: Classes) -> Load:
        load_key, load = self.text.load, self.item.loader(classes)

        def load_mapping(value: Any, _: object = None) -> Any:
            if not isinstance(value, dict):
                raise Mismatch(self.expected, value)
            result = {}
            key: Any = None
            try:
                for key, item in value.items():
                    result[load_key(key)] = load(item)
            except Mismatch as mismatch:
                raise mismatch.under(f"[{key!r}]") from None
            return result

        return load_mapping

    def dumper(self, classes: Classes) -> Dump:
        check_key, dump_key, dump = self.keys.check, self.text.dump, self.item.dumper(classes)

        def dump_mapping(value: Any) -> Any:
            if not isinstance(value, dict):
                raise Mismatch(self.expected, value)
            result = {}
            key: Any = None
            try:
                for key, item in value.items():
                    result[dump_key(check_key(key))] = dump(item)
            except Mismatch as mismatch:
                raise mismatch.under(f"[{key!r}]") from None
            return result

        return dump_mapping


class Optional(Shape):
    """`X | None`."""

    def __init__(self, inner: Shape) -> None:
        self.inner = inner
        self.exact = inner.exact
        self.kinds = inner.kinds | {"null"}
        self.expected = f"{inner.expected} | None"

    def check(self, value: Any) -> Any:
        return None if value is None else self._inner(self.inner.check, value)

    def _inner(self, function: Callable[[Any], Any], value: Any) -> Any:
        try:
            return function(value)
        except Mismatch as mismatch:
            if not mismatch.path and mismatch.reason is None:
                mismatch.expected += " | None"
            raise

    def loader(self, classes: Classes) -> Load:
        load = self.inner.loader(classes)
        return lambda value, _=None: None if value is None else self._inner(load, value)

    def dumper(self, classes: Classes) -> Dump:
        dump = self.inner.dumper(classes)
        return lambda value: None if value is None else self._inner(dump, value)


class Union(Shape):
    """Several shapes that stored values can be told apart by: by their JSON kind, and classes by their tag.

    Several classes are stored with their class name under `TAG`. An object without one is the first of them, so that a
    field that was one class can become a union of it and others while old events are still in the stream.
    """

    def __init__(self, members: list[Shape], where: str) -> None:
        self.members = members
        self.expected = " | ".join(member.expected for member in members)
        self.kinds = frozenset().union(*(member.kinds for member in members))
        self.classes = [member for member in members if isinstance(member, Instance) and "object" in member.kinds]
        self._by_kind = self._told_apart(where)
        self._tags = {member.expected: member for member in self.classes} if len(self.classes) > 1 else {}
        if self._tags and len(self._tags) != len(self.classes):
            raise ConfigurationError(f"{where}: two classes of the union {self.expected} have the same name")
        for member in self.classes if self._tags else ():
            if any(TAG in vars(base).get("__annotations__", {}) for base in member.cls.__mro__):
                raise ConfigurationError(f"{where}: {member.expected} has a field {TAG}, which marks a union's class")

    def _told_apart(self, where: str) -> dict[str, Shape]:
        chosen: dict[str, Shape] = {}
        for member in self.members:
            for kind in member.kinds:
                other = chosen.get(kind)
                if other is None or (kind == "int" and "float" in other.kinds):
                    chosen[kind] = member  # an int is meant for int before float
                elif kind == "int" and "float" in member.kinds:
                    continue
                elif not (isinstance(other, Instance) and isinstance(member, Instance)):
                    raise ConfigurationError(
                        f"{where}: stored values of {other.expected} and {member.expected} could not be told apart, "
                        f"both are a JSON {kind}; put them into records of their own"
                    )
        return chosen

    def _member(self, value: Any) -> tuple[Shape, Any]:
        """The member that a Python value belongs to, and the value as it accepts it: exact ones before subclasses."""
        deeper: Mismatch | None = None
        taken: tuple[Shape, Any] | None = None
        for member in self.members:
            if member.exact is not None and value.__class__ is member.exact:
                return member, value
        for member in self.members:
            try:
                checked = member.check(value)
            except Mismatch as mismatch:
                deeper = mismatch if mismatch.path else deeper
                continue
            if checked is value:
                return member, value
            taken = taken or (member, checked)
        if taken is not None:
            return taken
        raise deeper or Mismatch(self.expected, value)

    def check(self, value: Any) -> Any:
        return self._member(value)[1]

    def loader(self, classes: Classes) -> Load:
        loads = {kind: member.loader(classes) for kind, member in self._by_kind.items()}
        if self._tags:
            loads["object"] = self._tagged_loader(classes)

        def load_union(value: Any, _: object = None) -> Any:
            load = loads.get(JSON_KINDS.get(value.__class__, ""))
            if load is None:
                raise Mismatch(self.expected, value)
            return load(value)

        return load_union

    def _tagged_loader(self, classes: Classes) -> Load:
        loads = {tag: member.loader(classes) for tag, member in self._tags.items()}
        first = self.classes[0].loader(classes)

        def load_tagged(value: Any, _: object = None) -> Any:
            if TAG not in value:
                return first(value)
            tag = value[TAG]
            load = loads.get(tag) if tag.__class__ is str else None
            if load is None:
                raise Mismatch(f"one of {', '.join(loads)}", tag).under(f".{TAG}")
            return load({name: item for name, item in value.items() if name != TAG})

        return load_tagged

    def dumper(self, classes: Classes) -> Dump:
        dumps = {id(member): member.dumper(classes) for member in self.members}
        tags = {id(member): tag for tag, member in self._tags.items()}

        def dump_union(value: Any) -> Any:
            member, checked = self._member(value)
            stored = dumps[id(member)](checked)
            tag = tags.get(id(member))
            return stored if tag is None else {TAG: tag, **stored}

        return dump_union
