"""Traces: OpenTelemetry spans around what is sent, what handlers do with it, and the commits that make that durable.

Turned on by `App(tracing=True)`. A tracer, propagator or exporter that fails is logged; what it looks at goes on without span.
No payload and no key is ever put into an attribute; the text of an error is recorded with it.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from runnel.errors import ConfigurationError

log = logging.getLogger(__name__)

MOST_LINKS = 128
"""Of a batch's span, or a commit's; also what the SDK keeps by default."""

_sending: ContextVar[Any] = ContextVar("_sending", default=None)
"""The span of the `send` that is under way in this task."""


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
        self, stream: str, records: int, headers: Mapping[str, str] | None, operation: str = "send"
    ) -> Iterator[Mapping[str, str] | None]:
        """A span around one `send`, `emit`, `ask` or `tell`; gives the headers to send, the caller's own among them."""

        def begin() -> tuple[Any, Any]:
            attributes = {**_attributes(stream, "send", operation), "messaging.batch.message_count": records}
            span = self._tracer.start_span(f"{operation} {stream}", None, self._trace.SpanKind.PRODUCER, attributes)
            return span, self._context.get_current()

        with self._span(begin) as span:
            _sending.set(span)
            yield self.carried(headers)

    def sent(self, ids: list[str]) -> list[str]:
        """Have the span of the `send` under way tell the id of its event, if it is of one only; gives the ids back."""
        span = _sending.get()
        try:
            if span is not None and len(ids) == 1:
                span.set_attribute("messaging.message.id", ids[0])
                span.set_attribute("messaging.destination.partition.id", ids[0].rsplit("/", 2)[1])
        except Exception:
            log.warning("a span could not be told an event's id", exc_info=True)
        return ids

    @contextmanager
    def processing(
        self, stream: str, group: str, partition: int, item: Any, finished: list[Any], kind: str = ""
    ) -> Iterator[None]:
        """A span around the handling of an event, or of a list of them.

        An event's is a child of its `send`'s. A batch's begins a trace and has a link to each `send`, at most `MOST_LINKS`;
        so does a reminder's, with a link to what has set it.

        Args:
            stream: Its name.
            group: The processor's name.
            partition: Its number.
            item: The event, or a list of them.
            finished: Takes up the span's context if the handler does not fail, for the commit; at most `MOST_LINKS`.
            kind: For actors: "event", "message" or "reminder".
        """

        def begin() -> tuple[Any, Any]:
            first = item[0] if isinstance(item, list) else item
            attributes: dict[str, Any] = {
                **_attributes(stream, "process", "process"),
                "messaging.destination.partition.id": str(partition),
                "messaging.consumer.group.name": group,
                "runnel.attempt": first.attempt,
            }
            if kind:
                attributes["runnel.kind"] = kind
            base, links = self._context.Context(), []
            if isinstance(item, list):
                attributes["messaging.batch.message_count"] = len(item)
                links = self._links(item)
            else:
                attributes["messaging.message.id"] = first.id
                if kind == "reminder":
                    links = self._links([first])
                else:
                    base = self._propagate.extract(first.headers, base)
            consumer = self._trace.SpanKind.CONSUMER
            return self._tracer.start_span(f"process {stream}", base, consumer, attributes, links), base

        with self._span(begin) as span:
            yield
            if span is not None and len(finished) < MOST_LINKS:
                finished.append(span)

    @contextmanager
    def committing(self, stream: str, group: str, partitions: int, finished: Sequence[Any]) -> Iterator[None]:
        """A span around one exchange with the server that commits what was done in so many partitions.

        It begins a trace, and has links to the `process` spans in `finished`, at most `MOST_LINKS`.
        """

        def begin() -> tuple[Any, Any]:
            attributes = {
                **_attributes(stream, "settle", "commit"),
                "messaging.consumer.group.name": group,
                "runnel.commit.partitions": partitions,
            }
            base = self._context.Context()
            links = [self._trace.Link(span.get_span_context()) for span in finished[:MOST_LINKS]]
            return self._tracer.start_span(f"commit {stream}", base, self._trace.SpanKind.CLIENT, attributes, links), base

        with self._span(begin):
            yield

    def failed(self, error: Exception) -> None:
        """Have the current span tell of an error that goes no further: it is the answer to an ask."""
        self._failed(self._trace.get_current_span(), error)

    # ── from one thread to another ──

    def current(self) -> Any:
        """The context that is current here."""
        return self._context.get_current()

    def enter(self, context: Any) -> None:
        """Have a context from elsewhere be current here."""
        self._context.attach(context)

    @contextmanager
    def within(self, context: Any) -> Iterator[None]:
        """Have a context from elsewhere be current here for a while."""
        before = self._context.get_current()
        self._context.attach(context)
        try:
            yield
        finally:
            self._context.attach(before)

    # ── a span ──

    @contextmanager
    def _span(self, begin: Callable[[], tuple[Any, Any]]) -> Iterator[Any]:
        """Keep a span current; `begin` gives it, and the context that it is put into. None, if it cannot be begun."""
        before = self._context.get_current()
        span = None
        try:
            span, base = begin()
            self._context.attach(self._trace.set_span_in_context(span, base))
        except Exception:
            log.warning("a span could not be begun", exc_info=True)
        try:
            yield span
        except (Exception, asyncio.CancelledError) as error:
            self._failed(span, error)
            raise
        finally:
            # Not `detach`: a generator may be closed in another task than it was begun in, and the token is then refused.
            self._context.attach(before)
            self._end(span)

    def _failed(self, span: Any, error: BaseException) -> None:
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

    def carried(self, headers: Mapping[str, str] | None) -> Mapping[str, str] | None:
        """These headers, with those that carry the current context; None, if there are none."""
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


def _attributes(stream: str, kind: str, operation: str) -> dict[str, Any]:
    return {
        "messaging.system": "runnel",
        "messaging.destination.name": stream,
        "messaging.operation.type": kind,
        "messaging.operation.name": operation,
    }
