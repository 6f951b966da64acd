"""Hooks of actors: when each is called, on which instance, and what becomes of one that fails."""

import threading
from typing import Any

from runnel import Actor, ExceptionPolicy, Record, Retry
from tests.integration.actors.support import Step, all_done, details, held, make_app, steps, working
from tests.servers import Server
from tests.support import wait_until


class Count(Record):
    done: int = 0


class Noted(Actor[Step, Count]):
    """Notes which of its hooks are called; a step may fail."""

    notes: list[str]

    def note(self, what: str) -> None:
        self.notes.append(f"{self.key} {what} {self.state.done}")

    async def on_start(self) -> None:
        self.note("start")

    async def on_stop(self) -> None:
        self.note("stop")

    async def receive(self, step: Step) -> None:
        self.state.done += 1
        if step.do == "fail" or step.do == f"fail {self.attempt}":
            raise ValueError("no")


async def test_an_instance_starts_before_its_first_event_and_stops_with_its_partition(valkey: Server) -> None:
    app, stream = make_app(valkey)

    @app.actor(stream)
    class Account(Noted):
        notes = []  # noqa: RUF012

    await stream.send(*steps("ab", [1, 2]))
    async with working(app):
        await all_done(valkey, stream, "Account")
        assert Account.notes == ["a start 0", "b start 0"]
    assert sorted(Account.notes[2:]) == ["a stop 2", "b stop 2"]


async def test_an_instance_that_has_failed_is_told_so_and_the_next_one_starts_from_the_state_before(
    valkey: Server,
) -> None:
    app, stream = make_app(valkey)

    @app.actor(stream, retry=Retry(attempts=2, backoff=0), exception_policy=ExceptionPolicy.IGNORE)
    class Account(Noted):
        notes = []  # noqa: RUF012

        async def on_restart(self, error: Exception) -> None:
            self.note(f"{error!r}")

    @app.actor(stream, retry=Retry(attempts=2, backoff=0), exception_policy=ExceptionPolicy.IGNORE)
    class Plain(Noted):
        notes = []  # noqa: RUF012

    await stream.send(*steps("a", [1]), *steps("a", [2], "fail"), *steps("a", [3]))
    async with working(app):
        await all_done(valkey, stream, "Account")
        await all_done(valkey, stream, "Plain")
    failed = "a ValueError('no') 2"
    assert Account.notes == ["a start 0", failed, "a start 1", failed, "a start 1", "a stop 2"]
    assert Plain.notes == ["a start 0", "a stop 2", "a start 1", "a stop 2", "a start 1", "a stop 2"], "by default"


async def test_what_on_start_does_belongs_to_the_first_event(valkey: Server) -> None:
    app, stream = make_app(valkey)
    target = app.stream("target", record=Step, partition_by="key", partition_count=1)

    @app.actor(stream, retry=Retry(attempts=2, backoff=0))
    class Account(Noted):
        notes = []  # noqa: RUF012

        async def on_start(self) -> None:
            self.state.done += 100
            self.emit(target, Step(key=self.key))
            self.remind("x", after=3_600)

        async def on_reminder(self, name: str) -> None: ...

    await stream.send(*steps("a", [1], "fail 1"), *steps("a", [2]))
    async with working(app):
        await all_done(valkey, stream, "Account")
        await wait_until(lambda: held(valkey, target, "none").last != "0-0")
    assert held(valkey, stream, "Account").states == {"a": '{"done":102}'}
    assert len(held(valkey, stream, "Account").due) == 1
    with valkey.client() as redis:
        assert redis.xlen(target.partitions[0].log.decode()) == 1


async def test_an_instance_that_cannot_start_fails_the_event_and_is_not_asked_to_stop(valkey: Server) -> None:
    app, stream = make_app(valkey)

    @app.actor(stream, exception_policy=ExceptionPolicy.DEAD_LETTER)
    class Account(Noted):
        notes = []  # noqa: RUF012

        async def on_start(self) -> None:
            self.note("start")
            if len(self.notes) < 3:
                raise OSError("away")

    await stream.send(*steps("a", [1, 2, 3]))
    async with working(app) as worker:
        await all_done(valkey, stream, "Account")
        assert details(worker, "Account")["dead"] == 2
    assert Account.notes == ["a start 0"] * 3 + ["a stop 1"]
    assert held(valkey, stream, "Account").states == {"a": '{"done":1}'}


async def test_a_hook_that_fails_at_the_end_is_logged_and_harms_nobody(valkey: Server, caplog: Any) -> None:
    app, stream = make_app(valkey)

    @app.actor(stream, retry=Retry(attempts=2, backoff=0), idle_timeout=0.05)
    class Account(Noted):
        notes = []  # noqa: RUF012

        async def on_stop(self) -> None:
            self.state.done = -1
            raise OSError("no stop")

        async def on_restart(self, error: Exception) -> None:
            raise OSError("no restart")

    await stream.send(*steps("a", [1]), *steps("a", [2], "fail 1"))
    async with working(app) as worker:
        await all_done(valkey, stream, "Account")
        await wait_until(lambda: details(worker, "Account")["passivated"] == 1)
        await stream.send(*steps("a", [3]))
        await all_done(valkey, stream, "Account")
    assert held(valkey, stream, "Account").states == {"a": '{"done":3}'}
    hooks = [record.__dict__["hook"] for record in caplog.records if record.message == "hook of an actor failed"]
    assert hooks == ["on_restart", "on_stop", "on_stop"]


async def test_plain_hooks_run_in_threads(valkey: Server) -> None:
    app, stream = make_app(valkey)
    threads = dict[str, int]()

    @app.actor(stream)
    class Account(Actor[Step, Count]):
        def on_start(self) -> None:  # type: ignore[override]
            threads["start"] = threading.get_ident()

        def on_stop(self) -> None:  # type: ignore[override]
            threads["stop"] = threading.get_ident()

        def on_reminder(self, name: str) -> None:
            threads[name] = threading.get_ident()
            self.state.done += 1

        async def receive(self, step: Step) -> None:
            self.remind("reminder", after=0)

    await stream.send(*steps("a", [1]))
    async with working(app):
        await wait_until(lambda: "reminder" in threads)
        await all_done(valkey, stream, "Account")
    assert threads.keys() == {"start", "stop", "reminder"}
    assert threading.get_ident() not in threads.values()
    assert held(valkey, stream, "Account").states == {"a": '{"done":1}'}
