"""Actors of all shapes that fail on demand: at an event whose `do` says how, after they have left every trace they can."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from attrs import Factory, define, field

from runnel import Actor, App, Context, Record, Stream
from tests.integration.actors.support import Step

SHAPES = ["class", "plain class", "function", "plain function"]
LIMIT = 0.6
"""Seconds that an event may take, where a time limit is set."""

HOUR = 3_600.0


class Seen(Record):
    """What an actor remembers: the numbers that it has handled."""

    numbers: list[int] = Factory(list)


@define(eq=False)
class Zoo:
    """Actors of several shapes over one stream, and what happened to them."""

    app: App
    steps: Stream[Step]
    out: Stream[Step]
    mended: bool = False
    """Once set, nothing fails any more."""
    begun: dict[str, list[tuple[str, int]]] = field(factory=lambda: defaultdict(list))
    done: dict[str, list[tuple[str, int]]] = field(factory=lambda: defaultdict(list))
    """Actor → keys and numbers of its events, whenever one begins, and whenever its handler ends well."""

    @classmethod
    def of(cls, app: App, steps: Stream[Step]) -> "Zoo":
        out = app.stream("out", record=Step, partition_by="key", partition_count=1)
        return cls(app, steps, out)

    def add(self, shape: str, name: str, **options: Any) -> None:
        """Declare an actor."""
        make: dict[str, Callable[[str], Any]] = {
            "class": self._class,
            "plain class": self._plain_class,
            "function": self._function,
            "plain function": self._plain_function,
        }
        self.app.actor(self.steps, name=name, **options)(make[shape](name))

    def numbers(self, name: str, key: str) -> list[int]:
        """Of this key's events that were handled well, as they were."""
        return [number for of, number in self.done[name] if of == key]

    # ── what all of them do ──

    def _begin(self, name: str, step: Step, context: Context) -> str:
        """Leave traces; how the event is to fail."""
        self.begun[name].append((step.key, step.number))
        context.emit(self.out, Step(key=name, number=step.number, do=step.key))
        return "" if self.mended else step.do

    def _end(self, name: str, step: Step) -> None:
        self.done[name].append((step.key, step.number))

    # ── the shapes ──

    def _class(self, name: str) -> type[Any]:
        zoo = self

        class Animal(Actor[Step, Seen]):
            async def on_start(self) -> None:
                zoo._start(self)

            async def receive(self, step: Step) -> None:
                zoo._mark(self, step)
                await fail(zoo._begin(name, step, self), self)
                zoo._end(name, step)

            async def on_reminder(self, name: str) -> None:
                raise AssertionError("not in this test")

        return Animal

    def _plain_class(self, name: str) -> type[Any]:
        zoo = self

        class Animal(Actor[Step, Seen]):
            async def on_start(self) -> None:
                zoo._start(self)

            def receive(self, step: Step) -> None:
                zoo._mark(self, step)
                fail_plainly(zoo._begin(name, step, self), self)
                zoo._end(name, step)

            def on_reminder(self, name: str) -> None:
                raise AssertionError("not in this test")

        return Animal

    def _start(self, actor: Any) -> None:
        step = actor.event.record() if b"{broken" not in actor.event.data else Step(key="broken")
        if step.do == "on_start" and not self.mended:
            raise ValueError("on_start")

    def _mark(self, actor: Any, step: Step) -> None:
        actor.state.numbers.append(step.number)
        actor.remind(f"{step.number}", after=HOUR)

    def _function(self, name: str) -> Callable[..., Any]:
        async def animal(step: Step, ctx: Context) -> None:
            await fail(self._begin(name, step, ctx), ctx)
            self._end(name, step)

        return animal

    def _plain_function(self, name: str) -> Callable[..., Any]:
        def animal(step: Step, ctx: Context) -> None:
            fail_plainly(self._begin(name, step, ctx), ctx)
            self._end(name, step)

        return animal


async def fail(how: str, context: Any) -> None:
    match how:
        case "cancelled":
            raise asyncio.CancelledError
        case "too long":
            await asyncio.Event().wait()
        case _:
            fail_plainly(how, context)


def fail_plainly(how: str, context: Any) -> None:
    """In a thread, or at once."""
    match how:
        case "exception" | "on_start":
            raise ValueError(how)
        case "exit":
            raise SystemExit(1)
        case "cancelled":
            raise asyncio.CancelledError
        case "too long":
            time.sleep(1.5 * LIMIT)
        case "state" if isinstance(context, Actor):
            context.state.numbers = object()
        case "state" | "emit":
            context.emit(context.event._stream, "no record")
        case "reminder" if isinstance(context, Actor):
            context.remind("\ud800", after=HOUR)
        case "reminder":
            raise ValueError(how)
