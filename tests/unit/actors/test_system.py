"""The system: its end, its errors, and the picture of the tree."""

import asyncio
from collections.abc import Mapping

import pytest

import runnel.actors
from runnel.actors import Actor, ActorSnapshot, ActorSystem, Backoff, Directive, OneForOne, State
from runnel.clock import ManualClock
from runnel.errors import ActorStopped
from tests.unit.actors.support import Boom, Player, Story, eventually, quiet

ESCALATE = OneForOne(intensity=0)


async def test_the_snippet_of_the_api_runs() -> None:
    class Counter(Actor[int | str]):
        async def on_start(self) -> None:
            self.n = 0

        async def receive(self, message: int | str) -> int | None:
            if isinstance(message, str):
                return self.n
            self.n += message
            return None

    async with ActorSystem("demo") as system:
        ref = system.spawn(
            Counter,
            name="counter",
            mailbox=1_000,
            supervision=OneForOne(intensity=3, period=5, backoff=Backoff(0.1, max=5)),
        )
        await ref.tell(1)
        ref.tell_nowait(1)
        total = await ref.ask("total", timeout=1)
    assert total == 2


async def test_leaving_the_block_stops_all_in_reverse_order(clock: ManualClock, story: Story) -> None:
    async with ActorSystem("demo", clock) as system:
        for name in "abc":
            await system.spawn(lambda name=name: Player(story, name), name=name).ask("x")  # type: ignore[misc]
    assert story.lines[-3:] == ["c stops", "b stops", "a stops"]
    assert system.snapshot().state is State.STOPPED
    await system.stopped()
    await system.stop()


async def test_leaving_the_block_waits_for_the_messages_under_way(clock: ManualClock, story: Story) -> None:
    async with ActorSystem("demo", clock) as system:
        ref = system.spawn(lambda: Player(story, "a"))
        await ref.tell("wait go")
        await eventually(lambda: "a waits" in story.lines)
        asyncio.get_running_loop().call_soon(story.gate("go").set)
    assert "a got wait go" in story.lines


async def test_an_error_in_the_block_cancels_all_at_once_and_is_raised(clock: ManualClock, story: Story) -> None:
    with pytest.raises(ZeroDivisionError):  # noqa: PT012
        async with ActorSystem("demo", clock) as system:
            await system.spawn(lambda: Player(story, "a")).tell("wait for ever")
            await eventually(lambda: "a waits" in story.lines)
            raise ZeroDivisionError
    assert story.lines[-2:] == ["a is interrupted", "a stops"]


async def test_a_cancelled_block_leaves_no_task_and_passes_the_cancellation_on(
    clock: ManualClock, story: Story
) -> None:
    async def main() -> None:
        async with ActorSystem("demo", clock) as system:
            await system.spawn(lambda: Player(story, "a")).tell("wait for ever")
            await asyncio.Event().wait()

    task = asyncio.create_task(main())
    await eventually(lambda: "a waits" in story.lines)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert story.lines[-2:] == ["a is interrupted", "a stops"]


async def test_cancelled_while_it_waits_for_the_end_it_hurries(clock: ManualClock, story: Story) -> None:
    async def main() -> None:
        async with ActorSystem("demo", clock) as system:
            await system.spawn(lambda: Player(story, "a")).tell("wait for ever")
            await eventually(lambda: "a waits" in story.lines)

    task = asyncio.create_task(main())
    await eventually(lambda: "a waits" in story.lines)
    await quiet()
    assert not task.done()
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert story.lines[-2:] == ["a is interrupted", "a stops"]


async def test_a_timeout_around_the_block_is_still_a_timeout(clock: ManualClock, story: Story) -> None:
    with pytest.raises(TimeoutError):  # noqa: PT012
        async with asyncio.timeout(0.01), ActorSystem("demo", clock) as system:
            await system.spawn(lambda: Player(story, "a")).tell("wait for ever")
            await eventually(lambda: "a waits" in story.lines)
    assert story.lines[-2:] == ["a is interrupted", "a stops"]


async def test_a_failure_gives_others_a_grace_period(clock: ManualClock, story: Story) -> None:
    system = ActorSystem("demo", clock, failure_grace=3)
    busy = system.spawn(lambda: Player(story, "busy"))
    await busy.tell("wait for ever")
    await eventually(lambda: "busy waits" in story.lines)
    await system.spawn(lambda: Player(story, "a"), supervision=ESCALATE).tell("boom")
    await quiet()
    clock.advance(2.9)
    await quiet()
    assert not busy.is_stopped
    clock.advance(0.2)
    with pytest.raises(Boom):
        await system.stopped()
    assert busy.is_stopped


async def test_an_actor_stopped_error_in_the_block_gives_way_to_the_failure_behind_it(
    clock: ManualClock, story: Story
) -> None:
    with pytest.raises(Boom) as caught:  # noqa: PT012
        async with ActorSystem("demo", clock) as system:
            ref = system.spawn(lambda: Player(story, "a"), supervision=ESCALATE)
            await ref.tell("boom")
            await eventually(lambda: ref.is_stopped)
            await ref.ask("x")
    assert isinstance(caught.value.__context__, ActorStopped)


async def test_an_own_error_of_the_block_and_a_failure_are_raised_together(clock: ManualClock, story: Story) -> None:
    with pytest.raises(ExceptionGroup) as caught:  # noqa: PT012
        async with ActorSystem("demo", clock) as system:
            ref = system.spawn(lambda: Player(story, "a"), supervision=ESCALATE)
            await ref.tell("boom")
            await eventually(lambda: ref.is_stopped)
            raise ZeroDivisionError
    assert [type(error) for error in caught.value.exceptions] == [ZeroDivisionError, Boom]


async def test_several_failures_are_raised_as_a_group(clock: ManualClock, story: Story) -> None:
    system = ActorSystem("demo", clock)
    for name in "ab":
        ref = system.spawn(lambda name=name: Player(story, name), supervision=ESCALATE)  # type: ignore[misc]
        await ref.tell(f"boom {name}")
    with pytest.raises(ExceptionGroup) as caught:
        await system.stopped()
    assert sorted(map(str, caught.value.exceptions)) == ["a", "b"]


async def test_a_stopped_system_takes_no_more_actors(clock: ManualClock, story: Story) -> None:
    system = ActorSystem("demo", clock)
    await system.stop()
    with pytest.raises(ActorStopped):
        system.spawn(lambda: Player(story))


async def test_cancelling_every_task_there_is_still_ends_all_in_order(clock: ManualClock, story: Story) -> None:
    """As `asyncio.run` does at its end."""
    system = ActorSystem("demo", clock)
    ref = system.spawn(lambda: Player(story, "top"))
    (child,) = await ref.ask("children child")
    await child.tell("wait for ever")
    await eventually(lambda: "child waits" in story.lines)
    stop = asyncio.create_task(ref.stop())
    await quiet()
    conductors = [task for task in asyncio.all_tasks() if task.get_name().startswith("demo")]
    assert len(conductors) == 3
    for task in conductors:
        task.cancel()
    await stop
    assert [task.get_name() for task in conductors if not task.cancelled()] == []
    assert story.lines[-3:] == ["child is interrupted", "child stops", "top stops"]


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit])
def test_interrupts_inside_an_actor_are_not_eaten(interrupt: type[BaseException], story: Story) -> None:
    class Interrupted(Actor[int]):
        async def receive(self, message: int) -> None:
            raise interrupt

    left: list[set[str]] = []

    async def main() -> None:
        try:
            async with ActorSystem("demo") as system:
                system.spawn(lambda: Player(story, "a"))
                await system.spawn(Interrupted, supervision=OneForOne(decide=lambda error: Directive.RESUME)).tell(1)
                await asyncio.Event().wait()
        finally:
            left.append({task.get_name() for task in asyncio.all_tasks() if task is not asyncio.current_task()})

    with pytest.raises(interrupt):
        asyncio.run(main())
    assert story.lines == ["a starts", "a stops"]
    assert [name for name in left[0] if name.startswith("demo")] == []


async def test_an_error_that_is_no_exception_ends_the_system(clock: ManualClock) -> None:
    class Alien(BaseException):
        pass

    class Abducted(Actor[int]):
        async def receive(self, message: int) -> None:
            raise Alien

    with pytest.raises(Alien):  # noqa: PT012
        async with ActorSystem("demo", clock) as system:
            await system.spawn(Abducted).tell(1)
            await system.stopped()


async def test_tasks_are_named_by_path(system: ActorSystem, story: Story) -> None:
    ref = system.spawn(lambda: Player(story, "a"), name="a")
    await ref.ask("children b")
    assert {"demo/a", "demo/a/b"} <= {task.get_name() for task in asyncio.all_tasks()}


async def test_a_snapshot_shows_the_tree(system: ActorSystem, story: Story, clock: ManualClock) -> None:
    class Measured(Player):
        def statistics(self) -> Mapping[str, object]:
            return {"lines": 42}

    ref = system.spawn(lambda: Measured(story, "a"), name="a", mailbox=10)
    await ref.ask("children b")
    await ref.tell("wait go")
    await ref.tell("queued")
    await eventually(lambda: "a waits" in story.lines)
    clock.advance(1.5)
    assert system.snapshot() == ActorSnapshot(
        path="demo",
        name="demo",
        kind="ActorSystem",
        state=State.RUNNING,
        details={"dead_letters": 0},
        children=(
            ActorSnapshot(
                path="demo/a",
                name="a",
                kind="Measured",
                state=State.RUNNING,
                mailbox_depth=1,
                mailbox_capacity=10,
                processed=1,
                message_age=1.5,
                details={"lines": 42},
                children=(
                    ActorSnapshot(path="demo/a/b", name="b", kind="Player", state=State.IDLE, mailbox_capacity=1_000),
                ),
            ),
        ),
    )


async def test_a_snapshot_before_the_start_names_the_factory(system: ActorSystem) -> None:
    class Sleeper(Actor[int]):
        pass

    system.spawn(Sleeper)
    (child,) = system.snapshot().children
    assert (child.name, child.kind, child.state) == ("sleeper-1", "Sleeper", State.STARTING)


async def test_broken_statistics_do_not_break_the_snapshot(system: ActorSystem) -> None:
    class Broken(Actor[int]):
        def statistics(self) -> Mapping[str, object]:
            raise Boom("no numbers")

        async def receive(self, message: int) -> None: ...

    await system.spawn(Broken).ask(1)
    assert system.snapshot().children[0].details == {"statistics": "Boom: no numbers"}


async def test_what_lives_in_an_actor_is_shown_behind_its_children(system: ActorSystem) -> None:
    class Hotel(Actor[str]):
        async def on_start(self) -> None:
            self.spawn(Actor[str], name="porter")

        def residents(self) -> list[ActorSnapshot]:
            path = f"{self.ref.path}/ada"
            return [ActorSnapshot(path=path, name="ada", kind="Guest", state=State.WAITING, is_resident=True)]

    system.spawn(Hotel, name="hotel")
    await eventually(lambda: len(system.snapshot().children[0].children) == 2)
    porter, ada = system.snapshot().children[0].children
    assert (porter.name, porter.is_resident, ada.path, ada.is_resident) == ("porter", False, f"{system.name}/hotel/ada", True)


def test_the_exported_names() -> None:
    assert runnel.actors.__all__ == [
        "Actor",
        "ActorRef",
        "ActorSnapshot",
        "ActorStopping",
        "ActorSystem",
        "Backoff",
        "DeadLetter",
        "Directive",
        "OneForAll",
        "OneForOne",
        "RestForOne",
        "State",
        "Strategy",
        "Terminated",
    ]


class Tally(Actor[int]):
    """Adds up, and says so."""

    total = 0

    async def receive(self, message: int) -> None:
        self.total += message

    async def on_stop(self) -> None:
        self.total += 1_000

    def statistics(self) -> Mapping[str, object]:
        return {"total": self.total}


async def test_the_last_snapshot_of_an_actor_has_all_that_it_did(clock: ManualClock) -> None:
    ended: list[ActorSnapshot] = []
    async with ActorSystem("demo", clock) as system:
        forget = system.on_end(lambda _: ended.clear())
        forget()
        system.on_end(ended.append)
        tally = system.spawn(Tally, name="tally")
        tally.tell_nowait(1)
        await tally.ask(2)
        await tally.stop()
    assert [(each.path, each.details) for each in ended] == [("demo/tally", {"total": 1_003})]
