"""Roles of several workers on one app: each notes what it handles and when, in a file of its own."""

import asyncio
import signal
import time
from pathlib import Path

from benchmarks.orders import order, orders
from benchmarks.process import Figures, say_ready
from runnel import App, Events, Record, Stream, Worker

BLOCK = 100
"""So many events at a time are counted for all workers together."""


class Work(Record):
    """An event of a stream with any number of partitions; each key is a partition."""

    key: int
    number: int


def works(url: str, partitions: int) -> tuple[App, Stream[Work]]:
    """The app and its stream: events of key n are in partition n."""
    app = App("crew", redis_url=url)
    return app, app.stream(
        "works", record=Work, partition_by="key", partition_count=partitions, hasher=lambda key: int(key)
    )


async def work(url: str, notes: str, partitions: int = 16) -> Figures:
    """Handle events until SIGTERM. A line of the notes: partition, number, time_ns."""
    app, stream = works(url, partitions)
    worker = Worker(app)

    @app.processor(stream)
    async def processor(events: Events[Work]) -> None:
        async for received in events.records():
            noted.write(f"{received.key} {received.number} {time.time_ns()}\n")
            noted.flush()

    with Path(notes).open("w") as noted:  # noqa: ASYNC230
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, worker.stop)
        running = asyncio.ensure_future(worker.run())
        while worker.snapshot() is None:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        say_ready()
        await running
    return {}


async def send(url: str, seconds: float, rate: float, partitions: int = 16) -> Figures:
    """Send to all partitions, `rate` events a second in all."""
    app, stream = works(url, partitions)
    sent = 0
    async with app:
        say_ready()
        began = time.perf_counter()
        while (elapsed := time.perf_counter() - began) < seconds:
            if sent / rate > elapsed:
                await asyncio.sleep(sent / rate - elapsed)
            await stream.send(Work(key=sent % partitions, number=sent // partitions))
            sent += 1
    return {"sent": sent}


async def burn(url: str, microseconds: float, total: int) -> Figures:
    """Handle orders that cost processor time, until all workers together have handled `total` of more."""
    app, stream = orders(url)
    worker = Worker(app)
    done = 0

    @app.processor(stream)
    async def processor(events: Events) -> None:  # type: ignore[type-arg]
        nonlocal done
        async for _ in events.records():
            until = time.perf_counter() + microseconds / 1e6
            while time.perf_counter() < until:
                pass
            done += 1
            if done % BLOCK == 0 and await app.redis.incrby("burned", BLOCK) >= total:
                await app.redis.set("all", time.time_ns())

    running = asyncio.ensure_future(worker.run())
    while not await app.redis.exists("all"):  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    worker.stop()
    await running
    return {"done": done}


async def fill(url: str, events: int) -> Figures:
    """Send a backlog of orders."""
    app, stream = orders(url)
    async with app:
        for start in range(0, events, 1000):
            await stream.send(*map(order, range(start, start + 1000)))
    return {}
