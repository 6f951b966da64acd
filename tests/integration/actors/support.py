"""What tests of actors share: a small app, a worker that runs it, and what the server holds of a partition."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

from attrs import frozen

from runnel import App, Record, Stream
from runnel.worker import Worker
from tests.servers import Server
from tests.support import wait_until


class Step(Record):
    """An event of a key; `number` counts the key's events, where that matters."""

    key: str
    number: int = 0
    do: str = ""


def make_app(server: Server, *, partition_count: int = 1, **settings: Any) -> tuple[App, Stream[Step]]:
    """An app, and its stream of steps. Another call is another worker's app."""
    app = App("shop", redis_url=server.url, default_lock_expiry=1.0, **settings)
    return app, app.stream("steps", record=Step, partition_by="key", partition_count=partition_count)


def steps(keys: Iterable[str], numbers: Iterable[int], do: str = "") -> list[Step]:
    """The steps of these numbers of each key: number after number."""
    keys = list(keys)
    return [Step(key=key, number=number, do=do) for number in numbers for key in keys]


@asynccontextmanager
async def working(app: App) -> AsyncIterator[Worker]:
    """A worker in this process and loop; it stops in order at the end."""
    worker = Worker(app)
    running = asyncio.create_task(worker.run())
    await wait_until(lambda: worker.snapshot() is not None or running.done())
    try:
        yield worker
    finally:
        worker.stop()
        await running
        await app.close()


def details(worker: Worker, processor: str, partition: int = 0) -> dict[str, Any]:
    """What the tree shows of a partition; nothing, if it does not run."""
    found = worker.snapshot()
    for name in (processor, f"{partition}."):
        found = None if found is None else next((child for child in found.children if child.name.startswith(name)), None)
    return {} if found is None else dict(found.details)


def restarts(worker: Any) -> int:
    """How often actors of the tree have begun anew."""

    def of(snapshot: Any) -> int:
        return int(snapshot.restarts + sum(map(of, snapshot.children)))

    return of(worker.snapshot())


@frozen
class Held:
    """What the server holds of a partition of actors, at one moment."""

    last: str
    """The id of the last event."""
    cursor: str
    marks: set[str]
    states: dict[str, str]
    reminders: dict[str, str]
    due: list[str]
    """Of reminders and delayed events, as ids."""

    @property
    def is_done(self) -> bool:
        return self.cursor == self.last and not self.marks


def held(server: Server, stream: Stream[Any], processor: str, partition: int = 0) -> Held:
    """Look, in one transaction."""
    keys = stream.partitions[partition]
    with server.client(encoding_errors="surrogateescape") as redis, redis.pipeline() as pipe:
        pipe.xrevrange(keys.log.decode(), count=1)
        pipe.hget(keys.cursors.decode(), processor)
        pipe.smembers(keys.done(processor).decode())
        pipe.hgetall(keys.state(processor).decode())
        pipe.hgetall(keys.reminders(processor).decode())
        pipe.zrange(keys.delayed.decode(), 0, -1)
        last, cursor, *rest = pipe.execute()
    return Held(last[0][0] if last else "0-0", cursor or "0-0", *rest)


async def all_done(server: Server, stream: Stream[Any], processor: str, timeout: float = 20.0) -> None:
    """Wait until all events that are in the logs are done and committed, those of reminders too."""
    partitions = range(len(stream.partitions))
    await wait_until(lambda: all(held(server, stream, processor, n).is_done for n in partitions), timeout, "all is done")
