"""Traces: OpenTelemetry spans around `send` and around what a processor's function does with an event.

Turned on by `App(tracing=True)`. A tracer, propagator or exporter that fails is logged; what it looks at goes on without span.
No payload and no key is ever put into an attribute; the text of an error is recorded with it.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from runnel.errors import ConfigurationError

log = logging.getLogger(__name__)

MOST_LINKS = 128
"""Of a batch's span; also what the SDK keeps by default."""


class Tracing:
    """Makes an app's spans, with the global tracer provider and propagator of OpenTelemetry.

    Raises:
        ConfigurationError: `opentelemetry-api` is not installed.
    """

    def __init__(self) -> None:
        try:
            from opentelemetry import context, propagate, trace
        except ImportError as error:
            raise ConfigurationError("tracing=True needs OpenTelemetry: pip install 'runnel[otel]'") from error
        self._context, self._propagate, self._trace = context, propagate, trace
        self._tracer = trace.get_tracer("runnel")

    @contextmanager
    def sending(
        self, stream: str, records: int, headers: Mapping[str, str] | None
    ) -> Iterator[Mapping[str, str] | None]:
        """A span around one `send`; gives the headers to send, the caller's own among them."""

        def begin() -> tuple[Any, Any]:
            attributes = {**_attributes(stream, "send"), "messaging.batch.message_count": records}
            span = self._tracer.start_span(f"send {stream}", None, self._trace.SpanKind.PRODUCER, attributes)
            return span, self._context.get_current()

        with self._span(begin):
            yield self._injected(headers)

    @contextmanager
    def processing(self, stream: str, group: str, partition: int, item: Any) -> Iterator[None]:
        """A span around the handling of an event, or of a list of them.

        An event's is a child of its `send`'s; a batch's begins a trace and has a link to each `send`, at most `MOST_LINKS`.
        """

        def begin() -> tuple[Any, Any]:
            first = item[0] if isinstance(item, list) else item
            attributes: dict[str, Any] = {
                **_attributes(stream, "process"),
                "messaging.destination.partition.id": str(partition),
                "messaging.consumer.group.name": group,
                "runnel.attempt": first.attempt,
            }
            base, links = self._context.Context(), []
            if isinstance(item, list):
                attributes["messaging.batch.message_count"] = len(item)
                links = self._links(item)
            else:
                attributes["messaging.message.id"] = first.id
                base = self._propagate.extract(first.headers, base)
            kind = self._trace.SpanKind.CONSUMER
            return self._tracer.start_span(f"process {stream}", base, kind, attributes, links), base

        with self._span(begin):
            yield

    @contextmanager
    def _span(self, begin: Callable[[], tuple[Any, Any]]) -> Iterator[None]:
        """Keep a span current; `begin` gives it, and the context that it is put into."""
        before = self._context.get_current()
        span = None
        try:
            span, base = begin()
            self._context.attach(self._trace.set_span_in_context(span, base))
        except Exception:
            log.warning("a span could not be begun", exc_info=True)
        try:
            yield
        except Exception as error:
            self._failed(span, error)
            raise
        finally:
            # Not `detach`: a generator may be closed in another task than it was begun in, and the token is then refused.
            self._context.attach(before)
            self._end(span)

    def _failed(self, span: Any, error: Exception) -> None:
        try:
            if span is not None:
                span.record_exception(error)
                span.set_attribute("error.type", type(error).__qualname__)
                span.set_status(self._trace.StatusCode.ERROR, type(error).__name__)
        except Exception:
            log.warning("a span could not be marked as failed", exc_info=True)

    def _end(self, span: Any) -> None:
        try:
            if span is not None:
                span.end()
        except Exception:
            log.warning("a span could not be ended", exc_info=True)

    def _injected(self, headers: Mapping[str, str] | None) -> Mapping[str, str] | None:
        carrier: dict[str, str] = {}
        try:
            self._propagate.inject(carrier)
        except Exception:
            log.warning("the trace's context could not be put into headers", exc_info=True)
            return headers
        return {**carrier, **(headers or {})} or None

    def _links(self, events: Sequence[Any]) -> list[Any]:
        found = {}
        for event in events[:MOST_LINKS]:
            sent = self._propagate.extract(event.headers, self._context.Context())
            of = self._trace.get_current_span(sent).get_span_context()
            if of.is_valid:
                found[of.span_id] = self._trace.Link(of)
        return [*found.values()]


def _attributes(stream: str, operation: str) -> dict[str, Any]:
    return {
        "messaging.system": "runnel",
        "messaging.destination.name": stream,
        "messaging.operation.type": operation,
        "messaging.operation.name": operation,
    }
