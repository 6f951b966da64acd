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

        Declare it as an asynchronous generator. An event is done, for those nearer to the log, when its `yield` is come
        back to; what fails while it is out raises the real exception at that `yield`, which must be raised again.

        Args:
            parent: The events, from the log or from the middleware before.
            **kwargs: `events`, the partition's `Events`; more may come, so always accept them.
        """
        raise TypeError(f"{type(self).__name__} has no handler")
