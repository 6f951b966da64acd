"""What traces cost: processing, actors and sends with them off and on, in turn. All is sampled, nothing is exported."""

from collections.abc import Callable, Iterable

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from benchmarks.measurements import Size, alternate, each
from benchmarks.orders import Order, order, orders
from benchmarks.process import Figures, fresh
from benchmarks.result import Result
from benchmarks.server import Server
from benchmarks.stopwatch import Stopwatch
from runnel import App, Events, Stream, Worker

KEYS = 1_000


def _orders(url: str, traced: bool) -> tuple[App, Stream[Order]]:
    if not traced:
        return orders(url)
    trace.set_tracer_provider(TracerProvider(shutdown_on_exit=False))
    return orders(url, tracing=True)


# ── a process each ──


async def send(url: str, events: int, traced: bool, at_once: int) -> Figures:
    """Send a backlog, so many records at a time."""
    app, stream = _orders(url, traced)
    watch = Stopwatch()
    async with app:
        watch.start()
        for start in range(0, events, at_once):
            await stream.send(*[order(number % KEYS) for number in range(start, min(start + at_once, events))])
        watch.stop()
    return watch.figures(events)


async def records(url: str, events: int, traced: bool, name: str) -> Figures:
    """Process the backlog by a processor that does nothing."""
    app, stream = _orders(url, traced)
    worker, watch = Worker(app), Stopwatch()
    left = events

    @app.processor(stream, name=name)
    async def processor(received: Events[Order]) -> None:
        nonlocal left
        watch.start()
        async for _ in received.records():
            left -= 1
            if not left:
                watch.stop()
                worker.stop()

    await worker.run()
    return watch.figures(events)


async def acted(url: str, events: int, traced: bool, name: str) -> Figures:
    """Process the backlog by a stateless actor that does nothing."""
    app, stream = _orders(url, traced)
    worker, watch = Worker(app), Stopwatch()
    left = events

    @app.actor(stream, name=name)
    async def handler(received: Order) -> None:
        nonlocal left
        watch.start()
        left -= 1
        if not left:
            watch.stop()
            worker.stop()

    await worker.run()
    return watch.figures(events)


# ── what is measured ──


def tracing(server: Server, size: Size) -> Iterable[Result]:
    """Off (as raw) and on (as ours) take turns, over one backlog whose events carry a context."""
    events = size.late
    server.flush()
    fresh("tracing.send", url=server.url, events=events, traced=True, at_once=100)
    for name, role in (("process records()", "records"), ("process by an actor", "acted")):

        def one(run: int, traced: bool, role: str = role) -> Figures:
            called = f"{role}.{run}.{traced}"
            return fresh(f"tracing.{role}", url=server.url, events=events, traced=traced, name=called)

        yield _compared(name, size, one)
    yield _compared("send, 100 at a time", size, lambda _, traced: _sent(server, events, traced, 100))
    yield _compared("send, one at a time", size, lambda _, traced: _sent(server, max(1, events // 20), traced, 1))


def _sent(server: Server, events: int, traced: bool, at_once: int) -> Figures:
    server.flush()
    return fresh("tracing.send", url=server.url, events=events, traced=traced, at_once=at_once)


def _compared(name: str, size: Size, one: Callable[[int, bool], Figures]) -> Result:
    found = alternate(size.runs, {"off": lambda run: one(run, False), "on": lambda run: one(run, True)})
    return Result(
        name=f"traces on by off: {name}", unit="events/s", raw=each(found["off"], "rate"), ours=each(found["on"], "rate")
    )
