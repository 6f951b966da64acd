"""What the options of a stream must be, to be checked where it is declared."""

from typing import Any

from runnel.errors import ConfigurationError


def check_options(stream: Any) -> None:
    """Refuse options of a `Stream` that do not fit.

    Raises:
        ConfigurationError: It says which, of which stream.
    """
    where = f"stream {stream.name!r}"
    if not stream.name:
        raise ConfigurationError("a stream needs a name")
    check_name("stream", stream.name)
    if stream.partition_count < 1 or stream.partition_size < 1:
        raise ConfigurationError(f"{where}: partition_count and partition_size must be at least 1")
    if stream.overflow not in ("block", "reject", "drop_oldest"):
        raise ConfigurationError(f"{where}: overflow must be block, reject or drop_oldest, not {stream.overflow!r}")
    if isinstance(stream.partition_by, str):
        names = field_names(stream.record)
        if names is not None and stream.partition_by not in names:
            raise ConfigurationError(
                f"{where}: partition_by {stream.partition_by!r} is not a field of {stream.record.__name__}: "
                f"it has {', '.join(names)}"
            )
    elif not callable(stream.partition_by):
        raise ConfigurationError(f"{where}: partition_by must be a field's name or a callable")


def field_names(record: type) -> list[str] | None:
    """The names of a record type's fields, if it tells them."""
    for attribute in ("__attrs_attrs__", "__dataclass_fields__", "__struct_fields__", "model_fields"):
        if (declared := getattr(record, attribute, None)) is not None:
            return [getattr(item, "name", item) for item in declared]
    return None


def check_name(of: str, name: str) -> None:
    """Refuse a name that cannot be written down for other workers.

    Raises:
        ConfigurationError: It is no valid Unicode.
    """
    if any("\ud800" <= letter <= "\udfff" for letter in name):
        raise ConfigurationError(f"{of} {name!r}: its name must be valid Unicode")
