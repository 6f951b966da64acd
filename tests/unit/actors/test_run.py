"""Actors that pull their messages themselves."""

import asyncio

import pytest

from runnel.actors import Actor, ActorStopping, ActorSystem, Directive, OneForOne, State
from tests.unit.actors.support import Boom, eventually, quiet


async def test_a_run_of_its_own_pulls_messages(system: ActorSystem) -> None:
    class Pairs(Actor[int]):
        async def run(self) -> None:
            while True:
                first = await self.next()
                pairs.append((first, await self.next()))

    pairs: list[tuple[int, int]] = []
    ref = system.spawn(Pairs)
    for n in range(4):
        await ref.tell(n)
    await eventually(lambda: len(pairs) == 2)
    assert pairs == [(0, 1), (2, 3)]
    await ref.stop()


async def test_next_nowait_gives_none_when_nothing_is_queued(system: ActorSystem) -> None:
    class Batcher(Actor[int]):
        async def run(self) -> None:
            while True:
                batch = [await self.next()]
                while (message := self.next_nowait()) is not None:
                    batch.append(message)
                batches.append(batch)

    batches: list[list[int]] = []
    ref = system.spawn(Batcher)
    for n in (1, 2, 3):
        ref.tell_nowait(n)
    await eventually(lambda: batches)
    assert batches == [[1, 2, 3]]


async def test_returning_from_run_ends_the_actor_in_order(system: ActorSystem) -> None:
    ended: list[str] = []

    class Short(Actor[int]):
        async def run(self) -> None:
            await self.next()

        async def on_stop(self) -> None:
            ended.append("stopped")

    ref = system.spawn(Short)
    question = asyncio.create_task(ref.ask(1))
    await eventually(lambda: ref.mailbox_depth == 1)
    await ref.tell(2)
    assert await question is None
    await eventually(lambda: ref.is_stopped)
    assert ended == ["stopped"]
    assert system.dead_letters == 1


async def test_reply_answers_the_message_in_hand_once(system: ActorSystem) -> None:
    class Oracle(Actor[int]):
        async def run(self) -> None:
            while True:
                message = await self.next()
                if message:
                    self.reply(message * 2)
                    self.reply("not heard")

    ref = system.spawn(Oracle)
    assert await ref.ask(21) == 42
    question = asyncio.create_task(ref.ask(0))
    await quiet()
    assert await question is None  # handled without an answer


@pytest.mark.parametrize("busy", [True, False])
async def test_next_raises_actor_stopping_even_when_messages_are_queued(system: ActorSystem, busy: bool) -> None:
    seen: list[object] = []
    release = asyncio.Event()

    class Polite(Actor[int]):
        async def run(self) -> None:
            try:
                while True:
                    seen.append(await self.next())
                    await release.wait()
            except ActorStopping:
                seen.append("stopping")
                with pytest.raises(ActorStopping):
                    self.next_nowait()
                raise

    ref = system.spawn(Polite)
    await quiet()
    if busy:
        await ref.tell(1)
        await quiet()
        await ref.tell(2)
    stop = asyncio.create_task(ref.stop())
    await quiet()
    release.set()
    await stop
    assert seen == ([1, "stopping"] if busy else ["stopping"])


async def test_a_loop_that_catches_exceptions_does_not_eat_the_signal_to_stop(system: ActorSystem) -> None:
    class Careless(Actor[int]):
        async def run(self) -> None:
            while True:
                try:
                    await self.next()
                except Exception:
                    continue

    ref = system.spawn(Careless)
    await quiet()
    await ref.stop()


async def test_a_task_group_in_run_may_wrap_the_signal(system: ActorSystem) -> None:
    class Grouped(Actor[int]):
        async def run(self) -> None:
            async with asyncio.TaskGroup() as group:
                group.create_task(asyncio.Event().wait())
                await self.next()

    ref = system.spawn(Grouped)
    await quiet()
    await ref.stop()
    assert system.snapshot().last_error is None


async def test_resume_calls_run_again_on_the_same_instance(system: ActorSystem) -> None:
    class Flaky(Actor[int]):
        def __init__(self) -> None:
            self.runs = 0

        async def run(self) -> None:
            self.runs += 1
            while True:
                if await self.next() == 0:
                    raise Boom
                self.reply(self.runs)

    ref = system.spawn(Flaky, supervision=OneForOne(decide=lambda error: Directive.RESUME))
    assert await ref.ask(1) == 1
    await ref.tell(0)
    assert await ref.ask(1) == 2


async def test_a_run_that_never_looks_is_cancelled_when_grace_is_over(system: ActorSystem) -> None:
    class Deaf(Actor[int]):
        async def run(self) -> None:
            await asyncio.Event().wait()

    ref = system.spawn(Deaf)
    await quiet()
    assert system.snapshot().children[0].state is State.RUNNING
    stop = asyncio.create_task(ref.stop())
    await quiet()
    assert not stop.done()
    await ref.stop(grace=0)
    await stop


async def test_a_run_that_is_long_between_messages_can_see_that_it_is_to_stop(system: ActorSystem) -> None:
    class Grinder(Actor[int]):
        async def run(self) -> None:
            while not self.is_stopping:
                await quiet(1)

    ref = system.spawn(Grinder)
    await quiet()
    await ref.stop()


async def test_only_one_task_may_wait_for_the_messages(system: ActorSystem) -> None:
    class Doubled(Actor[int]):
        async def run(self) -> None:
            first = asyncio.ensure_future(self.next())
            await quiet(3)
            with pytest.raises(RuntimeError, match="one task"):
                await self.next()
            assert await first == 5

    ref = system.spawn(Doubled)
    await quiet()
    await ref.tell(5)
    await eventually(lambda: ref.is_stopped)
    assert system.snapshot().last_error is None
