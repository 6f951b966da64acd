"""How whole objects are loaded from and dumped to JSON types.

cattrs writes the functions for classes with fields, from the shapes of the fields. They say only *that* something is
wrong, which is what makes them fast; when one fails, the codec runs the value through `Detailed`, which says where.
msgspec and pydantic models bring their own rules, and are handed over to them as they are.
"""

from collections.abc import Callable
from typing import Annotated, Any

import attrs
import orjson
from cattrs import Converter
from cattrs.gen import make_dict_structure_fn_from_attrs, make_dict_unstructure_fn_from_attrs, override

from runnel.errors import RecordError
from runnel.records.annotations import has_fields, is_struct
from runnel.records.fields import Field
from runnel.records.mismatch import ABSENT, Mismatch, unknown_field
from runnel.records.record import Record, record_fields
from runnel.records.scalars import SCALARS
from runnel.records.shapes import Dump, Load

# Without linecache below: cattrs would keep the text of each function for ever, and codecs are made anew by every clone.
_converter = Converter(detailed_validation=False)


class Fast:
    """Functions for classes, made when first asked for. Any exception of theirs means that the value does not fit.

    Args:
        native: What is dumped goes to orjson; leave to it what it does itself.
    """

    def __init__(self, native: bool = False) -> None:
        self.native = native
        self._loaders: dict[type, Load] = {}
        self._dumpers: dict[type, Dump] = {}

    def loader(self, cls: type) -> Load:
        """The function that makes an instance of a JSON value."""
        load: Load = self._made(cls, self._loaders, self._make_loader)
        return load

    def dumper(self, cls: type) -> Dump:
        """The function that makes a JSON value of an instance."""
        dump: Dump = self._made(cls, self._dumpers, self._make_dumper)
        return dump

    def _made(self, cls: type, made: dict[type, Any], make: Callable[[type], Any]) -> Any:
        if cls not in made:
            # A class that contains itself finds this, while its own function is being made.
            made[cls] = lambda value, _=None: made[cls](value)
            made[cls] = make(cls)
        return made[cls]

    def _make_loader(self, cls: type) -> Load:
        if not has_fields(cls):
            return _struct_loader(cls) if is_struct(cls) else _pydantic_loader(cls)
        return self._fields_loader(cls, record_fields(cls))

    def _make_dumper(self, cls: type) -> Dump:
        if not has_fields(cls):
            return _struct_dumper(cls) if is_struct(cls) else _pydantic_dumper(cls)
        return self._fields_dumper(cls, record_fields(cls))

    def _fields_loader(self, cls: type, fields: tuple[Field, ...]) -> Load:
        # `make` of a record checks what it is given, so that what needs no more than checking is passed on as it is.
        make: Any = cls.__runnel_make__ if issubclass(cls, Record) else cls
        checked = {field.name for field in fields if make is not cls and field.shape.loaded_by_check}
        attributes = _attributes(
            fields,
            hooks={f.name: override(struct_hook=f.shape.loader(self)) for f in fields if f.name not in checked},
            keywords=make is cls,
        )
        load: Load = make_dict_structure_fn_from_attrs(
            attributes, make, _converter, _cattrs_prefer_attrib_converters=True
        )
        if any(field.required for field in fields):
            return load  # subscribing anything but an object by a field's name fails

        def load_object(value: Any, _: object = None) -> Any:
            return load(_object(cls, value))

        return load_object

    def _fields_dumper(self, cls: type, fields: tuple[Field, ...]) -> Dump:
        hooks = {field.name: override(unstruct_hook=field.shape.dumper(self)) for field in fields}
        dump: Dump = make_dict_unstructure_fn_from_attrs(
            _attributes(fields, hooks), cls, _converter, _cattrs_use_linecache=False
        )
        if self.native and issubclass(cls, Record) and all(field.shape in _AS_THEY_ARE for field in fields):
            return _as_it_is(len(fields), dump)
        return dump


_AS_THEY_ARE = tuple(SCALARS[cls] for cls in (int, float, bool, str, type(None)))
"""What JSON has itself. A record checks such values when they are assigned, and they cannot change in place."""


def _as_it_is(fields: int, dump: Dump) -> Dump:
    """Dumps a record's own dictionary, unless anything else is in it, such as a cached property."""

    def dump_it(record: Any) -> Any:
        values = record.__dict__
        return values if len(values) == fields else dump(record)

    return dump_it


def _attributes(
    fields: tuple[Field, ...], hooks: dict[str, Any], keywords: bool = True
) -> "list[attrs.Attribute[Any]]":
    """The fields as cattrs wants them: as attributes of a class, which is made for this only.

    The hooks ride in the annotations, because cattrs takes them as keyword arguments beside its own: a field that is
    called `converter` would collide. A field without a hook gets a converter, to which cattrs leaves the value.

    Args:
        fields: The fields of one class.
        hooks: What cattrs calls for them.
        keywords: Whether the constructor is called by keywords; else required fields are passed by position, and first.
    """
    declared = {
        field.name: attrs.field(
            default=attrs.NOTHING if field.required else None,  # type: ignore[arg-type]
            alias=field.argument,
            kw_only=keywords,
            type=Annotated[Any, hooks[field.name]] if field.name in hooks else None,  # type: ignore[arg-type]
            converter=None if field.name in hooks else _left_to_init,  # type: ignore[arg-type]
        )
        for field in sorted(fields, key=lambda field: not field.required)
    }
    return list(attrs.fields(attrs.make_class("Fields", declared)))


def _left_to_init(value: Any) -> Any:
    raise AssertionError("the class of _attributes is never built")


class Detailed(Fast):
    """The same functions, field by field: they raise a `Mismatch` that says where.

    Args:
        strict: Refuse fields that the class does not have, where stored data may have any.
    """

    def __init__(self, strict: bool = False) -> None:
        super().__init__()
        self._strict = strict

    def _fields_loader(self, cls: type, fields: tuple[Field, ...]) -> Load:
        loads = [(field, field.shape.loader(self)) for field in fields]

        def load(value: Any, _: object = None) -> Any:
            _object(cls, value)
            if self._strict:
                _refuse_unknown(value, fields)
            arguments = {}
            for field, load_field in loads:
                if field.name in value:
                    arguments[field.argument] = _under(field, load_field, value[field.name])
                elif field.required:
                    raise Mismatch(field.shape.expected, ABSENT).under(f".{field.name}")
            return _constructed(cls, arguments)

        return load

    def _fields_dumper(self, cls: type, fields: tuple[Field, ...]) -> Dump:
        dumps = [(field, field.shape.dumper(self)) for field in fields]

        def dump(instance: Any) -> Any:
            return {
                field.name: _under(field, dump_field, getattr(instance, field.name, ABSENT))
                for field, dump_field in dumps
            }

        return dump


def _object(cls: type, value: Any) -> Any:
    if not isinstance(value, dict):
        raise Mismatch(f"an object with the fields of {cls.__name__}", value)
    return value


def _under(field: Field, function: Callable[[Any], Any], value: Any) -> Any:
    try:
        return function(value)
    except Mismatch as mismatch:
        raise mismatch.under(f".{field.name}") from None


def _refuse_unknown(value: dict[str, Any], fields: tuple[Field, ...]) -> None:
    names = [field.name for field in fields]
    for name in value:
        if name not in names:
            raise unknown_field(names).under(f".{name}")


def _constructed(cls: type, arguments: dict[str, Any]) -> Any:
    try:
        return cls(**arguments)
    except (RecordError, RecursionError):
        raise
    except Exception as error:  # a validator or __post_init__ of the user's
        raise Mismatch("", None, reason=f"{type(error).__name__}: {error}") from error


def _struct_loader(cls: type) -> Load:
    import msgspec

    def load(value: Any, _: object = None) -> Any:
        try:
            return msgspec.convert(value, cls)
        except msgspec.ValidationError as error:
            raise Mismatch("", None, reason=str(error)) from None

    return load


def _struct_dumper(cls: type) -> Dump:
    import msgspec

    load = _struct_loader(cls)

    def dump(value: Any) -> Any:
        plain = msgspec.to_builtins(value, str_keys=True)
        load(plain)  # a Struct's constructor checks nothing
        return plain

    return dump


def _pydantic_loader(cls: Any) -> Load:
    import pydantic

    def load(value: Any, _: object = None) -> Any:
        try:
            # As JSON, because a strict model takes a string for a datetime only there.
            return cls.model_validate_json(orjson.dumps(value))
        except pydantic.ValidationError as error:
            first = error.errors(include_url=False, include_context=False)[0]
            mismatch = Mismatch("", None, reason=f"{first['msg']}")
            for step in reversed(first["loc"]):
                mismatch.under(f"[{step}]" if isinstance(step, int) else f".{step}")
            raise mismatch from None

    return load


def _pydantic_dumper(cls: Any) -> Dump:
    load = _pydantic_loader(cls)

    def dump(value: Any) -> Any:
        plain = cls.__pydantic_serializer__.to_python(value, mode="json", by_alias=True, warnings="error")
        load(plain)  # assignments to a model are not checked
        return plain

    return dump
