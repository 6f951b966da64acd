"""Parked keys: the event that failed and all later ones of its key wait, in order; the others go on; a release runs them."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from runnel import ExceptionPolicy, Retry
from runnel.roles import partition
from runnel.roles.passing import Passing
from runnel.store import moves
from runnel.store.scripts import Call
from tests.integration.faults.harness import World
from tests.integration.faults.shop import Sale
from tests.integration.faults.test_failing_handlers import spoil
from tests.integration.faults.test_policies import Shop, handler, in_order
from tests.integration.faults.test_retry import STYLES, Till, actors, partition_details
from tests.support import wait_until


async def send(world: World, numbers: Iterable[int]) -> None:
    """Events of two keys: the odd ones and the even ones."""
    await world.stream.send(*(Sale(key=number % 2, number=number) for number in numbers))


async def committed(world: World, count: int) -> None:
    await wait_until(lambda: world.slot(0).get("count") == str(count), what=f"{count} are committed")


async def release(world: World, key: str = "1") -> int:
    return await run(world, moves.release_keys(world.keys(0), "till", [key.encode()]))


async def run(world: World, call: Call[int]) -> int:
    link = (await world.app.open()).link()
    try:
        return await link.call(call)
    finally:
        await link.close()


def nothing_parked(world: World) -> bool:
    with world.server.client() as client:
        found = [client.exists(key) for key in world.keys(0).of_parked("till")[1:]]
    return not (world.parked() or any(found))


def released_keys(world: World) -> Any:
    with world.server.client() as client:
        return client.smembers(world.keys(0).released_keys("till").decode())


def odd(numbers: Iterable[int]) -> list[int]:
    return [number for number in numbers if number % 2]


def even(numbers: Iterable[int]) -> list[int]:
    return [number for number in numbers if not number % 2]


async def test_a_running_worker_runs_the_events_of_a_parked_key_in_order_once_it_is_released(shop: Shop) -> None:
    world, fixed = shop(partition_count=1), list[bool]()
    await send(world, range(20))
    raw = world.raw_log()
    till = Till(world, handler(11, "exception", fixed), "records", exception_policy="park", lock_expiry=1)
    async with world.worker(app=till.app) as worker:
        await committed(world, 20)
        assert odd(till.done) == odd(range(11))
        assert [each["~id"] for each in world.parked()] == [xid for xid, _ in raw[11::2]]
        details = partition_details(worker)
        assert (details["parked"], details["parked_keys"]) == (5, 1)
        fixed.append(True)
        await send(world, range(20, 24))
        assert await release(world) == 1
        await wait_until(lambda: nothing_parked(world))
        await committed(world, 24)
    assert odd(till.done) == odd(range(24))
    assert even(till.done) == even(range(24))


async def test_newer_events_of_a_released_key_wait_for_the_older_ones(shop: Shop) -> None:
    world, fixed, going = shop(partition_count=1), list[bool](), asyncio.Event()

    def handle(sale: Sale) -> Any:
        if sale.number == 3 and not fixed:
            raise ValueError("no change")
        return going.wait() if sale.number == 5 else None

    await send(world, range(10))
    till = Till(world, handle, exception_policy="park", lock_expiry=1)
    async with world.worker(app=till.app):
        await committed(world, 10)
        fixed.append(True)
        await release(world)
        await wait_until(lambda: 5 in till.begun)
        await send(world, range(10, 20))
        going.set()
        await committed(world, 20)
        await wait_until(lambda: nothing_parked(world))
    assert odd(till.done) == odd(range(20))
    assert odd(till.begun) == [1, 3, *odd(range(3, 20))]


async def test_the_next_owner_knows_what_is_parked(shop: Shop) -> None:
    world = shop(partition_count=1)
    await send(world, range(10))
    first = Till(world, handler(3, "exception"), exception_policy="park", lock_expiry=1)
    async with world.worker(app=first.app):
        await committed(world, 10)
    await send(world, range(10, 20))
    spoil(world)  # of the parked key: it is not looked at
    second = Till(world, lambda sale: None, "records", exception_policy="park", lock_expiry=1)
    async with world.worker(app=second.app):
        await committed(world, 21)
    assert second.done == even(range(10, 20))
    assert len(world.parked()) == len(odd(range(3, 20))) + 1
    await release(world)
    third = Till(world, lambda sale: None, "records", exception_policy="park", lock_expiry=1)
    async with world.worker(app=third.app):
        await wait_until(lambda: len(world.parked()) == 1)  # the one that does not decode
        await wait_until(lambda: third.done == odd(range(3, 20)))
        await send(world, [20])
        await committed(world, 22)
    assert third.done[-1] == 20
    assert world.parked()[0]["data"] == "{"


@STYLES
async def test_a_released_key_that_fails_again_stays_parked_in_order(shop: Shop, style: str) -> None:
    world, bad = shop(partition_count=1), [3]

    def handle(sale: Sale) -> None:
        if sale.number in bad:
            raise ValueError("no change")

    await send(world, range(12))
    till = Till(world, handle, style, exception_policy="park", lock_expiry=1)
    async with world.worker(app=till.app):
        await committed(world, 12)
        bad[0] = 7
        await release(world)
        await wait_until(lambda: len(world.parked()) == 3)
        await wait_until(lambda: not released_keys(world))
        await send(world, [12, 13])
        await committed(world, 14)
        await wait_until(lambda: len(world.parked()) == 4)
        assert odd(in_order(till.done)) == [1, 3, 5]
        bad.clear()
        await release(world)
        await wait_until(lambda: nothing_parked(world))
        await send(world, [15])
        await committed(world, 15)
    assert odd(in_order(till.done)) == [1, 3, 5, 7, 9, 11, 13, 15]
    assert even(in_order(till.done)) == even(range(14))


async def test_a_partition_whose_parked_events_are_too_many_pauses_until_some_are_released(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    world, fixed = shop(partition_count=1), list[bool]()
    await send(world, range(40))
    till = Till(world, handler(3, "exception", fixed), exception_policy="park", max_parked=5, lock_expiry=1)
    async with world.worker(app=till.app) as worker:
        await wait_until(lambda: "partition paused" in caplog.text)
        await wait_until(lambda: len(world.parked()) == 5)
        await committed(world, 13)
        assert partition_details(worker)["paused"]
        assert till.done == [0, 1, *even(range(2, 13))]
        fixed.append(True)
        await release(world)
        await committed(world, 40)
        await wait_until(lambda: nothing_parked(world))
        assert not partition_details(worker)["paused"]
    assert odd(till.done) == odd(range(40))
    assert even(till.done) == even(range(40))


async def test_an_event_that_fails_when_there_is_no_room_to_park_it_waits(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    world, fixed = shop(partition_count=1), list[bool]()

    def handle(sale: Sale) -> None:
        if sale.number in (1, 2) and not fixed:
            raise ValueError("no change")

    await send(world, range(10))
    till = Till(world, handle, exception_policy="park", max_parked=1, lock_expiry=1)
    async with world.worker(app=till.app):
        await wait_until(lambda: "partition paused" in caplog.text)
        await committed(world, 2)
        fixed.append(True)
        await release(world)
        await committed(world, 10)
        await wait_until(lambda: nothing_parked(world))
    assert odd(till.done) == odd(range(10))
    assert even(till.done) == even(range(10))


async def test_an_event_that_does_not_decode_when_there_is_no_room_to_park_it_waits(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    world, fixed = shop(partition_count=1), list[bool]()
    await send(world, range(3))
    with world.server.client() as client:
        client.xadd(world.keys(0).log.decode(), {"data": "{", "~key": "0"})
    await send(world, range(4, 8))
    till = Till(world, handler(1, "exception", fixed), "records", exception_policy="park", max_parked=1, lock_expiry=1)
    async with world.worker(app=till.app):
        await wait_until(lambda: "partition paused" in caplog.text)
        await committed(world, 3)
        fixed.append(True)
        await release(world)
        await wait_until(lambda: [each["data"] for each in world.parked()] == ["{"])
        await committed(world, 4)
    assert till.done == [0, 2, 1]
    assert "outside of an event" not in caplog.text


async def test_what_an_operator_discards_does_not_run_and_its_key_goes_on(shop: Shop) -> None:
    world = shop(partition_count=1)
    await send(world, range(10))
    till = Till(world, handler(3, "exception"), exception_policy="park", lock_expiry=1)
    async with world.worker(app=till.app) as worker:
        await committed(world, 10)
        store = await world.app.open()
        entries = await store.command("XRANGE", world.keys(0).parked("till"), "-", "+")
        discard = moves.discard_parked(world.keys(0), "till", [(b"1", entry) for entry, _ in entries])
        assert await run(world, discard) == 4
        await wait_until(lambda: partition_details(worker)["parked"] == 0)
        await send(world, [11])
        await committed(world, 11)
    assert odd(till.done) == [1, 11]
    assert nothing_parked(world)


async def test_looks_at_what_is_parked_take_no_room_of_the_reader(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """One that waited in the mailbox while the server was slow let the reader find that full, and the processor began anew."""
    going, looks = asyncio.Event(), list[int]()

    async def slow_look(self: Passing) -> None:
        looks.append(1)
        await going.wait()

    monkeypatch.setattr(partition, "LOOK", 0.01)
    monkeypatch.setattr(Passing, "look", slow_look)
    world = shop(partition_count=1)
    till = Till(world, lambda sale: None, exception_policy="park", prefetch_count=1)
    async with world.worker(app=till.app) as worker:
        await wait_until(lambda: looks and mailbox(worker) == 1, what="it looks, and the next look waits")
        await world.send([1], range(20))
        await wait_until(lambda: mailbox(worker) == 3 or "actor failed" in caplog.text, what="batches wait behind it")
        going.set()
        await world.all_done()
    assert till.begun == list(range(20))
    assert "actor failed" not in caplog.text


def mailbox(worker: Any) -> int:
    [depth] = [each.mailbox_depth for each in actors(worker.snapshot()) if each.kind == "Partition"]
    return int(depth)


async def test_retries_come_before_parking(shop: Shop) -> None:
    world = shop(partition_count=1)
    await send(world, range(6))
    retry = Retry(attempts=3, backoff=0.001)
    till = Till(world, handler(3, "exception"), exception_policy=ExceptionPolicy.PARK, retry=retry)
    async with world.worker(app=till.app):
        await committed(world, 6)
    assert till.begun == [0, 1, 2, 3, 3, 3, 4]
    assert world.parked()[0]["~attempts"] == "3"


@pytest.mark.parametrize("policy", ["dead_letter", "ignore"])
async def test_under_another_policy_released_events_that_fail_go_where_it_says(shop: Shop, policy: str) -> None:
    world = shop(partition_count=1)
    await send(world, range(10))
    till = Till(world, handler(3, "exception"), exception_policy="park", lock_expiry=1)
    async with world.worker(app=till.app):
        await committed(world, 10)
    await release(world)
    other = Till(world, handler(5, "exception"), exception_policy=policy, lock_expiry=1)
    async with world.worker(app=other.app):
        await wait_until(lambda: nothing_parked(world))
    assert other.done == [3, 7, 9]
    assert [each["~error"] for each in world.dead()] == (["ValueError: no change"] if policy == "dead_letter" else [])


async def test_many_parked_events_run_in_several_turns(shop: Shop) -> None:
    world, fixed = shop(partition_count=1), list[bool]()
    await send(world, range(2_000))
    till = Till(world, handler(1, "exception", fixed), "records", exception_policy="park", lock_expiry=1)
    async with world.worker(app=till.app):
        await committed(world, 2_000)
        assert len(world.parked()) == 1_000
        fixed.append(True)
        await release(world)
        await wait_until(lambda: nothing_parked(world))
    assert odd(till.done) == odd(range(2_000))


async def test_events_of_a_parked_key_that_are_more_than_one_commit_carries_are_all_committed(shop: Shop) -> None:
    world = shop(partition_count=1)
    await send(world, odd(range(2_000)))
    till = Till(world, handler(1, "exception"), "records", exception_policy="park")
    async with world.worker(app=till.app):
        await committed(world, 1_000)
    assert len(world.parked()) == 1_000
    assert till.begun == [1]


# ── workers that are killed ──


@pytest.mark.parametrize("crash", ["before commit", "commit sent", "after commit"])
@pytest.mark.parametrize("nth", [1, 2])
async def test_a_worker_that_is_killed_while_it_parks_lets_no_event_overtake(shop: Shop, crash: str, nth: int) -> None:
    world = shop(policy="park", fail=4, partition_count=1)
    first = world.start("first", crash=crash, nth=nth)
    for number in range(10):
        await world.send(range(3), [number])
    assert await first.ended() < 0
    world.start("second")
    await world.all_done()
    await check_released(world)


@pytest.mark.parametrize("crash", ["before commit", "commit sent", "after commit", "handler"])
@pytest.mark.parametrize("nth", [1, 2])
async def test_a_worker_that_is_killed_while_released_events_run_loses_none(shop: Shop, crash: str, nth: int) -> None:
    world = shop(policy="park", fail=4, partition_count=1)
    await world.send(range(3), range(10))
    async with world.worker("parks"):
        await world.all_done()
    assert len(world.parked()) == 18
    for key in range(3):
        await release(world, str(key))
    first = world.start("first", crash=crash, nth=nth, fail=-1)
    assert await first.ended() < 0
    await check_released(world)


async def check_released(world: World) -> None:
    """All that is parked runs, and everything has, in order."""
    for process in world.processes:
        if process.running:
            process.popen.kill()
            process.popen.wait()
    for key in range(3):
        await release(world, str(key))
    world.start("third", fail=-1)
    await wait_until(lambda: nothing_parked(world), 20)
    assert set(world.ledger.finished()) == set(world.sent)
    finished = in_order_of_keys(world.ledger.finished())
    assert all(numbers == list(range(10)) for numbers in finished.values())


def in_order_of_keys(events: Iterable[Any]) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for event in dict.fromkeys(events):
        found.setdefault(event.key, []).append(event.number)
    return found


Handler = Callable[[Sale], Any]
