"""From an annotation to its shape. What cannot be stored and read again is refused here, when the class is defined."""

import collections.abc
import dataclasses
import sys
import types
import typing
from collections.abc import Mapping as MappingType
from enum import Enum, Flag
from typing import Annotated, Any, Literal, NewType, TypeGuard, get_args, get_origin

import attrs

from runnel.errors import ConfigurationError
from runnel.records.choices import Choice, Flags, enum_members
from runnel.records.containers import Fixed, Many, Mapping, Optional, Union
from runnel.records.scalars import SCALARS
from runnel.records.shapes import JSON_KINDS, Anything, Instance, Shape

_MANY: tuple[type, ...] = (list, set, frozenset)


def is_model(kind: object) -> TypeGuard[type]:
    """Whether this is a class whose fields are known: attrs, dataclass, msgspec Struct or pydantic model."""
    return isinstance(kind, type) and (has_fields(kind) or is_struct(kind) or is_pydantic(kind))


def has_fields(cls: type) -> bool:
    """Whether this is an attrs class (as every record is) or a dataclass."""
    return attrs.has(cls) or dataclasses.is_dataclass(cls)


def is_struct(cls: type) -> bool:
    """Whether this is a msgspec Struct. Where it is, msgspec has been imported."""
    msgspec = sys.modules.get("msgspec")
    return msgspec is not None and issubclass(cls, msgspec.Struct)


def is_pydantic(cls: type) -> bool:
    """Whether this is a pydantic model. Where it is, pydantic has been imported."""
    pydantic = sys.modules.get("pydantic")
    return pydantic is not None and issubclass(cls, pydantic.BaseModel)


def shape_of(annotation: Any, where: str) -> Shape:
    """The shape of a resolved annotation.

    Args:
        annotation: A type, without strings in it.
        where: The class and field, for the error.

    Raises:
        ConfigurationError: Values of this type could not be stored, or not be read again for certain.
    """
    annotation = _unwrapped(annotation)
    if annotation is Any or annotation is object:
        return Anything()
    if annotation is None:
        return SCALARS[type(None)]
    origin = get_origin(annotation)
    if origin is Literal:
        return _literal(annotation, where)
    if origin in (typing.Union, types.UnionType):
        return _union(annotation, where)
    container = origin or annotation
    if container in _MANY:
        return _many(container, annotation, where)
    if container is dict:
        return _mapping(annotation, where)
    if container is tuple:
        return _tuple(annotation, where)
    if isinstance(annotation, type) and origin is None:
        return _plain_class(annotation, where)
    raise _unsupported(annotation, where)


def _unwrapped(annotation: Any) -> Any:
    """Without what says nothing of the value: Annotated, Final, NewType, a name for a type, typing.List for list."""
    while True:
        if get_origin(annotation) in (Annotated, typing.Final):
            annotation = get_args(annotation)[0]
        elif isinstance(annotation, NewType):
            annotation = annotation.__supertype__
        elif type(annotation).__name__ == "TypeAliasType":  # `type X = ...`, from Python 3.12
            annotation = annotation.__value__
        elif annotation in (typing.List, typing.Dict, typing.Set, typing.FrozenSet, typing.Tuple):  # noqa: UP006
            annotation = get_origin(annotation)
        else:
            return annotation


def _plain_class(cls: type, where: str) -> Shape:
    if cls in SCALARS:
        return SCALARS[cls]
    if issubclass(cls, Enum):
        return _enum(cls, where)
    if is_model(cls):
        if getattr(cls, "__parameters__", ()):
            raise ConfigurationError(f"{where}: {cls.__name__} is generic, which records do not support")
        return Instance(cls, _kinds_of(cls))
    raise _unsupported(cls, where)


def _kinds_of(cls: type) -> frozenset[str]:
    if is_struct(cls) and cls.__struct_config__.array_like:  # type: ignore[attr-defined]
        return frozenset({"array"})
    if is_pydantic(cls) and cls.__pydantic_root_model__:  # type: ignore[attr-defined]
        return frozenset(JSON_KINDS.values())
    return frozenset({"object"})


def _enum(cls: type[Enum], where: str) -> Shape:
    if issubclass(cls, Flag):
        return Flags(cls)
    members = enum_members(cls)
    if not members or any(type(value) not in (int, str) for value, _ in members):
        raise ConfigurationError(
            f"{where}: the members of {cls.__name__} are stored by value, which must be int or str"
        )
    return Choice(cls.__name__, members)


def _literal(annotation: Any, where: str) -> Shape:
    values = get_args(annotation)
    if any(type(value) not in (int, str, bool, type(None)) for value in values):
        raise ConfigurationError(f"{where}: a Literal of a record holds int, str, bool or None only")
    return Choice(f"Literal[{', '.join(map(repr, values))}]", [(value, value) for value in values])


def _many(container: type, annotation: Any, where: str) -> Shape:
    (item,) = get_args(annotation) or (Any,)
    shape = shape_of(item, where)
    return Many(container, shape, f"{container.__name__}[{_name(shape)}]")


def _tuple(annotation: Any, where: str) -> Shape:
    items = get_args(annotation) if get_origin(annotation) is tuple else (Any, ...)
    if len(items) == 2 and items[1] is Ellipsis:
        shape = shape_of(items[0], where)
        return Many(tuple, shape, f"tuple[{_name(shape)}, ...]")
    shapes = [shape_of(item, where) for item in items]
    return Fixed(shapes, f"tuple[{', '.join(map(_name, shapes)) or '()'}]")


def _mapping(annotation: Any, where: str) -> Shape:
    key, item = get_args(annotation) or (str, Any)
    keys, shape = shape_of(key, where), shape_of(item, where)
    text = keys.key()
    if text is None:
        raise ConfigurationError(f"{where}: {keys.expected} cannot be the key of a stored dict")
    return Mapping(keys, text, shape, f"dict[{keys.expected}, {_name(shape)}]")


def _union(annotation: Any, where: str) -> Shape:
    arguments = [_unwrapped(argument) for argument in get_args(annotation)]
    if Any in arguments or object in arguments:
        return Anything()
    members = [shape_of(argument, where) for argument in arguments if argument not in (None, type(None))]
    inner = members[0] if len(members) == 1 else Union(members, where)
    if len(members) == len(arguments) or "null" in inner.kinds:
        return inner
    return Optional(inner)


def _name(shape: Shape) -> str:
    return "Any" if isinstance(shape, Anything) else shape.expected


def _unsupported(annotation: Any, where: str) -> ConfigurationError:
    name = annotation.__name__ if isinstance(annotation, type) and get_origin(annotation) is None else str(annotation)
    hint = ""
    if get_origin(annotation) in (collections.abc.Sequence, collections.abc.Iterable, collections.abc.Collection):
        hint = "; use list or tuple"
    elif get_origin(annotation) in (MappingType, collections.abc.MutableMapping):
        hint = "; use dict"
    return ConfigurationError(f"{where}: {name} cannot be stored in a record{hint}")
