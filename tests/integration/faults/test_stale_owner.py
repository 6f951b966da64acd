"""An owner that wakes up after its lease has ended and another has taken over."""

import signal
from collections.abc import Callable

from runnel.store import scripts
from tests.integration.faults.harness import World
from tests.support import wait_until

Shop = Callable[..., World]


def held(world: World) -> set[int]:
    """The partitions whose handler holds."""
    return {line.partition for line in world.ledger.lines() if line.event.number == 3}


async def test_a_stale_owner_commits_nothing(shop: Shop) -> None:
    """The old owner is stopped with its first commit in hand. The new one has committed nothing yet, so that only the
    token stands between the old one's commit and the cursor: its number is the next of the chain.
    """
    world = shop(partition_count=1)
    await world.send([1], range(5))
    first = world.start("first", crash="before commit", signal="SIGSTOP")
    await wait_until(lambda: first.stopped, what="the first owner is stopped")
    old = world.slot(0)

    second = world.start("second", hold=0)
    await wait_until(lambda: world.ledger.begun("second"), what="the second owner has taken over")
    new = world.slot(0)
    assert int(new["epoch"]) == int(old["epoch"]) + 1

    first.signal(signal.SIGCONT)
    await wait_until(lambda: '"answers": ["' in first.log, what="the first owner's commit is answered")
    assert '"answers": ["FENCED"]' in first.log
    assert world.cursors() == {0: "0-0"}
    assert world.slot(0)["owner"] == new["owner"]
    assert world.ledger.finished("second") == []

    world.let_go()
    await world.all_done()
    assert world.ledger.begun("second") == sorted(world.sent)
    assert second.running
    assert first.running, "a fenced worker stands by"


async def test_a_stale_owner_that_sleeps_in_its_handler_takes_its_place_behind_the_new_one(shop: Shop) -> None:
    world = shop(hold=3)
    await world.send(range(8), range(10))
    first = world.start("first")
    await wait_until(lambda: held(world) == world.partitions(), what="every partition is in its handler")
    first.signal(signal.SIGSTOP)
    await wait_until(lambda: first.stopped)
    begun = set(world.ledger.begun("first"))

    second = world.start("second")
    await wait_until(lambda: world.is_owner(second), what="the second owner has taken over")
    first.signal(signal.SIGCONT)
    await wait_until(lambda: "partition lost" in first.log, what="the first owner stands down")
    world.let_go()
    await world.all_done()
    assert world.ledger.repeated() <= begun
    assert not set(world.ledger.begun("first")) - begun, "the first owner began events after it had lost them"
    world.check()


async def test_the_token_of_an_older_acquire_changes_nothing(shop: Shop) -> None:
    world = shop(partition_count=1)
    store = await world.app.open()
    link, keys = store.link(), world.keys(0)
    take = {"worker": "w", "lease": 0.001, "start": "earliest"}
    old = await link.call(scripts.acquire(keys, "till", nonce=b"old", **take))  # type: ignore[arg-type]
    assert isinstance(old, scripts.Acquired)

    async def taken() -> bool:
        new = await link.call(scripts.acquire(keys, "till", nonce=b"new", **take))  # type: ignore[arg-type]
        return isinstance(new, scripts.Acquired)

    await wait_until(taken)
    before = world.slot(0), world.cursors()
    assert await link.call(scripts.commit(keys, "till", old.token, 1, b"9-9", 1)) == "FENCED"
    assert not await link.call(scripts.renew(keys, "till", old.token, 60))
    assert not await link.call(scripts.release(keys, "till", old.token))
    assert (world.slot(0), world.cursors()) == before
    await link.close()
