"""What dealing with failures costs: while nothing fails, and while a few keys do. In CPU time of the worker, an event."""

from collections.abc import Iterable
from typing import Any

from benchmarks.measurements import Size, alternate, each
from benchmarks.orders import Order, order, orders
from benchmarks.process import Figures, fresh
from benchmarks.result import Goal, Result
from benchmarks.server import Server
from benchmarks.stopwatch import Stopwatch
from runnel import Events, ExceptionPolicy, Retry, Worker

KEYS = 1000
POISON = frozenset((7, 77, 777))

GUARDED: dict[str, Any] = {"exception_policy": ExceptionPolicy.PARK, "retry": Retry(attempts=3, backoff=0.01), "timeout": 30}
"""A processor that is ready for everything."""


# ── the worker's process ──


async def fill(url: str, events: int) -> Figures:
    """Send a backlog of 1,000 keys."""
    app, stream = orders(url)
    async with app:
        for start in range(0, events, 4000):
            await stream.send(*[order(number % KEYS) for number in range(start, min(start + 4000, events))])
    return {}


async def process(url: str, events: int, name: str, guarded: bool, poisoned: bool = False) -> Figures:
    """Process it, up to the last event of those that do not fail."""
    app, stream = orders(url)
    worker, watch = Worker(app), Stopwatch()
    left = events - sum(number % KEYS in POISON for number in range(events)) if poisoned else events

    async def processor(events_: Events[Order]) -> None:
        nonlocal left
        watch.start()
        async for received in events_.records():
            if poisoned and received.order_id in POISON:
                raise ValueError("no change")
            left -= 1
            if not left:
                watch.stop()
                worker.stop()

    app.processor(stream, name=name, **(GUARDED if guarded else {}))(processor)
    await worker.run()
    return watch.figures(events)


# ── measurements ──


def failing(server: Server, size: Size) -> Iterable[Result]:
    """Policies, retries and time-outs: idle, against a processor without; and with 3 poison keys of 1,000, against none."""
    server.flush()
    fresh("failing.fill", url=server.url, events=size.backlog)
    server.settle()

    def run(**options: bool) -> Any:
        name = "-".join(option for option, on in options.items() if on) or "plain"
        return lambda n: fresh("failing.process", url=server.url, events=size.backlog, name=f"{name}.{n}", **options)

    found = alternate(
        size.runs,
        {
            "plain": run(guarded=False),
            "guarded": run(guarded=True),
            "poisoned": run(guarded=True, poisoned=True),
        },
    )
    yield _costs("PARK, retry and timeout, idle", found["plain"], found["guarded"], 1.05)
    yield _costs(f"  {len(POISON)} poison keys of {KEYS:,} among them", found["guarded"], found["poisoned"], 1.1)


def _costs(name: str, without: list[Figures], with_it: list[Figures], most: float) -> Result:
    return Result(
        name=name,
        unit="µs CPU an event",
        raw=each(without, "cpu"),
        ours=each(with_it, "cpu"),
        goal=Goal(most, at_most=True),
    )
