"""Failures, and what becomes of the failed."""

import asyncio
import contextvars
from collections.abc import Callable

import pytest

from runnel.actors import (
    Actor,
    ActorRef,
    ActorSystem,
    Backoff,
    Directive,
    OneForAll,
    OneForOne,
    RestForOne,
    State,
    Strategy,
    Terminated,
)
from runnel.clock import ManualClock
from runnel.errors import ActorError, ActorStopped
from tests.unit.actors.support import Boom, Player, Story, eventually, quiet


def cast(system: ActorSystem, story: Story, names: str, strategy: Strategy) -> list[ActorRef[str]]:
    def factory(name: str) -> Callable[[], Player]:
        return lambda: Player(story, name)

    return [system.spawn(factory(name), name=name, supervision=strategy) for name in names]


def always(directive: Directive) -> Callable[[Exception], Directive]:
    return lambda error: directive


async def test_a_restart_keeps_ref_and_queue_but_not_the_failing_message_or_the_instance(system: ActorSystem) -> None:
    class Counter(Actor[int]):
        async def on_start(self) -> None:
            self.total = 0

        async def receive(self, message: int) -> int:
            if message < 0:
                raise Boom
            self.total += message
            return self.total

    ref = system.spawn(Counter)
    for message in (5, -1, 2):
        await ref.tell(message)
    assert await ref.ask(3) == 5  # the 5 of the old instance is gone, 2 and 3 were queued
    (snapshot,) = system.snapshot().children
    assert (snapshot.restarts, snapshot.processed, snapshot.last_error) == (1, 3, "Boom: ")


async def test_the_failed_instance_gets_on_restart_and_then_a_fresh_one_on_start(
    system: ActorSystem, story: Story
) -> None:
    (ref,) = cast(system, story, "a", OneForOne())
    await ref.tell("boom")
    await ref.ask("x")
    assert story.lines == ["a starts", "a restarts after Boom", "a starts", "a got x"]


async def test_on_restart_calls_on_stop_by_default(system: ActorSystem) -> None:
    stopped: list[object] = []

    class Fragile(Actor[int]):
        async def receive(self, message: int) -> None:
            raise Boom

        async def on_stop(self) -> None:
            stopped.append(self)

    ref = system.spawn(Fragile)
    await ref.tell(1)
    await eventually(lambda: stopped and system.snapshot().children[0].state is State.IDLE)
    await ref.stop()
    assert len(set(stopped)) == 2


async def test_more_failures_than_the_intensity_within_the_period_escalate(clock: ManualClock, story: Story) -> None:
    with pytest.raises(Boom, match="3"):  # noqa: PT012
        async with ActorSystem("demo", clock) as system:
            (ref,) = cast(system, story, "a", OneForOne(intensity=2, period=5))
            for n in (1, 2, 3):
                await ref.tell(f"boom {n}")
            await system.stopped()
    assert story.count("a starts") == 3


async def test_failures_further_apart_than_the_period_do_not_add_up(
    system: ActorSystem, story: Story, clock: ManualClock
) -> None:
    (ref,) = cast(system, story, "a", OneForOne(intensity=1, period=5))
    for _ in range(4):
        await ref.tell("boom")
        await ref.ask("x")
        clock.advance(6)
    assert story.count("a starts") == 5


async def test_children_that_share_a_strategy_share_its_intensity(clock: ManualClock, story: Story) -> None:
    with pytest.raises(Boom, match="b"):  # noqa: PT012
        async with ActorSystem("demo", clock) as system:
            a, b = cast(system, story, "ab", OneForOne(intensity=1))
            await a.tell("boom a")
            await a.ask("x")
            await b.tell("boom b")
            await system.stopped()


async def test_children_of_equal_but_different_strategies_are_counted_apart(system: ActorSystem, story: Story) -> None:
    for name in "ab":
        (ref,) = cast(system, story, name, OneForOne(intensity=1))
        await ref.tell("boom")
        await ref.ask("x")
    assert [child.restarts for child in system.snapshot().children] == [1, 1]


async def test_one_for_one_restarts_the_failed_child_only(system: ActorSystem, story: Story) -> None:
    _, b, _ = cast(system, story, "abc", OneForOne())
    await b.tell("boom")
    await b.ask("x")
    assert [child.restarts for child in system.snapshot().children] == [0, 1, 0]


async def test_one_for_all_restarts_the_group_down_in_reverse_and_up_in_order(
    system: ActorSystem, story: Story
) -> None:
    (other,) = cast(system, story, "o", OneForOne())
    _, b, c = cast(system, story, "abc", OneForAll())
    await other.ask("ready")
    await c.ask("ready")
    story.lines.clear()
    await b.tell("boom")
    await eventually(lambda: story.count("c starts"))
    downs = [f"{name} restarts after Boom" for name in "cba"]
    assert story.lines == [*downs, "a starts", "b starts", "c starts"]
    assert [child.restarts for child in system.snapshot().children] == [0, 1, 1, 1]


async def test_rest_for_one_restarts_the_later_ones_along(system: ActorSystem, story: Story) -> None:
    a, b, c = cast(system, story, "abc", RestForOne())
    await c.ask("ready")
    story.lines.clear()
    await b.tell("boom")
    await eventually(lambda: story.count("c starts"))
    assert story.lines == ["c restarts after Boom", "b restarts after Boom", "b starts", "c starts"]
    assert a.is_stopped is False


async def test_a_sibling_that_restarts_along_is_interrupted_and_its_question_fails(
    system: ActorSystem, story: Story
) -> None:
    a, b = cast(system, story, "ab", OneForAll())
    question = asyncio.create_task(a.ask("wait for ever"))
    await eventually(lambda: "a waits" in story.lines)
    await b.tell("boom")
    with pytest.raises(ActorStopped):
        await question
    assert await a.ask("x") == "X"
    assert story.lines.count("a is interrupted") == 1


async def test_a_failure_during_the_restart_of_the_group_joins_it(
    system: ActorSystem, story: Story, clock: ManualClock
) -> None:
    a, b = cast(system, story, "ab", RestForOne(intensity=5, backoff=Backoff(2, max=60)))
    await b.tell("boom")
    await eventually(lambda: "b restarts after Boom" in story.lines)
    clock.advance(1)
    await a.tell("boom")  # b is still down: both wait for the pause of the second restart, 4 s from now
    await eventually(lambda: "a restarts after Boom" in story.lines)
    clock.advance(2)
    await quiet()
    assert [child.state for child in system.snapshot().children] == [State.BACKOFF] * 2
    clock.advance(2)
    await asyncio.gather(a.ask("x"), b.ask("x"))
    assert [child.restarts for child in system.snapshot().children] == [1, 1]


async def test_during_backoff_the_mailbox_accepts_and_nothing_runs(
    system: ActorSystem, story: Story, clock: ManualClock
) -> None:
    (ref,) = cast(system, story, "a", OneForOne(backoff=Backoff(3, max=60)))
    await ref.tell("boom")
    await eventually(lambda: system.snapshot().children[0].state is State.BACKOFF)
    await ref.tell("x")
    clock.advance(2.9)
    await quiet()
    assert story.lines == ["a starts", "a restarts after Boom"]
    clock.advance(0.2)
    await eventually(lambda: "a got x" in story.lines)


async def test_an_actor_can_be_stopped_during_backoff_and_gets_no_second_clean_up(
    system: ActorSystem, story: Story
) -> None:
    (ref,) = cast(system, story, "a", OneForOne(backoff=Backoff(3, max=60)))
    await ref.tell("boom")
    await eventually(lambda: system.snapshot().children[0].state is State.BACKOFF)
    question = asyncio.create_task(ref.ask("x"))
    await quiet()
    await ref.stop()
    with pytest.raises(ActorStopped):
        await question
    assert story.lines == ["a starts", "a restarts after Boom"]


async def test_resume_drops_the_failing_message_and_keeps_the_instance(system: ActorSystem, story: Story) -> None:
    (ref,) = cast(system, story, "a", OneForOne(decide=always(Directive.RESUME)))
    for message in ("1", "boom", "2"):
        await ref.tell(message)
    await ref.ask("3")
    assert story.lines == ["a starts", "a got 1", "a got 2", "a got 3"]
    assert system.snapshot().children[0].restarts == 0


async def test_a_failing_on_start_cannot_be_resumed_and_is_restarted(system: ActorSystem) -> None:
    starts: list[int] = []

    class Late(Actor[int]):
        async def on_start(self) -> None:
            starts.append(1)
            if len(starts) < 3:
                raise Boom

        async def receive(self, message: int) -> int:
            return message

        async def on_restart(self, error: Exception) -> None:
            starts.append(100)

    ref = system.spawn(Late, supervision=OneForOne(decide=always(Directive.RESUME)))
    assert await ref.ask(7) == 7
    assert starts == [1, 1, 1]  # and no clean-up of what never started
    assert system.snapshot().children[0].restarts == 2


async def test_a_factory_that_raises_is_a_failure_like_any(clock: ManualClock) -> None:
    def factory() -> Actor[int]:
        raise Boom("factory")

    with pytest.raises(Boom, match="factory"):  # noqa: PT012
        async with ActorSystem("demo", clock) as system:
            system.spawn(factory)
            await system.stopped()


async def test_stop_ends_the_child_and_tells_who_watches_the_error(system: ActorSystem, story: Story) -> None:
    (ref,) = cast(system, story, "a", OneForOne(decide=always(Directive.STOP)))
    endings: list[Terminated] = []

    class Watcher(Actor[Terminated]):
        async def on_start(self) -> None:
            self.watch(ref)

        async def receive(self, message: Terminated) -> None:
            endings.append(message)

    system.spawn(Watcher)
    await ref.tell("boom")
    await eventually(lambda: endings)
    assert endings[0].ref is ref
    assert isinstance(endings[0].error, Boom)
    assert story.lines == ["a starts", "a stops"]


class Boss(Actor[str]):
    """Has one child that escalates, and can be kept busy."""

    def __init__(self, story: Story, strategy: Strategy) -> None:
        self.story = story
        self.strategy = strategy

    async def on_start(self) -> None:
        self.story.tell("boss starts")
        self.child = self.spawn(lambda: Player(self.story, "child"), name="child", supervision=self.strategy)

    async def receive(self, message: str) -> object:
        if message == "busy":
            self.story.tell("boss is busy")
            await self.story.gate("boss").wait()
            self.story.tell("boss is free")
        return self.child

    async def on_restart(self, error: Exception) -> None:
        self.story.tell("boss restarts after", error, "with", len(self.children), "children")

    async def on_stop(self) -> None:
        self.story.tell("boss stops with", len(self.children), "children")


async def test_an_escalated_error_fails_the_parent_which_restarts_with_its_children(
    system: ActorSystem, story: Story
) -> None:
    boss = system.spawn(lambda: Boss(story, OneForOne(decide=always(Directive.ESCALATE))))
    child = await boss.ask("child")
    await boss.tell("busy")
    await eventually(lambda: "boss is busy" in story.lines)
    await child.tell("boom up")
    await eventually(lambda: story.count("child starts") == 2)
    assert child.is_stopped
    assert story.lines[-4:] == ["child stops", "boss restarts after up with 0 children", "boss starts", "child starts"]
    assert "boss is free" not in story.lines


async def test_a_parent_that_resumes_after_an_escalated_error_lives_on_without_the_child(
    system: ActorSystem, story: Story
) -> None:
    boss = system.spawn(
        lambda: Boss(story, OneForOne(decide=always(Directive.ESCALATE))),
        supervision=OneForOne(decide=always(Directive.RESUME)),
    )
    child = await boss.ask("child")
    await boss.tell("busy")
    await eventually(lambda: "boss is busy" in story.lines)
    await child.tell("boom")
    assert await boss.ask("child") is child
    assert child.is_stopped
    assert story.count("boss starts") == 1
    assert "boss is free" not in story.lines


async def test_a_busy_parent_does_not_delay_the_restart_of_its_child(system: ActorSystem, story: Story) -> None:
    boss = system.spawn(lambda: Boss(story, OneForOne()))
    child = await boss.ask("child")
    await boss.tell("busy")
    await eventually(lambda: "boss is busy" in story.lines)
    await child.tell("boom")
    assert await child.ask("x") == "X"
    assert "boss is free" not in story.lines


async def test_a_restarting_parent_stops_its_children_first_and_on_start_spawns_them_anew(
    system: ActorSystem, story: Story
) -> None:
    class Parent(Player):
        async def on_start(self) -> None:
            self.play("child")
            await Player.on_start(self)

    ref = system.spawn(lambda: Parent(story, "parent"))
    await ref.ask("ready")
    await quiet()
    await ref.tell("boom")
    await eventually(lambda: story.count("child starts") == 2)
    assert story.lines.index("child stops") < story.lines.index("parent restarts after Boom")


async def test_an_error_that_reaches_the_top_stops_all_and_is_raised_as_it_was(
    clock: ManualClock, story: Story
) -> None:
    error: Exception | None = None
    system = ActorSystem("demo", clock)
    a, b = cast(system, story, "ab", OneForOne(decide=always(Directive.ESCALATE)))
    with pytest.raises(Boom) as first:
        await a.ask("boom")
    with pytest.raises(Boom) as second:
        await system.stopped()
    error = second.value
    assert error is first.value
    assert a.is_stopped
    assert b.is_stopped
    assert "b stops" in story.lines


async def test_a_decide_that_raises_escalates_the_error_it_was_asked_about(clock: ManualClock, story: Story) -> None:
    def broken(error: Exception) -> Directive:
        raise ZeroDivisionError

    with pytest.raises(Boom):  # noqa: PT012
        async with ActorSystem("demo", clock) as system:
            (ref,) = cast(system, story, "a", OneForOne(decide=broken))
            await ref.tell("boom")
            await system.stopped()


async def test_an_actor_may_choose_to_lose_its_mailbox_in_a_restart(system: ActorSystem, story: Story) -> None:
    class Forgetful(Player):
        clear_mailbox_on_restart = True

    ref = system.spawn(lambda: Forgetful(story, "a"))
    await ref.ask("ready")
    for message in ("wait go", "boom", "lost"):
        await ref.tell(message)
    question = asyncio.create_task(ref.ask("lost too"))
    await quiet()
    story.gate("go").set()
    with pytest.raises(ActorStopped):
        await question
    await ref.ask("kept")
    assert "a got lost" not in story.lines
    assert system.dead_letters == 0


async def test_clearing_a_full_mailbox_lets_waiting_senders_in(system: ActorSystem, story: Story) -> None:
    class Forgetful(Player):
        clear_mailbox_on_restart = True

    ref = system.spawn(lambda: Forgetful(story, "a"), mailbox=2)
    await ref.ask("ready")
    await ref.tell("wait go")
    await quiet()
    await ref.tell("boom")
    await ref.tell("lost")
    waiting = [asyncio.create_task(ref.tell(f"new {n}")) for n in range(2)]
    await quiet()
    story.gate("go").set()
    await asyncio.gather(*waiting)
    await ref.ask("done")
    # The first was let in when "boom" made room, before the restart, the other by the restart.
    assert [line for line in story.lines if "new" in line or "lost" in line] == ["a got new 1"]


async def test_awaiting_something_cancelled_is_a_failure_like_any(system: ActorSystem) -> None:
    class Awaiter(Actor[int]):
        async def receive(self, message: int) -> int:
            if message:
                future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                future.cancel()
                await future
            return message

    ref = system.spawn(Awaiter)
    with pytest.raises(ActorError, match="cancelled"):
        await ref.ask(1)
    assert await ref.ask(0) == 0
    assert system.snapshot().children[0].restarts == 1


async def test_an_actor_whose_task_is_cancelled_from_outside_stops_in_order(system: ActorSystem, story: Story) -> None:
    (ref,) = cast(system, story, "a", OneForOne())
    question = asyncio.create_task(ref.ask("wait for ever"))
    await eventually(lambda: "a waits" in story.lines)
    (task,) = (task for task in asyncio.all_tasks() if task.get_name() == "demo/a")
    task.cancel()
    with pytest.raises(ActorStopped):
        await question
    await eventually(lambda: ref.is_stopped)
    assert story.lines[-2:] == ["a is interrupted", "a stops"]


async def test_a_hook_that_raises_is_passed_over(system: ActorSystem) -> None:
    starts: list[int] = []

    class Clumsy(Actor[int]):
        async def on_start(self) -> None:
            starts.append(1)

        async def receive(self, message: int) -> int:
            if message:
                raise Boom
            return message

        async def on_stop(self) -> None:
            raise ZeroDivisionError

    ref = system.spawn(Clumsy)
    await ref.tell(1)
    assert await ref.ask(0) == 0
    await ref.stop()
    assert len(starts) == 2


async def test_a_clean_up_that_hangs_is_cut_off(system: ActorSystem, story: Story, clock: ManualClock) -> None:
    class Slow(Player):
        cleanup_timeout = 3.0

        async def on_restart(self, error: Exception) -> None:
            await self._wait("never")

    ref = system.spawn(lambda: Slow(story, "a"))
    await ref.tell("boom")
    await eventually(lambda: "a waits" in story.lines)
    assert system.snapshot().children[0].state is State.RESTARTING
    clock.advance(2.9)
    await quiet()
    assert story.count("a starts") == 1
    clock.advance(0.2)
    await eventually(lambda: story.count("a starts") == 2)


async def test_a_child_that_fails_while_its_parent_stops_the_others_is_not_restarted(
    system: ActorSystem, story: Story
) -> None:
    class Slow(Player):
        async def on_stop(self) -> None:
            await self._wait("go")

    class Parent(Player):
        async def on_start(self) -> None:
            self.first = self.play("first")
            self.spawn(lambda: Slow(self.story, "second"))

        async def receive(self, message: str) -> object:
            return self.first

    parent = system.spawn(lambda: Parent(story, "parent"))
    first = await parent.ask("first")
    await first.ask("ready")
    stop = asyncio.create_task(parent.stop())
    await eventually(lambda: "second waits" in story.lines)
    await first.tell("boom")
    await eventually(lambda: first.is_stopped)
    story.gate("go").set()
    await stop
    assert story.lines[2:] == ["first got ready", "second waits", "first stops", "parent stops"]


async def test_the_latest_due_time_of_joined_restarts_holds(
    system: ActorSystem, story: Story, clock: ManualClock
) -> None:
    a, b, c = cast(system, story, "abc", RestForOne(period=1, backoff=Backoff(10, max=60)))
    await c.ask("ready")
    await c.tell("boom")  # due in 10 s
    await eventually(lambda: "c restarts after Boom" in story.lines)
    await b.tell("boom")  # the second within the period: due in 20 s
    await eventually(lambda: "b restarts after Boom" in story.lines)
    clock.advance(5)
    await a.tell("boom")  # the first of a new period: due in 15 s from the start
    await eventually(lambda: "a restarts after Boom" in story.lines)
    clock.advance(14)
    await quiet()
    assert [child.state for child in system.snapshot().children] == [State.BACKOFF] * 3
    clock.advance(1)
    await eventually(lambda: story.count("c starts") == 2)


async def test_every_incarnation_runs_in_the_context_of_its_spawning(system: ActorSystem) -> None:
    seen: list[str] = []

    class Contextual(Player):
        async def on_start(self) -> None:
            seen.append(f"{self.name} in {where.get()}")

    where: contextvars.ContextVar[str] = contextvars.ContextVar("where")
    together = OneForAll()
    refs = {}
    for name in "ab":
        where.set(name)
        refs[name] = system.spawn(lambda name=name: Contextual(Story(), name), name=name, supervision=together)  # type: ignore[misc]
    await refs["b"].tell("boom")
    await eventually(lambda: len(seen) == 4)
    assert seen == ["a in a", "b in b"] * 2
