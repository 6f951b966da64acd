"""Moments that crossed each other once, and lost something: each of these failed before it was mended."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import redis

from runnel import Worker
from runnel.roles.reader import Reader
from runnel.store.link import Link
from tests.integration.faults.harness import World
from tests.integration.faults.shop import declare
from tests.integration.workers.crew import Crew, crew_of
from tests.servers import Server
from tests.support import wait_until

MakeCrew = Callable[..., Awaitable[Crew]]


async def test_what_is_owned_while_a_processor_restarts_runs_once(
    crew: MakeCrew, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The `Own` waits in the mailbox of the supervisor that restarts. The coordinator begins anew with all its partitions,
    and what the old `Own` has started must not run on beside that.
    """
    shop = await crew()
    first, second = await shop.join("a"), await shop.join("b")
    await shop.settled()
    take, failed = Reader._take, asyncio.Event()

    def fail_once(self: Reader, read: Any) -> Any:
        if not failed.is_set() and any(feed.lease.keys.number in first.partitions for feed in read.feeds.values()):
            failed.set()
            raise RuntimeError("a bug")
        return take(self, read)

    monkeypatch.setattr(Reader, "_take", fail_once)
    await shop.world.send(range(40), [0])
    await failed.wait()
    await second.leave()
    await shop.settled()
    await shop.world.all_done()
    running = [child.name.split(".")[0] for child in first.actor("till").children]
    assert len(running) == len(set(running)) == 18  # 16 partitions, reader, committer
    assert shop.owners() == {first.worker.id: set(range(16))}


async def test_who_leaves_while_it_acquires_holds_nothing_afterwards(
    crew: MakeCrew, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = await crew()
    answered, let_go = asyncio.Event(), asyncio.Event()
    run = Link.run

    async def slow(self: Link, calls: Any, **options: Any) -> Any:
        answers = await run(self, calls, **options)
        if calls and calls[0].script.name == "acquire":
            answered.set()
            await let_go.wait()
        return answers

    monkeypatch.setattr(Link, "run", slow)
    hand = await shop.join("a")
    await answered.wait()
    leaving = asyncio.create_task(hand.leave())
    await wait_until(lambda: hand.worker.stopping)
    let_go.set()
    await leaving
    assert shop.owners() == {"": set(range(16))}


async def test_a_worker_told_to_stop_before_it_has_connected_stops(valkey: Server, make_world: Callable[..., World]) -> None:
    world = make_world(valkey)
    app = declare(world.plan)
    worker = Worker(app)
    running = asyncio.create_task(worker.run())
    await asyncio.sleep(0)
    worker.stop()
    await asyncio.wait_for(running, 10)
    assert world.free() == world.plan.partition_count
    await app.close()


async def test_a_slow_script_of_somebody_else_ends_no_worker(
    own_server: Callable[..., Server], make_world: Callable[..., World]
) -> None:
    server = own_server()
    server.config(busy_reply_threshold=50)
    async with crew_of(make_world(server, lock_expiry=1.0)) as shop:
        await shop.join("a")
        await shop.settled()
        await shop.world.send(range(8), range(3))

        def loop_for_ever() -> None:
            with server.client() as client, pytest.raises(redis.ResponseError):
                client.eval("while true do end", 0)

        slow = threading.Thread(target=loop_for_ever)
        slow.start()
        with server.client() as client:
            await wait_until(lambda: is_busy(client), what="the server is busy")
            await wait_until(lambda: not shop.hands or not shop.hands[0].partitions, what="the lease has ended")
            client.script_kill()
        slow.join()
        await shop.world.send(range(8), range(3, 6))
        await shop.world.all_done()
        assert [hand.name for hand in shop.hands] == ["a"]


def is_busy(client: Any) -> bool:
    try:
        client.ping()
    except redis.ResponseError as error:
        return "BUSY" in str(error)
    return False


async def test_a_function_that_fails_before_its_loop_is_tried_again_until_it_works(
    valkey: Server, make_world: Callable[..., World]
) -> None:
    """As with a database that is away for a moment: sixteen partitions wait for it, and the worker outlives that."""
    world = make_world(valkey, partition_count=16, fail_to_begin=3)
    async with world.worker():
        await world.send(range(40), range(3))
        await world.all_done()
    world.check()
    assert not world.ledger.repeated()


async def test_a_partition_whose_task_is_cancelled_by_somebody_begins_anew(crew: MakeCrew) -> None:
    """As by a library that cancels the task it runs in, and does not take it back: nobody asked for that end."""
    shop = await crew(partition_count=1, cancel=2)
    await shop.join("a")
    await shop.world.send([1], range(5))
    await shop.world.all_done()
    assert {event.number for event in shop.world.ledger.repeated()} == {2}
    shop.world.check()


async def test_workers_find_each_other_again_on_a_server_that_was_flushed(crew: MakeCrew) -> None:
    shop = await crew(lock_expiry=1.0)
    for name in ("a", "b", "c"):  # three, so that versions are higher than those to come
        await shop.join(name)
        await shop.settled()
    with shop.world.server.client() as client:
        client.flushall()
    await shop.join("d")
    await shop.settled()
    await shop.world.send(range(20), range(3))
    await shop.world.all_done()
