"""The constructors of a record: they give defaults, check every field, and say what is wrong.

The only code in Runnel that is generated as text. It is written once for each class, when the class is defined.
"""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import attrs

from runnel.errors import RecordError
from runnel.records.fields import Field
from runnel.records.mismatch import ABSENT, Mismatch, unknown_field
from runnel.records.scalars import SCALARS

Check = Callable[[Any], Any]


def checked(owner: str, field: Field) -> Check:
    """The field's check, with the error that users see."""
    shape_check, expected = field.shape.check, field.shape.expected

    def check(value: Any) -> Any:
        try:
            if value is ABSENT:
                raise Mismatch(expected, ABSENT)
            return shape_check(value)
        except Mismatch as mismatch:
            raise mismatch.under(f".{field.name}").at(owner) from None
        except RecursionError:
            raise RecordError(f"{owner}.{field.name}: nested too deeply, or contains itself") from None

    return check


def declared(cls: Any) -> "dict[str, attrs.Attribute[Any]]":
    """The attributes of an attrs class by name."""
    return {attribute.name: attribute for attribute in attrs.fields(cls)}


def validated(cls: type) -> bool:
    """Whether a field has a validator of the user's, besides its type."""
    return any(attribute.validator is not None for attribute in declared(cls).values())


def _needs_attrs(cls: type) -> bool:
    """Whether the class uses what only the `__init__` of attrs does: validators, defaults of self, hooks."""
    return (
        hasattr(cls, "__attrs_post_init__")
        or hasattr(cls, "__attrs_pre_init__")
        or validated(cls)
        or any(getattr(attribute.default, "takes_self", False) for attribute in declared(cls).values())
    )


def constructors(
    cls: type, fields: tuple[Field, ...], checks: Mapping[str, Check]
) -> tuple[Callable[..., None], Callable[..., Any]]:
    """Write the two functions that build a record: the `__init__` of users, and `make`, which decoding calls.

    For a field `amount: int` and a field `tags: list[str] = []` they read::

        def __init__(__self, *__positional, amount=__absent, tags=__absent, **__unknown):
            if __positional or __unknown: __refuse(__positional, __unknown)
            if amount.__class__ is not int: amount = __check_amount(amount)
            if tags is __absent: tags = __default_tags()
            tags = __check_tags(tags)
            __values = __self.__dict__
            __values['amount'] = amount
            __values['tags'] = tags

        def make(amount=__absent, tags=__absent):
            __self = __new(__cls)
            ...the same...
            return __self

    They are generated because a loop over the fields takes four times as long, and every event passes through here;
    `make` because keyword arguments and the catching of unknown ones take as long as all the checks (cattrs passes the
    required fields by position, so they come first). Values go into `__dict__` directly, as `__setattr__` would check
    them a second time.
    """
    names: dict[str, Any] = {
        "__absent": ABSENT,
        "__nothing": attrs.NOTHING,
        "__refuse": _refuser(cls, fields),
        "__new": cls.__new__,
        "__cls": cls,
    }
    parameters: dict[str, str] = {}
    body = []
    for field in fields:
        default = declared(cls)[field.name].default
        names[f"__check_{field.name}"] = checks[field.name]
        names[f"__exact_{field.name}"] = float if field.shape is SCALARS[float] else field.shape.exact
        names[f"__default_{field.name}"] = getattr(default, "factory", default)
        constant = default is not attrs.NOTHING and not hasattr(default, "factory")
        parameters[field.name] = f"{field.name}={f'__default_{field.name}' if constant else '__absent'}"
        body += _lines_for(field, default)
    if _needs_attrs(cls):
        body.append(f"__self.__attrs_init__({', '.join(f'{field.name}={field.name}' for field in fields)})")
    else:
        body += ["__values = __self.__dict__", *(f"__values[{field.name!r}] = {field.name}" for field in fields)]
    lines = [
        f"def __init__({', '.join(['__self', '*__positional', *parameters.values(), '**__unknown'])}):",
        "    if __positional or __unknown: __refuse(__positional, __unknown)",
        *(f"    {line}" for line in body),
        f"def make({', '.join(parameters[field.name] for field in sorted(fields, key=lambda f: not f.required))}):",
        "    __self = __new(__cls)",
        *(f"    {line}" for line in body),
        "    return __self",
    ]
    exec(compile("\n".join(lines), f"<the constructors of {cls.__qualname__}>", "exec"), names)
    init, make = names["__init__"], names["make"]
    init.__qualname__ = f"{cls.__qualname__}.__init__"
    init.__module__ = make.__module__ = cls.__module__
    init.__signature__ = _signature(fields)
    return init, make


def _signature(fields: tuple[Field, ...]) -> inspect.Signature:
    """What help() and editors show of the constructor, without the parameters that only catch mistakes."""
    kind = inspect.Parameter.KEYWORD_ONLY
    parameters = [
        inspect.Parameter(
            field.name,
            kind,
            annotation=field.shape.expected,
            default=inspect.Parameter.empty if field.required else ...,
        )
        for field in fields
    ]
    return inspect.Signature([inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY), *parameters])


def _lines_for(field: Field, default: Any) -> list[str]:
    """The statements that give one field its default and check it."""
    name = field.name
    check = f"{name} = __check_{name}({name})"
    if field.shape is SCALARS[float]:
        # nan - nan and inf - inf are nan, which is true
        check = f"if {name}.__class__ is not __exact_{name} or {name} - {name}: {check}"
    elif field.shape.exact is not None:
        check = f"if {name}.__class__ is not __exact_{name}: {check}"
    if not hasattr(default, "factory"):
        return [check]
    if default.takes_self:  # attrs asks it; other fields must have been set before
        return [f"if {name} is __absent: {name} = __nothing", f"else: {name} = __check_{name}({name})"]
    return [f"if {name} is __absent: {name} = __default_{name}()", check]


def _refuser(cls: type, fields: tuple[Field, ...]) -> Callable[[tuple[Any, ...], Mapping[str, Any]], None]:
    def refuse(positional: tuple[Any, ...], unknown: Mapping[str, Any]) -> None:
        if positional:
            raise RecordError(f"{cls.__name__}: fields are given by keyword, got {len(positional)} without a name")
        mismatch = unknown_field([field.name for field in fields])
        raise mismatch.under(f".{next(iter(unknown))}").at(cls.__name__)

    return refuse
