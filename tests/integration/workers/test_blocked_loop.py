"""A handler that blocks the event loop: it keeps its partitions for a while, and it is said where it hangs."""

import re
from collections.abc import Awaitable, Callable

from tests.integration.workers.crew import Crew
from tests.support import wait_until

MakeCrew = Callable[..., Awaitable[Crew]]


async def test_a_handler_that_blocks_for_longer_than_a_lease_keeps_its_partitions(crew: MakeCrew) -> None:
    shop = await crew(lock_expiry=0.8, partition_count=2)
    world = shop.world
    other = await shop.join("b")
    blocked = world.start("a", block=2.5)
    await wait_until(lambda: len(other.partitions) == 1, what="the work is shared")
    await world.send(range(4), [0])
    await world.all_done()
    assert len(other.partitions) == 1
    assert "partition lost" not in blocked.log
    assert not world.ledger.repeated()
    world.check()


async def test_the_log_says_where_the_loop_hangs(crew: MakeCrew) -> None:
    world = (await crew(partition_count=1)).world
    blocked = world.start("a", block=2.0)
    await world.send([1], [0])
    await world.all_done()
    await wait_until(lambda: "the event loop goes on" in blocked.log)
    assert len(re.findall("the event loop is blocked", blocked.log)) == 1
    assert "time.sleep(plan.block)" in blocked.log


async def test_a_loop_that_is_blocked_for_too_long_loses_them_and_commits_nothing_more(crew: MakeCrew) -> None:
    shop = await crew(lock_expiry=0.8, partition_count=2)
    world = shop.world
    blocked = world.start("a", block=5.0, patience=1.0)
    await wait_until(lambda: world.is_owner(blocked))
    await world.send([1], [0])
    await wait_until(lambda: world.ledger.begun("a"))
    other = await shop.join("b")
    await wait_until(lambda: len(other.partitions) == 2, what="it took over what the blocked one held")
    await world.all_done()
    await wait_until(lambda: "partition lost" in blocked.log, what="the blocked one goes on, and stands down")
    assert world.ledger.begun() == [*world.sent, *world.sent]
    world.check()


async def test_short_blocking_handlers_on_all_partitions_lose_nothing(crew: MakeCrew) -> None:
    """Sixteen handlers block in turn: an answer that has long arrived is read late, and is no sign of a server away."""
    shop = await crew(lock_expiry=1.0)
    world = shop.world
    blocked = world.start("a", block=0.05)
    await world.send(range(60), range(3))
    await world.all_done(timeout=60)
    assert "partition lost" not in blocked.log
    assert "trying again" not in blocked.log
    assert not world.ledger.repeated()
