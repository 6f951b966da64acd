"""Timers, watches, background work: what an incarnation has going on."""

import asyncio
import gc
import weakref
from collections.abc import Awaitable, Callable
from typing import Never

import pytest

from runnel.actors import Actor, ActorRef, ActorSystem, Backoff, OneForOne, State, Terminated
from runnel.clock import ManualClock
from runnel.errors import ActorError
from tests.unit.actors.support import Boom, Player, Story, eventually, quiet


class Doer(Actor[object]):
    """Runs the functions that it gets, and keeps what else arrives."""

    def __init__(self, got: list[object]) -> None:
        self.got = got

    async def receive(self, message: object) -> object:
        if callable(message):
            result = message(self)
            return await result if isinstance(result, Awaitable) else result
        self.got.append(message)
        return None

    def fail(self) -> None:
        raise Boom


@pytest.fixture
def got() -> list[object]:
    return []


@pytest.fixture
async def doer(system: ActorSystem, got: list[object]) -> ActorRef[object]:
    return system.spawn(lambda: Doer(got), name="doer")


Do = Callable[[Doer], object]


async def do(ref: ActorRef[object], action: Do) -> object:
    return await ref.ask(action)


# --- timers


async def test_a_timer_fires_once(doer: ActorRef[object], got: list[object], clock: ManualClock) -> None:
    await do(doer, lambda actor: actor.set_timer("k", "tick", 2))
    clock.advance(1.9)
    await quiet()
    assert got == []
    clock.advance(5)
    await quiet()
    assert got == ["tick"]


async def test_a_timer_that_has_fired_is_forgotten(doer: ActorRef[object], clock: ManualClock) -> None:
    class Payload(Actor[int]):
        pass

    alive: list[weakref.ref[object]] = []

    def begin(actor: Doer) -> None:
        payload = Payload()
        alive.append(weakref.ref(payload))
        actor.set_timer(1, payload, 1)

    await do(doer, begin)
    clock.advance(1)
    await quiet()
    await do(doer, lambda actor: actor.got.clear())
    gc.collect()
    assert alive[0]() is None


async def test_a_repeating_timer_fires_until_it_is_cancelled(
    doer: ActorRef[object], got: list[object], clock: ManualClock
) -> None:
    await do(doer, lambda actor: actor.set_timer("k", "tick", 2, repeat=True))
    for _ in range(3):
        clock.advance(2)
        await quiet()
    await do(doer, lambda actor: actor.cancel_timer("k"))
    clock.advance(20)
    await quiet()
    assert got == ["tick"] * 3


async def test_a_repeating_timer_does_not_pile_up_behind_a_busy_actor(
    doer: ActorRef[object], got: list[object], clock: ManualClock
) -> None:
    def nap(actor: Doer) -> object:
        actor.set_timer("k", "tick", 1, repeat=True)
        return release.wait()

    release = asyncio.Event()
    await doer.tell(nap)
    await eventually(lambda: doer.mailbox_depth == 0)
    clock.advance(10)
    assert doer.mailbox_depth == 1
    release.set()
    await quiet()
    assert got == ["tick"]


async def test_a_timer_of_the_same_key_replaces_the_first_even_when_that_has_fired(
    doer: ActorRef[object], got: list[object], clock: ManualClock
) -> None:
    def replace(actor: Doer) -> None:
        actor.set_timer("k", "old", 1)
        clock.advance(1)  # "old" is queued now
        actor.set_timer("k", "new", 1)
        clock.advance(1)

    await do(doer, replace)
    await quiet()
    assert got == ["new"]


async def test_the_message_of_a_cancelled_timer_never_arrives_even_when_it_is_queued(
    doer: ActorRef[object], got: list[object], clock: ManualClock
) -> None:
    def cancel(actor: Doer) -> None:
        actor.set_timer("k", "tick", 1)
        clock.advance(1)
        actor.cancel_timer("k")
        actor.cancel_timer("never set")

    await do(doer, cancel)
    await quiet()
    assert got == []


async def test_a_timer_is_delivered_to_a_full_mailbox(
    system: ActorSystem, got: list[object], clock: ManualClock
) -> None:
    ref = system.spawn(lambda: Doer(got), mailbox=1)
    release = asyncio.Event()

    def nap(actor: Doer) -> object:
        actor.set_timer("k", "tick", 1)
        return release.wait()

    await ref.tell(nap)
    await eventually(lambda: ref.mailbox_depth == 0)
    await ref.tell("filler")
    clock.advance(1)
    assert ref.mailbox_depth == 2
    release.set()
    await quiet()
    assert got == ["filler", "tick"]


async def test_a_restart_ends_timers_and_drops_what_they_have_queued(
    doer: ActorRef[object], got: list[object], clock: ManualClock
) -> None:
    def set_and_fail(actor: Doer) -> None:
        actor.set_timer("queued", "queued", 1)
        clock.advance(1)
        actor.set_timer("pending", "pending", 1)
        actor.fail()

    await doer.tell(set_and_fail)
    await do(doer, lambda actor: None)
    clock.advance(5)
    await quiet()
    assert got == []


async def test_a_stashed_timer_message_does_not_reach_the_next_incarnation(
    system: ActorSystem, clock: ManualClock
) -> None:
    incarnations: list[str] = []

    class Stasher(Actor[str]):
        async def on_start(self) -> None:
            incarnations.append("start")

        async def receive(self, message: str) -> None:
            if message == "tick" and len(incarnations) == 1:
                self.stash()
            elif message == "boom":
                raise Boom
            elif message == "set":
                self.set_timer("k", "tick", 1)
            else:
                incarnations.append(message)

    ref = system.spawn(Stasher)
    await ref.ask("set")
    clock.advance(1)
    await ref.tell("boom")
    await ref.ask("end")
    assert incarnations == ["start", "start", "end"]


async def test_a_repeating_timer_needs_a_delay(doer: ActorRef[object]) -> None:
    with pytest.raises(ActorError, match="positive delay"):
        await do(doer, lambda actor: actor.set_timer("k", "tick", 0, repeat=True))


# --- watches


async def test_who_watches_is_told_once_when_the_other_stops(
    system: ActorSystem, doer: ActorRef[object], got: list[object], story: Story
) -> None:
    ref = system.spawn(lambda: Player(story))

    def watch(actor: Doer) -> None:
        actor.watch(ref)
        actor.watch(ref)

    await do(doer, watch)
    await ref.tell("boom")
    await ref.ask("x")
    assert got == []  # a restart is no end
    await ref.stop()
    await quiet()
    (ending,) = got
    assert isinstance(ending, Terminated)
    assert ending.ref is ref
    assert ending.error is None


async def test_watching_one_that_has_stopped_tells_at_once(
    system: ActorSystem, doer: ActorRef[object], got: list[object], story: Story
) -> None:
    ref = system.spawn(lambda: Player(story))
    await ref.stop()
    await do(doer, lambda actor: actor.watch(ref))
    await eventually(lambda: got)


@pytest.mark.parametrize("queued", [True, False])
async def test_unwatch_takes_it_back_even_when_the_news_is_queued(
    system: ActorSystem, doer: ActorRef[object], got: list[object], story: Story, queued: bool
) -> None:
    ref = system.spawn(lambda: Player(story))

    async def watch_and_unwatch(actor: Doer) -> None:
        actor.watch(ref)
        if queued:
            await ref.stop()
        actor.unwatch(ref)
        actor.unwatch(ref)

    await do(doer, lambda actor: watch_and_unwatch(actor))
    await ref.stop()
    await quiet()
    assert got == []


async def test_a_fresh_incarnation_watches_anew(
    system: ActorSystem, doer: ActorRef[object], got: list[object], story: Story
) -> None:
    ref = system.spawn(lambda: Player(story))
    other: ActorRef[Never] = ref

    async def watch_and_fail(actor: Doer) -> None:
        actor.watch(other)
        await ref.stop()
        raise Boom

    await doer.tell(lambda actor: watch_and_fail(actor))
    await do(doer, lambda actor: actor.watch(other))
    await quiet()
    assert len(got) == 1


# --- background work


async def test_the_result_of_background_work_arrives_as_a_message_while_others_are_handled(
    doer: ActorRef[object], got: list[object]
) -> None:
    future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    await do(doer, lambda actor: actor.pipe_to_self(future, lambda n: f"result {n}"))
    await doer.tell("meanwhile")
    await eventually(lambda: got)
    future.set_result(7)
    await quiet()
    assert got == ["meanwhile", "result 7"]


async def work(error: Exception | None = None) -> int:
    await asyncio.sleep(0)
    if error is not None:
        raise error
    return 1


async def test_an_error_of_background_work_arrives_if_it_is_asked_for(
    doer: ActorRef[object], got: list[object]
) -> None:
    await do(doer, lambda actor: actor.pipe_to_self(work(Boom("x")), str, lambda error: f"failed {error}"))
    await quiet()
    assert got == ["failed x"]


@pytest.mark.parametrize("broken", ["work", "on_result"])
async def test_an_error_that_nobody_asked_for_fails_the_actor_at_once(
    system: ActorSystem, doer: ActorRef[object], got: list[object], broken: str
) -> None:
    def begin(actor: Doer) -> object:
        if broken == "work":
            actor.pipe_to_self(work(Boom("x")), str)
        else:
            actor.pipe_to_self(work(), lambda n: n / 0)
        return asyncio.Event().wait()

    await doer.tell(begin)
    assert await do(doer, lambda actor: "fresh") == "fresh"
    snapshot = system.snapshot().children[0]
    assert snapshot.restarts == 1
    assert snapshot.last_error in ("Boom: x", "ZeroDivisionError: division by zero")


@pytest.mark.parametrize("end", ["stop", "restart"])
async def test_background_work_is_cancelled_and_awaited_at_the_end_of_the_incarnation(
    doer: ActorRef[object], got: list[object], end: str
) -> None:
    ended: list[str] = []

    async def endless() -> str:
        try:
            await asyncio.Event().wait()
        finally:
            await quiet()
            ended.append("cleaned up")
        return "never"

    await do(doer, lambda actor: actor.pipe_to_self(endless(), str))
    await quiet()
    if end == "stop":
        await doer.stop()
    else:
        await doer.tell(Doer.fail)
        await do(doer, lambda actor: None)
    assert ended == ["cleaned up"]
    assert got == []


async def test_background_work_that_has_not_begun_is_called_off_without_a_complaint(doer: ActorRef[object]) -> None:
    def begin_and_fail(actor: Doer) -> None:
        actor.pipe_to_self(work(), str)
        actor.fail()

    with pytest.raises(Boom):
        await do(doer, begin_and_fail)


async def test_a_queued_result_does_not_reach_the_next_incarnation(doer: ActorRef[object], got: list[object]) -> None:
    async def begin_and_fail(actor: Doer) -> None:
        actor.pipe_to_self(work(), str)
        await quiet()  # the result is queued
        actor.fail()

    await doer.tell(begin_and_fail)
    await do(doer, lambda actor: None)
    assert got == []


async def test_a_result_is_never_held_up_by_a_full_mailbox(system: ActorSystem, got: list[object]) -> None:
    ref = system.spawn(lambda: Doer(got), mailbox=1)

    async def begin(actor: Doer) -> None:
        actor.pipe_to_self(work(), str)
        await quiet()
        assert ref.mailbox_depth == 2

    question = asyncio.create_task(ref.ask(begin))
    await eventually(lambda: ref.mailbox_depth == 0 and system.snapshot().children[0].state is State.RUNNING)
    ref.tell_nowait("filler")
    await question
    await eventually(lambda: got == ["filler", "1"])


async def test_during_backoff_nothing_of_the_last_incarnation_is_left(
    system: ActorSystem, got: list[object], clock: ManualClock
) -> None:
    ref = system.spawn(lambda: Doer(got), supervision=OneForOne(backoff=Backoff(5, max=5)))

    def begin_and_fail(actor: Doer) -> None:
        actor.set_timer("k", "tick", 1, repeat=True)
        actor.pipe_to_self(asyncio.Event().wait(), str)
        actor.fail()

    await ref.tell(begin_and_fail)
    await eventually(lambda: system.snapshot().children[0].state is State.BACKOFF)
    assert not [task for task in asyncio.all_tasks() if task.get_name().endswith("#pipe")]
    clock.advance(4)
    assert ref.mailbox_depth == 0
