"""A server that dies, drops its clients, or forgets its scripts, under workers and producers that run."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.integration.faults.harness import World
from tests.servers import Kind, Server
from tests.support import wait_until

Shop = Callable[..., World]
KEYS = range(10)


@asynccontextmanager
async def producer(world: World, numbers: int) -> AsyncIterator[None]:
    """Sends the numbers one after the other, in a task; has sent all at the end."""

    async def produce() -> None:
        for number in range(numbers):
            await world.send(KEYS, [number])

    sending = asyncio.create_task(produce())
    try:
        yield
        await sending
    finally:
        sending.cancel()


async def trouble(world: World, times: int, every: int, make: Callable[[], Any]) -> None:
    """Make trouble each time `every` more events are finished."""
    for n in range(1, times + 1):
        await wait_until(
            lambda n=n: len(world.ledger.finished()) >= n * every,
            timeout=20,
            what=f"it goes on after {n - 1} troubles",
        )
        await asyncio.to_thread(make)


async def everything_arrived_once(world: World) -> None:
    """All is committed, per key in order, and the logs hold what was sent, once, under the ids that `send` told."""
    await world.all_done()
    world.check()
    log = world.log()
    assert sorted(log) == sorted(world.sent.items())
    for key in KEYS:
        numbers = [event.number for event, _ in log if event.key == key]
        assert numbers == sorted(numbers)


@pytest.mark.parametrize("kind", ["valkey", "redis7"])
async def test_a_server_killed_and_started_again_has_everything_go_on(
    make_world: Shop, own_server: Callable[..., Server], kind: Kind
) -> None:
    server = own_server(kind)
    world = make_world(server)
    worker = world.start("first")
    async with producer(world, 60):
        await trouble(world, 4, 120, lambda: server.restart(kill=True))
    await everything_arrived_once(world)
    assert worker.running


async def test_commits_of_before_a_restart_of_the_server_are_refused_and_done_again(
    make_world: Shop, own_server: Callable[..., Server]
) -> None:
    """The server comes back with the very token that it had, but with another history: what went before may be lost."""
    server = own_server(durable=False)
    world = make_world(server, partition_count=1, hold=1, lock_expiry=600.0)
    with server.client() as client:
        client.config_set("save", "3600 1")
        await world.send([1], range(2))
        async with world.worker():
            await wait_until(lambda: len(world.ledger.begun()) == 2 and len(world.uncommitted()) == 1)
            client.save()
            await asyncio.to_thread(server.restart, kill=True)
            assert world.slot(0)["epoch"] == "1"
            world.let_go()
            await world.all_done()
    assert world.slot(0)["epoch"] == "2"
    assert [event.number for event in world.ledger.begun()] == [0, 1, 1]


async def test_clients_killed_over_and_over_have_everything_go_on(shop: Shop) -> None:
    world = shop()
    with world.server.client() as client:
        async with world.worker(), producer(world, 60):
            await trouble(world, 20, 25, lambda: client.client_kill_filter(_type="normal", skipme=True))
            await world.all_done()
    await everything_arrived_once(world)


async def test_scripts_flushed_over_and_over_have_everything_go_on(shop: Shop) -> None:
    world = shop()
    with world.server.client() as client:
        async with world.worker(), producer(world, 60):
            await trouble(world, 40, 12, client.script_flush)
            await world.all_done()
    await everything_arrived_once(world)
    assert not world.ledger.repeated()


async def test_a_worker_stops_while_the_server_is_away(make_world: Shop, own_server: Callable[..., Server]) -> None:
    server = own_server()
    world = make_world(server, hold=3)
    await world.send([1], range(5))
    worker = world.start("first")
    await wait_until(lambda: len(world.ledger.begun()) == 4)
    server.kill()
    world.let_go()
    worker.popen.terminate()
    assert await worker.ended() == 0
    server.start()
    world.start("second")
    await world.all_done()
    world.check()
