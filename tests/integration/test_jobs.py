"""Tasks, timers and crontabs in real workers: beside processors and without, on the leader, through faults of their own."""

import asyncio
import signal
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from runnel import App, ConfigurationError, Record
from runnel.actors import ActorSnapshot
from runnel.errors import StartFailed
from runnel.worker import Worker
from tests.integration.commands import Folder
from tests.servers import Server
from tests.support import wait_until


class Order(Record):
    key: int


def make_app(server: Server, **settings: Any) -> App:
    return App("shop", redis_url=server.url, default_lock_expiry=1.0, **settings)


@asynccontextmanager
async def working(app: App) -> AsyncIterator[Worker]:
    worker = Worker(app)
    running = asyncio.create_task(worker.run())
    await wait_until(lambda: worker.snapshot() is not None or running.done())
    try:
        yield worker
    finally:
        worker.stop()
        await running
        await app.close()


def actor(worker: Worker, *path: str) -> ActorSnapshot | None:
    found = worker.snapshot()
    for name in path:
        found = None if found is None else next((child for child in found.children if child.name == name), None)
    return found


def job(worker: Worker, name: str) -> ActorSnapshot:
    found = actor(worker, "scheduler", name)
    assert found is not None
    return found


def next_due(worker: Worker, name: str) -> str:
    """When a job is next due, as the tree says; nothing if that is not known yet."""
    found = actor(worker, "scheduler", name)
    return "" if found is None else str(found.details.get("next", ""))


# ── without faults ──


async def test_an_app_without_processors_runs_its_jobs(server: Server) -> None:
    app, ran = make_app(server), list[str]()

    @app.task
    async def once() -> None:
        ran.append("task")

    @app.timer(0.01)
    async def often() -> None:
        ran.append("timer")

    @app.crontab("* * * * * *")
    async def cron() -> None:
        ran.append("crontab")

    @app.timer(0.05, on_leader=True)
    async def one() -> None:
        ran.append("leader's")

    async with working(app):
        await wait_until(lambda: {"task", "timer", "crontab", "leader's"} <= set(ran) and ran.count("leader's") > 2)
    assert ran.count("task") == 1


async def test_an_app_that_declares_nothing_to_run_says_what_it_could(server: Server) -> None:
    with pytest.raises(ConfigurationError, match=r"has no processors: .* or something to run by the clock"):
        await Worker(make_app(server)).run()


async def test_a_plain_function_runs_in_a_thread_of_its_own(valkey: Server) -> None:
    app, seen = make_app(valkey), list[threading.Thread]()
    holds = threading.Event()

    @app.timer(0.01)
    def blocks() -> None:
        seen.append(threading.current_thread())
        holds.wait(5)

    @app.timer(0.01)
    async def goes_on() -> None:
        seen.append(threading.current_thread())

    async with working(app):
        await wait_until(lambda: len(seen) > 5)
        holds.set()
    assert {thread is threading.main_thread() for thread in seen} == {True, False}


async def test_jobs_and_processors_run_side_by_side(valkey: Server) -> None:
    app, done = make_app(valkey), list[int]()
    orders = app.stream("orders", record=Order, partition_by="key", partition_count=2)

    @app.processor(orders, name="scheduler")  # as an actor of the worker's is called
    async def scheduler(events: Any) -> None:
        async for order in events.records():
            done.append(order.key)

    @app.timer(0.01)
    async def sends() -> None:
        await orders.send(Order(key=1))

    async with working(app):
        await wait_until(lambda: len(done) > 3)


@pytest.mark.parametrize("runs", [pytest.param(20, id="short"), pytest.param(600, id="long", marks=pytest.mark.long)])
async def test_a_timer_of_a_tenth_of_a_second_does_not_drift_by_a_real_clock(valkey: Server, runs: int) -> None:
    app, ran = make_app(valkey), list[float]()

    @app.timer(0.1, misfire="all")
    async def tick() -> None:
        ran.append(app.clock.monotonic())

    async with working(app):
        await wait_until(lambda: len(ran) >= runs, timeout=runs)
    begun = min(moment - 0.1 * n for n, moment in enumerate(ran))  # as if the least late of them were on time
    assert ran[runs - 1] - begun - 0.1 * (runs - 1) < 0.1


# ── failing ──


async def test_a_job_that_fails_goes_on_at_its_next_time_and_harms_nobody(valkey: Server) -> None:
    app, ran = make_app(valkey), list[str]()

    @app.timer(0.01)
    async def fails() -> None:
        ran.append("fails")
        raise ConfigurationError("no such table")

    @app.timer(0.01)
    def fails_in_thread() -> None:
        ran.append("thread")
        raise StopIteration

    @app.timer(0.01)
    def exits() -> None:
        ran.append("exits")
        raise SystemExit(1)

    @app.timer(0.01)
    async def exits_in_loop() -> None:
        ran.append("exits in loop")
        raise SystemExit(1)

    @app.timer(0.01)
    async def works() -> None:
        ran.append("works")

    async with working(app) as worker:
        await wait_until(lambda: min(map(ran.count, ("fails", "thread", "exits", "works"))) > 20)
        assert job(worker, "exits").last_error == "RuntimeError: exits raised SystemExit"
        assert job(worker, "exits_in_loop").last_error == "RuntimeError: exits_in_loop raised SystemExit"
        assert job(worker, "fails").last_error == "ConfigurationError: no such table"
        assert job(worker, "fails_in_thread").last_error == "RuntimeError: coroutine raised StopIteration"
        assert job(worker, "works").restarts == 0
        scheduler = actor(worker, "scheduler")
        assert scheduler is not None
        assert scheduler.restarts == 0


# ── the leader's ──


async def test_on_three_workers_a_leaders_job_runs_once_each_time(valkey: Server) -> None:
    dues: list[tuple[int, datetime]] = []

    def make(n: int) -> App:
        app = make_app(valkey)

        @app.timer(0.02, on_leader=True, misfire="all")
        async def tick(due: datetime) -> None:
            dues.append((n, due))

        return app

    async with working(make(0)) as first:
        await wait_until(lambda: dues)
        async with working(make(1)), working(make(2)):
            await wait_until(lambda: len(dues) > 20)
            first.stop()
            await wait_until(lambda: {n for n, _ in dues} > {0}, what="another leads")
            count = len(dues)
            await wait_until(lambda: len(dues) > count + 20)
    found = [due for _, due in dues]
    assert {b - a for a, b in pairwise(found)} == {timedelta(milliseconds=20)}, "none twice, none lost"


async def test_a_leaders_task_runs_once_a_term_and_is_cancelled_when_it_ends(valkey: Server) -> None:
    app, log = make_app(valkey), list[str]()

    @app.task(on_leader=True)
    async def leads() -> None:
        log.append("begun")
        try:
            await asyncio.Event().wait()
        finally:
            log.append("ended")

    async with working(app) as worker:
        await wait_until(lambda: log == ["begun"])
        with valkey.client() as client:
            client.client_pause(1500)  # longer than the lease
        await wait_until(lambda: log == ["begun", "ended", "begun"])
        scheduler = actor(worker, "scheduler")
        assert scheduler is not None
        assert scheduler.restarts == 0
    assert log == ["begun", "ended", "begun", "ended"]


async def test_due_times_that_no_worker_was_there_for_are_treated_as_the_job_says(valkey: Server) -> None:
    ran: dict[str, int] = {"skip": 0, "once": 0, "all": 0}

    def make() -> App:
        app = make_app(valkey)
        for misfire in ran:

            async def job(misfire: str = misfire) -> None:
                ran[misfire] += 1

            app.crontab("0 * * * *", on_leader=True, misfire=misfire, name=misfire)(job)  # type: ignore[arg-type]
        return app

    def known() -> int:
        with valkey.client() as client:
            return int(client.hlen("{shop}:ticks"))

    async with working(make()):
        await wait_until(lambda: known() == 3)
    later = make()
    later.due_times.advance(5 * 3600)
    async with working(later):
        await wait_until(lambda: (ran["once"], ran["all"]) == (1, 5))
    assert ran["skip"] <= 1, "only in the first seconds of an hour is it on time"


async def test_advancing_due_times_runs_what_is_due_then(valkey: Server) -> None:
    app, ran = make_app(valkey), list[str]()

    @app.crontab("@daily", on_leader=True, misfire="once")
    async def nightly() -> None:
        ran.append("nightly")

    @app.timer(3600, misfire="once")
    async def hourly() -> None:
        ran.append("hourly")

    async with working(app) as worker:
        await wait_until(lambda: all(next_due(worker, name) for name in ("nightly", "hourly")))
        due = datetime.fromisoformat(next_due(worker, "nightly"))
        app.due_times.advance(due.timestamp() - app.clock.time() + 1)
        await wait_until(lambda: ran.count("nightly") == 1, 30)
        app.due_times.advance(24 * 3600)
        await wait_until(lambda: ran.count("nightly") == 2, 30)
        await wait_until(lambda: "hourly" in ran, 30)
        before = ran.count("hourly")
        app.due_times.advance(3600)
        await wait_until(lambda: ran.count("hourly") > before, 30)


# ── stopping ──


async def test_a_run_under_way_is_finished_when_the_worker_stops_and_a_task_is_cancelled(valkey: Server) -> None:
    app, log, go = make_app(valkey), list[str](), asyncio.Event()

    @app.timer(0.01)
    async def works() -> None:
        log.append("begun")
        await go.wait()
        log.append("finished")

    @app.task
    async def waits() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            log.append("cancelled")
            go.set()

    async with working(app):
        await wait_until(lambda: log == ["begun"])
    assert log == ["begun", "cancelled", "finished"]


async def test_all_jobs_are_told_to_stop_at_once(valkey: Server) -> None:
    """One that takes its time takes it from no other, and none begins another run meanwhile."""
    app, log, go = make_app(valkey), list[str](), asyncio.Event()

    async def works() -> None:
        log.append("begun")
        await go.wait()
        log.append("finished")

    for name in ("first", "last"):
        app.timer(0.01, name=name)(works)
    async with working(app) as worker:
        await wait_until(lambda: log == ["begun", "begun"])
        worker.stop()
        await wait_until(lambda: {job(worker, name).state for name in ("first", "last")} == {"stopping"})
        go.set()
    assert log == ["begun", "begun", "finished", "finished"]


async def test_a_run_that_takes_too_long_when_the_worker_stops_is_cut_off(valkey: Server) -> None:
    app, log, go = make_app(valkey, default_grace_period=0.1), list[str](), threading.Event()

    @app.timer(0.01)
    async def works() -> None:
        log.append("begun")
        try:
            await asyncio.Event().wait()
        finally:
            log.append("cut off")

    @app.timer(0.01)
    def blocks() -> None:
        log.append("thread")
        go.wait(60)

    async with working(app):
        await wait_until(lambda: set(log) == {"begun", "thread"})
        begun = app.clock.monotonic()
    assert "cut off" in log
    assert app.clock.monotonic() - begun < 30, "nobody waits for a thread that does not end"
    go.set()


async def test_a_thread_that_does_not_end_does_not_keep_the_process(tmp_path: Path, valkey: Server) -> None:
    folder = Folder(tmp_path, valkey.url)
    folder.write(
        "stuck.py",
        "import time\nfrom runnel import App\napp = App('shop', default_grace_period=0.1)\n"
        "@app.timer(0.01)\ndef blocks():\n    print('blocks', flush=True)\n    time.sleep(600)\n",
    )
    with folder.started("worker", "stuck:app") as worker:
        await worker.says("blocks")
        assert await worker.ends(signal.SIGTERM) == 0


# ── hooks ──


async def test_hooks_are_called_around_everything_else_once_a_worker(valkey: Server) -> None:
    app, log = make_app(valkey), list[str]()
    orders = app.stream("orders", record=Order, partition_by="key", partition_count=4)

    @app.on_start
    async def open_pool() -> None:
        log.append("open")

    @app.on_start
    def warm_up() -> None:
        log.append("warm up")

    @app.on_stop
    async def close_pool() -> None:
        log.append("close")

    @app.on_stop
    def fails() -> None:
        log.append("fails")
        raise ValueError

    @app.processor(orders)
    async def bill(events: Any) -> None:
        async for order in events.records():
            log.append(f"order {order.key}")

    @app.task
    async def task() -> None:
        log.append("task")

    await orders.send(Order(key=1))
    async with working(app):
        await wait_until(lambda: "order 1" in log and "task" in log)
    assert log[:2] == ["open", "warm up"]
    assert sorted(log[2:4]) == ["order 1", "task"]
    assert log[4:] == ["fails", "close"], "the last declared first, whatever it raises"


async def test_a_stop_that_hangs_keeps_no_worker(valkey: Server) -> None:
    app, log = make_app(valkey, default_grace_period=0.1), list[str]()
    app.on_stop(lambda: log.append("close"))
    app.on_stop(asyncio.Event().wait)
    app.task(lambda: log.append("task"))
    async with working(app):
        await wait_until(lambda: "task" in log)
    assert log == ["task", "close"]


async def test_a_start_that_fails_starts_no_worker(valkey: Server) -> None:
    app, log = make_app(valkey), list[str]()
    app.task(lambda: log.append("task"))
    app.on_stop(lambda: log.append("stop"))

    @app.on_start
    async def open_pool() -> None:
        raise ConnectionError("no database")

    with pytest.raises(StartFailed, match="on_start: open_pool failed: ConnectionError: no database"):
        await Worker(app).run()
    await app.close()
    assert log == []


async def test_hooks_are_called_when_a_worker_is_cancelled(valkey: Server) -> None:
    app, log = make_app(valkey), list[str]()
    app.on_start(lambda: log.append("start"))
    app.on_stop(lambda: log.append("stop"))
    app.task(lambda: log.append("task"))
    running = asyncio.create_task(Worker(app).run())
    await wait_until(lambda: "task" in log)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await app.close()
    assert log == ["start", "task", "stop"]
