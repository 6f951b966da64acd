from runnel.app import App
from runnel.delayed import Delayed
from runnel.errors import (
    ConfigurationError,
    HandlerFailed,
    LeaseLost,
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
from runnel.event import Event
from runnel.events import Events
from runnel.interfaces import Compressor, Middleware, Serializer
from runnel.policy import ExceptionPolicy
from runnel.processor import Processor
from runnel.records import LZ4, Gzip, JSONSerializer, Record, Zstd
from runnel.retry import Retry
from runnel.stream import Stream
from runnel.version import __version__
from runnel.worker import Worker

__all__ = [
    "LZ4",
    "App",
    "Compressor",
    "ConfigurationError",
    "Delayed",
    "Event",
    "Events",
    "ExceptionPolicy",
    "Gzip",
    "HandlerFailed",
    "JSONSerializer",
    "LeaseLost",
    "Middleware",
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
    "TimedOut",
    "Worker",
    "Zstd",
    "__version__",
]
