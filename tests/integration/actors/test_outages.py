"""Actors whose system fails: nearly all events, the server, or what tells them to stop. Nothing is lost or done twice."""

import asyncio
import threading
from typing import Any

import pytest

from runnel import Actor, CircuitBreaker, Reject, RetryLater
from runnel.roles.keyed import KeyedPartition
from tests.integration.actors.support import Step, all_done, details, held, make_app, restarts, steps, working
from tests.integration.actors.test_failing import Seen, actor_of, remembered
from tests.servers import Server
from tests.support import wait_until

# ── nearly all fails ──


@pytest.mark.parametrize(("policy", "most"), [("park", 16), ("dead_letter", 40)], ids=["first fails first", "first fails last"])
async def test_an_outage_costs_no_event_more_than_its_breaker_lets_pass(valkey: Server, policy: str, most: int) -> None:
    """Many fail at once; the breaker opens at the third, and all others stay, though not one of them is the first."""
    app, stream = make_app(valkey)
    is_down, tried = [True], list[str]()

    async def handle(step: Step) -> None:
        tried.append(step.key)
        await asyncio.sleep(0.1 if most == 40 and step.key == "0" else 0.001)
        if is_down:
            raise ConnectionError("no database")

    breaker = CircuitBreaker(keys=3, share=0.1, backoff=0.05, max_backoff=0.05)
    actor_of(app, stream, handle, key_concurrency=16, exception_policy=policy, breaker=breaker)
    keys = [f"{n}" for n in range(40)]
    await stream.send(*steps(keys, range(2)))
    async with working(app) as worker:
        await wait_until(lambda: worker.snapshot() and "open" in str(supervisor(worker).details.get("breaker")))
        await wait_until(lambda: supervisor(worker).details.get("pauses", 0) >= 4)
        assert len(tried) <= most + 6  # and its probes, one at a time
        is_down.clear()
        await wait_until(lambda: held(valkey, stream, "till").is_done)
    where = stream.partitions[0]
    with valkey.client() as client:
        left = {
            fields["~key"] for _, fields in client.xrange((where.dead if policy == "dead_letter" else where.parked)("till"))
        }
    assert len(left) == 2  # one fewer than `keys`
    done = held(valkey, stream, "till").states
    assert {key for key in keys if done.get(key) == '{"numbers":"0 1 "}'} == set(keys) - left


def supervisor(worker: Any) -> Any:
    [found] = [each for each in worker.snapshot().children if each.name == "till"]
    return found


async def test_what_a_handler_rejects_during_an_outage_goes_at_once(valkey: Server) -> None:
    app, stream = make_app(valkey)
    is_down, tried = [True], list[str]()

    async def handle(step: Step) -> None:
        tried.append(step.key)
        await asyncio.sleep(0.02 if step.key == "a" else 0)
        if step.do == "reject":
            raise Reject("nonsense")
        if is_down:
            raise ConnectionError("no database")

    actor_of(
        app, stream, handle, key_concurrency=16, exception_policy="dead_letter", breaker=CircuitBreaker(keys=1, backoff=0.05)
    )
    await stream.send(Step(key="a"), Step(key="b", do="reject"), Step(key="c"))
    async with working(app) as worker:
        await wait_until(lambda: supervisor(worker).details.get("pauses", 0) >= 1)
        is_down.clear()
        await all_done(valkey, stream, "till")
    assert tried.count("b") == 1
    with valkey.client() as client:
        assert [each["~key"] for _, each in client.xrange(stream.partitions[0].dead("till"))] == ["b"]


# ── a server that is away ──


async def test_what_was_done_above_the_cursor_is_not_done_again_whoever_comes_next(
    valkey: Server, failing: dict[str, int]
) -> None:
    """Neither by the partition's next incarnation, nor by the next worker."""
    app, stream = make_app(valkey)
    done = list[int]()

    def handle(step: Step) -> None:
        if step.do == "fail" and not is_mended:
            raise RetryLater(after=3_600)
        done.append(step.number)

    is_mended = list[bool]()
    actor_of(app, stream, handle, key_concurrency=4)
    await stream.send(Step(key="bad", do="fail"), *steps("ab", range(1, 21)))
    async with working(app) as worker:
        await wait_until(lambda: len(done) == 40)
        failing["HMGET"] = 1
        await stream.send(Step(key="new", number=21))
        await wait_until(lambda: details(worker, "till").get("ahead") == 41)
        assert restarts(worker) == 1
    app, stream = make_app(valkey)
    actor_of(app, stream, handle, key_concurrency=4)
    is_mended.append(True)
    async with working(app):
        await all_done(valkey, stream, "till")
    assert sorted(done) == sorted([0, 21, *range(1, 21), *range(1, 21)])
    assert remembered(valkey, stream, "a").startswith('{"numbers":"1 2 3 ')


async def test_a_partition_that_cannot_read_begins_anew_until_it_can(valkey: Server, failing: dict[str, int]) -> None:
    """What earlier owners have done, then a state."""
    failing |= {"SMEMBERS": 2, "HMGET": 1}
    app, stream = make_app(valkey)
    actor_of(app, stream, lambda step: None, key_concurrency=4)
    await stream.send(*steps("ab", range(4)))
    async with working(app) as worker:
        await all_done(valkey, stream, "till")
        assert restarts(worker) == 3
    assert remembered(valkey, stream, "a") == remembered(valkey, stream, "b") == '{"numbers":"0 1 2 3 "}'


async def test_a_partition_that_begins_anew_first_lets_threads_come_to_their_end(
    valkey: Server, failing: dict[str, int]
) -> None:
    app, stream = make_app(valkey)
    go, begun, running, most = threading.Event(), list[int](), list[int](), list[int]()

    @app.actor(stream, name="till", key_concurrency=4)
    class Till(Actor[Step, Seen]):
        def receive(self, step: Step) -> None:
            begun.append(step.number)
            running.append(step.number)
            most.append(len(running))
            self.state.numbers += f"{step.number} "
            go.wait(10)
            running.pop()

    async with working(app) as worker:
        await stream.send(Step(key="a"))
        await wait_until(lambda: begun)
        failing["HMGET"] = 1
        await stream.send(*steps("b", [0]))
        await wait_until(lambda: not failing["HMGET"])
        go.set()
        await all_done(valkey, stream, "till")
        assert restarts(worker) == 1
    assert begun == [0, 0]
    assert max(most) == 1
    assert remembered(valkey, stream, "a") == remembered(valkey, stream, "b") == '{"numbers":"0 "}'


# ── the end ──


async def test_nothing_rests_on_actors_that_are_told_to_stop(valkey: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(KeyedPartition, "cleanup_timeout", 0.1)
    app, stream = make_app(valkey)

    @app.actor(stream, name="till")
    class Till(Actor[Step, Seen]):
        async def receive(self, step: Step) -> None:
            self.state.numbers += f"{step.number} "

        async def on_stop(self) -> None:
            self.state.numbers = "never saved"
            await asyncio.Event().wait()

    async with working(app):
        await stream.send(*steps("ab", range(4)))
        await wait_until(lambda: bool(remembered(valkey, stream, "a")))
    await all_done(valkey, stream, "till", 0)
    assert remembered(valkey, stream, "a") == remembered(valkey, stream, "b") == '{"numbers":"0 1 2 3 "}'
