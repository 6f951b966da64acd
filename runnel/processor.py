"""Declarations of processors: which function runs over which stream, with which options. Plain data."""

import inspect
from collections.abc import Awaitable, Callable
from typing import Any, Literal

from attrs import frozen

from runnel.breaker import CircuitBreaker
from runnel.errors import ConfigurationError
from runnel.interfaces import Middleware
from runnel.policy import ExceptionPolicy
from runnel.retry import ParkRetry, Retry
from runnel.stream import Stream

ProcessorFunction = Callable[[Any], Awaitable[Any]]


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
        for name in ("lock_expiry", "max_parked", "max_crashes", "prefetch_count", "prefetch_bytes"):
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
    """A function over the events of a stream's partitions."""

    stream: Stream[Any]
    function: ProcessorFunction
    options: ProcessorOptions

    def __attrs_post_init__(self) -> None:
        if not inspect.iscoroutinefunction(self.function):
            raise ConfigurationError(
                f"processor {self.options.name!r} must be declared with `async def`: it iterates over its events"
            )

    async def __call__(self, events: Any) -> Any:
        """Call the function itself, as in tests of it."""
        return await self.function(events)
