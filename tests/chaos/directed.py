"""Faults one after the other, arranged so that one guard of the scripts stands alone between them and an accident.

Ids are chosen by the sender, counting up by itself: so other events come under the ids of those that a failover lost.
Each ends with everything settled; with its guard in place nothing is violated, without it something is.
"""

from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from signal import Signals
from typing import Any

from attrs import field, frozen

from runnel.store.keys import PartitionKeys
from tests.chaos import parking
from tests.chaos.checks import violations
from tests.chaos.record import Record
from tests.chaos.world import World, opened
from tests.integration.faults.harness import Process
from tests.integration.faults.ledger import Order
from tests.support import wait_until

PATIENCE = 30.0
"""Seconds to wait for what is certain to come, on a machine that has much else to do."""


def orders(*numbers: int) -> list[Order]:
    return [Order(1, number) for number in numbers]


def ids(counts: Iterable[int]) -> list[str]:
    return [f"{count}-0" for count in counts]


async def begun(world: World, number: int) -> None:
    await wait_until(lambda: Order(1, number) in world.shop.ledger.begun(), PATIENCE, f"event {number} is begun")


async def history(world: World) -> None:
    """An owner that has lost events in hand does not commit past those that have come under their ids."""
    await world.send(orders(0, 1, 2), ids(range(1, 4)))
    await world.hire(hold=3, lock_expiry=60.0)  # however long the failover takes, it is the owner when it commits
    await world.settled()
    await world.pair.in_step()
    world.pair.sever()
    await world.send(orders(3, 4), ids(range(4, 6)))
    await begun(world, 3)
    await world.promote()
    await world.send(orders(10, 11), ids(range(4, 6)))
    world.shop.let_go()
    await world.settled()


async def nonce(world: World) -> None:
    """Two owners got the same epoch, one of them on the server that is gone: its commit is not taken for the other's."""
    await world.pair.in_step()
    world.pair.sever()
    await world.send(orders(0, 1, 2), ids(range(1, 4)))
    _, first = await world.hire(lock_expiry=60.0, fail_points=True, crash="before commit", signal="SIGSTOP")
    await wait_until(lambda: first.stopped, PATIENCE, "the first owner is stopped with its first commit in hand")
    await world.promote()
    await world.send(orders(10, 11, 12), ids(range(1, 4)))
    second = await world.hire(hold=10)  # comes now: the new server has never heard of the first, which is thus not waited for
    await begun(world, 10)
    first.signal(Signals.SIGCONT)
    await wait_until(lambda: stood(first), PATIENCE, "the first owner's commit is answered")
    world.kill(second)
    world.shop.let_go()
    await world.settled()


def stood(process: Process) -> bool:
    return '"answers": ["' in process.log or "partition lost" in process.log


async def number(world: World) -> None:
    """A commit that the network has kept back does not undo those that came after it."""
    await world.send(orders(0))
    life, _ = await world.hire()
    await world.settled()
    gate, keys = world.gates[life.name], world.shop.keys(0)
    gate.keep_next_request(lambda request: is_commit(request, keys))
    await world.send(orders(1))
    await wait_until(lambda: gate.late, PATIENCE, "a commit is kept back")
    await world.settled()
    await world.send(orders(2))
    await world.settled()
    await world.watch.looked()
    gate.let_go()
    await wait_until(lambda: gate.late_replies, PATIENCE, "it arrived late")
    await world.watch.looked()
    await world.send(orders(3))
    await world.settled()


def is_commit(request: bytes, keys: PartitionKeys) -> bool:
    """Of all scripts, it is the one with the slot and the cursors, and without the log."""
    return b"EVALSHA" in request and keys.slot("till") in request and keys.cursors in request and keys.log not in request


async def parked(world: World) -> None:
    """Who takes over from an owner that has died parks the newer events of the keys that are parked."""
    await world.send(orders(0, 1))
    first = await world.hire()
    await world.settled()  # 0 has failed, and 1 lies behind it
    world.kill(first)
    world.shop.plan.mended.touch()
    await world.send(orders(2))
    await world.hire()
    await world.settled()
    await parking.all_released(world)


@frozen(kw_only=True)
class Scenario:
    """Faults in a world of their own: what they are, what its workers do, and what is judged when they are over."""

    arrange: Callable[[World], Awaitable[None]]
    replica: bool = True
    plan: dict[str, Any] = field(factory=dict)
    violations: Callable[[Record], list[str]] = violations


SCENARIOS = {
    "history": Scenario(arrange=history),
    "nonce": Scenario(arrange=nonce),
    "number": Scenario(arrange=number, replica=False),
    "parked": Scenario(
        arrange=parked,
        replica=False,
        plan={"policy": "park", "poison": [1], "poison_every": 1},
        violations=parking.of_each_key,
    ),
}
"""By the guard that stands alone between these faults and an accident."""


async def forgotten_registry(folder: Path) -> list[str]:
    """A failover loses who is to own what; later a worker dies, and the other one must take over what it had."""
    async with opened(folder, replica=True) as world:
        await world.pair.in_step()
        world.pair.sever()
        await world.send(Order(key, 0) for key in range(12))
        first, second = await world.hire(), await world.hire()
        await wait_until(lambda: {first, second} <= set(world.owners()), 20, "both own something")
        await world.promote()
        await world.send(Order(key, 1) for key in range(12))
        await world.settled()
        world.kill(first)
        await world.send(Order(key, 2) for key in range(12))
        try:
            await world.settled(10)
        except AssertionError as error:
            return [f"it came to no end: {error}", *violations(world.record())]
        return violations(world.record())


async def accident(guard: str, without: str, folder: Path) -> list[str]:
    """What is violated when the accident of a guard is arranged, without some guard or with all of them ("")."""
    scenario = SCENARIOS[guard]
    async with opened(folder, replica=scenario.replica, partition_count=1, without=without, **scenario.plan) as world:
        try:
            await scenario.arrange(world)
        except AssertionError as error:
            return [f"it came to no end: {error}", *scenario.violations(world.record())]
        return scenario.violations(world.record())
