"""One line a failure: what the kernel logs, and when it leaves that to others."""

import logging
from typing import Any

import pytest

from runnel.actors import Actor, ActorSystem, Directive, OneForOne
from tests.support import wait_until


class Failing(Actor[str]):
    async def receive(self, message: str) -> None:
        raise ValueError(message)


class Parent(Actor[str]):
    async def on_start(self) -> None:
        strategy = OneForOne(decide=lambda _: Directive.ESCALATE)
        self.child = self.spawn(Failing, name="child", supervision=strategy)

    async def receive(self, message: str) -> None:
        await self.child.tell(message)


def lines(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str, bool]]:
    """Level, message, and whether there is a traceback, of each line about a failure."""
    return [(each.levelname, each.message, bool(each.exc_info)) for each in caplog.records if "failed" in each.message]


async def test_what_a_child_escalates_has_its_traceback_once(caplog: pytest.LogCaptureFixture) -> None:
    async with ActorSystem("demo") as system:
        parent = system.spawn(Parent, name="parent")
        await parent.tell("no")
        await wait_until(lambda: system.snapshot().children[0].restarts)
    assert lines(caplog) == [("WARNING", "actor failed", True), ("WARNING", "actor failed with its child", False)]
    assert vars(caplog.records[-1])["child"] == "demo/parent/child"


async def test_the_system_names_the_child_that_ended_it(caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        async with ActorSystem("demo") as system:
            child = system.spawn(Failing, name="child", supervision=OneForOne(decide=lambda _: Directive.ESCALATE))
            await child.tell("no")
            await system.stopped()

    with pytest.raises(ValueError, match="no"):
        await run()
    assert lines(caplog) == [("WARNING", "actor failed", True), ("ERROR", "actor system failed", False)]


async def test_what_others_tell_is_logged_at_debug(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    told: list[Any] = []

    def tells(error: Exception) -> bool:
        told.append(error)
        return "told" in str(error)

    async with ActorSystem("demo") as system:
        actor = system.spawn(Failing, supervision=OneForOne(tells=tells))
        await actor.tell("told")
        await actor.tell("not")
        await wait_until(lambda: system.snapshot().children[0].restarts == 2)
    assert lines(caplog) == [("DEBUG", "actor failed", True), ("WARNING", "actor failed", True)]
    assert len(told) == 2
