"""Putting messages aside."""

import asyncio

import pytest

from runnel.actors import Actor, ActorSystem
from runnel.errors import ActorError, MailboxFull
from tests.unit.actors.support import Boom, eventually


class Door(Actor[str]):
    """Puts everything aside until it is opened."""

    def __init__(self) -> None:
        self.open = False
        self.passed: list[str] = []

    async def receive(self, message: str) -> object:
        if message == "open":
            self.open = True
            self.unstash_all()
        elif message == "break":
            raise Boom
        elif message == "who":
            return list(self.passed)
        elif self.open:
            self.passed.append(message)
        else:
            self.stash()
        return message


async def test_what_was_stashed_comes_before_what_is_queued_in_its_order(system: ActorSystem) -> None:
    ref = system.spawn(Door)
    for message in ("1", "2", "open", "3"):
        await ref.tell(message)
    assert await ref.ask("who") == ["1", "2", "3"]


async def test_a_stashed_question_is_answered_when_it_is_handled(system: ActorSystem) -> None:
    ref = system.spawn(Door)
    question = asyncio.create_task(ref.ask("1"))
    assert await ref.ask("who") == []
    assert not question.done()
    await ref.tell("open")
    assert await question == "1"


async def test_a_full_stash_raises(system: ActorSystem) -> None:
    ref = system.spawn(Door, mailbox=2)
    for message in ("1", "2"):
        await ref.tell(message)
    with pytest.raises(MailboxFull, match="stash of demo/door-1 holds 2"):
        await ref.ask("3")


async def test_a_restart_brings_the_stash_back_to_the_front(system: ActorSystem) -> None:
    ref = system.spawn(Door)
    for message in ("1", "2", "break", "open", "3"):
        await ref.tell(message)
    # The fresh door is closed, so 1 and 2 are stashed again, and come first again.
    assert await ref.ask("who") == ["1", "2", "3"]


async def test_what_is_stashed_at_the_end_becomes_dead_letters(system: ActorSystem) -> None:
    ref = system.spawn(Door)
    await ref.tell("1")
    await eventually(lambda: ref.mailbox_depth == 0)
    await ref.stop()
    assert system.dead_letters == 1


async def test_a_message_cannot_be_stashed_twice(system: ActorSystem) -> None:
    class Twice(Actor[int]):
        async def receive(self, message: int) -> None:
            self.stash()
            self.stash()

    ref = system.spawn(Twice)
    await ref.tell(1)
    await eventually(lambda: system.snapshot().children[0].last_error)
    last_error = system.snapshot().children[0].last_error
    assert last_error is not None
    assert last_error.startswith(f"{ActorError.__name__}: demo/twice-1 has no message in hand")
    await ref.stop(grace=0)
