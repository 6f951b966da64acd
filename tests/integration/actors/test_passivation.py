"""Which actors are active: those of idle keys go, and those used least recently; what they remember stays."""

import asyncio
from collections import Counter
from typing import Any

import pytest
from attrs import define, field

from runnel import Actor, App, ExceptionPolicy, Record, Stream
from runnel.roles import keyed
from runnel.roles.committer import Committer
from runnel.roles.passivation import pace
from runnel.roles.runners import Runners
from tests.integration.actors.support import Step, all_done, details, held, make_app, restarts, steps, working
from tests.servers import Server
from tests.support import wait_until


class Count(Record):
    done: int = 0


@define
class Theatre:
    """Who came on, and went off."""

    on: list[str] = field(factory=list)
    off: list[str] = field(factory=list)
    most: int = 0
    go: asyncio.Event | None = None
    """What `on_stop` waits for."""

    def declare(self, app: App, stream: Stream[Step], **options: Any) -> type[Actor[Step, Count]]:
        theatre = self

        @app.actor(stream, **options)
        class Account(Actor[Step, Count]):
            async def on_start(self) -> None:
                theatre.on.append(self.key)
                theatre.most = max(theatre.most, len(theatre.on) - len(theatre.off))
                self.seen = self.state.done

            async def on_stop(self) -> None:
                if theatre.go is not None:
                    await theatre.go.wait()
                theatre.off.append(self.key)

            async def receive(self, step: Step) -> None:
                assert self.seen == self.state.done
                self.state.done += 1
                self.seen += 1
                if step.do == "wait":
                    await asyncio.sleep(0.005)

        return Account


async def test_actors_of_idle_keys_go_in_order_and_come_again_with_their_state(valkey: Server) -> None:
    app, stream = make_app(valkey)
    theatre = Theatre()
    theatre.declare(app, stream, idle_timeout=0.1)
    await stream.send(*steps("ab", range(3)))
    async with working(app) as worker:
        await wait_until(lambda: sorted(theatre.off) == ["a", "b"])
        await wait_until(lambda: details(worker, "Account")["active"] == 0)
        assert details(worker, "Account")["passivated"] == 2
        await stream.send(*steps("a", [3]))
        await wait_until(lambda: theatre.on[2:] == ["a"])
        await all_done(valkey, stream, "Account")
    assert held(valkey, stream, "Account").states == {"a": '{"done":4}', "b": '{"done":3}'}
    assert theatre.off[2:] == ["a"], "the worker stops in order"


async def test_many_that_are_gone_at_once_leave_the_reader_its_room(valkey: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the partition is busy with something else, and cannot hear of them."""
    app, stream = make_app(valkey)
    theatre, hold, quiets = Theatre(go=asyncio.Event()), asyncio.Event(), list[Runners]()
    quiet = Runners.quiet

    class Busy(theatre.declare(app, stream, name="other")):  # type: ignore[misc]
        async def receive(self, step: Step) -> None:
            await super().receive(step)
            if step.do == "hold":
                await hold.wait()

    async def noted(runners: Runners, within: float | None = None) -> None:
        quiets.append(runners)
        await quiet(runners, within)

    app.actor(stream, max_active=1, key_concurrency=4, exception_policy=ExceptionPolicy.PARK)(Busy)
    monkeypatch.setattr(keyed, "LOOK", 0.02)
    async with working(app) as worker:
        await stream.send(Step(key="busy", do="hold"))
        for number in range(30):
            await stream.send(Step(key=f"k{number}"))
            await wait_until(lambda: f"k{number}" in held(valkey, stream, "Busy").states)  # noqa: B023 - at once
        assert not theatre.off
        monkeypatch.setattr(Runners, "quiet", noted)
        with valkey.client() as redis:
            redis.hincrby(stream.partitions[0].slot("Busy").decode(), "operated", 1)
        await wait_until(lambda: quiets, what="the partition waits until the busy one is done")
        assert theatre.go is not None
        theatre.go.set()
        await wait_until(lambda: len(theatre.off) >= 28)
        await stream.send(Step(key="last"))
        await asyncio.sleep(0.1)  # it is read
        hold.set()
        await wait_until(lambda: "last" in held(valkey, stream, "Busy").states)
        await all_done(valkey, stream, "Busy")
        assert restarts(worker) == 0


async def test_a_key_that_has_events_is_not_idle_however_long_they_take(valkey: Server) -> None:
    app, stream = make_app(valkey)
    theatre, release = Theatre(), asyncio.Event()

    class Busy(theatre.declare(app, stream, name="other")):  # type: ignore[misc]
        async def receive(self, step: Step) -> None:
            await super().receive(step)
            if step.do == "hold":
                await release.wait()

    app.actor(stream, idle_timeout=0.05)(Busy)
    await stream.send(*steps("a", [1], "hold"), *steps("b", [1]))
    async with working(app) as worker:
        await wait_until(lambda: details(worker, "Busy").get("passivated") == 1)
        assert "a" not in theatre.off
        release.set()
        await wait_until(lambda: details(worker, "Busy")["passivated"] == 2)


async def test_beyond_the_most_that_may_be_active_those_used_least_recently_go(valkey: Server) -> None:
    app, stream = make_app(valkey)
    theatre = Theatre()
    theatre.declare(app, stream, max_active=4)
    async with working(app) as worker:
        for key in "abcd":
            await stream.send(*steps(key, [1]))
            await all_done(valkey, stream, "Account")
        await stream.send(*steps("a", [2]))
        await all_done(valkey, stream, "Account")
        assert not theatre.off
        await stream.send(*steps("e", [1]))
        await wait_until(lambda: theatre.off == ["b"])
        await stream.send(*steps("b", [2]))
        await wait_until(lambda: theatre.off == ["b", "c"])
        await wait_until(lambda: details(worker, "Account")["active"] == 4)
        await all_done(valkey, stream, "Account")
    assert theatre.on == [*"abcde", "b"]
    assert Counter(theatre.off) == Counter(theatre.on), "each that came on went off"


async def test_an_event_that_comes_while_its_actor_goes_waits_for_that_and_finds_the_state(valkey: Server) -> None:
    app, stream = make_app(valkey)
    theatre = Theatre(go=asyncio.Event())
    theatre.declare(app, stream, idle_timeout=0.1)
    await stream.send(*steps("a", [1]))
    async with working(app) as worker:
        await wait_until(lambda: details(worker, "Account").get("passivated") == 1)
        await stream.send(*steps("a", [2, 3]), *steps("b", [1]))
        await wait_until(lambda: theatre.on == ["a", "b"], what="another key does not wait")
        assert held(valkey, stream, "Account").states["a"] == '{"done":1}'
        assert theatre.go is not None
        theatre.go.set()
        await wait_until(lambda: theatre.on == ["a", "b", "a"])
        await all_done(valkey, stream, "Account")
    assert theatre.off[0] == "a"
    assert held(valkey, stream, "Account").states == {"a": '{"done":3}', "b": '{"done":1}'}


async def test_many_more_keys_than_may_be_active_all_have_the_right_state(valkey: Server) -> None:
    app, stream = make_app(valkey, partition_count=2)
    theatre = Theatre()
    theatre.declare(app, stream, max_active=100, idle_timeout=0.05, key_concurrency=32)
    keys = [f"k{n}" for n in range(5_000)]
    await stream.send(*steps(keys, [1]), *steps(keys[::50], [2], "wait"), *steps(reversed(keys[::3]), [3]))
    async with working(app):
        await all_done(valkey, stream, "Account", timeout=60)
    states = held(valkey, stream, "Account", 0).states | held(valkey, stream, "Account", 1).states
    expected = {key: 1 + (n % 50 == 0) + (n % 3 == 0) for n, key in enumerate(keys)}
    assert states == {key: f'{{"done":{done}}}' for key, done in expected.items()}
    assert len(theatre.on) > 5_000, "some came more than once"
    assert Counter(theatre.on) == Counter(theatre.off)


async def test_a_state_that_is_not_committed_yet_is_not_read_from_the_server(
    valkey: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    app, stream = make_app(valkey)
    go, commit, seen = asyncio.Event(), Committer._commit, list[tuple[str, int]]()

    async def later(self: Committer, commits: Any) -> Any:
        await go.wait()
        return await commit(self, commits)

    monkeypatch.setattr(Committer, "_commit", later)

    @app.actor(stream, max_active=1)
    class Account(Actor[Step, Count]):
        async def receive(self, step: Step) -> None:
            seen.append((step.key, self.state.done))
            self.state.done += 1

    async with working(app) as worker:
        for n, key in enumerate("abaca"):  # the commit of the first is on its way, that of the others is not
            await stream.send(*steps(key, [n]))
            await wait_until(lambda: len(seen) == n + 1)  # noqa: B023
        assert details(worker, "Account")["passivated"] == 4
        assert held(valkey, stream, "Account").states == {}
        go.set()
        await all_done(valkey, stream, "Account")
    assert seen == [("a", 0), ("b", 0), ("a", 1), ("c", 0), ("a", 2)]
    assert held(valkey, stream, "Account").states == {"a": '{"done":3}', "b": '{"done":1}', "c": '{"done":1}'}


def test_a_tiny_idle_timeout_does_not_spin() -> None:
    assert pace(1e-9) == 0.05
    assert pace(60) == 15
    assert pace(1e9) == 60


async def test_with_a_tiny_idle_timeout_actors_go_all_the_same(valkey: Server) -> None:
    app, stream = make_app(valkey)
    theatre = Theatre()
    theatre.declare(app, stream, idle_timeout=1e-9)
    await stream.send(*steps("ab", range(20)))
    async with working(app):
        await all_done(valkey, stream, "Account")
        await wait_until(lambda: Counter(theatre.off) == Counter(theatre.on))
    assert held(valkey, stream, "Account").states == dict.fromkeys("ab", '{"done":20}')
