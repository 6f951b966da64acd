"""Traces of handler actors, of commits, and within plain functions."""

import asyncio
import os
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from runnel import Actor, App, Events, ExceptionPolicy, Record, Retry, Stream, SyncEvents, handles
from runnel.operations.bulk import send_lines
from runnel.testing import TestApp
from runnel.tracing import MOST_LINKS
from tests.integration.commands import REPOSITORY


class Order(Record):
    number: int


class Balance(Record):
    total: int = 0


class Add(Record):
    amount: int


class Spans:
    """What an app of this process has traced: with a provider of its own, since the global one can be set only once."""

    def __init__(self, app: App) -> None:
        self.exported = InMemorySpanExporter()
        provider = TracerProvider(shutdown_on_exit=False, span_limits=SpanLimits(max_links=1_000))
        provider.add_span_processor(SimpleSpanProcessor(self.exported))
        self.tracer = provider.get_tracer("test")
        assert app.tracing is not None
        app.tracing._tracer = self.tracer

    def named(self, name: str, **attributes: object) -> list[ReadableSpan]:
        wanted = {f"runnel.{key}": value for key, value in attributes.items()}.items()
        return [span for span in self.exported.get_finished_spans() if span.name == name and wanted <= dict(_of(span)).items()]

    def one(self, name: str, **attributes: object) -> ReadableSpan:
        [span] = self.named(name, **attributes)
        return span

    def attributes(self) -> dict[str, set[str]]:
        """Those that were seen, by the word that spans' names begin with."""
        found: dict[str, set[str]] = {}
        for span in self.exported.get_finished_spans():
            found.setdefault(span.name.split()[0], set()).update(_of(span))
        return found


def _of(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def own(span: ReadableSpan) -> int:
    return int(span.context.span_id)


def parent(span: ReadableSpan) -> int | None:
    return None if span.parent is None else int(span.parent.span_id)


def links(span: ReadableSpan) -> list[int]:
    return [int(link.context.span_id) for link in span.links]


class World:
    """An app with actors whose handlers are coroutines, or plain functions."""

    def __init__(self, is_async: bool) -> None:
        self.app = App("traced", tracing=True)
        self.spans = Spans(self.app)
        self.orders, self.bills = self._stream("orders"), self._stream("bills")
        self.failing = 1
        self.account = self._async() if is_async else self._plain()

        @self.app.processor(self.bills)
        async def post(events: Events[Order]) -> None:
            async for _ in events.records():
                pass

    def _stream(self, name: str) -> Stream[Order]:
        return self.app.stream(name, record=Order, partition_by="number", partition_count=1)

    def handle(self, actor: Any, order: Order) -> None:
        with self.spans.tracer.start_as_current_span("own"):
            if self.failing:
                self.failing -= 1
                raise ValueError("once")
            actor.emit(self.bills, Order(number=order.number), headers={"from": "me"})
            actor.remind("pay", after=10)

    def answer(self, add: Add) -> int:
        if add.amount < 0:
            raise ValueError("less than nothing")
        return add.amount

    def _async(self) -> Any:
        world = self

        @self.app.actor(self.orders, name="account", retry=Retry(attempts=2, backoff=0.001))
        class Account(Actor[Order, Balance]):
            async def receive(self, order: Order) -> None:
                world.handle(self, order)

            @handles(Add)
            async def add(self, add: Add) -> int:
                return world.answer(add)

            async def on_reminder(self, name: str) -> None: ...

        return Account

    def _plain(self) -> Any:
        world = self

        @self.app.actor(self.orders, name="account", retry=Retry(attempts=2, backoff=0.001))
        class Account(Actor[Order, Balance]):
            def receive(self, order: Order) -> None:
                world.handle(self, order)

            @handles(Add)
            def add(self, add: Add) -> int:
                return world.answer(add)

            def on_reminder(self, name: str) -> None: ...

        return Account


@pytest.fixture(params=[True, False], ids=["async", "plain"])
async def world(request: pytest.FixtureRequest) -> World:
    return World(request.param)


async def test_actors_carry_traces_on(world: World) -> None:
    spans, key = world.spans, "1"
    async with TestApp(world.app) as test:
        await world.orders.send(Order(number=1))
        await test.drained()
        await test.advance(11)
        with spans.tracer.start_as_current_span("caller"):
            assert await world.account.ask(key, Add(amount=3)) == 3
            await world.account.tell(key, Add(amount=4))
            with pytest.raises(ValueError, match="less than nothing"):
                await world.account.ask(key, Add(amount=-1))
        await test.drained()

    sent = spans.one("send orders")
    first, second = spans.named("process orders", kind="event")
    assert [parent(first), parent(second)] == [own(sent)] * 2
    assert [_of(span)["runnel.attempt"] for span in (first, second)] == [1, 2]
    assert [_of(span).get("error.type") for span in (first, second)] == ["ValueError", None]
    assert [parent(span) for span in spans.named("own")] == [own(first), own(second)]
    assert _of(first)["messaging.message.id"] == _of(sent)["messaging.message.id"]
    assert _of(sent)["messaging.destination.partition.id"] == "0"

    emitted = spans.one("emit bills")
    assert parent(emitted) == own(spans.named("own")[1])
    assert parent(spans.one("process bills")) == own(emitted)
    assert links(spans.one("process orders", kind="reminder")) == [own(second)]

    caller, (ask, refused), tell = spans.one("caller"), spans.named("ask orders"), spans.one("tell orders")
    assert [parent(span) for span in (ask, tell, refused)] == [own(caller)] * 3
    answered = spans.named("process orders", kind="message")
    assert [parent(span) for span in answered] == [own(ask), own(tell), own(refused)]
    assert [_of(span).get("error.type") for span in answered] == [None, None, "ValueError"]

    committed = [link for span in spans.named("commit orders") for link in links(span)]
    assert own(second) in committed
    assert own(first) not in committed, "it failed: nothing of it is committed"
    assert sorted(committed) == sorted({*committed}), "each is in one commit"


async def test_each_event_of_an_actor_that_is_there_has_a_span(world: World) -> None:
    world.failing = 0
    async with TestApp(world.app) as test:
        for _ in range(3):
            await world.orders.send(Order(number=1))
            await test.drained()
    processed = world.spans.named("process orders")
    assert [parent(span) for span in processed] == [own(span) for span in world.spans.named("send orders")]
    assert [parent(span) for span in world.spans.named("emit bills")] == [own(span) for span in world.spans.named("own")]
    assert [parent(span) for span in world.spans.named("own")] == [own(span) for span in processed]
    assert len(processed) == 3


async def test_the_documents_list_is_what_there_is(world: World) -> None:
    """Held equal: spans, and attributes of spans, in docs/tracing.md."""
    text = (REPOSITORY / "docs" / "tracing.md").read_text()
    rows = re.findall(r"^\| `(\w+) <stream>`.*$", text, re.MULTILINE)

    @world.app.processor(world.orders)
    async def batches(events: Events[Order]) -> None:
        async for _ in events.take(10, within=0.01):
            pass

    async with TestApp(world.app) as test:
        await world.orders.send(Order(number=1))
        await test.drained()
        await world.account.ask("1", Add(amount=3))
        await world.account.tell("1", Add(amount=3))
        await test.drained()
    found = world.spans.attributes()
    del found["own"]
    assert set(rows) == found.keys()
    told = set(re.findall(r"`((?:messaging|error|runnel)\.[a-z_.]+)`", text))
    assert told == set[str]().union(*found.values())


async def test_spans_within_a_plain_function_are_children_of_its_event() -> None:
    app = App("threads", tracing=True)
    spans = Spans(app)
    orders = app.stream("orders", record=Order, partition_by="number", partition_count=1)
    bills = app.stream("bills", record=Order, partition_by="number", partition_count=1)

    @app.processor(orders)
    def bill(events: SyncEvents[Order]) -> None:
        for order in events.records():
            with spans.tracer.start_as_current_span("own"):
                events.run(bills.send(order))

    async with TestApp(app) as test:
        await orders.send(Order(number=1))
        await orders.send(Order(number=2))
        await test.drained()
    processed = spans.named("process orders")
    assert [parent(span) for span in spans.named("own")] == [own(span) for span in processed]
    assert [parent(span) for span in spans.named("send bills")] == [own(span) for span in spans.named("own")]
    assert len({span.context.trace_id for span in processed}) == 2


async def test_commits_are_linked_to_the_events_that_they_finish() -> None:
    app = App("commits", tracing=True)
    spans = Spans(app)
    orders = app.stream("orders", record=Order, partition_by="number", partition_count=1)

    @app.processor(orders)
    async def bill(events: Events[Order]) -> None:
        async for _ in events.records():
            pass

    async with TestApp(app) as test:
        await orders.send(*[Order(number=n) for n in range(20)])
        await test.drained()
    commits, processed = spans.named("commit orders"), spans.named("process orders")
    linked = [link for span in commits for link in links(span)]
    assert sorted(linked) == sorted(map(own, processed))
    assert len(linked) == 20
    assert {(span.kind, span.parent) for span in commits} == {(trace.SpanKind.CLIENT, None)}
    assert _of(commits[0])["runnel.commit.partitions"] == 1


def test_a_commit_has_no_more_than_so_many_links() -> None:
    app = App("bounds", tracing=True)
    spans, tracing, finished = Spans(app), app.tracing, list[Any]()
    event = SimpleNamespace(id="orders/0/1-0", attempt=1, headers={})
    assert tracing is not None
    for _ in range(MOST_LINKS + 20):
        with tracing.processing("orders", "bill", 0, event, finished):
            pass
    assert len(finished) == MOST_LINKS, "of one partition"
    with tracing.committing("orders", "bill", 2, finished * 2):
        pass
    assert len(links(spans.one("commit orders"))) == MOST_LINKS


async def test_a_tracer_that_fails_fails_no_actor_and_no_commit(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("broken tracer")

    monkeypatch.setattr(world.app.tracing, "_tracer", SimpleNamespace(start_span=fail))
    monkeypatch.setattr(world.app.tracing, "_propagate", SimpleNamespace(inject=fail, extract=fail))
    async with TestApp(world.app) as test:
        await world.orders.send(Order(number=1))
        await test.drained()
        assert await world.account.ask("1", Add(amount=3)) == 3
        await test.advance(11)
        await test.drained()
    assert {"a span could not be begun"} < {record.message for record in caplog.records}


async def test_a_handler_that_takes_too_long_has_failed() -> None:
    app = App("late", tracing=True)
    spans = Spans(app)
    orders = app.stream("orders", record=Order, partition_by="number", partition_count=1)

    @app.actor(orders, timeout=0.05, exception_policy=ExceptionPolicy.IGNORE)
    async def slow(order: Order) -> None:
        await asyncio.Event().wait()

    @app.processor(orders, timeout=0.05, exception_policy=ExceptionPolicy.IGNORE)
    async def late(events: Events[Order]) -> None:
        async for _ in events.records():
            await asyncio.Event().wait()

    async with TestApp(app) as test:
        await orders.send(Order(number=1))
        await test.drained()
    failed = {_of(span)["messaging.consumer.group.name"]: _of(span).get("error.type") for span in spans.named("process orders")}
    assert failed == {"slow": "CancelledError", "late": "TimedOut"}


async def test_a_file_that_is_sent_is_traced_batch_by_batch(tmp_path: Path) -> None:
    app = App("lines", tracing=True)
    spans = Spans(app)
    orders = app.stream("orders", record=Order, partition_by="number", partition_count=1)
    file = tmp_path / "lines"
    file.write_text("".join(f'{{"number": {n}}}\n' for n in range(3)))
    seen: list[Any] = []

    @app.processor(orders)
    async def look(events: Events[Order]) -> None:
        async for event in events:
            seen.append(event.headers)

    async with TestApp(app) as test:
        source = os.open(file, os.O_RDONLY)
        try:
            assert await send_lines(orders, source) == 3
        finally:
            os.close(source)
        await test.drained()
    sent = spans.one("send orders")
    assert _of(sent)["messaging.batch.message_count"] == 3
    assert [parent(span) for span in spans.named("process orders")] == [own(sent)] * 3
    assert all("traceparent" in headers for headers in seen)


async def test_off_nothing_of_it_is_on_the_way_of_an_actors_event() -> None:
    app = App("plain")
    orders = app.stream("orders", record=Order, partition_by="number", partition_count=1)
    seen: list[Any] = []

    @app.actor(orders)
    class Account(Actor[Order, Balance]):
        async def receive(self, order: Order) -> None:
            seen.append((dict(self.event.headers), trace.get_current_span().get_span_context().is_valid))

    async with TestApp(app) as test:
        await orders.send(Order(number=1))
        await Account.tell("1", Order(number=1))
        await test.drained()
    assert seen == [({}, False)] * 2
