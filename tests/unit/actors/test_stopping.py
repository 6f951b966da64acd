"""Orderly ends: what finishes, what is cut off, in which order, and who is told."""

import asyncio
import contextlib

import pytest

from runnel.actors import Actor, ActorSystem, State, Terminated
from runnel.clock import ManualClock
from runnel.errors import ActorError, ActorStopped
from tests.unit.actors.support import Boom, Player, Story, eventually, quiet


async def test_stopping_finishes_the_current_message_and_buries_the_rest(system: ActorSystem, story: Story) -> None:
    ref = system.spawn(lambda: Player(story, "a"))
    await ref.tell("wait go")
    await eventually(lambda: "a waits" in story.lines)
    await ref.tell("left over")
    stop = asyncio.create_task(ref.stop())
    await quiet()
    assert not stop.done()
    await ref.tell("too late")
    story.gate("go").set()
    await stop
    assert story.lines == ["a starts", "a waits", "a got wait go", "a stops"]
    assert system.dead_letters == 2
    assert ref.is_stopped


async def test_children_stop_in_reverse_order_before_their_parent_cleans_up(system: ActorSystem, story: Story) -> None:
    ref = system.spawn(lambda: Player(story, "top"))
    await ref.ask("children a b c")
    await quiet()
    story.lines.clear()
    await ref.stop()
    assert story.lines == ["c stops", "b stops", "a stops", "top stops"]


async def test_a_stopping_parent_still_works_with_its_children_in_its_last_message(
    system: ActorSystem, story: Story
) -> None:
    class Parent(Player):
        async def receive(self, message: str) -> object:
            child = self.play("child")
            await self._wait("go")
            return await child.ask("help")

    ref = system.spawn(lambda: Parent(story, "parent"))
    question = asyncio.create_task(ref.ask("work"))
    await eventually(lambda: "parent waits" in story.lines)
    stop = asyncio.create_task(ref.stop())
    await quiet()
    story.gate("go").set()
    assert await question == "HELP"
    await stop
    assert story.lines[-2:] == ["child stops", "parent stops"]


async def test_grace_is_counted_by_the_clock_and_then_the_message_is_cancelled(
    system: ActorSystem, story: Story, clock: ManualClock
) -> None:
    ref = system.spawn(lambda: Player(story, "a"))
    question = asyncio.create_task(ref.ask("wait for ever"))
    await eventually(lambda: "a waits" in story.lines)
    stop = asyncio.create_task(ref.stop(grace=8))
    await quiet()
    clock.advance(7.9)
    await quiet()
    assert not stop.done()
    clock.advance(0.2)
    await stop
    assert story.lines[-2:] == ["a is interrupted", "a stops"]
    with pytest.raises(ActorStopped):
        await question


async def test_the_grace_period_is_one_for_the_whole_subtree(
    system: ActorSystem, story: Story, clock: ManualClock
) -> None:
    ref = system.spawn(lambda: Player(story, "top"))
    a, b = await ref.ask("children a b")
    for child in (a, b):
        await child.tell("wait for ever")
    await eventually(lambda: "a waits" in story.lines and "b waits" in story.lines)
    stop = asyncio.create_task(ref.stop(grace=4))
    await quiet()
    clock.advance(4)
    await stop
    assert story.lines[-5:] == ["b is interrupted", "b stops", "a is interrupted", "a stops", "top stops"]


async def test_without_grace_the_message_is_cancelled_at_once(system: ActorSystem, story: Story) -> None:
    ref = system.spawn(lambda: Player(story, "a"))
    await ref.tell("wait for ever")
    await eventually(lambda: "a waits" in story.lines)
    await ref.stop(grace=0)
    assert story.lines[-2:] == ["a is interrupted", "a stops"]


async def test_a_second_stop_shortens_the_first_down_the_tree(system: ActorSystem, story: Story) -> None:
    ref = system.spawn(lambda: Player(story, "top"))
    (child,) = await ref.ask("children child")
    await child.tell("wait for ever")
    await eventually(lambda: "child waits" in story.lines)
    patient = asyncio.create_task(ref.stop())
    await quiet()
    assert not patient.done()
    await ref.stop(grace=0)
    await patient
    assert story.lines[-3:] == ["child is interrupted", "child stops", "top stops"]


async def test_stopping_twice_or_afterwards_is_harmless(system: ActorSystem, story: Story) -> None:
    ref = system.spawn(lambda: Player(story, "a"))
    await ref.ask("x")
    await asyncio.gather(ref.stop(), ref.stop())
    await ref.stop(grace=0)
    assert story.count("a stops") == 1


async def test_an_actor_stopped_before_it_ever_ran_does_not_start(system: ActorSystem, story: Story) -> None:
    await system.spawn(lambda: Player(story, "a")).stop()
    assert story.lines == []


async def test_all_who_wait_for_an_answer_get_actor_stopped(system: ActorSystem) -> None:
    class Hoarder(Actor[str]):
        async def receive(self, message: str) -> None:
            if message == "stash":
                self.stash()
            else:
                await asyncio.Event().wait()

    ref = system.spawn(Hoarder, mailbox=2)
    questions = [asyncio.create_task(ref.ask("stash"))]
    await eventually(lambda: ref.mailbox_depth == 0)
    questions += [asyncio.create_task(ref.ask(f"question {n}")) for n in range(5)]  # in hand, queued, waiting for room
    await quiet()
    assert ref.mailbox_depth == 2
    await ref.stop(grace=0)
    answers = await asyncio.gather(*questions, return_exceptions=True)
    assert [type(answer) for answer in answers] == [ActorStopped] * 6


async def test_senders_who_wait_for_room_are_let_go_and_their_messages_buried(
    system: ActorSystem, story: Story
) -> None:
    ref = system.spawn(lambda: Player(story, "a"), mailbox=1)
    await ref.tell("wait go")
    await eventually(lambda: ref.mailbox_depth == 0)
    await ref.tell("1")
    sender = asyncio.create_task(ref.tell("2"))
    await quiet()
    stop = asyncio.create_task(ref.stop())
    await sender
    story.gate("go").set()
    await stop
    assert system.dead_letters == 2


async def test_cancelling_who_waits_for_a_stop_does_not_call_it_off(system: ActorSystem, story: Story) -> None:
    ref = system.spawn(lambda: Player(story, "a"))
    await ref.tell("wait go")
    await eventually(lambda: "a waits" in story.lines)
    stop = asyncio.create_task(ref.stop())
    await quiet()
    stop.cancel()
    await asyncio.wait([stop])
    assert stop.cancelled()
    story.gate("go").set()
    await eventually(lambda: ref.is_stopped)


async def test_an_actor_stops_itself_after_the_current_message(system: ActorSystem) -> None:
    handled: list[int] = []

    class Once(Actor[int]):
        async def receive(self, message: int) -> int:
            self.stop()
            handled.append(message)
            return message

    ref = system.spawn(Once)
    question = asyncio.create_task(ref.ask(1))
    await eventually(lambda: ref.mailbox_depth == 1)
    await ref.tell(2)
    assert await question == 1
    await eventually(lambda: ref.is_stopped)
    assert handled == [1]


async def test_an_actor_may_not_wait_for_its_own_end_or_that_of_who_is_above(system: ActorSystem) -> None:
    class Leaf(Actor[int]):
        async def receive(self, message: int) -> str:
            for wait in (self.ref.stop, top.stop, system.stop):
                with pytest.raises(ActorError, match="waits for"):
                    await wait()
            return "fine"

    class Top(Actor[int]):
        async def receive(self, message: int) -> object:
            return self.spawn(Leaf)

    top = system.spawn(Top)
    assert await (await top.ask(0)).ask(0) == "fine"


async def test_a_parent_may_wait_for_the_end_of_a_child(system: ActorSystem, story: Story) -> None:
    class Parent(Player):
        async def receive(self, message: str) -> object:
            child = self.play("child")
            await child.ask("ready")
            await child.stop()
            return len(self.children)

    assert await system.spawn(lambda: Parent(story, "parent")).ask("work") == 0


async def test_a_failure_while_stopping_does_not_restart_and_is_told(system: ActorSystem, story: Story) -> None:
    ref = system.spawn(lambda: Fuse(story, "a"))
    endings = await watched(system, ref)
    await ref.tell("burn")
    await eventually(lambda: "a waits" in story.lines)
    stop = asyncio.create_task(ref.stop())
    await quiet()
    story.gate("go").set()
    await stop
    await eventually(lambda: endings)
    assert isinstance(endings[0].error, Boom)
    assert story.lines == ["a starts", "a waits", "a stops"]


class Fuse(Player):
    async def receive(self, message: str) -> object:
        await self._wait("go")
        raise Boom


async def watched(system: ActorSystem, ref: object) -> list[Terminated]:
    endings: list[Terminated] = []

    class Watcher(Actor[object]):
        async def receive(self, message: object) -> None:
            if isinstance(message, Terminated):
                endings.append(message)
            else:
                self.watch(ref)  # type: ignore[arg-type]

    await system.spawn(Watcher).ask("watch")
    return endings


async def test_no_child_is_spawned_once_the_children_stop(system: ActorSystem, story: Story) -> None:
    refused: list[Exception] = []

    class Parent(Player):
        async def on_stop(self) -> None:
            for late in (
                lambda: self.play("late"),
                lambda: self.set_timer("t", "late", 1),
                lambda: self.watch(self.ref),
                lambda: self.pipe_to_self(asyncio.sleep(0), str),
            ):
                try:
                    late()
                except ActorStopped as error:
                    refused.append(error)

    ref = system.spawn(lambda: Parent(story, "parent"))
    await ref.ask("x")
    await ref.stop()
    assert len(refused) == 4


async def test_code_that_eats_its_cancellation_is_cancelled_again_until_it_ends(
    system: ActorSystem, clock: ManualClock
) -> None:
    cancellations: list[int] = []

    class Stubborn(Actor[int]):
        async def receive(self, message: int) -> None:
            while len(cancellations) < 3:
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    cancellations.append(1)

    ref = system.spawn(Stubborn)
    await ref.tell(1)
    await eventually(lambda: ref.mailbox_depth == 0)
    stop = asyncio.create_task(ref.stop(grace=0))
    await quiet()
    assert len(cancellations) == 1
    for _ in range(2):
        clock.advance(5)
        await quiet()
    await stop
    assert len(cancellations) == 3


async def test_a_stop_during_a_restart_waits_for_it_and_cleans_up_once(system: ActorSystem, story: Story) -> None:
    class Slow(Player):
        async def on_restart(self, error: Exception) -> None:
            await self._wait("go")
            self.story.tell("a is cleared away")

    ref = system.spawn(lambda: Slow(story, "a"))
    await ref.tell("boom")
    await eventually(lambda: "a waits" in story.lines)
    stop = asyncio.create_task(ref.stop())
    await quiet()
    assert not stop.done()
    assert system.snapshot().children[0].state is State.STOPPING
    story.gate("go").set()
    await stop
    assert story.lines == ["a starts", "a waits", "a is cleared away"]


async def test_a_stop_during_on_start_lets_it_finish(system: ActorSystem, story: Story) -> None:
    class Slow(Player):
        async def on_start(self) -> None:
            await self._wait("go")

    ref = system.spawn(lambda: Slow(story, "a"))
    await eventually(lambda: "a waits" in story.lines)
    stop = asyncio.create_task(ref.stop())
    await quiet()
    story.gate("go").set()
    await stop
    assert story.lines == ["a waits", "a stops"]


async def test_a_stop_that_cuts_on_start_off_calls_no_hook(system: ActorSystem, story: Story) -> None:
    class Slow(Player):
        async def on_start(self) -> None:
            await self._wait("never")

    ref = system.spawn(lambda: Slow(story, "a"))
    await eventually(lambda: "a waits" in story.lines)
    await ref.stop(grace=0)
    assert story.lines == ["a waits", "a is interrupted"]


async def test_two_systems_do_not_get_in_each_others_way(clock: ManualClock, story: Story) -> None:
    async with ActorSystem("one", clock) as one, ActorSystem("two", clock) as two:
        a, b = one.spawn(lambda: Player(story, "a")), two.spawn(lambda: Player(story, "b"))
        with contextlib.suppress(ActorStopped):
            await one.stop()
        assert a.is_stopped
        assert await b.ask("x") == "X"
