"""What is read ahead is bounded, and one partition does not hold up another. As counts and conditions, not as times."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from attrs import define, field

from runnel.actors import ActorSnapshot
from runnel.app import App
from runnel.roles.lease import ROOM
from runnel.store import scripts
from runnel.store.link import Link
from runnel.worker import Worker
from tests.integration.faults.harness import World
from tests.integration.faults.shop import declare_stream, make_app
from tests.support import wait_until

Shop = Callable[..., World]
PARTITIONS = 16
NEVER = 600.0


@pytest.fixture(autouse=True)
def _a_read_blocks_until_it_is_woken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runnel.roles.reader.BLOCK", NEVER)


@define(eq=False)
class Gated:
    """A processor whose handlers wait at gates, and what it has done."""

    world: World
    shut: set[int] = field(factory=set)
    """The partitions whose handler waits."""
    changed: asyncio.Event = field(factory=asyncio.Event)
    begun: dict[int, int] = field(factory=dict)
    done: dict[int, int] = field(factory=dict)

    def app(self, **options: Any) -> App:
        app = make_app(self.world.plan)

        @app.processor(declare_stream(app, self.world.plan), name="till", lock_expiry=NEVER, **options)
        async def till(events: Any) -> None:
            async for _ in events.records():
                n = events.partition
                self.begun[n] = self.begun.get(n, 0) + 1
                while n in self.shut:
                    await self.changed.wait()
                self.done[n] = self.done.get(n, 0) + 1

        return app

    def open(self) -> None:
        self.shut.clear()
        self.changed.set()

    async def all_arrived(self) -> None:
        await wait_until(lambda: sum(self.done.values()) == len(self.world.sent), what=f"all arrived, not {self.done}")


def find(tree: ActorSnapshot, name: str) -> list[ActorSnapshot]:
    """The actors of a name, or of a beginning of a name that ends with `.`."""
    here = [tree] if tree.name == name or (name.endswith(".") and tree.name.startswith(name)) else []
    return here + [found for child in tree.children for found in find(child, name)]


def actor(worker: Worker, name: str) -> ActorSnapshot | None:
    """The actor of that name, or of that beginning; None when there is none yet."""
    tree = worker.snapshot()
    found = [] if tree is None else find(tree, name)
    return found[0] if found else None


def count(worker: Worker, name: str, what: str) -> int:
    """What an actor's statistics say; 0 when there is no such actor yet."""
    found = actor(worker, name)
    return int(str(found.details[what])) if found else 0


def is_full(worker: Worker, number: int) -> bool:
    """Whether a partition has all that it has room for: one batch in hand, and its mailbox full."""
    found = actor(worker, f"{number}.")
    return found is not None and found.mailbox_depth == ROOM - 1 and int(str(found.details["buffered"])) > 0


def one_key_each(world: World) -> dict[int, int]:
    """For each partition a key that goes there."""
    keys: dict[int, int] = {}
    for key in range(1000):
        keys.setdefault(world.stream.hash(key), key)
    return keys


@pytest.fixture
def world(shop: Shop) -> World:
    return shop(partition_count=PARTITIONS)


async def test_every_partition_is_read_from_the_start(world: World) -> None:
    """Partitions arrive one by one, while the first read is on its way already."""
    gated = Gated(world)
    async with world.worker(app=gated.app()):
        await wait_until(lambda: world.free() == 0)
        for _, key in sorted(one_key_each(world).items(), reverse=True):
            await world.send([key], [0])
            await gated.all_arrived()


async def test_a_slow_partition_does_not_hold_up_the_others(world: World) -> None:
    gated, keys = Gated(world, {3}), one_key_each(world)
    async with world.worker(app=gated.app(prefetch_count=5)):
        await world.send(keys.values(), range(100))
        await wait_until(
            lambda: all(gated.done.get(n) == 100 for n in range(PARTITIONS) if n != 3), what="the others are done"
        )
        assert (gated.begun[3], gated.done.get(3, 0)) == (1, 0)
        gated.open()
        await gated.all_arrived()


@pytest.mark.parametrize("size", [3, 50])
async def test_what_a_slow_partition_reads_ahead_is_bounded_in_events(world: World, size: int) -> None:
    gated, keys = Gated(world, {3}), one_key_each(world)
    async with world.worker(app=gated.app(prefetch_count=size)) as worker:
        await world.send([keys[3]], range(400))
        await wait_until(lambda: is_full(worker, 3), what="it has no room")
        await world.send([keys[4]], range(400))
        await wait_until(lambda: gated.done.get(4) == 400)
        assert is_full(worker, 3)
        assert count(worker, "3.", "buffered") <= size
        assert count(worker, "reader", "events") <= 400 + ROOM * size
        gated.open()
        await gated.all_arrived()


async def test_what_is_read_ahead_is_bounded_in_bytes(world: World) -> None:
    """Entries of 29 bytes or more, of which 6,000 bytes may be in hand over 16 partitions of two batches each."""
    gated, keys = Gated(world, {3}), one_key_each(world)
    async with world.worker(app=gated.app(prefetch_bytes=6_000)) as worker:
        await world.send([keys[4]], range(50))
        await wait_until(lambda: gated.done.get(4) == 50, what="the reader has seen the size of entries")
        await world.send([keys[3]], range(400))
        await wait_until(lambda: is_full(worker, 3), what="it has no room")
        assert count(worker, "3.", "buffered") <= 6_000 / (29 * PARTITIONS * ROOM)
        gated.open()
        await gated.all_arrived()


async def test_a_hot_partition_among_idle_ones_is_read_on_as_soon_as_it_has_room(world: World) -> None:
    """Were the reader not woken, it would wait for ever for an event of an idle partition."""
    gated, keys = Gated(world), one_key_each(world)
    async with world.worker(app=gated.app(prefetch_count=10)):
        await world.send([keys[7]], range(1_000))
        await gated.all_arrived()


async def test_a_partition_that_was_full_for_long_is_read_on_when_it_has_room(world: World) -> None:
    gated, keys = Gated(world, {7}), one_key_each(world)
    async with world.worker(app=gated.app(prefetch_count=10)) as worker:
        await world.send([keys[7]], range(100))
        await wait_until(lambda: is_full(worker, 7), what="it has no room")
        await wait_until(lambda: blocked_clients(world) == 2, what="both XREADs block, the reader on the others")
        gated.open()
        await gated.all_arrived()


def blocked_clients(world: World) -> int:
    with world.server.client() as client:
        return int(client.info("clients")["blocked_clients"])


async def test_a_reader_whose_partitions_go_while_it_connects_reads_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    command, connected = Link.command, asyncio.Event()

    async def slow(self: Link, *args: Any, **options: Any) -> Any:
        if args == ("CLIENT", "ID"):
            await connected.wait()
        return await command(self, *args, **options)

    monkeypatch.setattr(Link, "command", slow)
    async with world.worker() as worker:
        await wait_until(lambda: count(worker, "reader", "partitions") == PARTITIONS)
        await take_all_away(world)
        await wait_until(lambda: count(worker, "reader", "partitions") == 0)
        connected.set()
        await wait_until(lambda: count(worker, "reader", "reading") == 0)
    assert "actor failed" not in caplog.text


async def take_all_away(world: World) -> None:
    """Fence every owner, and take its partition."""
    link = (await world.app.open()).link()
    for n in range(PARTITIONS):
        await link.call(scripts.reset(world.keys(n), "till", "earliest"))
        await link.call(
            scripts.acquire(world.keys(n), "till", worker="other", nonce=b"other", lease=NEVER, start="earliest")
        )
    await link.close()
