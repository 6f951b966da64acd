"""Reminders take their turn among the events of their key, with its policy; and nothing is in their way."""

import asyncio
from typing import Any

import pytest

from runnel import Actor, App, ConfigurationError, ExceptionPolicy, RecordError, Retry
from runnel.testing import TestApp
from tests.integration.actors.diary import Diary, diary
from tests.integration.actors.support import Step, all_done, details, held, make_app, steps, working
from tests.servers import Server
from tests.support import wait_until

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
