"""Pausing, resuming and restarting what real workers run: nothing is lost, nothing is done twice, and it is at once.

Leases last ten minutes here unless it is said, and heartbeats come every 5 s: what happens sooner came of a notice.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from runnel import Actor, App, Processor, Record
from runnel.errors import ConfigurationError
from runnel.operations import pause as operations
from runnel.operations.pause import let_go, make_plan, pause, resume
from runnel.operations.restart import restart
from runnel.store.notices import Notice
from runnel.testing import NotDrained, TestApp
from tests.integration.calling import Caller
from tests.integration.faults.harness import World
from tests.integration.faults.shop import declare
from tests.integration.workers.conftest import crew, make_world
from tests.integration.workers.crew import Crew
from tests.servers import Server
from tests.support import wait_until

__all__ = ["crew", "make_world"]

AT_ONCE = 2.0
"""Seconds, on a busy machine; well below a heartbeat's 5."""


@pytest.fixture
async def desk(make_world: Callable[..., World]) -> AsyncIterator[Callable[[World], tuple[App, Processor]]]:
    """Where operators sit: the app of a world, as their commands load it."""
    apps: list[App] = []

    def sit(world: World) -> tuple[App, Processor]:
        apps.append(declare(world.plan))
        return apps[-1], apps[-1].processors["till"]

    yield sit
    for app in apps:
        await app.close()


def once_each(world: World) -> None:
    """Every event sent was begun once, and finished."""
    world.check()
    begun = [(each.key, each.number) for each in world.ledger.begun()]
    assert len(begun) == len(set(begun)) == len(world.sent)


async def test_a_processor_that_is_paused_stands_still_and_goes_on_where_it_was(
    crew: Callable[..., Any], desk: Callable[[World], Any], caplog: pytest.LogCaptureFixture
) -> None:
    workers: Crew = await crew(partition_count=4, work=0.002)
    world = workers.world
    app, till = desk(world)
    for name in ("first", "second"):
        await workers.join(name)
    await workers.settled()
    await world.send(range(40), range(5))
    await wait_until(world.ledger.finished)

    await pause(app, till, reason="new database", by="ann")
    assert await let_go(app, till, patience=AT_ONCE) == ()
    done = len(world.ledger.finished())
    assert len(world.ledger.begun()) == done, "what was under way was finished"
    await world.send(range(40), [5])
    await workers.join("third")  # honours it as well
    await wait_until(lambda: caplog.text.count("partitions paused") >= 3)
    plan = await make_plan(app, till)
    assert (len(plan.paused), plan.owned, sum(each.lag for each in plan.partitions)) == (4, (), 240 - done)
    assert len(world.ledger.begun()) == done

    await resume(app, till)
    await wait_until(lambda: len(world.ledger.begun()) > done, AT_ONCE)
    await world.all_done()
    once_each(world)


async def test_the_heartbeat_tells_an_owner_that_has_missed_the_notice(
    crew: Callable[..., Any], desk: Callable[[World], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def lost(*_: Any) -> None:
        pass

    monkeypatch.setattr(operations, "post", lost)
    workers: Crew = await crew(partition_count=2, lock_expiry=1.0)
    app, till = desk(workers.world)
    await workers.join("first")
    await workers.settled()
    await pause(app, till)
    assert await let_go(app, till, patience=5) == ()
    await resume(app, till)
    await workers.settled()


async def test_an_event_under_way_is_finished_first_and_other_partitions_go_on(
    crew: Callable[..., Any], desk: Callable[[World], Any]
) -> None:
    workers: Crew = await crew(partition_count=2, hold=1, lock_expiry=1.0)
    world = workers.world
    app, till = desk(world)
    await workers.join("first")
    await workers.settled()
    [held, free] = [next(key for key in range(20) if world.partition_of(key) == n) for n in range(2)]
    await world.send([held], [0, 1, 2])
    await wait_until(lambda: len(world.ledger.begun()) == 2)
    await pause(app, till, [0])
    [slow] = await let_go(app, till, [0], patience=1.5)  # heartbeats go on meanwhile, and do not stop it twice
    assert (slow.partition, slow.paused is not None) == (0, True)
    await world.send([free], [0])
    await wait_until(lambda: len(world.ledger.finished()) == 2)
    world.let_go()
    assert await let_go(app, till, [0], patience=5) == ()
    assert [each.number for each in world.ledger.finished()] == [0, 0, 1]
    assert (await make_plan(app, till)).partitions[1].owner is not None
    await resume(app, till)
    await world.all_done()
    once_each(world)


async def test_what_never_ran_can_be_paused_and_a_worker_says_so_in_one_line(
    crew: Callable[..., Any], desk: Callable[[World], Any], caplog: pytest.LogCaptureFixture
) -> None:
    workers: Crew = await crew(partition_count=8)
    world = workers.world
    app, till = desk(world)
    await pause(app, till, reason="not yet", by="ann")
    hand = await workers.join("first")
    await wait_until(lambda: "partitions paused" in caplog.text)
    [line] = [each for each in caplog.records if "paused" in each.message]
    said = vars(line)
    assert (said["processor"], said["partitions"], said["reason"], said["by"]) == ("till", list(range(8)), "not yet", "ann")
    assert said["worker"] == hand.worker.id
    assert hand.actor("coordinator").details["paused"] == 8
    await world.send(range(8), [1])
    await resume(app, till)
    await wait_until(lambda: len(world.ledger.finished()) == 8, AT_ONCE)
    await hand.leave()


async def test_a_worker_leaves_although_all_is_paused(crew: Callable[..., Any], desk: Callable[[World], Any]) -> None:
    workers: Crew = await crew(partition_count=2)
    app, till = desk(workers.world)
    hand = await workers.join("first")
    await workers.settled()
    await pause(app, till)
    await let_go(app, till, patience=AT_ONCE)
    await asyncio.wait_for(hand.leave(), AT_ONCE)


# ── restarting ──


async def test_partitions_begin_anew_and_nothing_is_done_twice(
    crew: Callable[..., Any], desk: Callable[[World], Any]
) -> None:
    workers: Crew = await crew(partition_count=4, work=0.002)
    world = workers.world
    app, till = desk(world)
    first, _ = await workers.join("first"), await workers.join("second")
    await workers.settled()
    owners, epochs = workers.owners(), workers.epochs()
    await world.send(range(40), range(5))
    await wait_until(world.ledger.finished)
    assert await restart(app, till, worker=first.worker.id, patience=AT_ONCE) == ()
    await workers.settled()
    mine = owners[first.worker.id]
    assert [new - old for old, new in zip(epochs, workers.epochs(), strict=True)] == [int(n in mine) for n in range(4)]
    assert workers.owners() == owners
    await world.all_done()
    once_each(world)


async def test_a_handler_that_hangs_is_cut_off_after_its_grace_period_and_runs_again(
    crew: Callable[..., Any], desk: Callable[[World], Any]
) -> None:
    workers: Crew = await crew(partition_count=1, hold=1, grace_period=0.3)
    world = workers.world
    app, till = desk(world)
    await workers.join("first")
    await workers.settled()
    await world.send([0], [0, 1, 2])
    await wait_until(lambda: len(world.ledger.begun()) == 2)
    assert await restart(app, till, [0], patience=0.1) != ()
    await wait_until(lambda: len(world.ledger.begun()) == 3)
    world.let_go()
    await world.all_done()
    assert [each.number for each in world.ledger.begun()] == [0, 1, 1, 2]
    assert [each.number for each in world.ledger.finished()] == [0, 1, 2]


def test_a_restart_means_one_term_and_no_later_one() -> None:
    notice = Notice(kind="restart", processor="till", partitions=(3, 5), epochs=(7, 1))
    again = Notice.from_json(notice.to_json())
    assert again == notice
    assert again.means("till", 3, 7)
    assert again.means("till", 5, 1)
    assert not again.means("till", 3, 8)
    assert not again.means("till", 5, 7)
    assert not again.means("bill", 3, 7)
    assert Notice.from_json(b'{"kind": "assigned", "processor": "till", "partitions": []}').epochs == ()


# ── actors, and tests of one's own app ──


class Coin(Record):
    key: str
    amount: int = 1


class Sum(Record):
    total: int = 0


async def test_an_app_under_test_says_that_it_is_paused_and_actors_go_on_with_their_state() -> None:
    app = App("bank", redis_url="redis://not.used")
    coins = app.stream("coins", record=Coin, partition_by="key", partition_count=2)

    @app.actor(coins)
    class Account(Actor[Coin, Sum]):
        async def receive(self, coin: Coin) -> None:
            self.state.total += coin.amount

    async with TestApp(app) as t:
        account = app.processors["Account"]
        await coins.send(*(Coin(key=f"{n % 4}") for n in range(40)))
        await t.drained()
        await pause(app, account, reason="audit")
        assert await let_go(app, account, patience=AT_ONCE) == ()
        await coins.send(*(Coin(key=f"{n % 4}") for n in range(40)))
        async with asyncio.timeout(10):  # at once, and not when its own time is up
            with pytest.raises(NotDrained, match="is paused: audit"):
                await t.drained(timeout=60)
        await resume(app, account)
        await t.drained()
        assert await restart(app, account, patience=AT_ONCE) == ()
        await coins.send(Coin(key="0", amount=5))
        await t.drained()
        states = [await Account.state_of(f"{n}") for n in range(4)]
        assert [state.total for state in states if state is not None] == [25, 20, 20, 20]


# ── the commands ──


def test_the_commands(call: Caller, valkey: Server) -> None:
    assert "Nothing is changed yet" in call.done("pause", "shop:printer", "--partition", "1").out
    with valkey.client() as client:
        assert not client.keys("*:proc:*")
    both = "--partition", "0", "--partition", "1"
    assert call.done("pause", "shop:printer", *both, "--reason", "new\ndatabase", "--yes").out.endswith("Done.\n")

    shown = call.done("status", "shop:app").out
    assert "partitions 0-1 are paused since 20" in shown
    assert "new database" in shown
    [status] = call.done("status", "shop:app", "--json").json["processors"]
    assert (status["paused"], status["breaker_open"]) == (2, {})
    assert status["partitions"][0]["paused"]["reason"] == "new\ndatabase"
    assert "@" in status["partitions"][0]["paused"]["by"]
    assert status["partitions"][2]["paused"] is None
    [finding] = [each for each in call("doctor", "shop:app", "--json").json["findings"] if "paused" in each["said"]]
    assert (finding["level"], finding["said"]) == ("warning", "partitions 0, 1 paused: new database")

    plan = call.done("resume", "shop:printer", "--partition", "1", "--yes", "--json").json
    assert (plan["done"], plan["partitions"][0]["paused"]["reason"]) == (True, "new\ndatabase")
    assert "partition 0 is paused since" in call.done("status", "shop:app").out
    assert "Restart printer on orders: 0 partitions" in call.done("restart", "shop:printer", "--yes").out


async def test_pausing_what_there_is_not_changes_nothing(make_world: Callable[..., World], valkey: Server, desk: Any) -> None:
    world = make_world(valkey)
    app, till = desk(world)
    for deed in (pause, resume, restart):
        with pytest.raises(ConfigurationError, match="no partition 9"):
            await deed(app, till, [0, 9])
    with valkey.client() as client:
        assert not client.keys("*:proc:*")
