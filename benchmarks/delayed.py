"""Delayed events that become due while a worker is busy: how late they come, and what they cost the ordinary ones."""

import asyncio
import datetime as dt
import time
from collections.abc import Iterable

from attrs import define, field

from benchmarks.measurements import Size
from benchmarks.orders import PARTITIONS, Order, order
from benchmarks.process import Figures, background, fresh
from benchmarks.result import Goal, Result
from benchmarks.server import Server
from runnel import App, Events, Stream, Worker

KEYS = 1_000

LEAD = 3.0
"""Seconds for the worker and the sender to start, once all is put aside."""


def streams(url: str) -> tuple[App, Stream[Order], Stream[Order]]:
    """An app with a stream of ordinary events, of which a sender may be ahead by a little, and one of delayed ones."""
    app = App("bench", redis_url=url)
    ordinary, late = (
        app.stream(name, record=Order, partition_by="order_id", partition_count=PARTITIONS, partition_size=10_000)
        for name in ("ordinary", "late")
    )
    return app, ordinary, late


async def put_aside(url: str, events: int, seconds: float, begin: float) -> Figures:
    """Send events that are due evenly spread over some seconds; the order's amount is the due time in ms."""
    app, _, late = streams(url)
    dues = [int((begin + seconds * n / events) * 1000) for n in range(events)]
    async with app:
        for start in range(0, events, 500):
            sends = [
                late.send(order(n % KEYS, dues[n]), at=dt.datetime.fromtimestamp(dues[n] / 1000, dt.UTC))
                for n in range(start, min(start + 500, events))
            ]
            await asyncio.gather(*sends)
    return {"ended": time.time()}


async def keep_sending(url: str, until: float) -> Figures:
    """Send ordinary events, as fast as there is room for them."""
    app, ordinary, _ = streams(url)
    built = [order(number) for number in range(1000)]
    async with app:
        while time.time() < until:
            await ordinary.send(*built)
    return {}


@define(eq=False)
class Late:
    """The delayed events that a worker got."""

    expected: int
    lateness: list[float] = field(factory=list)
    last: dict[int, int] = field(factory=dict)
    faults: int = 0
    all_there: asyncio.Event = field(factory=asyncio.Event)

    def got(self, late: Order) -> None:
        """Note one, and whether it was early, or before one that is due earlier."""
        self.lateness.append(time.time() * 1000 - late.amount)
        self.faults += self.lateness[-1] < 0 or late.amount < self.last.get(late.order_id, 0)
        self.last[late.order_id] = late.amount
        if len(self.lateness) >= self.expected:
            self.all_there.set()

    def figures(self) -> Figures:
        """How late the slowest but one in a hundred was, and what went wrong."""
        lateness = sorted(self.lateness) or [0.0]
        missing = abs(self.expected - len(self.lateness))
        return {"p99": lateness[int(len(lateness) * 0.99)], "faults": self.faults + missing}


async def receive(url: str, begin: float, seconds: float, events: int) -> Figures:
    """Handle both; count the ordinary ones while the others are due."""
    app, ordinary, late = streams(url)
    worker, found, done = Worker(app), Late(events), 0

    @app.processor(ordinary)
    async def ordinary_ones(events: Events[Order]) -> None:
        nonlocal done
        async for _ in events.records():
            done += 1

    @app.processor(late)
    async def late_ones(events: Events[Order]) -> None:
        async for each in events.records():
            found.got(each)

    running = asyncio.ensure_future(worker.run())
    await asyncio.sleep(begin - time.time())
    before, since, cpu = done, time.time(), time.process_time()
    await asyncio.sleep(begin + seconds - time.time())
    count, took, used = done - before, time.time() - since, time.process_time() - cpu
    if events:
        await asyncio.wait((asyncio.ensure_future(found.all_there.wait()),), timeout=30)
    worker.stop()
    await running
    return {"rate": count / took, "cpu": 1e6 * used / max(count, 1), **found.figures()}


def delayed(server: Server, size: Size) -> Iterable[Result]:
    """The same worker and sender with delayed events and without, in turn."""

    def run(late: int) -> Figures:
        server.flush()
        seconds, sends_for = size.late_seconds, late / 5_000
        while True:
            begin = time.time() + sends_for + 2 * LEAD
            ended = fresh("delayed.put_aside", url=server.url, events=late, seconds=seconds, begin=begin)["ended"]
            if ended + LEAD < begin:
                break
            sends_for = 2 * (sends_for + LEAD)  # the machine has other things to do
            server.flush()
        with background("delayed.keep_sending", url=server.url, until=begin + seconds):
            return fresh("delayed.receive", url=server.url, begin=begin, seconds=seconds, events=late)

    without, with_them = [], []
    for _ in range(max(1, size.runs // 2)):
        without.append(run(0))
        with_them.append(run(size.late))
    name = f"{size.late:,} delayed events within {size.late_seconds:g} s"
    yield Result(
        name=f"ordinary events beside {name}",
        unit="events/s",
        raw=[figures["rate"] for figures in without],
        ours=[figures["rate"] for figures in with_them],
        cpu=[ours["cpu"] / least["cpu"] for ours, least in zip(with_them, without, strict=True)],
        goal=Goal(0.8),
    )
    p99 = [figures["p99"] for figures in with_them]
    yield Result(name=f"{name}: late, p99", unit="ms", ours=p99, goal=Goal(1000, at_most=True))
    faults = [figures["faults"] for figures in with_them]
    yield Result(name="  early, out of order, lost or doubled", unit="events", ours=faults, goal=Goal(0, at_most=True))
