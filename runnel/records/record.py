"""`Record`: a class whose fields are checked where it is built, so that what is wrong fails at the producer.

attrs makes the class (fields, equality, repr, inheritance); this module adds the one `__init__` that checks, and the
check of assignments. It knows nothing of how a record is stored (`codec.py`).
"""

import copy
import functools
import sys
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, dataclass_transform

import attrs

from runnel.errors import ConfigurationError
from runnel.records.annotations import has_fields
from runnel.records.constructors import Check, checked, constructors, declared, validated
from runnel.records.fields import Field, fields_of
from runnel.records.mismatch import Mismatch, unknown_field

PRIMITIVES: tuple[type, ...] = (int, float, bool, str, bytes)


@dataclass_transform(kw_only_default=True, field_specifiers=(attrs.field,))
class Record:
    """The base of what streams and states hold.

    A subclass declares its fields by annotations::

        class Order(Record):
            order_id: int
            created_at: datetime
            amount: int = 0

    and becomes an attrs class whose constructor takes them by keyword. Values are checked when a record is built, when
    a field is assigned, and again when it is encoded, as lists and dicts may be changed in place. Scalars are strict:
    only an int is taken for a float. A mutable default is copied for each record.

    Args:
        primitive: (of the class statement) store the fields as native fields of the Redis entry; they may be `int`,
            `float`, `bool`, `str` and `bytes` only. Inherited.

    Raises:
        RecordError: A value does not fit; a field is missing or unknown. Names class, field, what was expected and what
            came.
        ConfigurationError: (by the class statement) a field's type cannot be stored.
    """

    __runnel_primitive__: ClassVar[bool] = False
    __runnel_checks__: ClassVar[Mapping[str, Check]] = {}
    __runnel_exact__: ClassVar[Mapping[str, type]] = {}
    __runnel_fields__: ClassVar[tuple[Field, ...] | None] = None
    __runnel_make__: ClassVar[Callable[..., Any]]
    __runnel_validated__: ClassVar[bool] = False
    __runnel_names__: ClassVar[Mapping[str, Any]] = {}

    def __init_subclass__(cls, *, primitive: bool | None = None, **options: Any) -> None:
        super().__init_subclass__(**options)
        if primitive is not None:
            cls.__runnel_primitive__ = primitive
        _refuse_own_methods(cls)
        attrs.define(
            cls,
            init=False,
            slots=False,
            kw_only=True,
            on_setattr=attrs.setters.NO_OP,
            field_transformer=_settled,
        )
        cls.__runnel_fields__ = None
        cls.__runnel_checks__ = {}
        cls.__runnel_exact__ = {}
        frame = sys._getframe(1)
        cls.__runnel_names__ = {} if frame.f_locals is frame.f_globals else dict(frame.f_locals)
        try:
            _finish(cls)
        except NameError:
            # An annotation names a class that is defined further down: look again when the first record is built.
            cls.__init__ = _init_later(cls)  # type: ignore[method-assign]

    def __init__(self, **values: Any) -> None:
        raise ConfigurationError("Record is a base class: declare a subclass with fields")

    def to_dict(self) -> dict[str, Any]:
        """The fields by name; records inside become dicts too, other values (a datetime) stay as they are."""
        return {field.name: _plain(getattr(self, field.name)) for field in record_fields(type(self))}

    def dict(self) -> dict[str, Any]:  # the name it had in Runnel 0.1
        """The same as `to_dict`."""
        return self.to_dict()


def _assign(record: Record, name: str, value: Any) -> None:
    """Check what is assigned to a field."""
    if record.__runnel_exact__.get(name) is value.__class__:  # nearly always, and handlers of actors assign for each event
        record.__dict__[name] = value
        return
    check = record.__runnel_checks__.get(name)
    if check is None:
        _assign_other(record, name, value)
        return
    fitting = check(value)
    if record.__runnel_validated__:
        attribute = declared(type(record))[name]
        if attribute.validator is not None:
            attribute.validator(record, attribute, fitting)
    record.__dict__[name] = fitting


# Not defined in the class: mypy takes that for leave to assign any name, where misspelt ones are to be found.
Record.__setattr__ = _assign  # type: ignore[assignment,method-assign]


def record_fields(cls: type) -> tuple[Field, ...]:
    """The fields of a record, attrs class or dataclass.

    Raises:
        ConfigurationError: An annotation names something that does not exist, or a type that cannot be stored.
    """
    try:
        if not issubclass(cls, Record):
            return fields_of(cls)
        return _finish(cls) if cls.__runnel_fields__ is None else cls.__runnel_fields__
    except NameError as error:
        raise ConfigurationError(f"{cls.__name__}: an annotation names {error.name!r}, which is not defined") from None


def _finish(cls: type[Record]) -> tuple[Field, ...]:
    """Resolve the annotations and give the class its constructors."""
    fields = fields_of(cls, cls.__runnel_names__)
    if cls.__runnel_primitive__:
        _refuse_non_primitive(cls, fields)
    checks = {field.name: checked(cls.__name__, field) for field in fields}
    _refuse_wrong_defaults(cls, fields)
    cls.__init__, cls.__runnel_make__ = constructors(cls, fields, checks)  # type: ignore[method-assign]
    cls.__runnel_checks__ = checks
    cls.__runnel_fields__ = fields
    cls.__runnel_validated__ = validated(cls)
    exact = {} if cls.__runnel_validated__ else {field.name: getattr(field.shape, "exact", None) for field in fields}
    cls.__runnel_exact__ = {name: kind for name, kind in exact.items() if kind is not None}
    cls.__runnel_names__ = {}  # do not keep a function's variables alive
    return fields


def _refuse_own_methods(cls: type[Record]) -> None:
    if "__init__" in vars(cls):
        raise ConfigurationError(
            f"{cls.__name__}: a record takes its fields by keyword and has no __init__ of its own; "
            "give defaults, or write a classmethod"
        )
    for name in vars(cls).get("__annotations__", {}):
        if name in ("self", "dict", "to_dict") or name.startswith("__"):
            raise ConfigurationError(f"{cls.__name__}.{name}: this name cannot be a field, records use it themselves")
        if not name.isidentifier():
            raise ConfigurationError(f"{cls.__name__}.{name}: a field's name must be an identifier")


def _settled(cls: type, attributes: list[Any]) -> list[Any]:
    """What attrs declares, as records want it: stored under its own name, mutable defaults copied."""
    settled = []
    for attribute in attributes:
        where = f"{cls.__name__}.{attribute.name}"
        if attribute.converter is not None:
            raise ConfigurationError(f"{where}: records are strict and take no converter")
        if not attribute.init:
            raise ConfigurationError(f"{where}: every field of a record is stored, so init=False is not possible")
        if attribute.alias not in (None, attribute.name, attribute.name.lstrip("_")):
            raise ConfigurationError(f"{where}: a field is stored under its own name and takes no alias")
        default = _copied_default(attribute.default)
        settled.append(attribute.evolve(alias=attribute.name, default=default))
    return settled


def _copied_default(default: Any) -> Any:
    if default.__class__ in (list, dict, set) and not default:
        return attrs.Factory(default.__class__)
    if isinstance(default, (list, dict, set, tuple, frozenset)) or has_fields(type(default)):
        return (
            default if default.__class__ is attrs.Factory else attrs.Factory(functools.partial(copy.deepcopy, default))
        )
    return default


def _refuse_non_primitive(cls: type[Record], fields: tuple[Field, ...]) -> None:
    for field in fields:
        if getattr(field.shape, "cls", None) not in PRIMITIVES:
            raise ConfigurationError(
                f"{cls.__name__}.{field.name}: a primitive record holds int, float, bool, str and bytes only, "
                f"not {field.shape.expected}"
            )


def _refuse_wrong_defaults(cls: type[Record], fields: tuple[Field, ...]) -> None:
    attributes = declared(cls)
    for field in fields:
        default = attributes[field.name].default
        if default is attrs.NOTHING or isinstance(default, attrs.Factory):  # type: ignore[arg-type]
            continue
        try:
            field.shape.check(default)
        except Mismatch as mismatch:
            raise ConfigurationError(f"the default of {mismatch.under(f'.{field.name}').at(cls.__name__)}") from None


def _init_later(cls: type[Record]) -> Callable[..., None]:
    def init(self: Record, *positional: Any, **values: Any) -> None:
        record_fields(cls)
        cls.__init__(self, *positional, **values)

    return init


def _assign_other(record: Record, name: str, value: Any) -> None:
    """An attribute that is no field: a property's setter may take it, else it would be lost when it is stored."""
    cls = type(record)
    if cls.__runnel_fields__ is None and any(field.name == name for field in record_fields(cls)):
        setattr(record, name, value)
    elif hasattr(getattr(cls, name, None), "__set__") or name == "__class__":
        object.__setattr__(record, name, value)
    else:
        raise unknown_field([field.name for field in record_fields(cls)]).under(f".{name}").at(cls.__name__)


def _plain(value: Any) -> Any:
    if isinstance(value, Record):
        return value.to_dict()
    if has_fields(type(value)):
        return {field.name: _plain(getattr(value, field.name)) for field in record_fields(type(value))}
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if value.__class__ in (list, tuple, set, frozenset):
        return value.__class__(_plain(item) for item in value)
    return value
