"""Runnel: distributed, strictly ordered event processing on Redis Streams, with an asyncio actor runtime.

An event goes `Stream.send` (stream.py) → producer.py → the log (store/lua/append.lua) → reader → partition → your function,
over handling/events.py → committer → store/lua/commit.lua. The actors are in roles/, wired by worker.py; their kernel, which
knows nothing of Redis, is actors/. What runs by the clock is declared in timing/, what operators do is in operations/.
errors.py is the tree of errors.

Names are imported when first used, so that `runnel --help` answers at once; `__init__.pyi` says the same to type checkers.
"""

from importlib import import_module

_HOMES = {
    "LZ4": "runnel.records",
    "Actor": "runnel.entity.actor",
    "ActorFailed": "runnel.errors",
    "App": "runnel.app",
    "CircuitBreaker": "runnel.handling.breaker",
    "Compressor": "runnel.interfaces",
    "ConfigurationError": "runnel.errors",
    "Context": "runnel.entity.context",
    "Delayed": "runnel.timing.delayed",
    "Event": "runnel.handling.event",
    "Events": "runnel.handling.events",
    "ExceptionPolicy": "runnel.handling.policy",
    "Gzip": "runnel.records",
    "HandlerFailed": "runnel.errors",
    "JSONSerializer": "runnel.records",
    "KeyParked": "runnel.errors",
    "LeaseLost": "runnel.errors",
    "Middleware": "runnel.interfaces",
    "NoAnswer": "runnel.errors",
    "ParkRetry": "runnel.handling.retry",
    "Processor": "runnel.processor",
    "Record": "runnel.records",
    "RecordError": "runnel.errors",
    "Reject": "runnel.errors",
    "Retry": "runnel.handling.retry",
    "RetryLater": "runnel.errors",
    "RunnelError": "runnel.errors",
    "Serializer": "runnel.interfaces",
    "StoreError": "runnel.errors",
    "StoreRefused": "runnel.errors",
    "StoreUnavailable": "runnel.errors",
    "Stream": "runnel.stream",
    "StreamFull": "runnel.errors",
    "SyncEvents": "runnel.handling.threads",
    "TimedOut": "runnel.errors",
    "Worker": "runnel.worker",
    "Zstd": "runnel.records",
    "handles": "runnel.entity.actor",
    "__version__": "runnel.version",
}

__all__ = sorted(_HOMES)  # noqa: PLE0605


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found: object = getattr(import_module(_HOMES[name]), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
