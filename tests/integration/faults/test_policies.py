"""What becomes of an event that failed for good. `test_policy_matrix.py` goes through all policies and ways to fail."""

import asyncio
import sys
from collections.abc import Callable
from typing import Any

import pytest

from runnel import Reject, Retry
from runnel.actors.snapshot import State
from runnel.operations.release import carry_out, make_plan
from tests.integration.faults.harness import World
from tests.integration.faults.ledger import Order
from tests.integration.faults.shop import Sale
from tests.integration.faults.test_failing_handlers import spoil
from tests.integration.faults.test_retry import Till, actors, failing, partition_details
from tests.support import wait_until

Shop = Callable[..., World]
ERRORS = pytest.mark.parametrize("error", ["exception", "timeout", "undecodable"])
NOTED = {"~id", "~error", "~traceback", "~attempts", "~failed_at", "~worker"}


def in_order(numbers: list[int]) -> list[int]:
    """Without repetitions: of a batch that failed all are tried again."""
    return list(dict.fromkeys(numbers))


async def send_with(world: World, place: int, error: str) -> None:
    """Ten events, one of which, at this place, is to fail."""
    if error != "undecodable":
        return await world.send([1], range(10))
    await world.send([1], range(place))
    spoil(world, "{broken")
    await world.send([1], range(place + 1, 10))


def handler(place: int, error: str, fixed: list[bool] | None = None) -> Callable[[Sale], Any]:
    def handle(sale: Sale) -> Any:
        if sale.number != place or fixed:
            return None
        if error == "timeout":
            return asyncio.Event().wait()
        raise ValueError("no change")

    return handle


def expected(error: str) -> str:
    return {
        "exception": "ValueError: no change",
        "timeout": "TimedOut: took longer than 0.1 s",
        "undecodable": "RecordError: ",
    }[error]


@ERRORS
async def test_a_dead_letter_has_all_that_its_event_had_and_says_what_happened(shop: Shop, error: str) -> None:
    world, place = shop(partition_count=1), 5
    await send_with(world, place, error)
    raw = world.raw_log()
    till = Till(world, handler(place, error), "records", exception_policy="dead_letter", timeout=0.1)
    async with world.worker(app=till.app) as worker:
        await world.all_done()
        await wait_until(lambda: world.slot(0)["count"] == "10")
        assert partition_details(worker)["dead"] == 1
    assert in_order(till.done) == [number for number in range(10) if number != place]
    [dead] = world.dead()
    xid, fields = raw[place]
    assert {name: value for name, value in dead.items() if name not in NOTED} == fields
    assert dead["~id"] == xid
    assert dead["~error"].startswith(expected(error))
    assert expected(error).split(":")[0] in dead["~traceback"]
    assert float(dead["~failed_at"]) > 1e9
    assert dead["~worker"] == worker.id


async def test_a_running_worker_takes_up_a_quarantined_partition_once_it_is_released(shop: Shop) -> None:
    world, fixed = shop(partition_count=1), list[bool]()
    await world.send([1], range(10))
    till = Till(world, handler(5, "exception", fixed), exception_policy="quarantine", lock_expiry=1)
    async with world.worker(app=till.app):
        await wait_until(lambda: "stopped" in world.slot(0) and not world.slot(0)["owner"])
        fixed.append(True)
        till.app.override(redis_url=world.server.url)
        processor = till.app.processors["till"]
        await carry_out(till.app, processor, await make_plan(till.app, processor))
        await world.all_done()
    assert till.done == list(range(10))
    assert till.begun == [*range(6), *range(5, 10)]


async def test_a_quarantine_outlives_its_worker_and_leaves_other_partitions_alone(shop: Shop) -> None:
    world = shop(partition_count=4)
    await world.send(range(12), range(3))
    bad = world.partition_of(3)

    def handle(sale: Sale) -> None:
        if sale.key == 3 and sale.number == 1:
            raise ValueError("no change")

    for _ in range(2):
        till = Till(world, handle, exception_policy="quarantine", lock_expiry=1)
        async with world.worker(app=till.app) as worker:
            await wait_until(lambda: "stopped" in world.slot(bad))
            await wait_until(lambda: all(partition(world, event) == bad for event in world.uncommitted()))
            await wait_until(lambda: not world.slot(bad)["owner"])
            await wait_until(lambda worker=worker: supervisor(worker).details.get("partitions") == 3)
    assert "ValueError" in world.slot(bad)["stopped"]
    assert Order(3, 1) in world.uncommitted()


def supervisor(worker: Any) -> Any:
    [found] = [each for each in actors(worker.snapshot()) if each.name == "till"]
    return found


def partition(world: World, event: Order) -> int:
    return int(world.sent[event].split("/")[1])


@pytest.mark.parametrize("policy", ["ignore", "dead_letter", "park"])
@pytest.mark.parametrize("style", ["events", "take"])
async def test_an_event_that_fails_while_its_partition_is_let_go_stays_the_next_one_and_halts_nobody(
    shop: Shop, policy: str, style: str
) -> None:
    world, going = shop(partition_count=1), asyncio.Event()

    async def fail_later() -> None:
        await going.wait()
        raise ValueError("no change")

    await world.send([1], range(4))
    till = Till(world, lambda sale: fail_later() if sale.number == 0 else None, style, exception_policy=policy)
    async with world.worker(app=till.app) as worker:
        await wait_until(lambda: till.begun == [0])
        failing = asyncio.create_task(once_it_is_let_go(worker, going))
    await failing
    assert world.slot(0).get("count", "0") == "0"
    second = Till(world, lambda sale: None, style, exception_policy=policy)
    async with world.worker(app=second.app):
        await world.all_done()
    assert second.done == list(range(4))


async def once_it_is_let_go(worker: Any, going: asyncio.Event) -> None:
    """Let a handler go on, when its partition has been told to stop."""
    stopping = lambda: [each.state for each in actors(worker.snapshot()) if each.kind == "Partition"] == [State.STOPPING]  # noqa: E731
    await wait_until(stopping)
    going.set()


async def test_of_a_batch_that_fails_all_are_tried_one_by_one_with_all_their_attempts(shop: Shop) -> None:
    world = shop(partition_count=1)
    await world.send([1], range(4))
    till = Till(
        world,
        failing(2, 100),
        "take",
        exception_policy="dead_letter",
        retry=Retry(attempts=2, backoff=0.001),
    )
    async with world.worker(app=till.app):
        await world.all_done()
    assert till.begun == [0, 1, 2] * 2 + [0, 1, 2, 2, 3]
    assert till.attempts == [1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 4, 3]
    [dead] = world.dead()
    assert dead["~attempts"] == "4"


@pytest.mark.parametrize("error", [Reject, ValueError])
@pytest.mark.parametrize("every", [1, 2])
async def test_each_of_many_dead_letters_is_kept_in_order(shop: Shop, error: type[Exception], every: int) -> None:
    """More than one commit carries."""
    world = shop(partition_count=1)
    await world.send([1], range(1_000))

    def handle(sale: Sale) -> None:
        if sale.number % every == 0:
            raise error("no change")

    till = Till(world, handle, exception_policy="dead_letter")
    async with world.worker(app=till.app):
        await world.all_done()
    assert till.done == [number for number in range(1_000) if number % every]
    xids = [place.rpartition("/")[2] for event, place in world.sent.items() if event.number % every == 0]
    assert [dead["~id"] for dead in world.dead()] == xids


async def test_dead_letters_larger_than_one_commit_go_in_several(shop: Shop) -> None:
    world = shop(partition_count=1)
    await world.stream.send(*(Sale(key=1, number=number, ballast="x" * 700_000) for number in range(4)))

    def handle(sale: Sale) -> None:
        raise ValueError("no change")

    till = Till(world, handle, exception_policy="dead_letter")
    async with world.worker(app=till.app):
        await wait_until(lambda: world.slot(0)["count"] == "4")
    assert len(world.dead()) == 4


@pytest.mark.parametrize("crash", ["before commit", "commit sent", "after commit"])
@pytest.mark.parametrize("nth", [1, 2])
async def test_a_killed_worker_loses_no_dead_letter_and_doubles_none(shop: Shop, crash: str, nth: int) -> None:
    world = shop(policy="dead_letter", fail=4, partition_count=1)
    first = world.start("first", crash=crash, nth=nth)
    for number in range(10):
        await world.send(range(3), [number])
    assert await first.ended() < 0
    world.start("second")
    await world.all_done()
    assert set(world.ledger.finished()) == {event for event in world.sent if event.number != 4}
    assert [dead["~id"] for dead in world.dead()] == [
        place.rpartition("/")[2] for event, place in world.sent.items() if event.number == 4
    ]


async def test_an_event_whose_handler_calls_sys_exit_has_failed_as_any_other(shop: Shop) -> None:
    world = shop(partition_count=1)
    await world.send([1], range(3))

    def handle(sale: Sale) -> None:
        if sale.number == 1:
            sys.exit(3)

    till = Till(world, handle, exception_policy="dead_letter")
    async with world.worker(app=till.app):
        await world.all_done()
    assert till.done == [0, 2]
    assert [fields["~error"] for fields in world.dead()] == ["RuntimeError: called sys.exit(3)"]
