"""Reminders come when they are due, never early, each once; they can be set anew and taken back.

Time is let pass by a second more than they wait: "from now" is reckoned with a server's clock that is never behind its own.
"""

import asyncio
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from runnel import App
from runnel.testing import TestApp
from tests.integration.actors.diary import Diary, Seen, diary
from tests.integration.actors.support import Step, all_done, held, make_app, steps, working
from tests.servers import Server
from tests.support import wait_until

# ── when ──


async def test_it_comes_after_its_time_and_not_before() -> None:
    it = diary()
    it.on_event = lambda actor, step: actor.remind("later", after=step.number)
    async with TestApp(it.app) as t:
        await it.send(*steps("a", [60]), *steps("b", [30]))
        await t.drained()
        await t.advance(29)
        assert it.notes == ["a:60", "b:30"]
        await t.advance(2)
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
        await t.advance(6)
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
        await t.advance(11)
        assert it.notes[4:] == ["b:x"]
        await it.send(*steps("a", [3]))
        await t.advance(11)
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
        it.app.due_times.advance(11)
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
        await t.advance(11)
        assert (it.notes, other.notes) == (["a:1", "a:x"], ["a:1"])
        await t.advance(11)
        assert (it.notes, other.notes) == (["a:1", "a:x"], ["a:1", "a:x"])
