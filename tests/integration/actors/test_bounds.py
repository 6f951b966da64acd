"""What one commit carries has bounds: nothing that an event brings or does makes a commit fail half way."""

from typing import Any

import pytest

from runnel import Actor, ExceptionPolicy, Record, RecordError
from runnel.entity import turn
from runnel.handling.failed import restored
from tests.integration.actors.support import Step, all_done, details, held, make_app, steps, working
from tests.servers import Server
from tests.support import wait_until


class Count(Record):
    done: int = 0


WIDE = {f"f{n}": "x" for n in range(4_100)}
"""An entry with more fields than Lua passes to a command. `send` makes none, but others may write to the log."""


@pytest.mark.parametrize("policy", [ExceptionPolicy.DEAD_LETTER, ExceptionPolicy.PARK])
async def test_an_event_with_thousands_of_fields_is_kept_when_it_fails(valkey: Server, policy: ExceptionPolicy) -> None:
    app, stream = make_app(valkey)

    @app.actor(stream, exception_policy=policy)
    class Account(Actor[Step, Count]):
        async def receive(self, step: Step) -> None:
            self.state.done += 1

    await stream.send(*steps("ab", range(3)))
    with valkey.client() as redis:
        redis.xadd(stream.partitions[0].log.decode(), WIDE)
    await stream.send(*steps("ab", range(3)))
    async with working(app):
        await all_done(valkey, stream, "Account")
        keys = stream.partitions[0]
        of = keys.dead if policy is ExceptionPolicy.DEAD_LETTER else keys.parked
        found: Any = await app.redis.xrange(of("Account"))
    assert held(valkey, stream, "Account").states == dict.fromkeys("ab", '{"done":6}')
    assert len(found) == 1
    own = restored([part for pair in found[0][1].items() for part in pair])[1]
    assert own == [part.encode() for pair in WIDE.items() for part in pair]


async def test_a_record_with_too_many_fields_cannot_be_emitted(valkey: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    app, stream = make_app(valkey)
    monkeypatch.setattr(turn, "MOST_FIELDS", 4)  # one with thousands takes seconds to declare
    errors = list[str]()

    @app.actor(stream)
    class Account(Actor[Step, Count]):
        async def receive(self, step: Step) -> None:
            try:
                self.emit(stream, step)
            except RecordError as error:
                errors.append(str(error))
            self.state.done += 1

    await stream.send(*steps("a", [1]))
    async with working(app):
        await all_done(valkey, stream, "Account")
    assert errors == ["stream 'steps': a record of more than 2 fields cannot be emitted"]
    assert held(valkey, stream, "Account").states == {"a": '{"done":1}'}


async def test_what_many_events_emit_remember_and_set_at_once_all_comes(valkey: Server) -> None:
    app, stream = make_app(valkey)
    target = app.stream("target", record=Step, partition_by="key", partition_count=1, partition_size=10)

    @app.actor(stream, key_concurrency=64)
    class Account(Actor[Step, Count]):
        async def receive(self, step: Step) -> None:
            self.emit(target, *(Step(key=self.key, number=n) for n in range(100)))
            self.remind("x", after=3_600)
            self.state.done += 1

        async def on_reminder(self, name: str) -> None: ...

    keys = [f"k{n}" for n in range(60)]
    await stream.send(*steps(keys, [1, 2]))
    async with working(app) as worker:
        await all_done(valkey, stream, "Account")
        assert details(worker, "Account")["ahead"] == 0
        with valkey.client() as redis:
            await wait_until(lambda: redis.xlen(target.partitions[0].log.decode()) >= 12_000)
    found = held(valkey, stream, "Account")
    assert found.states == dict.fromkeys(keys, '{"done":2}')
    assert found.reminders.keys() == set(keys)
    assert len(found.due) == 60
    with valkey.client() as redis:
        assert redis.xlen(target.partitions[0].log.decode()) == 120 * 100
