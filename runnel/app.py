"""App: where streams, processors and jobs are declared. `connected.py` is its way to the server, `background.py` its jobs."""

from collections.abc import Callable, Iterable
from typing import Any, Literal, TypeVar

from runnel.clock import Clock, Duration, SystemClock, seconds
from runnel.connected import Connected
from runnel.errors import ConfigurationError
from runnel.handling.breaker import CircuitBreaker
from runnel.handling.policy import ExceptionPolicy
from runnel.handling.retry import ParkRetry, Retry
from runnel.interfaces import Middleware
from runnel.processor import Processor, ProcessorFunction, ProcessorOptions
from runnel.records import Serializer, is_primitive
from runnel.settings import MEANINGLESS, load_settings, warn_meaningless
from runnel.stream import Stream
from runnel.timing.background import Background

R = TypeVar("R")


class App(Connected, Background):
    """An app: a name that all its workers and producers share, its settings, streams and processors.

    Args:
        name: Part of every key in Redis. Apps of different names share a server without touching each other.
        **settings: See `runnel.settings.Settings`. What is not given comes from `RUNNEL_<NAME>` in the environment.

    Raises:
        ConfigurationError: A setting that does not exist, or whose value does not fit.
    """

    def __init__(self, name: str, *, clock: Clock | None = None, **settings: Any) -> None:
        if not name:
            raise ConfigurationError("an app needs a name")
        Connected.__init__(self, name, load_settings(settings), clock or SystemClock())
        Background.__init__(self)
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
        default = self.settings

        def declare(function: ProcessorFunction) -> Processor:
            options = ProcessorOptions(
                name=name if name is not None else function.__name__,
                exception_policy=ExceptionPolicy(_or(exception_policy, default.default_exception_policy)),
                retry=_or(retry, default.default_retry),
                timeout=default.default_timeout if timeout is None else seconds(timeout),
                middleware=tuple(middleware or ()),
                lock_expiry=_seconds(lock_expiry, default.default_lock_expiry),
                grace_period=_seconds(grace_period, default.default_grace_period),
                max_parked=_or(max_parked, default.default_max_parked),
                max_crashes=_or(max_crashes, default.default_max_crashes),
                park_retry=default.default_park_retry if park_retry == "default" else park_retry,
                breaker=default.default_breaker if breaker == "default" else breaker,
                prefetch_count=_or(prefetch_count, default.default_prefetch_count),
                prefetch_bytes=_or(prefetch_bytes, default.default_prefetch_bytes),
                join_delay=_seconds(join_delay, default.default_join_delay),
                start=_or(start, default.default_start),
            )
            if options.name in self.processors:
                raise ConfigurationError(f"processor {options.name!r} is declared twice: give one of them a name=")
            processor = self.processors[options.name] = Processor(stream, function, options)
            return processor

        return declare


T = TypeVar("T")


def _or(given: T | None, default: T) -> T:
    return default if given is None else given


def _seconds(given: Duration | None, default: float) -> float:
    return default if given is None else seconds(given)
