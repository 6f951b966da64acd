"""Handlers of actors that fail, hang, exit or are interrupted: what is tried again, what waits for it, and what does not."""

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from runnel import Actor, ActorFailed, App, CircuitBreaker, ExceptionPolicy, Record, Reject, Retry, RetryLater, Stream
from runnel.errors import HandlerFailed, StoreUnavailable, TimedOut
from runnel.roles.keyed import KeyedPartition
from runnel.store.link import Link
from tests.integration.actors.support import Step, all_done, details, held, make_app, steps, working
from tests.servers import Server
from tests.support import wait_until

FOR_EVER = Retry(attempts=1_000_000, backoff=3_600, max_backoff=3_600)


class Seen(Record):
    numbers: str = ""


def actor_of(app: App, stream: Stream[Step], handle: Callable[[Step], Any], **options: Any) -> type[Actor[Step, Seen]]:
    """An actor called `till` that remembers what it has handled."""

    class Till(Actor[Step, Seen]):
        async def receive(self, step: Step) -> str:
            self.state.numbers += f"{step.number} "
            if asyncio.iscoroutine(found := handle(step)):
                await found
            return self.state.numbers

    found: type[Actor[Step, Seen]] = app.actor(stream, name="till", **options)(Till)
    return found


def restarts(worker: Any) -> int:
    def of(snapshot: Any) -> int:
        return int(snapshot.restarts + sum(map(of, snapshot.children)))

    return of(worker.snapshot())


def remembered(server: Server, stream: Stream[Step], key: str) -> str:
    return held(server, stream, "till").states.get(key, "")


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Command → how often it fails from now on, as if the server were away."""
    command, failures = Link.command, dict[str, int]()

    async def unreliable(self: Link, *args: Any, **options: Any) -> Any:
        if failures.get(args[0]):
            failures[args[0]] -= 1
            raise StoreUnavailable("away")
        return await command(self, *args, **options)

    monkeypatch.setattr(Link, "command", unreliable)
    return failures


# ── interrupted ──


async def test_an_event_that_has_failed_does_not_have_its_runner_interrupted_later(valkey: Server) -> None:
    """Its time would be up while the runner rests, or handles another event."""
    app, stream = make_app(valkey)

    def handle(step: Step) -> Any:
        if step.do == "fail":
            raise ValueError("no change")
        return asyncio.sleep(0.15) if step.do == "slow" else None

    actor_of(app, stream, handle, exception_policy="ignore", timeout=0.2)
    async with working(app) as worker:
        await stream.send(Step(key="a", do="fail"))
        await all_done(valkey, stream, "till")
        await asyncio.sleep(0.25)  # longer than the timeout
        await stream.send(Step(key="a", number=1), Step(key="b", number=2, do="fail"), Step(key="c", number=3, do="slow"))
        await all_done(valkey, stream, "till")
        assert restarts(worker) == 0
    assert remembered(valkey, stream, "a") == '{"numbers":"1 "}'
    assert remembered(valkey, stream, "c") == '{"numbers":"3 "}'


@pytest.mark.parametrize("key_concurrency", [1, 16])
async def test_a_handler_that_cancels_its_own_task_is_not_missed(valkey: Server, key_concurrency: int) -> None:
    app, stream = make_app(valkey)
    cancelled = list[int]()

    async def handle(step: Step) -> None:
        if step.number == 1 and not cancelled:
            cancelled.append(step.number)
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            await asyncio.sleep(0)

    actor_of(app, stream, handle, key_concurrency=key_concurrency)
    async with working(app):
        await stream.send(*steps("ab", range(3)))
        await all_done(valkey, stream, "till")
    assert remembered(valkey, stream, "a") == remembered(valkey, stream, "b") == '{"numbers":"0 1 2 "}'


async def test_a_thread_that_takes_too_long_is_waited_for_before_its_key_goes_on(valkey: Server) -> None:
    app, stream = make_app(valkey)
    running, most, tries = list[int](), list[int](), list[int]()

    @app.actor(
        stream,
        name="till",
        timeout=0.05,
        retry=Retry(attempts=2, backoff=0),
        exception_policy=ExceptionPolicy.IGNORE,
        key_concurrency=4,
    )
    class Till(Actor[Step, Seen]):
        def receive(self, step: Step) -> None:
            running.append(step.number)
            most.append(len(running))
            tries.append(step.number)
            self.state.numbers += f"{step.number} "
            if step.number == 0:
                time.sleep(0.2)
            running.pop()

    async with working(app):
        await stream.send(*steps("a", range(3)))
        await all_done(valkey, stream, "till")
    assert tries == [0, 0, 1, 2]
    assert max(most) == 1
    assert remembered(valkey, stream, "a") == '{"numbers":"1 2 "}'


async def test_a_worker_that_halts_does_not_wait_for_ever_for_another_handler(valkey: Server) -> None:
    app, stream = make_app(valkey)
    hangs = asyncio.Event()

    async def handle(step: Step) -> None:
        if step.key == "hangs":
            hangs.set()
            await asyncio.Event().wait()
        await hangs.wait()
        raise ValueError("no change")

    actor_of(app, stream, handle, key_concurrency=4, grace_period=0.1)
    await stream.send(Step(key="fails"), Step(key="hangs"))
    with pytest.raises(HandlerFailed, match="no change"):
        async with working(app) as worker:
            await wait_until(lambda: worker.stopping)
    assert held(valkey, stream, "till").cursor == "0-0"


# ── tried again ──


async def test_other_keys_go_on_while_one_waits_to_be_tried_again_as_far_as_events_may_be_in_hand(valkey: Server) -> None:
    app, stream = make_app(valkey)
    done = list[int]()

    def handle(step: Step) -> None:
        if step.do == "fail":
            raise RetryLater(after=3_600)
        done.append(step.number)

    actor_of(app, stream, handle, key_concurrency=4, prefetch_count=100)
    async with working(app) as worker:
        await stream.send(Step(key="bad", do="fail"), Step(key="bad", number=-1))
        await stream.send(*(Step(key=f"{n % 50}", number=n) for n in range(2_000)))
        await wait_until(lambda: len(done) >= 900)
        await wait_until(lambda: details(worker, "till")["buffered"] > 1_024 - 100)
        await wait_until(lambda: details(worker, "till")["ahead"] == details(worker, "till")["buffered"] - 2)
        assert details(worker, "till")["buffered"] <= 1_024
    now = held(valkey, stream, "till")
    assert now.cursor == "0-0"
    assert len(now.marks) == len(done) <= 1_024
    assert done == sorted(done)


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


# ── asked ──


async def test_an_ask_that_takes_too_long_or_cannot_begin_is_answered_and_stops_nothing(valkey: Server) -> None:
    app, stream = make_app(valkey)

    @app.actor(stream, name="till", timeout=0.1)
    class Till(Actor[Step, Seen]):
        async def on_start(self) -> None:
            if self.key == "never":
                raise ValueError("not me")

        async def receive(self, step: Step) -> str:
            self.state.numbers += f"{step.number} "
            if step.do == "hang":
                await asyncio.Event().wait()
            if step.do == "cancel":
                raise asyncio.CancelledError
            return self.state.numbers

    async with working(app) as worker:
        assert await Till.ask("a", Step(key="a", number=1)) == "1 "
        with pytest.raises(TimedOut, match=r"took longer than 0\.1 s"):
            await Till.ask("a", Step(key="a", number=2, do="hang"))
        with pytest.raises(ValueError, match="not me"):
            await Till.ask("never", Step(key="never", number=2))
        with pytest.raises((RuntimeError, ActorFailed), match="CancelledError"):
            await Till.ask("a", Step(key="a", number=3, do="cancel"))
        assert await Till.ask("a", Step(key="a", number=4)) == "1 4 "
        assert not worker.stopping
    assert remembered(valkey, stream, "a") == '{"numbers":"1 4 "}'


# ── nearly all fails ──


@pytest.mark.parametrize("policy", ["park", "dead_letter"])
async def test_an_outage_costs_no_event_more_than_its_breaker_lets_pass(valkey: Server, policy: str) -> None:
    """Sixteen fail at once; the breaker opens at the third, and all others stay, though not one of them is the first."""
    app, stream = make_app(valkey)
    is_down, tried = [True], list[str]()

    async def handle(step: Step) -> None:
        tried.append(step.key)
        await asyncio.sleep(0.001)
        if is_down:
            raise ConnectionError("no database")

    breaker = CircuitBreaker(keys=3, share=0.1, backoff=0.05, max_backoff=0.05)
    actor_of(app, stream, handle, key_concurrency=16, exception_policy=policy, breaker=breaker)
    keys = [f"{n}" for n in range(40)]
    await stream.send(*steps(keys, range(2)))
    async with working(app) as worker:
        await wait_until(lambda: worker.snapshot() and "open" in str(supervisor(worker).details.get("breaker")))
        await wait_until(lambda: supervisor(worker).details.get("pauses", 0) >= 4)
        assert len(tried) <= 16 + 6  # and its probes, one at a time
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
    is_down = [True]

    async def handle(step: Step) -> None:
        await asyncio.sleep(0)
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
    with valkey.client() as client:
        assert [each["~key"] for _, each in client.xrange(stream.partitions[0].dead("till"))] == ["b"]


# ── a server that is away ──


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
