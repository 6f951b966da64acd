"""What users implement: serializers, compressors, middleware."""

from collections.abc import AsyncIterator
from typing import Any

from runnel.records import Compressor, Serializer

__all__ = ["Compressor", "Middleware", "Serializer"]


class Middleware:
    """An object whose `handler` sees every event (or batch) on its way to a processor's function.

    Given to a processor as `middleware=[...]`, the first nearest to the log.
    """

    def handler(self, parent: AsyncIterator[Any], **kwargs: Any) -> AsyncIterator[Any]:
        """Yield what `parent` yields: an `Event` each time, or a list of them after `take`.

        Declare it as an asynchronous generator that yields each thing it gets, the same object, once, before it asks for the
        next. An event is done, for those nearer to the log, when its `yield` is come back to. What fails while it is out
        raises the real exception at that `yield`, which must be raised again. GeneratorExit there means that it is left
        undone though nothing failed: its partition is given away in the middle of it, or the function left its loop.

        One that does not keep to that gets a ConfigurationError naming it. The event that was out then stays the next one,
        and the partition is tried again, with pauses that grow to 5 s.

        Args:
            parent: The events, from the log or from the middleware before.
            **kwargs: `events`, the partition's `Events`; more may come, so always accept them.
        """
        raise TypeError(f"{type(self).__name__} has no handler")
