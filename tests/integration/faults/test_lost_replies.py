"""Replies that are lost after the server has done what it was asked: what is sent again is not done again."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from attrs import define, field

from runnel.errors import StoreUnavailable
from runnel.roles.committer import Committer
from runnel.store.link import Link
from runnel.store.scripts import SCRIPTS
from tests.integration.faults.harness import World
from tests.proxy import Proxy
from tests.servers import Server
from tests.support import wait_until

Shop = Callable[..., World]
FOR_EVER = 600.0


@define(eq=False)
class Distant:
    """A world whose worker reaches the server through a proxy, and what the server answered the worker's commits."""

    world: World
    proxy: Proxy
    answers: list[Any] = field(factory=list)

    def worker(self, **changes: Any) -> Any:
        return self.world.worker(url=self.proxy.url, **changes)

    def lose_reply_of(self, script: str) -> None:
        self.proxy.lose_next_reply(lambda request: b"EVALSHA" in request and SCRIPTS[script].sha in request)

    async def lost(self, replies: int) -> None:
        await wait_until(lambda: self.proxy.lost == replies, what=f"{replies} replies are lost")


@pytest.fixture
async def distant(shop: Shop, valkey: Server, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Distant]:
    with valkey.client() as client:
        for script in SCRIPTS.values():  # so that no EVALSHA is answered with NOSCRIPT
            client.script_load(script.source.decode())
    async with Proxy(valkey.url) as proxy:
        distant = Distant(shop(partition_count=1, lock_expiry=FOR_EVER), proxy)
        take = Committer._take

        def noting(self: Committer, answers: Any) -> None:
            distant.answers += answers
            take(self, answers)

        monkeypatch.setattr(Committer, "_take", noting)
        yield distant


async def test_a_commit_whose_reply_was_lost_is_answered_that_it_was_here_already(distant: Distant) -> None:
    world = distant.world
    async with distant.worker():
        await world.send([1], [0])
        await world.all_done()
        distant.lose_reply_of("commit")
        await world.send([1], [1])
        await distant.lost(1)
        await world.all_done()
        await world.send([1], [2])
        await world.all_done()
        await wait_until(lambda: len(distant.answers) == 3)
        assert distant.answers == ["OK", "ALREADY", "OK"]
        slot = world.slot(0)
        assert (slot["number"], slot["count"], slot["epoch"]) == ("3", "3", "1")
    world.check()
    assert not world.ledger.repeated()


async def test_a_commit_whose_reply_was_lost_when_the_worker_stops_at_once_is_sent_again_as_it_was(
    distant: Distant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More was done since: a commit of all that, under the number of the one that had taken effect, would be dropped as
    having been here already.
    """
    world = distant.world
    monkeypatch.setattr("runnel.roles.committer.RESEND", FOR_EVER)
    async with distant.worker() as worker:
        await world.send([1], [0])
        await world.all_done()
        distant.lose_reply_of("commit")
        await world.send([1], [1])
        await distant.lost(1)
        await world.send([1], [2])
        await wait_until(lambda: len(world.ledger.finished()) == 3)
        worker.stop()  # and again at the end: at once
    assert distant.answers == ["OK", "ALREADY", "OK"]
    assert world.all_committed()
    assert world.slot(0)["count"] == "3"


async def test_an_acquire_whose_reply_was_lost_gets_the_same_token_again(distant: Distant) -> None:
    """Nobody waits for the end of a lease that nobody uses."""
    world = distant.world
    distant.lose_reply_of("acquire")
    async with distant.worker():
        await world.send([1], range(3))
        await world.all_done()
        assert distant.proxy.lost == 1
        assert world.slot(0)["epoch"] == "1"
    world.check()


async def test_a_lost_reply_of_a_renewal_costs_nothing(distant: Distant) -> None:
    world = distant.world
    async with distant.worker(lock_expiry=1.0):
        distant.lose_reply_of("renew")
        await distant.lost(1)
        distant.lose_reply_of("renew")
        await distant.lost(2)
        await world.send([1], range(3))
        await world.all_done()
        assert world.slot(0)["epoch"] == "1"


async def test_a_lost_reply_of_a_release_holds_up_nobody(distant: Distant) -> None:
    world = distant.world
    async with distant.worker():
        await world.send([1], [0])
        await world.all_done()
        distant.lose_reply_of("release")
    assert distant.proxy.lost == 1
    async with distant.worker():
        await world.send([1], [1])
        await world.all_done()
    world.check()


async def test_an_append_whose_reply_was_lost_is_in_the_log_once(distant: Distant, make_world: Shop) -> None:
    world = make_world(distant.world.server, url=distant.proxy.url)
    await world.send(range(8), [0])
    for number in range(1, 6):
        distant.lose_reply_of("append")
        await world.send(range(8), [number])
        assert distant.proxy.lost == number
    assert sorted(world.log()) == sorted(world.sent.items())


async def test_concurrent_sends_whose_replies_are_lost_are_each_in_the_log_once(
    distant: Distant, make_world: Shop
) -> None:
    world = make_world(distant.world.server, url=distant.proxy.url)
    await world.send(range(8), [0])
    distant.lose_reply_of("append")
    await asyncio.gather(*(world.send([key], range(1, 20)) for key in range(8)))
    assert distant.proxy.lost == 1
    assert sorted(world.log()) == sorted(world.sent.items())


async def test_a_sender_cancelled_while_its_reply_is_lost_leaves_no_duplicate(
    distant: Distant, make_world: Shop
) -> None:
    world = make_world(distant.world.server, url=distant.proxy.url)
    await world.send([1], [0])
    distant.proxy.blackhole(direction="replies")
    sending = asyncio.create_task(world.send([1], [1]))
    await wait_until(lambda: len(world.log()) == 2)
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
    distant.proxy.blackhole(False)
    await world.send([1], [2])
    assert [event.number for event, _ in world.log()] == [0, 1, 2]


async def test_replies_lost_all_the_time_leave_nothing_twice(
    distant: Distant, make_world: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One exchange in five loses its reply after the server did it, and one in ten does not get there at all."""
    exchange, chance, faults = Link._exchange, random.Random(4), Counter[str]()

    async def faulty(self: Link, commands: Any, timeout: float | None) -> Any:
        what = chance.choices(["", "lost", "never sent"], [7, 2, 1])[0]
        if commands[0][0] != b"EVALSHA" or not what:
            return await exchange(self, commands, timeout)
        faults[what] += 1
        if what == "lost":
            await exchange(self, commands, timeout)
        await self.close()
        raise StoreUnavailable("the line is bad")

    world = make_world(distant.world.server, partition_count=4)
    async with world.worker():
        await world.send(range(8), [0])
        await world.all_done()
        monkeypatch.setattr(Link, "_exchange", faulty)
        await asyncio.gather(*(send_all(world, key) for key in range(8)))
        await world.all_done()
        monkeypatch.undo()
        assert min(faults["lost"], faults["never sent"]) > 5
        assert sorted(world.log()) == sorted(world.sent.items())
        assert sum(int(world.slot(n).get("count", 0)) for n in range(4)) == len(world.sent)
    world.check()


async def send_all(world: World, key: int) -> None:
    for number in range(1, 150):
        await world.send([key], [number])


