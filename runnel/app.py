"""App: where streams, processors, actors and jobs are declared. connected.py reaches the server, background.py has its jobs."""

from collections.abc import Callable, Iterable
from typing import Any, Literal, TypeVar, Unpack, cast

from attrs import evolve

from runnel.clock import Clock, Duration, SystemClock, seconds
from runnel.connected import Connected
from runnel.entity.actor import REACH, Actor
from runnel.entity.contact import Contact
from runnel.entity.declaration import EntityOptions, entity_of
from runnel.errors import ConfigurationError
from runnel.handling.breaker import CircuitBreaker
from runnel.handling.policy import ExceptionPolicy
from runnel.handling.retry import ParkRetry, Retry
from runnel.handling.traced import TracingMiddleware
from runnel.interfaces import Middleware
from runnel.processor import Processor, ProcessorFunction, ProcessorKeywords, ProcessorOptions
from runnel.records import Serializer, is_primitive
from runnel.settings import MEANINGLESS, Settings, load_settings, warn_meaningless
from runnel.stream import Stream
from runnel.timing.background import Background
from runnel.tracing import Tracing

R = TypeVar("R")
H = TypeVar("H", bound=Callable[..., Any])


class App(Connected, Background):
    """An app: a name that all its workers and producers share, its settings, streams and processors.

    Args:
        name: Part of every key in Redis. Apps of different names share a server without touching each other.
        tracing: Make OpenTelemetry spans of sends, handling and commits (docs/tracing.md).
        **settings: See `runnel.settings.Settings`. What is not given comes from `RUNNEL_<NAME>` in the environment.

    Raises:
        ConfigurationError: A setting that does not exist, or whose value does not fit; or
            `tracing` without `runnel[otel]`.
    """

    def __init__(self, name: str, *, clock: Clock | None = None, tracing: bool = False, **settings: Any) -> None:
        if not name:
            raise ConfigurationError("an app needs a name")
        Connected.__init__(self, name, load_settings(settings), clock or SystemClock())
        Background.__init__(self)
        self.tracing = Tracing() if tracing else None
        self.streams: dict[str, Stream[Any]] = {}
        self.processors: dict[str, Processor] = {}

    def __repr__(self) -> str:
        return f"<App {self.name!r}>"

    def stream(
        self,
        name: str,
        record: type[R],
        partition_by: str | Callable[[R], object],
        serializer: Serializer | None = None,
        partition_count: int | None = None,
        partition_size: int | None = None,
        hasher: Callable[[Any], int] | None = None,
        *,
        overflow: Literal["block", "reject", "drop_oldest"] | None = None,
        max_payload: int | None = None,
    ) -> Stream[R]:
        """Declare a stream of records; what is left out is the setting `default_<option>`.

        Args:
            name: Part of its keys in Redis, unique in the app.
            record: The type of its records: a `Record`, attrs class, dataclass, msgspec Struct or pydantic model.
            partition_by: The field (or a callable of the record) whose value is the partition key.
            serializer: How a record becomes bytes (JSON).
            partition_count: How many partitions (16). It cannot change once the stream holds events.
            partition_size: How many events a partition may hold (50,000).
            hasher: Key → integer, instead of xxh64.
            overflow: What `send` does when a partition is full of events that some processor has not done: "block"
                (wait for room), "reject" (raise `StreamFull`) or "drop_oldest".
            max_payload: How many bytes a record may have, decompressed (16 MiB).

        Raises:
            ConfigurationError: An option does not fit, or the name is taken by a stream with other options.
        """
        default = self.settings
        stream = Stream(
            app=self,
            name=name,
            record=record,
            partition_by=partition_by,
            serializer=default.default_serializer if serializer is None and not is_primitive(record) else serializer,
            partition_count=partition_count if partition_count is not None else default.default_partition_count,
            partition_size=partition_size if partition_size is not None else default.default_partition_size,
            hasher=hasher if hasher is not None else default.default_hasher,
            overflow=overflow if overflow is not None else default.default_overflow,
            max_payload=max_payload if max_payload is not None else default.default_max_payload,
        )
        known = self.streams.setdefault(name, stream)
        if (known.partition_count, known.hasher) != (stream.partition_count, stream.hasher):
            raise ConfigurationError(f"stream {name!r} is declared twice, with different partition_count or hasher")
        return stream

    def processor(
        self,
        stream: Stream[Any],
        *,
        name: str | None = None,
        exception_policy: ExceptionPolicy | None = None,
        retry: Retry | None = None,
        timeout: Duration | None = None,
        middleware: Iterable[Middleware] | None = None,
        lock_expiry: Duration | None = None,
        grace_period: Duration | None = None,
        max_parked: int | None = None,
        max_crashes: int | None = None,
        park_retry: ParkRetry | Literal["default"] | None = "default",
        breaker: CircuitBreaker | Literal["default"] | None = "default",
        prefetch_count: int | None = None,
        prefetch_bytes: int | None = None,
        join_delay: Duration | None = None,
        start: Literal["earliest", "latest"] | None = None,
        **legacy: Any,
    ) -> Callable[[ProcessorFunction], Processor]:
        """Declare a processor: a function, async or plain, that iterates over a partition's events; called for each partition.

        What is left out is the setting `default_<option>`. Durations are seconds or timedeltas.

        Args:
            stream: Whose events.
            name: Of its cursor in Redis (the function's name). Another name is another processor, with its own cursor.
            exception_policy: What becomes of an event whose handling fails (HALT).
            retry: How often such an event is tried again first, in place (never).
            timeout: How long an event, or a batch, may take in the function; if it takes longer, it has failed (for ever).
            middleware: What events pass through, the first nearest to the log.
            lock_expiry: How long a worker that vanished holds its partitions (4 s).
            grace_period: How long an event may still take when its partition is given away (8 s).
            max_parked: How many events of a partition may be parked; then it pauses (10,000).
            max_crashes: How many workers in a row may be lost at an event before it runs alone (3).
            park_retry: When parked keys run again by themselves; None: never (after a minute, doubling up to an hour).
            breaker: When the processor pauses since nearly all of its events fail, under PARK and DEAD_LETTER; None: never
                (when ten keys failed while hardly more events were done).
            prefetch_count: How many events of a partition are read ahead (256).
            prefetch_bytes: How many bytes of events a worker reads ahead, over all partitions (16 MiB).
            join_delay: How long a worker waits before it takes partitions (0).
            start: Where a processor starts that never ran: "earliest" or "latest".
            **legacy: Options of Runnel 0.1 that mean nothing here; they warn.

        Raises:
            ConfigurationError: An option does not fit, or the name is taken.
        """
        for option in legacy:
            if option not in MEANINGLESS:
                raise ConfigurationError(f"a processor has no option {option!r}")
            warn_meaningless(option)
        given = ProcessorKeywords(
            exception_policy=exception_policy,
            retry=retry,
            timeout=timeout,
            middleware=middleware,
            lock_expiry=lock_expiry,
            grace_period=grace_period,
            max_parked=max_parked,
            max_crashes=max_crashes,
            park_retry=park_retry,
            breaker=breaker,
            prefetch_count=prefetch_count,
            prefetch_bytes=prefetch_bytes,
            join_delay=join_delay,
            start=start,
        )

        _check_stream(stream, "processor")

        def declare(function: ProcessorFunction) -> Processor:
            called = name if name is not None else getattr(function, "__name__", type(function).__name__)
            if isinstance(function, type) and issubclass(function, Actor):
                raise ConfigurationError(f"processor {called!r} is a class of actors: declare it with @app.actor(stream)")
            if not callable(function):
                raise ConfigurationError(f"a processor is a function that iterates over events, not {function!r}")
            options = options_of(self.settings, called, given)
            if self.tracing is not None:  # first, so that the other middleware runs within the span
                options = evolve(options, middleware=(TracingMiddleware(self.tracing), *options.middleware))
            return self._declare(Processor(stream, function, options))

        return declare

    def actor(
        self,
        stream: Stream[Any],
        *,
        name: str | None = None,
        key_concurrency: int | None = None,
        idle_timeout: Duration | None = None,
        max_active: int | None = None,
        **options: Unpack[ProcessorKeywords],
    ) -> Callable[[H], H]:
        """Declare actors, one for each key of a stream: a class derived from `Actor`, or a function that handles one event.

        A key's events are handled strictly in order, one at a time. A function takes the record, and what it needs of
        `ctx: Context` and `event: Event`, told apart by their annotations.

        Args:
            stream: Whose events.
            name: Of the processor (the class's or function's name).
            key_concurrency: How many keys of a partition are handled at once (16).
            idle_timeout: After how many seconds without an event an actor is passivated (60).
            max_active: How many actors a worker keeps active; those used least recently are passivated (10,000).
            **options: As `processor`; but actors have no middleware.

        Raises:
            ConfigurationError: An option, the class or the function does not fit, or the name is taken.
        """
        _check_stream(stream, "actor")
        default = self.settings
        entity_options = EntityOptions(
            key_concurrency=_or(key_concurrency, default.default_key_concurrency),
            idle_timeout=_seconds(idle_timeout, default.default_idle_timeout),
            max_active=_or(max_active, default.default_max_active),
        )
        if unknown := options.keys() - ProcessorKeywords.__annotations__.keys() | options.keys() & {"middleware"}:
            raise ConfigurationError(f"an actor has no option {min(unknown)!r}")

        def declare(handler: H) -> H:
            entity = entity_of(handler, stream, entity_options)
            called = name if name is not None else getattr(handler, "__name__", type(handler).__name__)
            processor = Processor(stream, handler, options_of(default, called, options), entity)
            if not isinstance(handler, type):
                return cast(H, self._declare(processor))
            self._declare(processor)
            setattr(handler, REACH, Contact(self, processor))
            return handler

        return declare

    def _declare(self, processor: Processor) -> Processor:
        name = processor.options.name
        if name in self.processors:
            raise ConfigurationError(f"processor {name!r} is declared twice: give one of them a name=")
        self.processors[name] = processor
        return processor


def _check_stream(stream: object, decorator: str) -> None:
    if isinstance(stream, Stream):
        return
    if callable(stream):
        name = getattr(stream, "__name__", type(stream).__name__)
        right = f"@app.{decorator}(stream)"
        raise ConfigurationError(f"{name!r} is declared without its stream: write {right}, not @app.{decorator}")
    raise ConfigurationError(f"@app.{decorator} needs a stream, as app.stream makes them, not {stream!r}")


def options_of(default: Settings, name: str, given: ProcessorKeywords) -> ProcessorOptions:
    """The options of a processor: what was given, else the settings `default_<option>`."""

    def either(option: str) -> Any:
        return _or(given.get(option), getattr(default, f"default_{option}"))

    def unless_default(option: str) -> Any:
        found = given.get(option, "default")
        return getattr(default, f"default_{option}") if found == "default" else found

    return ProcessorOptions(
        name=name,
        exception_policy=_policy(name, either("exception_policy")),
        retry=either("retry"),
        timeout=None if (timeout := either("timeout")) is None else seconds(timeout),
        middleware=tuple(given.get("middleware") or ()),
        lock_expiry=seconds(either("lock_expiry")),
        grace_period=seconds(either("grace_period")),
        max_parked=either("max_parked"),
        max_crashes=either("max_crashes"),
        park_retry=unless_default("park_retry"),
        breaker=unless_default("breaker"),
        prefetch_count=either("prefetch_count"),
        prefetch_bytes=either("prefetch_bytes"),
        join_delay=seconds(either("join_delay")),
        start=either("start"),
    )


def _policy(name: str, given: Any) -> ExceptionPolicy:
    try:
        return ExceptionPolicy(given)
    except ValueError:
        known = ", ".join(repr(each.value) for each in ExceptionPolicy)
        raise ConfigurationError(f"processor {name!r}: exception_policy must be one of {known}, not {given!r}") from None


T = TypeVar("T")


def _or(given: T | None, default: T) -> T:
    return default if given is None else given


def _seconds(given: Duration | None, default: float) -> float:
    return default if given is None else seconds(given)
