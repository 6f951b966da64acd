"""Runnel's roles with handler actors: the same work as `raw.read`, by a function or a class with state."""

import asyncio
from typing import Any

from benchmarks.orders import Order, orders
from benchmarks.process import Figures
from benchmarks.product import peak_mib
from benchmarks.stopwatch import Stopwatch
from runnel import Actor, Record, Worker
from runnel.records import make_codec


class Balance(Record):
    """What an actor remembers."""

    total: int = 0
    events: int = 0


async def function(url: str, events: int, run: int, key_concurrency: int = 16) -> Figures:
    """Process a backlog by a stateless actor."""
    app, stream = orders(url)
    worker, watch = Worker(app), Stopwatch()
    done = 0

    @app.actor(stream, name=f"function.{run}", key_concurrency=key_concurrency, max_active=20_000)
    async def handler(order: Order) -> None:
        nonlocal done
        if not done:
            watch.start()
        done += 1
        if done == events:
            watch.stop()
            worker.stop()

    await worker.run()
    return {**watch.figures(events), "mib": peak_mib()}


async def state(url: str, events: int, run: int, max_active: int = 20_000) -> Figures:
    """Process a backlog by actors with state, which is in the commits."""
    app, stream = orders(url)
    worker, watch = Worker(app), Stopwatch()
    done = 0

    @app.actor(stream, name=f"state.{run}", max_active=max_active)
    class Account(Actor[Order, Balance]):
        async def receive(self, order: Order) -> None:
            nonlocal done
            if not done:
                watch.start()
            self.state.total += order.amount
            self.state.events += 1
            done += 1
            if done == events:
                watch.stop()
                worker.stop()

    await worker.run()
    stored, loads = 0, make_codec(Balance).loads
    async with app:
        for keys in stream.partitions:
            states: Any = await app.redis.hgetall(keys.state(f"state.{run}"))
            stored += sum([loads(state).events for state in states.values()])
    return {**watch.figures(events), "mib": peak_mib(), "stored": stored}


async def waiting(url: str, events: int, run: int, key_concurrency: int) -> Figures:
    """Process a backlog by a stateless actor that waits 1 ms for something else."""
    app, stream = orders(url)
    worker, watch = Worker(app), Stopwatch()
    done = 0

    @app.actor(stream, name=f"waiting.{run}.{key_concurrency}", key_concurrency=key_concurrency)
    async def handler(order: Order) -> None:
        nonlocal done
        if not done:
            watch.start()
        await asyncio.sleep(0.001)
        done += 1
        if done == events:
            watch.stop()
            worker.stop()

    await worker.run()
    return watch.figures(events)
