"""The middleware that `App(tracing=True)` puts first in every processor: a span around each event, or batch."""

from collections.abc import AsyncIterator
from typing import Any

from runnel.interfaces import Middleware
from runnel.tracing import Tracing


class TracingMiddleware(Middleware):
    """Keeps an event's span open, and current, while the function has it; ends it as failed with what the function raised."""

    def __init__(self, tracing: Tracing) -> None:
        self._tracing = tracing

    async def handler(self, parent: AsyncIterator[Any], **kwargs: Any) -> AsyncIterator[Any]:
        """Pass on what comes, within its span."""
        events = kwargs["events"]
        finished = events._source.position.spans
        async for item in parent:
            with self._tracing.processing(events.stream.name, events.group, events.partition, item, finished):
                yield item
