"""Whether what an author declares fits what it will be called with: said where it is declared, and not at the first event.

Only what is certain is refused: an annotation that cannot be resolved, or a signature that cannot be read, fits anything.
"""

import inspect
import types
import typing
from collections import ChainMap
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Union

from runnel.entity.actor import Actor
from runnel.errors import ConfigurationError

# ── signatures ──

HOOKS = {
    "receive": ("self", "record"),
    "on_start": ("self",),
    "on_stop": ("self",),
    "on_restart": ("self", "error"),
    "on_reminder": ("self", "name"),
}
"""What each is called with, by position."""


def check_hooks(cls: type[Any], name: str) -> None:
    """Refuse methods that cannot be called as they will be.

    Raises:
        ConfigurationError: It says which, and what to write.
    """
    for hook, arguments in HOOKS.items():
        found = getattr(cls, hook)
        if found is None and hook != "receive":
            continue
        check_call(found, name, hook, arguments)
        if inspect.isasyncgenfunction(found) or inspect.isgeneratorfunction(found):
            raise ConfigurationError(f"actor {name!r}: {hook} has a `yield`: it is called for each event, and returns")


def check_call(function: Any, name: str, called: str, arguments: tuple[str, ...]) -> None:
    """Refuse a method that cannot be called with these arguments.

    Raises:
        ConfigurationError: It says what to write.
    """
    wanted = f"{called}({', '.join(arguments)})"
    if not callable(function):
        raise ConfigurationError(f"actor {name!r}: {called} must be a method, {wanted}, not {function!r}")
    try:
        signature = inspect.signature(function, follow_wrapped=False)
    except Exception:
        return
    try:
        signature.bind(*arguments)
    except TypeError:
        empty = inspect.Parameter.empty
        bare = [each.replace(annotation=empty) for each in signature.parameters.values()]
        found = signature.replace(parameters=bare, return_annotation=empty)
        raise ConfigurationError(f"actor {name!r}: write {wanted}, not {called}{found}: that is how it is called") from None


def overridden(cls: type[Any], name: str, hook: str, *arguments: str) -> bool:
    """Whether a class of actors has this class method of its own.

    Raises:
        ConfigurationError: It is a method of instances, or cannot be called with these arguments.
    """
    found = inspect.getattr_static(cls, hook)
    if found is inspect.getattr_static(Actor, hook):
        return False
    if inspect.isfunction(found):
        raise ConfigurationError(f"actor {name!r}: {hook} is called on the class: put @classmethod before it")
    check_call(getattr(cls, hook), name, hook, arguments)
    return True


# ── types ──


def check_method(cls: type[Any], name: str, function: Any, message: type[Any], why: str) -> None:
    """Refuse a method whose annotation says that it handles something else.

    Args:
        cls: The class of actors.
        name: The actor's.
        function: The method.
        message: What it will get.
        why: For the error: what says so.

    Raises:
        ConfigurationError: Both types are in it.
    """
    parameters = list(_parameters(function).values())
    if len(parameters) < 2:
        return
    annotation = annotation_of(function, parameters[1], ChainMap(*(dict(vars(each)) for each in cls.__mro__)))
    if not fits(annotation, message):
        raise ConfigurationError(
            f"actor {name!r}: {function.__name__} takes {shown(annotation)}, and would get {shown(message)}: {why}"
        )


def annotation_of(function: Any, parameter: inspect.Parameter, names: Mapping[str, Any] | None = None) -> Any:
    """The type that a parameter declares; Any, if it is not certain which.

    Args:
        function: Whose parameter. What a decorator has wrapped may get something else than it is given.
        parameter: One of `inspect.signature`.
        names: Where names are looked up before the function's module: in its class.
    """
    found, plain = parameter.annotation, function if inspect.isroutine(function) else type(function).__call__
    if found is parameter.empty or parameter.kind not in _POSITIONAL or hasattr(function, "__wrapped__"):
        return Any
    if not isinstance(found, str):
        return found
    if "<locals>" in getattr(plain, "__qualname__", "<locals>"):
        return Any  # the name may be that of a local class
    just_this = types.SimpleNamespace(__annotations__={"it": found})
    try:
        return typing.get_type_hints(just_this, getattr(plain, "__globals__", {}), names)["it"]
    except Exception:
        return Any


_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def _parameters(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(function).parameters
    except Exception:
        return {}


def fits(annotation: Any, message: Any) -> bool:
    """Whether who declares this type may get such a message: it is of that type, or may be, as far as we can tell."""
    annotation = getattr(annotation, "__value__", annotation)  # of `type Name = ...`
    annotation = getattr(annotation, "__supertype__", annotation)
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        return fits(arguments[0], message)
    if origin in (Union, types.UnionType):
        return any(fits(each, message) for each in arguments)
    declared, given = origin or annotation, typing.get_origin(message) or message
    if not isinstance(declared, type) or not isinstance(given, type) or Any in (*declared.__mro__, *given.__mro__):
        return True
    try:
        return issubclass(given, declared) or issubclass(declared, given) or (given is int and declared is float)
    except TypeError:  # a protocol, or a TypedDict
        return True


def shown(annotation: Any) -> str:
    """A type, as it is written."""
    return annotation.__name__ if isinstance(annotation, type) else repr(annotation)
