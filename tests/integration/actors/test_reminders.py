"""Reminders: durable, in their key's own order, never early, each once."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from runnel import Actor, App, ConfigurationError, ExceptionPolicy, Record, RecordError, Retry, Stream
from runnel.testing import TestApp
from tests.integration.actors.support import Step, all_done, details, held, make_app, steps, working
from tests.servers import Server
from tests.support import wait_until


class Seen(Record):
    said: list[str] = []  # noqa: RUF012


class Diary:
    """An app whose actors note what comes, and set reminders as a test says."""

    def __init__(self, app: App, stream: Stream[Step], **options: Any) -> None:
        self.app, self.stream = app, stream
        self.notes = list[str]()
        self.on_event: Callable[[Any, Step], Any] = lambda actor, step: None
        self.on_reminder: Callable[[Any, str], Any] = lambda actor, name: None
        diary = self

        @app.actor(stream, **options)
        class Account(Actor[Step, Seen]):
            async def receive(self, step: Step) -> None:
                await self._note(f"{step.number}", lambda: diary.on_event(self, step))

            async def on_reminder(self, name: str) -> None:
                await self._note(name, lambda: diary.on_reminder(self, name))

            async def _note(self, what: str, do: Callable[[], Any]) -> None:
                diary.notes.append(f"{self.key}:{what}")
                self.state.said.append(what)
                if (waits := do()) is not None:
                    await waits

        self.actor = Account

    async def send(self, *steps: Step) -> None:
        await self.stream.send(*steps)


def diary(**options: Any) -> Diary:
    """For a TestApp."""
    app = App("shop", redis_url="redis://not.used")
    return Diary(app, app.stream("steps", record=Step, partition_by="key", partition_count=1), **options)


# ── when ──


async def test_it_comes_after_its_time_and_not_before() -> None:
    it = diary()
    it.on_event = lambda actor, step: actor.remind("later", after=step.number)
    async with TestApp(it.app) as t:
        await it.send(*steps("a", [60]), *steps("b", [30]))
        await t.drained()
        await t.advance(29)
        assert it.notes == ["a:60", "b:30"]
        await t.advance(1)
        assert it.notes[2:] == ["b:later"]
        await t.advance(30)
        assert it.notes[2:] == ["b:later", "a:later"]
        assert (await it.actor.state_of("a")) == Seen(said=["60", "later"])
        await t.advance(1_000)
        assert len(it.notes) == 4, "each once"
        keys = it.stream.partitions[0]
        assert not await it.app.redis.exists(keys.reminders("Account"), keys.delayed, keys.delayed_entries)


async def test_it_may_be_due_at_a_moment_even_one_that_has_passed() -> None:
    it = diary()

    def remind(actor: Any, step: Step) -> None:
        actor.remind("past", at=datetime(2020, 1, 1, tzinfo=UTC))
        actor.remind("future", at=datetime(2100, 1, 1, tzinfo=UTC))

    it.on_event = remind
    async with TestApp(it.app) as t:
        await it.send(*steps("a", [1]))
        await t.drained()
        assert it.notes == ["a:1", "a:past"]
        await t.advance(76 * 366 * 24 * 3600.0)
        assert it.notes == ["a:1", "a:past", "a:future"]


async def test_none_is_due_early_by_the_servers_clock(valkey: Server) -> None:
    it, set_at = Diary(*make_app(valkey)), dict[str, float]()

    def on_event(actor: Any, step: Step) -> None:
        with valkey.client() as redis:
            seconds, microseconds = redis.time()
        set_at[step.key] = int(seconds) * 1_000 + int(microseconds) / 1_000
        actor.remind("x", after=step.number)

    it.on_event = on_event
    after = {f"k{n}": 60 + n for n in range(20)}
    await it.send(*(Step(key=key, number=seconds) for key, seconds in after.items()))
    async with working(it.app):
        await all_done(valkey, it.stream, "Account")
    due = {key: orjson.loads(told)["x"] for key, told in held(valkey, it.stream, "Account").reminders.items()}
    late = [due[key] - set_at[key] - seconds * 1_000 for key, seconds in after.items()]
    assert min(late) >= 0
    assert max(late) < 1_000


# ── set, set again, taken back ──


async def test_one_of_the_same_name_replaces_it_and_others_stay() -> None:
    it = diary()

    def on_event(actor: Any, step: Step) -> None:
        actor.remind("x", after=step.number)
        actor.remind(f"y{step.number}", after=5)

    it.on_event = on_event
    async with TestApp(it.app) as t:
        await it.send(*steps("a", [10, 20]), *steps("b", [10]))
        await t.drained()
        await t.advance(15)
        assert sorted(it.notes[3:]) == ["a:y10", "a:y20", "b:x", "b:y10"]
        await t.advance(5)
        assert it.notes[-1] == "a:x"
        assert it.notes.count("a:x") == 1


async def test_one_that_is_cancelled_does_not_come() -> None:
    it = diary()
    it.on_event = lambda actor, step: (
        actor.cancel_reminder("x") if step.do == "cancel" else actor.remind("x", after=10)
    )
    async with TestApp(it.app) as t:
        await it.send(*steps("ab", [1]), *steps("a", [2], "cancel"), *steps("c", [2], "cancel"))
        await t.drained()
        await t.advance(10)
        assert it.notes[4:] == ["b:x"]
        await it.send(*steps("a", [3]))
        await t.advance(10)
        assert it.notes[5:] == ["a:3", "a:x"]


async def test_the_handler_that_reminds_and_cancels_has_what_it_said_last() -> None:
    it = diary()

    def on_event(actor: Any, step: Step) -> None:
        actor.remind("x", after=1)
        actor.cancel_reminder("x")
        actor.cancel_reminder("y")
        actor.remind("y", after=1)

    it.on_event = on_event
    async with TestApp(it.app) as t:
        await it.send(*steps("a", [1]))
        await t.drained()
        await t.advance(2)
        assert it.notes == ["a:1", "a:y"]


@pytest.mark.parametrize("again", [False, True])
async def test_one_that_is_in_the_log_already_is_taken_back_or_set_anew(again: bool) -> None:
    it, go = diary(), asyncio.Event()

    def on_event(actor: Any, step: Step) -> Any:
        if step.number == 1:
            actor.remind("x", after=10)
            return None
        if again:
            actor.remind("x", after=100)
        else:
            actor.cancel_reminder("x")
        return go.wait()

    it.on_event = on_event
    async with TestApp(it.app) as t:
        await it.send(*steps("a", [1]))
        await t.drained()
        await it.send(*steps("a", [2]))
        await wait_until(lambda: it.notes == ["a:1", "a:2"])
        it.app.due_times.advance(10)
        log = it.stream.partitions[0].log
        await wait_until(lambda: length(it.app, log, 3), what="the reminder is in the log")
        go.set()
        await t.drained()
        assert it.notes == ["a:1", "a:2"]
        await t.advance(90 + 15)
        assert it.notes == ["a:1", "a:2"] + ["a:x"] * again


async def length(app: App, log: bytes, expected: int) -> bool:
    return int(await app.redis.xlen(log)) == expected


async def test_one_that_sets_itself_again_comes_again_and_again() -> None:
    it = diary()
    it.on_event = lambda actor, step: actor.remind("tick", after=10)
    it.on_reminder = lambda actor, name: actor.remind("tick", after=10) if len(actor.state.said) < 6 else None
    async with TestApp(it.app) as t:
        await it.send(*steps("a", [1]))
        await t.drained()
        await t.advance(35)
        assert it.notes == ["a:1", *["a:tick"] * 3]
        await t.advance(100)
        assert it.notes == ["a:1", *["a:tick"] * 5]


async def test_those_of_two_kinds_of_actors_do_not_meet() -> None:
    it = diary(name="one")
    other = Diary(it.app, it.stream, name="two")
    it.on_event = lambda actor, step: actor.remind("x", after=10)
    other.on_event = lambda actor, step: actor.remind("x", after=20)
    async with TestApp(it.app) as t:
        await it.send(*steps("a", [1]))
        await t.drained()
        await t.advance(10)
        assert (it.notes, other.notes) == (["a:1", "a:x"], ["a:1"])
        await t.advance(10)
        assert (it.notes, other.notes) == (["a:1", "a:x"], ["a:1", "a:x"])


# ── in the key's order, with its policy ──


async def test_it_takes_its_turn_among_the_events_of_its_key(valkey: Server) -> None:
    it, running, overlaps = Diary(*make_app(valkey), key_concurrency=8), set[str](), list[str]()

    async def alone(key: str) -> None:
        if key in running:
            overlaps.append(key)
        running.add(key)
        await asyncio.sleep(0.001)
        running.discard(key)

    def on_event(actor: Any, step: Step) -> Any:
        actor.remind(f"r{step.number}", after=0.001 * step.number)
        return alone(actor.key)

    it.on_event, it.on_reminder = on_event, lambda actor, name: alone(actor.key)
    await it.send(*steps("abcd", range(10)))
    async with working(it.app):
        await wait_until(lambda: len(it.notes) == 80)
        await all_done(valkey, it.stream, "Account")
    assert not overlaps
    with valkey.client() as redis:
        log = [fields for _, fields in redis.xrange(it.stream.partitions[0].log.decode())]
    for key in "abcd":
        ours = [each for each in log if each["~key"] == key]
        expected = [each.get("~reminder") or it.stream.deserialize(encoded(each)).number for each in ours]
        assert [note[2:] for note in it.notes if note[0] == key] == [str(each) for each in expected]


def encoded(fields: dict[str, str]) -> dict[bytes, bytes]:
    return {name.encode(): value.encode() for name, value in fields.items()}


async def test_one_that_fails_is_tried_again_and_then_the_policy_decides() -> None:
    it = diary(exception_policy=ExceptionPolicy.DEAD_LETTER, retry=Retry(attempts=3, backoff=0))

    def on_event(actor: Any, step: Step) -> None:
        actor.remind("bad", after=10)
        actor.remind("unsteady", after=20)

    def on_reminder(actor: Any, name: str) -> None:
        if not name.startswith("after"):
            actor.remind(f"after {name}", after=0)
        if name == "bad" or (name == "unsteady" and actor.attempt < 3):
            raise ValueError(name)

    it.on_event, it.on_reminder = on_event, on_reminder
    async with TestApp(it.app) as t:
        await it.send(*steps("a", [1]))
        await t.advance(25)
        assert it.notes[1:7] == ["a:bad"] * 3 + ["a:unsteady"] * 3
        assert it.notes[7] == "a:after unsteady"
        assert "a:after bad" not in it.notes
        dead: Any = await it.app.redis.xrange(it.stream.partitions[0].dead("Account"))
        assert [fields[b"~reminder"] for _, fields in dead] == [b"bad"]
        state = await it.actor.state_of("a")
        assert state is not None
        assert state.said == ["1", "unsteady", "after unsteady"]


async def test_an_event_that_fails_sets_none_and_cancels_none() -> None:
    it = diary(exception_policy=ExceptionPolicy.IGNORE)

    def on_event(actor: Any, step: Step) -> None:
        if step.do == "fail":
            actor.remind("never", after=1)
            actor.cancel_reminder("x")
            raise ValueError("no")
        actor.remind("x", after=10)

    it.on_event = on_event
    async with TestApp(it.app) as t:
        await it.send(*steps("a", [1]), *steps("a", [2], "fail"))
        await t.advance(20)
        assert it.notes == ["a:1", "a:2", "a:x"]


@pytest.mark.parametrize("name", ["", "x" * 201, "\ud800", 7])
async def test_a_name_that_does_not_fit_fails_the_event_with_all_that_it_did(name: Any) -> None:
    it, errors = diary(exception_policy=ExceptionPolicy.IGNORE), list[Exception]()

    def on_event(actor: Any, step: Step) -> None:
        try:
            actor.remind(name, after=1)
        except RecordError as error:
            errors.append(error)
            raise

    it.on_event = on_event
    async with TestApp(it.app) as t:
        await it.send(*steps("a", [1]))
        await t.drained()
        assert len(errors) == 1
        assert await it.actor.state_of("a") is None


async def test_a_name_of_any_text_that_does_fit_comes_back_as_it_was() -> None:
    it = diary()
    names = ["a/b:c", "~", "ü" * 100, "{x}", " ", "\n\0"]
    it.on_event = lambda actor, step: [actor.remind(name, after=n) for n, name in enumerate(names)] and None
    async with TestApp(it.app) as t:
        await it.send(*steps(["a", "x~/:", "ß"], [1]))
        await t.advance(10)
        for key in ("a", "x~/:", "ß"):
            assert [note[len(key) + 1 :] for note in it.notes if note.startswith(f"{key}:")] == ["1", *names]


async def test_a_class_without_on_reminder_cannot_be_reminded() -> None:
    app = App("shop", redis_url="redis://not.used")
    stream = app.stream("steps", record=Step, partition_by="key")
    errors = list[str]()

    @app.actor(stream)
    class Account(Actor[Step, None]):
        async def receive(self, step: Step) -> None:
            try:
                self.remind("x", after=1)
            except ConfigurationError as error:
                errors.append(str(error))

    async with TestApp(app) as t:
        await stream.send(*steps("a", [1]))
        await t.drained()
    assert errors == ["actor 'Account' has no on_reminder: it says what a reminder is for"]


# ── durable, and never in the way ──


async def test_it_comes_though_the_worker_that_set_it_is_gone(valkey: Server) -> None:
    first, second = Diary(*make_app(valkey)), Diary(*make_app(valkey))
    first.on_event = lambda actor, step: actor.remind("x", after=0.05)
    first.on_reminder = lambda actor, name: asyncio.Event().wait()  # if it comes to that, it is not done
    await first.send(*steps("ab", [1]))
    async with working(first.app) as worker:
        await wait_until(lambda: len(held(valkey, first.stream, "Account").reminders) == 2)
        worker.stop()
        worker.stop()  # at once
    async with working(second.app):
        await wait_until(lambda: sorted(second.notes) == ["a:x", "b:x"])
        await all_done(valkey, second.stream, "Account")
    assert held(valkey, second.stream, "Account").states == dict.fromkeys("ab", '{"said":["1","x"]}')


async def test_a_full_log_holds_none_back_though_delayed_events_wait_for_room_before_it(valkey: Server) -> None:
    app, _ = make_app(valkey)
    stream = app.stream("few", record=Step, partition_by="key", partition_count=1, partition_size=4)
    it, go = Diary(app, stream, key_concurrency=2), asyncio.Event()

    def on_event(actor: Any, step: Step) -> Any:
        if step.do == "wait":
            return go.wait()
        return actor.remind("x", after=0.01) if step.do == "remind" else None

    it.on_event = on_event
    async with working(app) as worker:
        await it.send(*steps("a", [1], "wait"), *steps("b", [1, 2, 3]))
        await stream.send(*steps("c", [1, 2]), delay=0)
        await wait_until(lambda: details(worker, "Account").get("ahead") == 3)
        # One more comes though it is full, as what another actor emits does: it sets the reminder.
        with valkey.client() as redis:
            data = '{"key": "b", "number": 4, "do": "remind"}'
            redis.xadd(stream.partitions[0].log.decode(), {"data": data, "~key": "b"})
        await wait_until(lambda: it.notes[-1] == "b:x", what="the reminder comes")
        assert len(held(valkey, stream, "Account").due) == 2
        go.set()
        await wait_until(lambda: it.notes[-2:] == ["c:1", "c:2"])
