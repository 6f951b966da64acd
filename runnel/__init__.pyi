from runnel.app import App
from runnel.entity.actor import Actor, handles
from runnel.entity.context import Context
from runnel.errors import (
    ActorFailed,
    ConfigurationError,
    HandlerFailed,
    KeyParked,
    LeaseLost,
    NoAnswer,
    RecordError,
    Reject,
    RetryLater,
    RunnelError,
    StoreError,
    StoreRefused,
    StoreUnavailable,
    StreamFull,
    TimedOut,
)
from runnel.handling.breaker import CircuitBreaker
from runnel.handling.event import Event
from runnel.handling.events import Events
from runnel.handling.policy import ExceptionPolicy
from runnel.handling.retry import ParkRetry, Retry
from runnel.handling.threads import SyncEvents
from runnel.interfaces import Compressor, Middleware, Serializer
from runnel.processor import Processor
from runnel.records import LZ4, Gzip, JSONSerializer, Record, Zstd
from runnel.stream import Stream
from runnel.timing.delayed import Delayed
from runnel.version import __version__
from runnel.worker import Worker

__all__ = [
    "LZ4",
    "Actor",
    "ActorFailed",
    "App",
    "CircuitBreaker",
    "Compressor",
    "ConfigurationError",
    "Context",
    "Delayed",
    "Event",
    "Events",
    "ExceptionPolicy",
    "Gzip",
    "HandlerFailed",
    "JSONSerializer",
    "KeyParked",
    "LeaseLost",
    "Middleware",
    "NoAnswer",
    "ParkRetry",
    "Processor",
    "Record",
    "RecordError",
    "Reject",
    "Retry",
    "RetryLater",
    "RunnelError",
    "Serializer",
    "StoreError",
    "StoreRefused",
    "StoreUnavailable",
    "Stream",
    "StreamFull",
    "SyncEvents",
    "TimedOut",
    "Worker",
    "Zstd",
    "__version__",
    "handles",
]
