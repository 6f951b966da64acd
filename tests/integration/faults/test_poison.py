"""Events that end the process that runs them: they run alone in the end, then the policy decides, and the rest goes on."""

import signal
from collections.abc import Callable
from typing import Any

import pytest

from runnel.store import moves
from tests.integration.faults.harness import Process, World, is_done
from tests.integration.faults.ledger import Order
from tests.integration.faults.shop import POISONED
from tests.support import wait_until

Shop = Callable[..., World]

MAX = 2
"""Crashes before an event runs alone, in these tests."""

POISON = Order(1, 3)


def poisoned(shop: Shop, *events: Order, **options: Any) -> World:
    """A world with events that kill: one partition, unless something else is asked for."""
    plan = {"partition_count": 1, "lock_expiry": 0.4, "max_crashes": MAX, "fail_points": False, **options}
    return shop(deadly=[[event.key, event.number] for event in events], **plan)


async def runs_until(world: World, done: Callable[[], bool], most: int = 20) -> tuple[int, Process]:
    """Start a worker, and another whenever one dies of an event. How many died, and the one that runs."""
    for died in range(most):
        process = world.start(f"worker{died}")
        await wait_until(lambda p=process: done() or not p.running, 30, what="workers get on")
        if process.running:
            return died, process
        assert await process.ended() == POISONED, process.log[-4000:]
    raise AssertionError(f"{most} workers died:\n{process.log[-4000:]}")


def begun(world: World, event: Order) -> int:
    return world.ledger.begun().count(event)


@pytest.mark.parametrize(
    ("policy", "style"),
    [("ignore", "records"), ("dead_letter", "events"), ("dead_letter", "take"), ("park", "records"), ("park", "take")],
)
async def test_a_poison_event_is_run_alone_and_passed_over(shop: Shop, policy: str, style: str) -> None:
    world = poisoned(shop, POISON, policy=policy, style=style)
    await world.send([1, 2], range(8))
    died, _ = await runs_until(world, world.all_committed)
    assert died == begun(world, POISON)
    assert MAX + 1 <= died <= MAX + 2  # whether anything was committed before the first death is a matter of luck
    others = set(world.sent) - {POISON}
    behind = {Order(1, n) for n in range(4, 8)} if policy == "park" else set()
    assert set(world.ledger.finished()) == others - behind
    kept = {"ignore": [], "dead_letter": world.dead(), "park": world.parked()}[policy]
    assert len(kept) == {"ignore": 0, "dead_letter": 1, "park": 5}[policy]
    for fields in kept[:1]:
        assert fields["~error"].startswith(f"WorkerCrashed: {MAX + 1} workers in a row were lost")
        assert fields["~id"] == world.sent[POISON].rsplit("/", 1)[1]


@pytest.mark.parametrize("policy", ["halt", "quarantine"])
async def test_a_poison_event_that_may_not_be_passed_over_quarantines_its_partition(shop: Shop, policy: str) -> None:
    world = poisoned(shop, POISON, policy=policy, partition_count=2)
    await world.send([1, 2, 3, 4], range(8))
    poisoned_partition = world.partition_of(1)
    done = lambda: bool(world.slot(poisoned_partition).get("stopped")) and not world.slot(poisoned_partition)["owner"]  # noqa: E731
    died, process = await runs_until(world, done)
    assert MAX + 1 <= died <= MAX + 2
    assert "WorkerCrashed" in world.slot(poisoned_partition)["stopped"]
    elsewhere = {event for event in world.sent if world.partition_of(event.key) != poisoned_partition}
    await wait_until(lambda: elsewhere <= set(world.ledger.finished()), what="the other partition goes on")
    assert process.running
    assert not is_done(world.sent[POISON], world.cursors())


async def test_several_poison_events_are_passed_over_one_after_the_other(shop: Shop) -> None:
    poison = [Order(1, 1), Order(1, 2), Order(2, 5)]
    world = poisoned(shop, *poison, policy="dead_letter", style="take")
    await world.send([1, 2], range(8))
    died, _ = await runs_until(world, world.all_committed)
    assert died <= len(poison) * (MAX + 2)
    assert set(world.ledger.finished()) == set(world.sent) - set(poison)
    assert [fields["~id"] for fields in world.dead()] == [world.sent[event].rsplit("/", 1)[1] for event in poison]


async def test_an_event_that_hangs_does_not_circulate_for_ever(shop: Shop) -> None:
    world = poisoned(shop, POISON, policy="dead_letter", hang=True, patience=0.5)
    await world.send([1, 2], range(8))
    processes = [world.start("first"), world.start("second")]
    await world.all_done(60)
    assert all(process.running for process in processes)
    assert MAX + 1 <= begun(world, POISON) <= MAX + 2
    assert [fields["~id"] for fields in world.dead()] == [world.sent[POISON].rsplit("/", 1)[1]]
    assert set(world.ledger.finished()) == set(world.sent)  # it does end, each time: too late to be committed


async def test_a_slow_event_beside_a_poison_one_is_not_blamed(shop: Shop) -> None:
    """Neither has been committed when a worker dies, so both are suspected. They run alone, one after the other."""
    first = Order(1, 0)
    world = poisoned(shop, first, policy="ignore", work=0.3, partition_count=4)
    await world.send(range(12), [0])
    assert len(world.partitions()) == 4
    await runs_until(world, world.all_committed)
    assert set(world.ledger.finished()) == set(world.sent) - {first}


async def test_killing_a_healthy_worker_again_and_again_makes_no_event_a_suspect(shop: Shop) -> None:
    world = poisoned(shop, policy="ignore", work=0.01, max_crashes=1 + 1)
    await world.send([1, 2], range(60))
    for n in range(5):
        process = world.start(f"worker{n}")
        before = len(world.ledger.finished())
        await wait_until(lambda p=process, b=before: len(world.ledger.finished()) > b + 5 and world.is_owner(p))
        process.signal(signal.SIGKILL)
        await process.ended()
    world.start("last")
    await world.all_done()
    world.check()
    assert not any("event runs alone" in each.log for each in world.processes)


async def test_leaving_politely_in_the_middle_of_a_slow_event_is_no_crash(shop: Shop) -> None:
    world = poisoned(shop, hold=0, policy="ignore", grace_period=0)
    await world.send([1], [0])
    for n in range(MAX + 2):
        process = world.start(f"worker{n}")
        await wait_until(lambda n=n: len(world.ledger.begun()) == n + 1)
        assert world.slot(0)["crashes"] == "0"
        process.signal(signal.SIGTERM)
        assert await process.ended() == 0
    world.let_go()
    world.start("last")
    await world.all_done()
    world.check()


async def test_a_worker_that_is_killed_while_a_suspect_runs_and_before_is_all_it_takes(shop: Shop) -> None:
    """Who looks on sees it: the count goes up with each, the suspect is noted before it runs."""
    world = poisoned(shop, hold=0, policy="dead_letter")
    await world.send([1], [0])
    seen = []
    for n in range(MAX + 1):
        process = world.start(f"worker{n}")
        await wait_until(lambda n=n: len(world.ledger.begun()) == n + 1)
        seen.append((world.slot(0)["crashes"], bool(world.slot(0)["suspect"])))
        process.signal(signal.SIGKILL)
        await process.ended()
    assert seen == [(str(n), n == MAX) for n in range(MAX + 1)]
    world.start("last")
    await world.all_done()
    assert len(world.dead()) == 1


# ── parked events that run again ──


async def test_a_released_event_that_kills_stays_parked_and_its_key_is_held(shop: Shop) -> None:
    world = poisoned(shop, Order(1, 5), policy="park")
    await world.send([1], range(8))
    first = world.start("first", deadly=[], fail=3)
    await wait_until(lambda: len(world.parked()) == 5 and world.all_committed())
    first.signal(signal.SIGTERM)
    assert await first.ended() == 0

    link = (await world.app.open()).link()
    assert await link.call(moves.release_keys(world.keys(0), "till", [b"1"])) == 1
    await link.close()
    await runs_until(world, lambda: held(world), 12)
    await world.send([2], range(3))
    await world.all_done()
    assert [fields["~id"] for fields in world.parked()] == [world.sent[Order(1, n)].rsplit("/", 1)[1] for n in (5, 6, 7)]
    assert list(dict.fromkeys(world.ledger.finished()))[:5] == [Order(1, n) for n in range(5)]


def held(world: World) -> bool:
    """Whether no key is to run again."""
    with world.server.client() as client:
        return not client.exists(world.keys(0).released_keys("till").decode())
