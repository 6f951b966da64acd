"""Runnel's roles: the same work as in raw.py, by a worker and by `send`, as a user would write it."""

import asyncio
import resource
import time
from pathlib import Path

from benchmarks.latency import Latencies, paced
from benchmarks.orders import PARTITIONS, Order, key_of, order, orders
from benchmarks.process import Figures, say_ready
from benchmarks.stopwatch import Stopwatch
from runnel import Events, Worker


async def fill(url: str, events: int, hot: bool = False, keys: int | None = None) -> Figures:
    """Send a backlog."""
    app, stream = orders(url)
    async with app:
        for start in range(0, events, 4000):
            ids = [key_of(number, hot=hot, keys=keys) for number in range(start, min(start + 4000, events))]
            await stream.send(*map(order, ids))
    return {}


async def records(url: str, events: int, run: int) -> Figures:
    """Process a backlog record by record. Each run is a processor of its own, which begins at the first event.

    The time runs from the first call of its function: the first read counts, and connecting does not, as in raw.py.
    """
    app, stream = orders(url)
    worker, watch = Worker(app), Stopwatch()
    done = 0

    @app.processor(stream, name=f"records.{run}")
    async def processor(events_: Events[Order]) -> None:
        nonlocal done
        watch.start()
        async for _ in events_.records():
            done += 1
            if done == events:
                watch.stop()
                worker.stop()

    await worker.run()
    return {**watch.figures(events), "mib": peak_mib()}


async def take(url: str, events: int, run: int, size: int) -> Figures:
    """Process a backlog in batches."""
    app, stream = orders(url)
    worker, watch = Worker(app), Stopwatch()
    done = 0

    @app.processor(stream, name=f"take.{run}")
    async def processor(events_: Events[Order]) -> None:
        nonlocal done
        watch.start()
        # The tail of a partition is no full batch: it comes after `within`.
        async for batch in events_.take(size, within=0.01).records():
            done += len(batch)
            if done == events:
                watch.stop()
                worker.stop()

    await worker.run()
    return watch.figures(events)


async def send(url: str, events: int, batch: int) -> Figures:
    """Send records that are built already."""
    app, stream = orders(url)
    built = [order(number) for number in range(events)]
    watch = Stopwatch()
    async with app:
        await stream.send(order(0))  # connect, and load the script, as the raw role has
        watch.start()
        for first in range(0, events, batch):
            await stream.send(*built[first : first + batch])
        watch.stop()
    return watch.figures(events)


async def send_paced(url: str, events: int, rate: float) -> Figures:
    """Send one event at a time."""
    app, stream = orders(url)
    async with app:
        await paced(events, rate, lambda now: stream.send(order(now, now)))
    return {}


async def receive_paced(url: str, events: int) -> Figures:
    """Handle them in a worker."""
    app, stream = orders(url)
    worker, latencies = Worker(app), Latencies(events)
    waiting = 0

    @app.processor(stream)
    async def processor(events_: Events[Order]) -> None:
        nonlocal waiting
        waiting += 1
        if waiting == PARTITIONS:
            asyncio.get_running_loop().call_later(0.5, say_ready)
        async for received in events_.records():
            if latencies.arrived(received.amount):
                worker.stop()

    await worker.run()
    return latencies.figures()


async def idle(url: str, seconds: float) -> Figures:
    """Own all partitions while nothing comes."""
    app, stream = orders(url)
    worker = Worker(app)

    @app.processor(stream)
    async def processor(events: Events[Order]) -> None:
        async for _ in events.records():
            pass

    running = asyncio.ensure_future(worker.run())
    await asyncio.sleep(min(2.0, seconds))  # taking the partitions, and what follows
    cpu, wall = time.process_time(), time.perf_counter()
    await asyncio.sleep(seconds)
    used = (time.process_time() - cpu) / (time.perf_counter() - wall)
    worker.stop()
    await running
    return {"percent": 100 * used}


def peak_mib() -> float:
    """The most memory that this process had resident.

    Linux' `ru_maxrss` begins with that of the process that started this one, so its own mark is read where there is one.
    """
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
