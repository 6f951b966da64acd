"""The workers of two apps on one server, stopped at the same time for longer than a lease, and let go on."""

import asyncio
import signal
from collections.abc import Callable
from pathlib import Path

from tests.integration.faults.harness import World
from tests.servers import Server
from tests.support import wait_until

LEASE = 1.0


async def test_the_coordinators_of_two_apps_are_paused_and_resumed(
    valkey: Server, make_world: Callable[..., World], tmp_path: Path
) -> None:
    worlds = []
    for app in ("shop", "bank"):
        (tmp_path / app).mkdir()
        worlds.append(make_world(valkey, app=app, folder=tmp_path / app, lock_expiry=LEASE))
    first = {world.plan.app: world.start(f"{world.plan.app}-1") for world in worlds}
    for world in worlds:
        await wait_until(lambda world=world: world.is_owner(first[world.plan.app]))
        await world.send(range(12), range(10))
    for process in first.values():
        process.signal(signal.SIGSTOP)
    for world in worlds:
        world.start(f"{world.plan.app}-2")
        await world.send(range(12), range(10, 20))
    await asyncio.gather(*(world.all_done() for world in worlds))
    for process in first.values():
        process.signal(signal.SIGCONT)
    for world in worlds:
        await world.send(range(12), range(20, 30))
    await asyncio.gather(*(world.all_done() for world in worlds))
    for world in worlds:
        await wait_until(lambda world=world: len(set(owners(world))) == 2, what="both workers of the app have their share")
        world.check()


def owners(world: World) -> list[str]:
    return [world.slot(n).get("owner", "") for n in range(world.plan.partition_count)]
