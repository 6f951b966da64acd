"""Workers that join and leave: partitions move as seldom as possible, at once, and with nothing lost or done twice."""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from typing import Any

from tests.integration.workers.crew import Crew, moved
from tests.support import wait_until

MakeCrew = Callable[..., Awaitable[Crew]]


async def test_one_worker_owns_everything(crew: MakeCrew) -> None:
    shop = await crew()
    await shop.join("a")
    await shop.settled()
    assert shop.epochs() == [1] * 16


async def test_a_worker_that_joins_is_given_its_share_and_nothing_else_moves(crew: MakeCrew) -> None:
    shop = await crew()
    for name, share in (("a", 16), ("b", 8), ("c", 5), ("d", 4)):
        before = shop.epochs()
        await shop.join(name)
        await shop.settled(timeout=4)  # by the notices: a heartbeat would come after 5 s
        assert moved(before, shop.epochs()) == {0: 16 - share, 1: share} if share < 16 else True


async def test_a_worker_that_leaves_hands_its_partitions_over_and_nothing_else_moves(crew: MakeCrew) -> None:
    shop = await crew()
    hands = [await shop.join(name) for name in "abc"]
    await shop.settled()
    before, mine = shop.epochs(), hands[0].partitions
    await hands[0].leave()
    await shop.settled(timeout=4)  # by the notices: a heartbeat would come after 5 s
    after = shop.epochs()
    assert {n for n in range(16) if after[n] != before[n]} == mine
    assert moved(before, after) == {0: 16 - len(mine), 1: len(mine)}


async def test_events_go_on_in_order_and_once_while_workers_come_and_go(crew: MakeCrew) -> None:
    shop = await crew()
    world = shop.world
    sending = asyncio.create_task(send_on(shop))
    try:
        first, second = await shop.join("a"), await shop.join("b")
        await shop.settled()
        third = await shop.join("c")
        await shop.settled()
        await first.leave()
        await shop.settled()
        await shop.join("d")
        await shop.settled()
        await second.leave()
        await third.leave()
        await shop.settled()
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
    await world.all_done()
    world.check()
    assert not world.ledger.repeated()
    assert len(world.sent) > 100


async def send_on(shop: Crew) -> None:
    """Events of 20 keys, until cancelled between two sends."""
    number = 0
    while True:
        await asyncio.shield(shop.world.send(range(20), [number]))
        number += 1
        await asyncio.sleep(0.005)


async def test_a_partition_moves_only_when_its_event_has_come_to_its_end(crew: MakeCrew) -> None:
    """Only what moves pauses; what is under way is finished where it began."""
    shop = await crew(partition_count=2, hold=0, grace_period=600)
    world = shop.world
    await world.send(range(4), [0])
    await shop.join("a")
    await wait_until(lambda: len(world.partitions()) == len(world.ledger.begun()) == 2, what="both handlers hold")
    second = await shop.join("b")
    await wait_until(lambda: shop.assignments() == 2, what="it is assigned a partition")
    assert second.partitions == set()
    assert shop.epochs() == [1, 1]
    world.let_go()
    await shop.settled()
    await world.all_done()
    assert not world.ledger.repeated()


async def test_a_burst_of_joins_is_one_assignment_or_two(crew: MakeCrew) -> None:
    shop = await crew()
    joining = []
    for n in range(6):
        joining.append(asyncio.create_task(shop.join(str(n))))
        await asyncio.sleep(0.04)  # the pace of the burst
    await asyncio.gather(*joining)
    await shop.settled()
    assert shop.assignments() <= 2
    assert max(shop.epochs()) <= 2


async def test_all_leave_at_once_and_pass_nothing_on(crew: MakeCrew) -> None:
    shop = await crew()
    for name in "abc":
        await shop.join(name)
    await shop.settled()
    before = shop.epochs()
    await shop.end()
    assert shop.epochs() == before
    assert shop.owners() == {"": set(range(16))}


async def test_control_messages_may_all_be_lost(crew: MakeCrew) -> None:
    """The next heartbeat brings what they said."""
    shop = await crew(lock_expiry=1.0)

    async def lose() -> None:
        with shop.world.server.client() as client:
            while True:
                client.delete("{shop}:control")
                await asyncio.sleep(0)

    await shop.join("a")
    await shop.settled()
    losing = asyncio.create_task(lose())
    try:
        second = await shop.join("b")
        await shop.settled()
        await second.leave()
        await shop.settled()
    finally:
        losing.cancel()


async def test_workers_with_other_processors_are_assigned_only_what_they_run(crew: MakeCrew) -> None:
    shop = await crew()
    till = await shop.join("a", processors=["till"])
    audit = await shop.join("b", processors=["audit"])
    both = await shop.join("c", processors=["till", "audit"])
    await wait_until(lambda: len(till.partitions) == len(both.partitions) == 8)
    for hand in (audit, both):  # two workers: one may be there before the other
        await wait_until(lambda hand=hand: len(hand.actor("audit").children) == 10, what="8 partitions, reader, committer")
    assert [child.name for child in audit.actor().children if child.name == "till"] == []


async def test_a_worker_killed_is_replaced_within_lease_and_two_heartbeats(crew: MakeCrew) -> None:
    shop = await crew(lock_expiry=1.0)
    world = shop.world
    hand = await shop.join("a")
    killed = world.start("b")
    await wait_until(lambda: len(hand.partitions) == 8, what="the work is shared")
    await world.send(range(40), range(5))
    await world.all_done()
    killed.signal(signal.SIGKILL)
    await world.send(range(40), range(5, 10))
    started = asyncio.get_running_loop().time()
    await shop.settled()
    assert asyncio.get_running_loop().time() - started < 3.0  # 1.5 s, and as much again for a busy machine
    await world.all_done()
    world.check()


async def test_a_worker_that_joins_late_owns_nothing_before(crew: MakeCrew) -> None:
    shop = await crew(join_delay=0.5)
    began = asyncio.get_running_loop().time()
    hand = await shop.join("a")
    await wait_until(lambda: hand.partitions)
    assert asyncio.get_running_loop().time() - began >= 0.5


async def test_an_app_does_not_see_the_workers_of_another(crew: MakeCrew) -> None:
    shop, other = await crew(), await crew(app="bank")
    mine, theirs = await shop.join("a"), await other.join("b")
    await wait_until(lambda: len(mine.partitions) == len(theirs.partitions) == 16)


async def test_partitions_stay_where_they_are_when_the_registry_is_broken(crew: MakeCrew) -> None:
    shop = await crew(lock_expiry=1.0)
    world = shop.world
    await shop.join("a")
    await shop.join("b")
    await shop.settled()
    before = shop.epochs()
    with world.server.client() as client:
        client.delete("{shop}:members")
        client.set("{shop}:members", "not a zset")
        refusals = client.info("stats")["total_error_replies"]
        await world.send(range(40), range(5))
        await world.all_done()
        await wait_until(lambda: client.info("stats")["total_error_replies"] >= refusals + 10, what="refused for a lease")
        assert shop.epochs() == before
        client.delete("{shop}:members")
    await shop.join("c")
    await shop.settled()


async def test_a_processor_that_restarts_runs_each_partition_once(crew: MakeCrew, monkeypatch: Any) -> None:
    """An `Own` that waited for the restart must not run beside the one that follows it."""
    from runnel.roles import reader

    shop = await crew(lock_expiry=2.0)
    hand = await shop.join("a")
    await shop.settled()
    failed = 0
    take = reader.Reader._take

    def fail_once(self: Any, read: Any) -> Any:
        nonlocal failed
        failed += 1
        if failed == 1:
            raise RuntimeError("a bug")
        return take(self, read)

    monkeypatch.setattr(reader.Reader, "_take", fail_once)
    await shop.world.send(range(40), range(5))
    await wait_until(lambda: failed and shop.is_settled())
    await shop.world.all_done()
    names = [child.name.split(".")[0] for child in hand.actor("till").children]
    assert len(names) == len(set(names))
