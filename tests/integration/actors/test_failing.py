"""Handlers of actors that fail, hang, exit or are interrupted: what is tried again, what waits for it, and what does not."""

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Any

import pytest

from runnel import Actor, ActorFailed, App, ExceptionPolicy, Record, Retry, RetryLater, Stream, handles
from runnel.entity.lane import Lane
from runnel.errors import HandlerFailed, TimedOut
from runnel.roles import runners
from runnel.roles.runners import Runners
from runnel.worker import Worker
from tests.integration.actors.support import Step, all_done, details, held, make_app, restarts, steps, working
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


def remembered(server: Server, stream: Stream[Step], key: str) -> str:
    return held(server, stream, "till").states.get(key, "")


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


async def test_a_failure_that_stops_the_worker_does_not_wait_for_the_next_handler(
    valkey: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whose runner goes on at once, without a turn of the event loop."""
    app, stream = make_app(valkey)
    monkeypatch.setattr(runners, "BREATH", 60.0)
    held_up = asyncio.Event()

    async def handle(step: Step) -> None:
        if step.do == "fail":
            raise ValueError("no change")
        if step.do == "hold":
            held_up.set()
            await asyncio.sleep(30)

    actor_of(app, stream, handle, key_concurrency=1, exception_policy="halt", grace_period=0.1)
    await stream.send(*(Step(key=f"k{do}", do=do) for do in ("", "fail", "hold")))
    worker = Worker(app)
    running = asyncio.create_task(worker.run())
    try:
        with pytest.raises(HandlerFailed):
            await asyncio.wait_for(running, 5)
        assert held_up.is_set()
    finally:
        worker.stop()
        await app.close()


async def test_runners_of_an_incarnation_that_was_interrupted_begin_nothing_more(
    valkey: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A commit that takes up what was done wakes them until the next incarnation is there: they would run its events, too."""
    app, stream = make_app(valkey)
    ended, cancelled, end = list[Runners](), list[int](), Runners.end

    def noted(these: Runners) -> None:
        end(these)
        ended.append(these)

    async def handle(step: Step) -> None:
        if not cancelled:
            cancelled.append(step.number)
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            await asyncio.sleep(0)

    monkeypatch.setattr(Runners, "end", noted)
    actor_of(app, stream, handle, key_concurrency=4)
    async with working(app) as worker:
        await stream.send(*steps("abc", range(3)))
        await all_done(valkey, stream, "till")
        assert restarts(worker) == 1
        old = ended[0]
        begun = old._begun
        old.lanes.waiting.append((Lane(b"a"), (b"1-0", [])))
        old.wake()
        assert old._begun == begun
    assert remembered(valkey, stream, "a") == '{"numbers":"0 1 2 "}'


@pytest.mark.parametrize("hook", ["on_start", "first", "second", "on_reminder", "heed"])
async def test_a_handler_that_swallows_its_interruption_leaves_no_trace(valkey: Server, hook: str) -> None:
    """It has failed, even if it comes back as if nothing had happened: what it did must not be committed, nor emitted."""
    app, stream = make_app(valkey)
    others = app.stream("others", record=Step, partition_by="key", partition_count=1)
    slow = {hook: 1}

    class Heed(Record):
        pass

    async def linger(here: str) -> None:
        if slow.pop(here, 0):
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(30)

    @app.actor(stream, name="till", timeout=0.1, retry=Retry(attempts=2, backoff=0), exception_policy=ExceptionPolicy.IGNORE)
    class Till(Actor[Step, Seen]):
        async def on_start(self) -> None:
            await linger("on_start")

        async def did(self, what: str) -> str:
            self.state.numbers += what
            self.emit(others, Step(key=what))
            await linger(what)
            return self.state.numbers

        async def receive(self, step: Step) -> None:
            await self.did(step.do)
            if step.do == "second":
                self.remind("again", after=0)

        async def on_reminder(self, name: str) -> None:
            await self.did("on_reminder")

        @handles(Heed)
        async def heed(self, message: Heed) -> str:
            return await self.did("heed")

    async with working(app) as worker:
        await stream.send(Step(key="a", do="first"), Step(key="a", do="second"))
        await wait_until(lambda: "on_reminder" in remembered(valkey, stream, "a"), 10, "the reminder has come")
        await all_done(valkey, stream, "till")
        if hook == "heed":
            with pytest.raises(TimedOut):
                await Till.ask("a", Heed(), timeout=5)
        assert await Till.ask("a", Heed(), timeout=5) == "firstsecondon_reminderheed"
        emitted = others.partitions[0].log.decode()
        with valkey.client() as redis:
            await wait_until(lambda: redis.xlen(emitted) >= 4, 10, "what was emitted has arrived")
            assert redis.xlen(emitted) == 4
        assert restarts(worker) == 0
    assert not slow


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


async def test_a_hook_that_fails_in_any_way_fails_nothing_else(valkey: Server) -> None:
    app, stream = make_app(valkey)
    restarted = list[str]()

    @app.actor(stream, name="till", exception_policy=ExceptionPolicy.IGNORE)
    class Till(Actor[Step, Seen]):
        async def receive(self, step: Step) -> None:
            self.state.numbers += f"{step.number} "
            if step.do:
                raise ValueError(step.do)

        async def on_restart(self, error: Exception) -> None:
            restarted.append(str(error))
            match str(error):
                case "cancel":
                    raise asyncio.CancelledError
                case "exit":
                    raise SystemExit(1)
            raise error

    async with working(app) as worker:
        for number, do in enumerate(["", "cancel", "exit", "fail", ""]):
            await stream.send(Step(key="a", number=number, do=do))
        await all_done(valkey, stream, "till")
        assert restarts(worker) == 0
    assert restarted == ["cancel", "exit", "fail"]
    assert remembered(valkey, stream, "a") == '{"numbers":"0 4 "}'


async def test_a_handler_that_blocks_the_event_loop_for_longer_than_the_lease_keeps_it(valkey: Server) -> None:
    app, stream = make_app(valkey)
    begun = list[int]()

    def handle(step: Step) -> None:
        begun.append(step.number)
        if step.number == 1:
            time.sleep(0.6)

    actor_of(app, stream, handle, key_concurrency=4, lock_expiry=0.3)
    async with working(app) as worker:
        await stream.send(*steps("ab", range(3)))
        await all_done(valkey, stream, "till")
        assert restarts(worker) == 0
    assert sorted(begun) == [0, 0, 1, 1, 2, 2]


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
