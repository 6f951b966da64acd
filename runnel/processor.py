"""Declarations of processors: which function runs over which stream, with which options. Plain data."""

import inspect
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Literal, TypedDict

from attrs import field, frozen

from runnel.clock import Duration
from runnel.entity.declaration import Entity
from runnel.errors import ConfigurationError
from runnel.fitness import check_name
from runnel.handling.breaker import CircuitBreaker
from runnel.handling.events import Events
from runnel.handling.policy import ExceptionPolicy
from runnel.handling.retry import ParkRetry, Retry
from runnel.handling.threads import InThreads
from runnel.interfaces import Middleware
from runnel.stream import Stream

ProcessorFunction = Callable[..., Any]


class ProcessorKeywords(TypedDict, total=False):
    """Options as they are given to `App.processor` and `App.actor`; None, or left out: the setting `default_<option>`."""

    exception_policy: ExceptionPolicy | None
    retry: Retry | None
    timeout: Duration | None
    middleware: Iterable[Middleware] | None
    lock_expiry: Duration | None
    grace_period: Duration | None
    max_parked: int | None
    max_crashes: int | None
    park_retry: ParkRetry | Literal["default"] | None
    breaker: CircuitBreaker | Literal["default"] | None
    prefetch_count: int | None
    prefetch_bytes: int | None
    join_delay: Duration | None
    start: Literal["earliest", "latest"] | None


@frozen(kw_only=True)
class ProcessorOptions:
    """The options of a processor; durations are in seconds. `App.processor` says what each means."""

    name: str
    exception_policy: ExceptionPolicy
    retry: Retry | None
    timeout: float | None
    middleware: tuple[Middleware, ...]
    lock_expiry: float
    grace_period: float
    max_parked: int
    max_crashes: int
    park_retry: ParkRetry | None
    breaker: CircuitBreaker | None
    prefetch_count: int
    prefetch_bytes: int
    join_delay: float
    start: Literal["earliest", "latest"]

    def __attrs_post_init__(self) -> None:
        if self.start not in ("earliest", "latest"):
            raise ConfigurationError(f"processor {self.name!r}: start must be earliest or latest, not {self.start!r}")
        check_name("processor", self.name)
        for name in ("lock_expiry", "max_parked", "max_crashes", "prefetch_count", "prefetch_bytes"):
            if not isinstance(getattr(self, name), int | float):
                raise ConfigurationError(f"processor {self.name!r}: {name} must be a number, not {getattr(self, name)!r}")
            if getattr(self, name) <= 0:
                raise ConfigurationError(f"processor {self.name!r}: {name} must be greater than 0")
        if self.timeout is not None and self.timeout <= 0:
            raise ConfigurationError(f"processor {self.name!r}: timeout must be greater than 0")
        if not isinstance(self.retry, Retry | None):
            raise ConfigurationError(f"processor {self.name!r}: retry must be a Retry, not {self.retry!r}")
        if not isinstance(self.park_retry, ParkRetry | None):
            raise ConfigurationError(f"processor {self.name!r}: park_retry must be a ParkRetry, not {self.park_retry!r}")
        if not isinstance(self.breaker, CircuitBreaker | None):
            raise ConfigurationError(f"processor {self.name!r}: breaker must be a CircuitBreaker, not {self.breaker!r}")
        for item in self.middleware:
            _check_middleware(self.name, item)


def _check_middleware(name: str, item: object) -> None:
    """Refuse what shows before it runs that it will pass nothing on."""
    if not isinstance(item, Middleware):
        raise ConfigurationError(f"processor {name!r}: {item!r} is not a Middleware")
    kind = type(item).__name__
    if getattr(item.handler, "__func__", None) is Middleware.handler:
        raise ConfigurationError(f"processor {name!r}: middleware {kind} has no handler")
    if inspect.iscoroutinefunction(item.handler):
        raise ConfigurationError(
            f"processor {name!r}: middleware {kind} is no asynchronous generator: its handler has to yield what it gets"
        )


@frozen(eq=False)
class Processor:
    """A function over the events of a stream's partitions: `async def`, or a plain one, which runs in threads.

    Or, with an `entity`, actors: the function, or class, handles each event by itself.
    """

    stream: Stream[Any]
    function: ProcessorFunction
    options: ProcessorOptions
    entity: Entity | None = None
    run: Callable[[Events[Any]], Awaitable[object]] = field(init=False)
    """Calls the function for a partition."""

    def __attrs_post_init__(self) -> None:
        if self.entity is None and self._has_yield:
            raise ConfigurationError(f"processor {self.options.name!r} has a `yield`: a processor loops over its events")
        plain = InThreads(self.function, self.options.name, self.options.timeout)
        object.__setattr__(self, "run", self.function if _is_async(self.function) else plain)

    @property
    def _has_yield(self) -> bool:
        return inspect.isgeneratorfunction(self.function) or inspect.isasyncgenfunction(self.function)

    @property
    def interrupted_after(self) -> float | None:
        """The seconds after which the function is interrupted over an event; None: never, as a thread cannot be.

        Of actors the one who waits for a thread is interrupted, and waits on for its end.
        """
        in_threads = self.entity is None and isinstance(self.run, InThreads)
        return None if in_threads else self.options.timeout

    def __call__(self, *args: Any) -> Any:
        """Call the function itself, as in tests of it."""
        return self.function(*args)


def _is_async(function: ProcessorFunction) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)
