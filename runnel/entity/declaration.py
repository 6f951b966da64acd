"""What Runnel knows of declared actors, a class or a function: how to make one, call it, and store its state. Plain data."""

import inspect
import typing
from collections.abc import Callable, Mapping
from typing import Any, Literal

import orjson
from attrs import Factory, field, frozen

from runnel.entity.actor import HANDLES, Actor
from runnel.entity.context import Context
from runnel.entity.fitting import annotation_of, check_call, check_hooks, check_method, fits, overridden, shown
from runnel.entity.messages import Method, method_of
from runnel.errors import ConfigurationError, RecordError
from runnel.handling.event import Event
from runnel.records import Codec, make_codec
from runnel.stream import Stream

Hook = Callable[..., Any]

MOST_AT_ONCE = 1_000
"""Keys of a partition that are handled at once, at most."""


@frozen(kw_only=True)
class EntityOptions:
    """How a processor's actors run. `App.actor` says what each means; durations are in seconds."""

    key_concurrency: int
    idle_timeout: float
    max_active: int

    def check(self, name: str) -> None:
        """Refuse what does not fit.

        Raises:
            ConfigurationError: It says what.
        """
        if type(self.key_concurrency) is not int or not 1 <= self.key_concurrency <= MOST_AT_ONCE:
            raise ConfigurationError(
                f"actor {name!r}: key_concurrency must be a whole number from 1 to {MOST_AT_ONCE}, not {self.key_concurrency!r}"
            )
        if self.idle_timeout <= 0:
            raise ConfigurationError(f"actor {name!r}: idle_timeout must be greater than 0")
        if type(self.max_active) is not int or self.max_active < 1:
            raise ConfigurationError(f"actor {name!r}: max_active must be at least 1, not {self.max_active!r}")


@frozen(eq=False, kw_only=True)
class StateKind:
    """How a class's state is made and stored."""

    codec: Codec[Any]
    initial: Callable[[], Any]
    migrate: Callable[[dict[str, Any]], dict[str, Any]] | None

    def load(self, stored: bytes | None) -> Any:
        """The state in these bytes; the initial one, if there are none.

        Raises:
            RecordError: They do not decode.
        """
        if stored is None:
            return self.initial()
        if self.migrate is None:
            return self.codec.loads(stored)
        try:
            migrated = orjson.dumps(self.migrate(orjson.loads(stored)))
        except Exception as error:
            raise RecordError(f"{self.codec.record.__name__}: migrate failed: {type(error).__name__}: {error}") from error
        try:
            return self.codec.loads(migrated)
        except RecordError as error:
            raise RecordError(f"what migrate has returned is no state: {error}") from error


@frozen(eq=False, kw_only=True)
class Entity:
    """A class of actors, or a function.

    Attributes:
        make: Makes an instance.
        receive: Called with an instance and a record: handles an event.
        decodes: Whether it wants the record at all.
        methods: Type name → how a message of that type is handled; that of the record stands for `receive`.
        state: How the state is stored; None: it has none.
        on_reminder, on_start, on_stop, on_restart: None where the class does not say.
    """

    options: EntityOptions
    make: Callable[[], Context]
    receive: Hook
    is_async: bool
    decodes: bool = True
    methods: Mapping[str, Method] = Factory(dict)
    state: StateKind | None = None
    on_reminder: Hook | None = None
    on_start: Hook | None = None
    on_stop: Hook | None = None
    on_restart: Hook | None = None
    kind: Literal["class", "function"] = field(default="class")


def entity_of(handler: object, stream: Stream[Any], options: EntityOptions) -> Entity:
    """What was declared.

    Raises:
        ConfigurationError: It is no actor: it says why not.
    """
    if isinstance(handler, type):
        options.check(handler.__name__)
        return _of_class(handler, stream, options)
    if not callable(handler):
        raise ConfigurationError(f"an actor is a class derived from runnel.Actor, or a function, not {handler!r}")
    name = getattr(handler, "__name__", type(handler).__name__)
    options.check(name)
    return _of_function(handler, name, stream, options)


# ── classes ──


def _of_class(cls: type[Any], stream: Stream[Any], options: EntityOptions) -> Entity:
    name = cls.__name__
    if not issubclass(cls, Actor):
        raise ConfigurationError(f"actor {name!r}: derive it from runnel.Actor, as in class {name}(Actor[Order, Balance])")
    if cls.receive is Actor.receive:
        raise ConfigurationError(f"actor {name!r} has no receive: it says how an event is handled")
    try:
        cls()
    except Exception as error:
        raise ConfigurationError(f"actor {name!r} cannot be made without arguments: {error}") from error
    check_hooks(cls, name)
    _check_message(cls, name, stream)
    return Entity(
        options=options,
        make=cls,
        receive=cls.receive,
        is_async=inspect.iscoroutinefunction(cls.receive),
        methods=_methods(cls, stream),
        state=_state_kind(cls, name),
        on_reminder=_overridden(cls, "on_reminder"),
        on_start=_overridden(cls, "on_start"),
        on_stop=_overridden(cls, "on_stop"),
        on_restart=_overridden(cls, "on_restart"),
    )


def _overridden(cls: type[Actor[Any, Any]], hook: str) -> Hook | None:
    found: Hook = getattr(cls, hook)
    return None if found is getattr(Actor, hook) else found


def _check_message(cls: type[Any], name: str, stream: Stream[Any]) -> None:
    message, has = _arguments(cls, name)[0], f"stream {stream.name!r} has {shown(stream.record)}"
    if not fits(message, stream.record):
        raise ConfigurationError(f"actor {name!r} handles {shown(message)}, as its Actor[...] says, but {has}")
    check_method(cls, name, cls.receive, stream.record, has)


def _methods(cls: type[Actor[Any, Any]], stream: Stream[Any]) -> dict[str, Method]:
    methods = {stream.record.__name__: method_of(cls.__name__, cls.receive, stream.record, stream.codec)}
    for found in [getattr(cls, name) for name in dir(cls)]:
        for message in getattr(found, HANDLES, ()):
            if message.__name__ in methods:
                raise ConfigurationError(f"actor {cls.__name__!r}: two methods handle messages called {message.__name__!r}")
            methods[message.__name__] = method_of(cls.__name__, found, message)
            check_call(found, cls.__name__, found.__name__, ("self", "message"))
            check_method(cls, cls.__name__, found, message, f"see its @handles({message.__name__})")
    return methods


def _state_kind(cls: type[Actor[Any, Any]], name: str) -> StateKind | None:
    kind = _state_type(cls, name)
    if kind is None or kind is type(None):
        return None
    codec = make_codec(kind)
    initial = cls.initial if overridden(cls, name, "initial") else kind
    try:
        codec.dumps(initial())
    except Exception as error:
        raise ConfigurationError(
            f"actor {name!r}: its first state cannot be made: {type(error).__name__}: {error}. Give all fields of "
            f"{kind.__name__} defaults, or the class an `initial` that makes one"
        ) from error
    migrates = overridden(cls, name, "migrate", "data")
    return StateKind(codec=codec, initial=initial, migrate=cls.migrate if migrates else None)


def _state_type(cls: type[Any], name: str) -> Any:
    state = _arguments(cls, name)[1]
    if not isinstance(state, type | None):
        raise ConfigurationError(f"actor {name!r}: its state must be a class, or None, not {state!r}")
    return state


def _arguments(cls: type[Any], name: str) -> tuple[Any, Any]:
    """Those of `Actor[Message, State]`, wherever in the class's ancestry that stands."""
    for base in cls.__mro__:
        for parent in base.__dict__.get("__orig_bases__", ()):
            if typing.get_origin(parent) is Actor:
                message, state = typing.get_args(parent)
                return message, state
    raise ConfigurationError(f"actor {name!r}: say what it handles and remembers, as in class {name}(Actor[Order, Balance])")


# ── functions ──


def _of_function(function: Callable[..., Any], name: str, stream: Stream[Any], options: EntityOptions) -> Entity:
    if inspect.isasyncgenfunction(function) or inspect.isgeneratorfunction(function):
        raise ConfigurationError(f"actor {name!r} has a `yield`: it is called for each event, and returns")
    wants = _wants(function, name, stream)
    return Entity(
        options=options,
        make=Context,
        receive=_caller(function, wants),
        is_async=inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__),
        decodes="record" in wants,
        kind="function",
    )


Want = Literal["record", "context", "event"]


def _wants(function: Callable[..., Any], name: str, stream: Stream[Any]) -> list[Want]:
    """What each of its parameters is to get, by their annotations."""
    parameters = [
        each for each in inspect.signature(function).parameters.values() if each.default is inspect.Parameter.empty
    ]
    try:
        hints = typing.get_type_hints(function if inspect.isroutine(function) else type(function).__call__)
    except Exception as error:
        raise ConfigurationError(f"actor {name!r}: an annotation cannot be resolved: {error}") from error
    wants = [_want(hints.get(each.name)) for each in parameters]
    if not wants or wants.count("record") > 1 or any(each.kind not in _POSITIONAL for each in parameters):
        raise ConfigurationError(
            f"actor {name!r} is to take the record, and what it needs of `ctx: Context` and `event: Event`, by position"
        )
    for want, parameter in zip(wants, parameters, strict=True):
        declared = annotation_of(function, parameter)
        if want == "record" and not fits(declared, stream.record):
            raise ConfigurationError(
                f"actor {name!r} takes {shown(declared)}, but stream {stream.name!r} has {shown(stream.record)}"
            )
    return wants


_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def _want(annotation: object) -> Want:
    return "context" if annotation is Context else "event" if annotation is Event else "record"


def _caller(function: Callable[..., Any], wants: list[Want]) -> Hook:
    if wants == ["record"]:
        return lambda context, record: function(record)
    if wants == ["record", "context"]:
        return lambda context, record: function(record, context)

    def call(context: Context, record: Any) -> Any:
        found = {"record": record, "context": context, "event": context.event if "event" in wants else None}
        return function(*(found[want] for want in wants))

    return call
