"""A tree of actors under random orders: whatever happens, every question is answered and no task is left."""

import asyncio
import random

import pytest
from attrs import define

from runnel.actors import Actor, ActorRef, ActorSystem, Backoff, Directive, OneForAll, OneForOne, RestForOne, Strategy
from runnel.clock import ManualClock
from runnel.errors import ActorError
from tests.unit.actors.support import Boom, quiet

MOVES = ["spawn", "work", "boom", "stash", "unstash", "timer", "background", "wait", "stop self", "stop child", "quick"]


@define(eq=False)
class Monkey(Actor[str]):
    """Does something at random for each message."""

    dice: random.Random
    refs: list[ActorRef[str]]
    depth: int = 0

    async def receive(self, message: str) -> str:
        match message:
            case "spawn" if self.depth < 3 and len(self.children) < 3:
                self.spawn_monkey()
            case "boom":
                raise Boom
            case "stash":
                self.stash()
            case "unstash":
                self.unstash_all()
            case "timer":
                self.set_timer(self.dice.randrange(2), self.dice.choice(MOVES), self.dice.random(), True)
            case "background":
                self.pipe_to_self(self.clock.sleep(self.dice.random()), lambda _: self.dice.choice(MOVES))
            case "wait":
                await self.clock.sleep(self.dice.random() * 3)
            case "stop self" if self.depth > 0 and self.dice.random() < 0.3:
                self.stop()
            case "stop child" if self.children:
                await self.dice.choice(self.children).stop(self.dice.choice([None, 0, 0.5]))
        return message

    async def on_restart(self, error: Exception) -> None:
        if self.dice.random() < 0.3:
            await self.clock.sleep(self.dice.random())

    async def on_stop(self) -> None:
        if self.dice.random() < 0.3:
            raise Boom

    def spawn_monkey(self) -> None:
        strategy = STRATEGIES[self.dice.randrange(len(STRATEGIES))]
        self.refs.append(
            self.spawn(lambda: Monkey(self.dice, self.refs, self.depth + 1), mailbox=3, supervision=strategy)
        )


DIRECTIVES: list[Directive] = [*Directive, Directive.RESTART, Directive.RESTART]


def decide(error: Exception) -> Directive:
    return random.choice(DIRECTIVES)


STRATEGIES: list[Strategy] = [
    kind(intensity=20, period=5, backoff=backoff, decide=decide)
    for kind in (OneForOne, OneForAll, RestForOne)
    for backoff in (None, Backoff(0.2, max=2, jitter=0.5))
]


async def ask(ref: ActorRef[str], message: str) -> None:
    try:
        await ref.ask(message)
    except (Boom, ActorError):
        pass


@pytest.mark.parametrize("seed", range(25))
async def test_every_question_is_answered_and_no_task_is_left(clock: ManualClock, seed: int) -> None:
    dice = random.Random(seed)
    random.seed(seed)
    system = ActorSystem("zoo", clock)
    refs: list[ActorRef[str]] = []
    top = system.spawn(
        lambda: Monkey(dice, refs), supervision=OneForOne(intensity=10_000, decide=lambda _: Directive.RESTART)
    )
    refs.append(top)
    await top.ask("spawn")
    questions = []
    for _ in range(300):
        questions.append(asyncio.create_task(ask(dice.choice(refs), dice.choice(MOVES))))
        clock.advance(dice.random() * 0.2)
        await quiet(dice.randrange(3))
    stop = asyncio.create_task(system.stop(grace=dice.choice([0, 1, 3])))
    while not stop.done():
        clock.advance(0.5)
        await quiet(20)
    assert all(ref.is_stopped for ref in refs)
    await asyncio.wait_for(asyncio.gather(*questions), 5)
    await system.stopped()
