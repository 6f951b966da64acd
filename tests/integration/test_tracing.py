"""Traces: from a `send` in one process through a worker in another."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from runnel import App, ConfigurationError, Events, Record
from runnel.testing import TestApp
from tests.integration.commands import REPOSITORY
from tests.servers import Server
from tests.support import wait_until

Span = dict[str, Any]


class Spans:
    """What the processes of `traced.py` have exported."""

    def __init__(self, path: Path, url: str) -> None:
        self.path = path
        self.environment = {**os.environ, "SPANS": str(path), "RUNNEL_REDIS_URL": url, "PYTHONPATH": str(REPOSITORY)}

    def all(self) -> list[Span]:
        text = self.path.read_text() if self.path.exists() else ""
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]

    def named(self, name: str, group: str | None = None) -> list[Span]:
        key = "messaging.consumer.group.name"
        return [s for s in self.all() if s["name"] == name and group in (None, s["attributes"].get(key))]

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", *words]


@pytest.fixture
async def spans(tmp_path: Path, valkey: Server) -> AsyncIterator[Spans]:
    """The spans of a sender, and of a worker that runs until the test is over."""
    found = Spans(tmp_path / "spans", valkey.url)
    sender = await asyncio.create_subprocess_exec(
        *found.command("tests.integration.traced", "1", "2"), env=found.environment, cwd=REPOSITORY
    )
    assert await sender.wait() == 0
    worker = await asyncio.create_subprocess_exec(
        *found.command("runnel", "worker", "tests.integration.traced:app"), env=found.environment, cwd=REPOSITORY
    )
    try:
        yield found
    finally:
        worker.terminate()
        await worker.wait()


def own(span: Span) -> str:
    return str(span["context"]["span_id"])


def _committed(spans: Spans) -> set[str]:
    """The spans that commits have links to."""
    commits = [span for span in spans.all() if span["name"].startswith("commit ")]
    return {str(link["context"]["span_id"]) for span in commits for link in span["links"]}


async def test_a_trace_goes_through_processes_threads_retries_and_batches(spans: Spans) -> None:
    def is_complete() -> bool:
        counts = len(spans.named("process copies")), len(spans.named("process letters"))
        return counts == (2, 4) and bool(spans.named("process orders", "batches"))

    await wait_until(is_complete, timeout=20, what="spans")
    (shop,), (sent,) = spans.named("shop"), spans.named("send orders")
    trace_id = shop["context"]["trace_id"]
    assert sent["parent_id"] == own(shop)
    assert (sent["kind"], sent["attributes"]["messaging.batch.message_count"]) == ("SpanKind.PRODUCER", 2)

    billed = spans.named("process orders", "bill")
    assert [span["parent_id"] for span in billed] == [own(sent)] * 2
    assert {span["kind"] for span in billed} == {"SpanKind.CONSUMER"}
    inner = spans.named("own")
    assert [span["parent_id"] for span in inner] == [own(span) for span in billed]
    bills = spans.named("send bills")
    assert [span["parent_id"] for span in bills] == [own(span) for span in inner]

    posted = spans.named("process bills", "post")
    assert [span["parent_id"] for span in posted] == [own(span) for span in bills]
    inside, letters = spans.named("in a thread"), spans.named("send letters")
    assert [span["parent_id"] for span in inside] == [own(span) for span in posted]
    assert [span["parent_id"] for span in letters] == [own(span) for span in inside]

    copied, emitted, kept = spans.named("process bills", "copy"), spans.named("emit copies"), spans.named("process copies")
    assert {span["parent_id"] for span in copied} == {own(span) for span in bills}
    assert [span["parent_id"] for span in emitted] == [own(span) for span in copied]
    assert {span["parent_id"] for span in kept} == {own(span) for span in emitted}
    done = {own(span) for span in [*billed, *posted, *copied, *kept]}
    await wait_until(lambda: _committed(spans) >= done, timeout=20, what="commits")

    failed = spans.named("process letters")
    assert [span["attributes"]["runnel.attempt"] for span in failed] == [1, 2, 1, 2]
    assert {span["parent_id"] for span in failed} == {own(span) for span in letters}
    assert {(s["status"]["status_code"], s["attributes"]["error.type"]) for s in failed} == {("ERROR", "ValueError")}
    assert {span["context"]["trace_id"] for span in [*billed, *inner, *bills, *posted, *letters, *failed, *kept]} == {trace_id}

    (batch,) = spans.named("process orders", "batches")
    assert batch["parent_id"] is None
    assert [link["context"]["span_id"] for link in batch["links"]] == [own(sent)]  # both of one `send`
    assert batch["attributes"]["messaging.batch.message_count"] == 2


class Order(Record):
    number: int


@pytest.mark.parametrize("is_on", [False, True])
async def test_headers_are_kept_and_traced_only_when_it_is_on(valkey: Server, is_on: bool) -> None:
    from opentelemetry import context, trace

    async with App("kept", redis_url=valkey.url, tracing=is_on) as app:
        orders = app.stream("orders", record=Order, partition_by="number", partition_count=1)
        caller = trace.SpanContext(trace_id=7, span_id=9, is_remote=True)
        token = context.attach(trace.set_span_in_context(trace.NonRecordingSpan(caller)))
        try:
            await orders.send(Order(number=1), headers={"from": "me"})
        finally:
            context.detach(token)
        entries: Any = await app.redis.xrange(orders.route(1))
        [(_, fields)] = entries
    headers = json.loads(fields.get(b"~headers", b"{}"))
    assert headers.pop("from") == "me"
    assert set(headers) == ({"traceparent"} if is_on else set())


async def test_a_tracer_that_fails_fails_no_send_and_no_event(valkey: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("broken tracer")

    app = App("broken", redis_url=valkey.url, tracing=True)
    monkeypatch.setattr(app.tracing, "_tracer", SimpleNamespace(start_span=fail))
    orders, done = app.stream("orders", record=Order, partition_by="number", partition_count=1), list[int]()

    @app.processor(orders)
    async def look(events: Events[Order]) -> None:
        async for order in events.records():
            done.append(order.number)

    async with TestApp(app) as test:
        await orders.send(Order(number=1), Order(number=2))
        await test.drained()
    assert done == [1, 2]


def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'runnel\[otel\]'"):
        App("absent", tracing=True)


def test_a_processor_of_an_app_without_traces_has_no_more_middleware() -> None:
    app = App("plain")

    @app.processor(app.stream("orders", record=Order, partition_by="number"))
    async def look(events: Events[Order]) -> None: ...

    assert look.options.middleware == ()
