"""The app that the fault tests run: a processor that notes in the ledger what it begins and finishes.

What it does is said by a `Plan`, which travels to worker processes as JSON.
"""

import asyncio
import json
import os
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Literal

from attrs import asdict, field, frozen

from runnel import App, ExceptionPolicy, Record, SyncEvents
from tests.integration.faults.ledger import Ledger

POISONED = 7
"""The exit code of a process that an event has ended."""

Style = Literal["records", "events", "take", "plain"]
"""How the function iterates; "plain" is a plain `def`, which does so in a thread."""


class Sale(Record):
    """What is sent."""

    key: int
    number: int
    ballast: str = ""


@frozen(kw_only=True)
class Plan:
    """What a worker does, and what goes wrong in it."""

    url: str
    folder: str
    worker: str = "first"
    style: Style = "records"
    policy: str = "halt"
    partition_count: int = 4
    partition_size: int = 50_000
    lock_expiry: float = 1.0
    grace_period: float = 8.0
    prefetch_count: int = 256
    app: str = "shop"
    processors: list[str] = field(factory=lambda: ["till"])
    join_delay: float = 0.0
    block: float = 0.0
    """Seconds for which each handler blocks the event loop."""
    cancel: int = -1
    """The number of the event, of every key, whose handler's task is cancelled, once."""
    fail_to_begin: int = 0
    """How often the function fails in each partition before it begins to loop."""
    patience: float = 30.0
    """Seconds for which a blocked event loop keeps its leases."""
    hold: int = -1
    """The number of the event, of every key, whose handler waits for the file `go`."""
    deadly: list[list[int]] = field(factory=list)
    """Keys and numbers of the events whose handler ends the process."""
    hang: bool = False
    """Whether it blocks the event loop for longer than `patience` instead."""
    max_crashes: int = 3
    fail: int = -1
    """The number of the event, of every key, whose handler fails."""
    poison: list[int] = field(factory=list)
    """Keys of which every `poison_every`-th event fails while the file `mended` is missing."""
    poison_every: int = 9
    work: float = 0.0
    """How long, in seconds, every event takes."""
    slow: float = 0.0
    """How long, in seconds, every `slow_every`-th event of key 0 takes."""
    slow_every: int = 10
    blocking: bool = False
    """Whether a slow handler holds up the event loop meanwhile."""
    without: str = ""
    """The guard that is taken out of the scripts (see `tests.guards`)."""
    fail_points: bool = True
    """Whether there are any: they have the committer send more, and smaller, commits."""
    crash: str = ""
    """The fail point (see `crashes`) at which the process gets `signal`."""
    nth: int = 1
    signal: str = "SIGKILL"

    @property
    def ledger(self) -> Path:
        return Path(self.folder) / "ledger"

    @property
    def go(self) -> Path:
        """While this file is missing, handlers hold."""
        return Path(self.folder) / "go"

    @property
    def mended(self) -> Path:
        """Once this file is there, no event is poison any more."""
        return Path(self.folder) / "mended"

    def fails(self, sale: Sale) -> bool:
        """Whether the event's handler is to fail."""
        poison = sale.key in self.poison and sale.number % self.poison_every == self.poison_every - 1
        return sale.number == self.fail or (poison and not self.mended.exists())

    @classmethod
    def from_json(cls, text: str) -> "Plan":
        return cls(**json.loads(text))

    def to_json(self) -> str:
        return json.dumps(asdict(self))


def make_app(plan: Plan) -> App:
    return App(plan.app, redis_url=plan.url, send_timeout=20)


def declare_stream(app: App, plan: Plan) -> Any:
    return app.stream(
        "sales",
        record=Sale,
        partition_by="key",
        partition_count=plan.partition_count,
        partition_size=plan.partition_size,
    )


def token_of(events: Any) -> str:
    """The term of ownership under which a processor's function gets these events. Users need not know it."""
    token = getattr(events, "_events", events)._source.lease.token
    return f"{token.epoch.decode()}/{token.nonce.decode()}"


async def linger(plan: Plan) -> None:
    """Be slow."""
    if plan.blocking:
        time.sleep(plan.slow)  # noqa: ASYNC251 - as a handler of somebody who does not know better
    else:
        await asyncio.sleep(plan.slow)


def declare(plan: Plan, crash: Callable[[str], None] = lambda _: None) -> App:
    """The app, its stream, and its processors: `till`, and others that do the same."""
    app, ledger = make_app(plan), Ledger(plan.ledger)

    begun: Counter[int] = Counter()
    cancelled: set[int] = set()

    def handler_of(events: Any) -> Callable[[Sale], Coroutine[Any, Any, None]]:
        token = token_of(events)
        begun[events.partition] += 1
        if begun[events.partition] <= plan.fail_to_begin:
            raise ConnectionError("no database")

        async def handle(sale: Sale) -> None:
            ledger.note(plan.worker, events.partition, sale.key, sale.number, "begun", token)
            crash("handler")
            if [sale.key, sale.number] in plan.deadly:
                if plan.hang:
                    time.sleep(plan.patience + 3 * plan.lock_expiry)  # noqa: ASYNC251 - what users should not do, and do
                else:
                    os._exit(POISONED)
            time.sleep(plan.block)  # noqa: ASYNC251 - what users should not do, and do
            if plan.work:
                await asyncio.sleep(plan.work)
            if plan.slow and sale.key == 0 and sale.number % plan.slow_every == plan.slow_every - 1:
                await linger(plan)
            while sale.number == plan.hold and not plan.go.exists():  # noqa: ASYNC110 - another process makes it
                await asyncio.sleep(0.005)
            if sale.number == plan.cancel and sale.key not in cancelled:
                cancelled.add(sale.key)
                task = asyncio.current_task()
                assert task is not None
                task.cancel()
                await asyncio.sleep(0)
            if plan.fails(sale):
                raise ValueError("no change")
            ledger.note(plan.worker, events.partition, sale.key, sale.number, "finished", token)

        return handle

    async def till(events: Any) -> None:
        handle = handler_of(events)
        match plan.style:
            case "records":
                async for sale in events.records():
                    await handle(sale)
            case "events":
                async for event in events:
                    await handle(event.record())
            case "take":
                async for sales in events.take(10, within=0.01).records():
                    for sale in sales:
                        await handle(sale)

    def plain(events: SyncEvents[Sale]) -> None:
        handle = handler_of(events)
        with asyncio.Runner() as runner:
            for sale in events.records():
                runner.run(handle(sale))

    stream = declare_stream(app, plan)
    for name in plan.processors:
        app.processor(
            stream,
            name=name,
            exception_policy=ExceptionPolicy(plan.policy),
            lock_expiry=plan.lock_expiry,
            grace_period=plan.grace_period,
            prefetch_count=plan.prefetch_count,
            join_delay=plan.join_delay,
            max_crashes=plan.max_crashes,
        )(plain if plan.style == "plain" else till)
    return app
