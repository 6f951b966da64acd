"""A server whose memory is full (`maxmemory`, noeviction): what is refused, what goes on, and how it recovers."""

import itertools
from collections.abc import Callable

import pytest

from runnel.actors import ActorSnapshot
from runnel.errors import StoreRefused
from runnel.roles.trimmer import is_nearly_full
from runnel.store import scripts
from runnel.worker import Worker
from tests.integration.faults.harness import World
from tests.integration.faults.ledger import Order
from tests.integration.faults.shop import Sale
from tests.servers import Server
from tests.support import wait_until

ROOM = 8 * 2**20
BALLAST = "x" * 10_000


@pytest.fixture
def world(make_world: Callable[..., World], server: Server) -> World:
    """A world on each kind of server, with little memory."""
    with server.client() as client:
        server.config(maxmemory=client.info("memory")["used_memory"] + ROOM)
    return make_world(server, hold=0, lock_expiry=600.0)


async def fill(world: World) -> None:
    """Send until the server refuses; then it has less memory than it uses."""
    with pytest.raises(StoreRefused, match=r"is full \(maxmemory\): nothing can be sent until processors have"):  # noqa: PT012 - which of the sends is refused does not matter
        for number in itertools.count():
            orders = [Order(key, number) for key in range(8)]
            ids = await world.stream.send(*(Sale(key=o.key, number=o.number, ballast=BALLAST) for o in orders))
            world.sent.update(zip(orders, ids, strict=True))
    with world.server.client() as client:
        world.server.config(maxmemory=client.info("memory")["used_memory"] - 2**20)


async def test_a_producer_is_told_and_can_send_again_when_the_worker_has_caught_up(world: World) -> None:
    async with world.worker():
        await wait_until(lambda: world.free() == 0)
        await fill(world)
        assert len(world.uncommitted()) == len(world.sent) > 500

        world.let_go()
        await world.all_done()
        await can_send(world)
    world.check()


async def test_a_worker_that_starts_on_a_full_server_makes_it_recover(world: World) -> None:
    async with world.worker():
        await wait_until(lambda: world.free() == 0)
    await fill(world)

    world.let_go()
    world.start("first")
    await world.all_done()
    await can_send(world)
    world.check()


async def test_what_another_processor_has_not_done_is_not_trimmed(world: World) -> None:
    link = (await world.app.open()).link()
    for n in range(world.plan.partition_count):
        await link.call(scripts.register(world.keys(n), "audit", "earliest"))
    await link.close()
    async with world.worker() as worker:
        await wait_until(lambda: duties(worker), what="it leads, and trims")
        await fill(world)
        world.let_go()
        await world.all_done()
        looks = trimmer(worker).processed
        await wait_until(lambda: trimmer(worker).processed >= looks + 2, what="it has looked at the full server")
        assert trimmer(worker).details["trimmed"] == 0
        assert {event for event, _ in world.log()} >= set(world.sent)


def duties(worker: Worker) -> list[ActorSnapshot]:
    """What the worker does as the leader."""
    tree = worker.snapshot()
    assert tree is not None
    return list(next(actor for actor in tree.children if actor.name == "leader").children)


def trimmer(worker: Worker) -> ActorSnapshot:
    return next(duty for duty in duties(worker) if duty.name == "trimmer")


async def can_send(world: World) -> None:
    """Wait until half of the room is there again, and what fills it is processed."""

    async def accepted(number: int) -> bool:
        try:
            [place] = await world.stream.send(Sale(key=100, number=number, ballast="x" * 2**19))
        except StoreRefused:
            return False
        world.sent[Order(100, number)] = place
        return True

    for number in range(ROOM // 2**20):
        await wait_until(lambda number=number: accepted(number), what="there is room again")
    await wait_until(world.all_committed)


@pytest.mark.parametrize(
    ("used", "limit", "uncounted", "full"),
    [(89, 100, 0, False), (90, 100, 0, True), (120, 100, 0, True), (95, 100, 6, False), (95, 0, 0, False)],
)
def test_a_server_is_nearly_full_from_nine_tenths_on(used: int, limit: int, uncounted: int, full: bool) -> None:
    info = f"# Memory\r\nused_memory:{used}\r\nused_memory_human:1K\r\nmaxmemory:{limit}\r\n"
    assert is_nearly_full(f"{info}mem_not_counted_for_evict:{uncounted}\r\n".encode()) is full
