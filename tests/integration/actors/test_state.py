"""What actors remember: whatever it is, it is committed with the events that it comes from, never a moment before or after."""

import asyncio
import dataclasses
import random
from typing import Any

import attrs
import pytest

from runnel import Actor, ExceptionPolicy, Record, Retry
from tests.integration.actors.support import Held, Step, all_done, details, held, make_app, steps, working
from tests.servers import Server
from tests.support import wait_until


class Count(Record):
    done: int = 0
    note: str = "new"


@attrs.define
class AttrsCount:
    done: int = 0
    note: str = "new"


@dataclasses.dataclass
class DataCount:
    done: int = 0
    note: str = "new"


class Counter(Actor[Step, Count]):
    """Counts the events of its key, and does what they say."""

    async def receive(self, step: Step) -> None:
        self.state.done += 1
        if step.do == "fail":
            raise ValueError("no")


# ── kinds, and ways to change them ──


@pytest.mark.parametrize("kind", [Count, AttrsCount, DataCount])
async def test_a_state_is_changed_in_place_or_assigned_and_none_deletes_it(valkey: Server, kind: type[Any]) -> None:
    app, stream = make_app(valkey)
    seen = []

    @app.actor(stream)
    class Account(Actor[Step, kind]):  # type: ignore[valid-type]
        async def receive(self, step: Step) -> None:
            seen.append((step.key, self.state.done, self.state.note))
            if step.do == "assign":
                self.state = kind(done=100, note="assigned")
            elif step.do == "delete":
                self.state = None
            else:
                self.state.done += 1

    await stream.send(*steps("ab", [1, 2]), *steps("a", [3], "assign"), *steps("b", [3], "delete"), *steps("b", [4]))
    await stream.send(*steps("c", [1]), *steps("c", [2], "delete"))
    async with working(app):
        await all_done(valkey, stream, "Account")
    assert [each[1:] for each in seen if each[0] == "a"] == [(0, "new"), (1, "new"), (2, "new")]
    assert [each[1:] for each in seen if each[0] == "b"] == [(0, "new"), (1, "new"), (2, "new"), (0, "new")]
    states = held(valkey, stream, "Account").states
    assert states == {"a": '{"done":100,"note":"assigned"}', "b": '{"done":1,"note":"new"}'}


async def test_a_key_begins_with_what_initial_makes_and_what_is_still_that_is_not_stored(valkey: Server) -> None:
    app, stream = make_app(valkey)

    @app.actor(stream)
    class Account(Counter):
        @classmethod
        def initial(cls) -> Count:
            return Count(done=40, note="given")

        async def receive(self, step: Step) -> None:
            if step.do != "look":
                await super().receive(step)

    await stream.send(*steps("a", [1, 2]), *steps("b", [1], "look"))
    async with working(app):
        await all_done(valkey, stream, "Account")
    assert held(valkey, stream, "Account").states == {"a": '{"done":42,"note":"given"}'}


async def test_a_state_of_older_code_is_read_and_migrated(valkey: Server) -> None:
    app, stream = make_app(valkey)

    @app.actor(stream)
    class Account(Counter):
        pass

    @app.actor(stream)
    class Migrates(Counter):
        @classmethod
        def migrate(cls, data: dict[str, Any]) -> dict[str, Any]:
            return {"done": data["count"] * 10, "note": "migrated"} if "count" in data else data

    with valkey.client() as redis:
        of = stream.partitions[0].state
        redis.hset(of("Account").decode(), mapping={"a": '{"done":5,"gone":[1]}', "b": "{}"})
        redis.hset(of("Migrates").decode(), mapping={"a": '{"count":5}', "b": '{"done":7,"note":"today"}'})
    await stream.send(*steps("ab", [1]))
    async with working(app):
        await all_done(valkey, stream, "Account")
        await all_done(valkey, stream, "Migrates")
    assert held(valkey, stream, "Account").states == {k: f'{{"done":{n},"note":"new"}}' for k, n in (("a", 6), ("b", 1))}
    assert held(valkey, stream, "Migrates").states == {
        "a": '{"done":51,"note":"migrated"}',
        "b": '{"done":8,"note":"today"}',
    }


async def test_keys_of_any_kind_have_their_own_states(valkey: Server) -> None:
    app, stream = make_app(valkey, partition_count=3)
    seen = set()

    @app.actor(stream)
    class Account(Counter):
        async def receive(self, step: Step) -> None:
            await super().receive(step)
            seen.add(self.key)

    keys: list[Any] = [b"\xff\x00", "", 7, "ключ \n", b"a" * 70_000, -1.5]
    for key in keys:
        await stream.send(*steps("x", [1, 2]), key=key)
    async with working(app):
        for partition in stream.partitions:
            await wait_until(lambda p=partition: held(valkey, stream, "Account", p.number).is_done)
        states = [await Account.state_of(key) for key in keys]
    assert [state and state.done for state in states] == [2] * len(keys)
    assert seen == {"\udcff\x00", "", "7", "ключ \n", "a" * 70_000, "-1.5"}


# ── with events that fail ──


async def test_a_handler_that_fails_leaves_no_trace_of_what_it_did_to_the_state(valkey: Server) -> None:
    app, stream = make_app(valkey)
    tried = []

    @app.actor(stream, retry=Retry(attempts=3, backoff=0.01), exception_policy=ExceptionPolicy.DEAD_LETTER)
    class Account(Actor[Step, Count]):
        async def receive(self, step: Step) -> None:
            tried.append((step.number, self.attempt, self.state.done, self.state.note))
            self.state.done += 1
            await asyncio.sleep(0)
            if step.do == "fail" or (step.do == "once" and self.attempt == 1):
                self.state.note = "torn"
                raise ValueError("no")
            if step.do == "replace":
                self.state = Count(done=-1)
                raise ValueError("no")

    await stream.send(Step(key="a", number=1), *steps("a", [2], "once"), *steps("a", [3], "fail"))
    await stream.send(*steps("a", [4], "replace"), Step(key="a", number=5))
    async with working(app):
        await all_done(valkey, stream, "Account")
    assert held(valkey, stream, "Account").states == {"a": '{"done":3,"note":"new"}'}
    assert {each[3] for each in tried} == {"new"}
    assert [each[:3] for each in tried] == [
        *[(1, 1, 0), (2, 1, 1), (2, 2, 1)],
        *[(3, attempt, 2) for attempt in (1, 2, 3)],
        *[(4, attempt, 2) for attempt in (1, 2, 3)],
        (5, 1, 2),
    ]


async def test_what_a_handler_has_changed_half_way_is_in_no_commit(valkey: Server) -> None:
    app, stream = make_app(valkey)
    half_way, go = asyncio.Event(), asyncio.Event()

    @app.actor(stream)
    class Account(Actor[Step, Count]):
        async def receive(self, step: Step) -> None:
            self.state.done += 1
            if step.do == "wait":
                self.state.note = "half"
                half_way.set()
                await go.wait()
            self.state.note = "whole"

    await stream.send(*steps("ab", [1]), *steps("a", [2], "wait"), *steps("b", range(3, 20)))
    async with working(app):
        await half_way.wait()
        await wait_until(lambda: held(valkey, stream, "Account").states.get("b") == '{"done":18,"note":"whole"}')
        assert held(valkey, stream, "Account").states["a"] == '{"done":1,"note":"whole"}'
        go.set()
        await all_done(valkey, stream, "Account")
    assert held(valkey, stream, "Account").states["a"] == '{"done":2,"note":"whole"}'


async def test_a_state_that_cannot_be_encoded_fails_the_event_with_all_that_it_did(valkey: Server) -> None:
    app, stream = make_app(valkey)
    alerts = app.stream("alerts", record=Step, partition_by="key", partition_count=1)

    @app.actor(stream, exception_policy=ExceptionPolicy.DEAD_LETTER)
    class Account(Counter):
        async def receive(self, step: Step) -> None:
            await super().receive(step)
            if step.do == "break":
                self.emit(alerts, step)
                self.remind("x", after=60)
                self.state.__dict__["done"] = self.state.done = "many"  # type: ignore[assignment]

        async def on_reminder(self, name: str) -> None: ...

    await stream.send(*steps("a", [1]), *steps("a", [2], "break"), *steps("a", [3]))
    async with working(app) as worker:
        await all_done(valkey, stream, "Account")
        assert details(worker, "Account")["dead"] == 1
    found = held(valkey, stream, "Account")
    assert (found.states, found.due, found.reminders) == ({"a": '{"done":2,"note":"new"}'}, [], {})
    assert held(valkey, alerts, "none").last == "0-0"


async def test_a_state_that_does_not_decode_fails_the_event_and_stays(valkey: Server) -> None:
    app, stream = make_app(valkey)

    @app.actor(stream, exception_policy=ExceptionPolicy.DEAD_LETTER)
    class Account(Counter):
        pass

    with valkey.client() as redis:
        redis.hset(stream.partitions[0].state("Account").decode(), "a", "[not")
    await stream.send(*steps("ab", [1]))
    async with working(app) as worker:
        await all_done(valkey, stream, "Account")
        assert details(worker, "Account")["dead"] == 1
    assert held(valkey, stream, "Account").states == {"a": "[not", "b": '{"done":1,"note":"new"}'}


# ── committed with their events ──


async def test_states_cursor_and_marks_agree_at_every_moment(valkey: Server) -> None:
    app, stream = make_app(valkey)
    random_ = random.Random(7)

    @app.actor(stream, key_concurrency=8, retry=Retry(attempts=5, backoff=0.001))
    class Account(Counter):
        async def receive(self, step: Step) -> None:
            await super().receive(step)
            if random_.random() < 0.5:
                await asyncio.sleep(random_.random() * 0.004)
            if random_.random() < 0.1:
                raise ValueError("sometimes")

    keys = [f"k{n}" for n in range(20)]
    await stream.send(*steps(keys, range(60)))
    with valkey.client() as redis:
        log = [(entry, fields["~key"]) for entry, fields in redis.xrange(stream.partitions[0].log.decode())]
    looks = list[Held]()

    def look() -> bool:
        looks.append(held(valkey, stream, "Account"))
        return looks[-1].is_done

    async with working(app):
        await wait_until(look, timeout=30)
    for each in looks:
        counted = dict.fromkeys(keys, 0)
        for entry, key in log:
            counted[key] += parts(entry) <= parts(each.cursor) or entry in each.marks
        assert {key: f'{{"done":{n},"note":"new"}}' for key, n in counted.items() if n} == each.states
    assert sum(bool(each.marks) for each in looks) > 5, "nothing was done out of the log's order"
    assert max(len(each.marks) for each in looks) <= 1_024


def parts(entry: str) -> list[int]:
    return [int(part) for part in entry.split("-")]


async def test_states_of_a_backlog_are_read_in_batches_and_committed_many_at_once(valkey: Server) -> None:
    app, stream = make_app(valkey)

    @app.actor(stream)
    class Account(Counter):
        pass

    keys = [f"k{n}" for n in range(5_000)]
    with valkey.client() as redis:
        for at in range(0, 5_000, 500):
            stored = {key: f'{{"done":{key[1:]},"note":"old"}}' for key in keys[at : at + 500]}
            redis.hset(stream.partitions[0].state("Account").decode(), mapping=stored)
        await stream.send(*steps(keys, [1]))
        redis.config_resetstat()
        async with working(app):
            await all_done(valkey, stream, "Account")
        calls = {name: each["calls"] for name, each in redis.info("commandstats").items()}
    states = held(valkey, stream, "Account").states
    assert states == {key: f'{{"done":{int(key[1:]) + 1},"note":"old"}}' for key in keys}
    assert calls["cmdstat_hmget"] < 1_000, "one for each batch, and some in scripts"
    assert calls["cmdstat_hset"] < 1_000


async def test_a_state_of_more_than_a_mebibyte_is_stored_and_read(valkey: Server) -> None:
    app, stream = make_app(valkey)

    @app.actor(stream, max_active=1)
    class Account(Actor[Step, Count]):
        async def receive(self, step: Step) -> None:
            self.state.done += 1
            self.state.note += step.key * 400_000

    await stream.send(*steps("abcd", range(4)))
    async with working(app) as worker:
        await all_done(valkey, stream, "Account")
        assert details(worker, "Account")["ahead"] == 0
    states = held(valkey, stream, "Account").states
    assert states == {key: f'{{"done":4,"note":"new{key * 1_600_000}"}}' for key in "abcd"}
