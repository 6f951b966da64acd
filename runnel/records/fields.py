"""The fields of a class: their names, shapes and whether they must be given.

One answer for records, attrs classes and dataclasses, so that nothing after this module tells them apart.
"""

import dataclasses
import typing
from collections.abc import Mapping
from typing import Any

import attrs
from attrs import frozen

from runnel.errors import ConfigurationError
from runnel.records.annotations import shape_of
from runnel.records.shapes import Shape


@frozen
class Field:
    """One field.

    Attributes:
        name: As an attribute, and as it is stored.
        argument: What the constructor calls it (attrs drops leading underscores).
        shape: What fits it.
        required: Whether it has no default.
    """

    name: str
    argument: str
    shape: Shape
    required: bool


def fields_of(cls: type, names: Mapping[str, Any] | None = None) -> tuple[Field, ...]:
    """The fields that the constructor takes, in order; others (`init=False`) are not stored.

    Args:
        cls: An attrs class or a dataclass.
        names: What annotations may refer to besides the globals of the class's module.

    Raises:
        NameError: An annotation names something that is not defined yet.
        ConfigurationError: A field's type cannot be stored.
    """
    hints = typing.get_type_hints(cls, localns=dict(names or {}, **{cls.__name__: cls}), include_extras=True)
    return tuple(
        Field(name, argument, shape_of(_hint(hints, name, cls), f"{cls.__name__}.{name}"), required)
        for name, argument, required in _declared(cls)
    )


def _hint(hints: dict[str, Any], name: str, cls: type) -> Any:
    try:
        return hints[name]
    except KeyError:
        raise ConfigurationError(f"{cls.__name__}.{name}: has no annotation") from None


def _declared(cls: type) -> list[tuple[str, str, bool]]:
    if attrs.has(cls):
        return [(a.name, a.alias or a.name, a.default is attrs.NOTHING) for a in attrs.fields(cls) if a.init]
    return [
        (f.name, f.name, f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING)
        for f in dataclasses.fields(cls)
        if f.init
    ]
