"""Actors to test with, and ways to wait that use no time."""

import asyncio
from collections.abc import Callable

from attrs import define, field

from runnel.actors import Actor, ActorRef


async def eventually(condition: Callable[[], object], turns: int = 10_000) -> None:
    """Let the loop turn until the condition is true."""
    for _ in range(turns):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError(f"not within {turns} turns of the loop")


async def quiet(turns: int = 50) -> None:
    """Let the loop turn often enough for everything that is going to happen without time passing."""
    for _ in range(turns):
        await asyncio.sleep(0)


class Boom(Exception):
    """What actors here fail with."""


@define
class Story:
    """What happened, in order, and what is to happen."""

    lines: list[str] = field(factory=list)
    gates: dict[str, asyncio.Event] = field(factory=dict)

    def tell(self, *parts: object) -> None:
        self.lines.append(" ".join(map(str, parts)))

    def gate(self, name: str) -> asyncio.Event:
        return self.gates.setdefault(name, asyncio.Event())

    def count(self, line: str) -> int:
        return self.lines.count(line)


@define(eq=False)
class Player(Actor[str]):
    """Does what it is told, and notes all that happens to it.

    `boom` fails; `wait X` waits for the gate X; `children a b` spawns more of its kind; the rest is answered in capitals.
    """

    story: Story
    name: str = "player"

    async def on_start(self) -> None:
        self.story.tell(self.name, "starts")

    async def receive(self, message: str) -> object:
        word, _, rest = message.partition(" ")
        if word == "boom":
            raise Boom(rest)
        if word == "wait":
            await self._wait(rest)
        if word == "children":
            return [self.play(name) for name in rest.split()]
        self.story.tell(self.name, "got", message)
        return message.upper()

    def play(self, name: str) -> ActorRef[str]:
        return self.spawn(lambda: Player(self.story, name), name=name)

    async def _wait(self, gate: str) -> None:
        self.story.tell(self.name, "waits")
        try:
            await self.story.gate(gate).wait()
        except asyncio.CancelledError:
            self.story.tell(self.name, "is interrupted")
            raise

    async def on_restart(self, error: Exception) -> None:
        self.story.tell(self.name, "restarts after", type(error).__name__)

    async def on_stop(self) -> None:
        self.story.tell(self.name, "stops")
