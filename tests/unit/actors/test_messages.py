"""tell, ask, and the mailbox between them."""

import asyncio

import pytest
from attrs import define

from runnel.actors import Actor, ActorSystem, State
from runnel.clock import ManualClock
from runnel.errors import ActorError, ActorStopped, AskTimeout, MailboxFull
from tests.unit.actors.support import Boom, Player, Story, eventually, quiet


async def test_messages_are_handled_in_the_order_they_were_told(system: ActorSystem, story: Story) -> None:
    ref = system.spawn(lambda: Player(story))
    for n in range(300):
        await ref.tell(str(n))
    await ref.ask("last")
    assert story.lines == ["player starts", *(f"player got {n}" for n in range(300)), "player got last"]


async def test_an_ask_is_answered_with_what_receive_returns(system: ActorSystem, story: Story) -> None:
    assert await system.spawn(lambda: Player(story)).ask("hello") == "HELLO"


async def test_an_asker_gets_the_error_and_the_actor_is_restarted(system: ActorSystem, story: Story) -> None:
    ref = system.spawn(lambda: Player(story))
    with pytest.raises(Boom, match="now"):
        await ref.ask("boom now")
    assert await ref.ask("again") == "AGAIN"
    assert story.count("player starts") == 2


async def test_a_plain_class_and_a_slotted_attrs_class_both_hold_their_own_attributes(system: ActorSystem) -> None:
    class Plain(Actor[int]):
        def __init__(self) -> None:
            self.total = 0

        async def receive(self, message: int) -> int:
            self.total += message
            return self.total

    @define(eq=False)
    class Slotted(Actor[int]):
        total: int = 0

        async def receive(self, message: int) -> int:
            self.total += message
            return self.total

    assert not hasattr(Slotted(), "__dict__")
    for factory in (Plain, Slotted):
        ref = system.spawn(factory)
        await ref.tell(1)
        assert await ref.ask(2) == 3


async def test_tell_waits_for_room_and_senders_are_let_in_first_come_first_served(
    system: ActorSystem, story: Story
) -> None:
    ref = system.spawn(lambda: Player(story), mailbox=1)
    await ref.tell("wait go")
    await eventually(lambda: ref.mailbox_depth == 0)
    await ref.tell("1")
    senders = [asyncio.create_task(ref.tell(str(n))) for n in (2, 3, 4)]
    await quiet()
    assert not any(sender.done() for sender in senders)
    assert (ref.mailbox_depth, ref.mailbox_capacity) == (1, 1)
    story.gate("go").set()
    await asyncio.gather(*senders)
    await ref.ask("5")
    assert story.lines[-5:] == [f"player got {n}" for n in (1, 2, 3, 4, 5)]


async def test_a_later_sender_does_not_overtake_one_that_waits(system: ActorSystem, story: Story) -> None:
    ref = system.spawn(lambda: Player(story), mailbox=1)
    await ref.tell("wait go")
    await eventually(lambda: ref.mailbox_depth == 0)
    await ref.tell("1")
    sender = asyncio.create_task(ref.tell("2"))
    await quiet()
    story.gate("go").set()
    await eventually(lambda: story.count("player got wait go"))
    with pytest.raises(MailboxFull):  # noqa: PT012
        while True:  # as long as it finds room it gets in behind the waiting one
            ref.tell_nowait("3")
    await sender
    await ref.ask("4")
    assert story.lines.index("player got 2") < story.lines.index("player got 3")


async def test_tell_nowait_to_a_full_mailbox_raises(system: ActorSystem, story: Story) -> None:
    ref = system.spawn(lambda: Player(story), mailbox=2)
    ref.tell_nowait("1")
    ref.tell_nowait("2")
    with pytest.raises(MailboxFull, match="demo/player holds 2 messages" if ref.name == "player" else "holds 2"):
        ref.tell_nowait("3")


async def test_a_waiting_tell_that_is_cancelled_leaves_nothing_behind(system: ActorSystem, story: Story) -> None:
    ref = system.spawn(lambda: Player(story), mailbox=1)
    await ref.tell("wait go")
    await eventually(lambda: ref.mailbox_depth == 0)
    await ref.tell("1")
    sender = asyncio.create_task(ref.tell("2"))
    await quiet()
    sender.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sender
    story.gate("go").set()
    await ref.ask("3")
    assert "player got 2" not in story.lines


async def test_a_tell_cancelled_in_the_moment_it_is_let_in_leaves_nothing_behind(system: ActorSystem) -> None:
    got: list[int] = []
    release = asyncio.Event()

    class Puller(Actor[int]):
        async def run(self) -> None:
            await release.wait()
            self.next_nowait()
            sender.cancel()  # the room just made has gone to this sender, which has not run since
            await quiet()
            while (message := self.next_nowait()) is not None:
                got.append(message)

    ref = system.spawn(Puller, mailbox=1)
    await ref.tell(1)
    sender = asyncio.create_task(ref.tell(2))
    await quiet()
    release.set()
    with pytest.raises(asyncio.CancelledError):
        await sender
    await eventually(lambda: ref.is_stopped)
    assert got == []


async def test_an_actor_that_tells_itself_without_room_gets_mailbox_full(system: ActorSystem) -> None:
    class Echo(Actor[int]):
        async def receive(self, message: int) -> str:
            await self.ref.tell(1)
            try:
                await self.ref.tell(2)
            except MailboxFull:
                return "full"
            return "room"

    assert await system.spawn(Echo, mailbox=1).ask(0) == "full"


async def test_an_actor_cannot_ask_itself(system: ActorSystem) -> None:
    class Narcissus(Actor[int]):
        async def receive(self, message: int) -> str:
            with pytest.raises(ActorError, match="asks itself"):
                await self.ref.ask(1)
            return "still here"

    assert await system.spawn(Narcissus).ask(0) == "still here"


async def test_an_ask_that_is_not_answered_in_time_raises_and_its_late_answer_is_dropped(
    system: ActorSystem, story: Story, clock: ManualClock
) -> None:
    ref = system.spawn(lambda: Player(story))
    ask = asyncio.create_task(ref.ask("wait go", timeout=2))
    await quiet()
    clock.advance(1.9)
    await quiet()
    assert not ask.done()
    clock.advance(0.2)
    with pytest.raises(AskTimeout, match=r"did not answer within 2 s"):
        await ask
    story.gate("go").set()
    assert await ref.ask("next") == "NEXT"
    assert "player got wait go" in story.lines


async def test_a_question_still_queued_when_its_asker_goes_is_withdrawn(
    system: ActorSystem, story: Story, clock: ManualClock
) -> None:
    ref = system.spawn(lambda: Player(story), mailbox=3)
    await ref.tell("wait go")
    await eventually(lambda: ref.mailbox_depth == 0)
    cancelled = asyncio.create_task(ref.ask("cancelled"))
    late = asyncio.create_task(ref.ask("late", timeout=1))
    await quiet()
    assert ref.mailbox_depth == 2
    cancelled.cancel()
    clock.advance(1)
    await asyncio.wait([cancelled, late])
    assert ref.mailbox_depth == 0
    assert cancelled.cancelled()
    assert isinstance(late.exception(), AskTimeout)
    story.gate("go").set()
    await ref.ask("done")
    assert story.lines[-2:] == ["player got wait go", "player got done"]


async def test_an_ask_to_a_full_mailbox_waits_for_room_and_its_timeout_counts(
    system: ActorSystem, story: Story, clock: ManualClock
) -> None:
    ref = system.spawn(lambda: Player(story), mailbox=1)
    await ref.tell("wait go")
    await eventually(lambda: ref.mailbox_depth == 0)
    await ref.tell("1")
    late, patient = asyncio.create_task(ref.ask("late", timeout=1)), asyncio.create_task(ref.ask("patient"))
    await quiet()
    clock.advance(1)
    with pytest.raises(AskTimeout):
        await late
    story.gate("go").set()
    assert await patient == "PATIENT"
    assert "player got late" not in story.lines


async def test_what_is_told_to_a_stopped_actor_is_a_dead_letter_and_what_is_asked_raises(
    system: ActorSystem, story: Story
) -> None:
    letters: list[tuple[object, object]] = []
    unsubscribe = system.on_dead_letter(lambda letter: letters.append((letter.recipient, letter.message)))
    ref = system.spawn(lambda: Player(story))
    await ref.stop()
    await ref.tell("1")
    ref.tell_nowait("2")
    with pytest.raises(ActorStopped):
        await ref.ask("3")
    unsubscribe()
    await ref.tell("4")
    assert letters == [(ref, "1"), (ref, "2")]
    assert system.dead_letters == 3


async def test_a_dead_letter_subscriber_that_fails_hurts_nobody(system: ActorSystem, story: Story) -> None:
    def fail(letter: object) -> None:
        raise Boom

    system.on_dead_letter(fail)
    ref = system.spawn(lambda: Player(story))
    await ref.stop()
    await ref.tell("1")
    assert system.dead_letters == 1


async def test_a_busy_mailbox_lets_other_tasks_run(system: ActorSystem) -> None:
    class Treadmill(Actor[int]):
        async def receive(self, message: int) -> None:
            await self.ref.tell(message + 1)

    ref = system.spawn(Treadmill)
    await ref.tell(0)
    await quiet()  # would never come back
    assert system.snapshot().children[0].processed > 100


async def test_a_sender_that_waits_for_room_is_shown_as_blocked(system: ActorSystem, story: Story) -> None:
    target = system.spawn(lambda: Player(story), mailbox=1)
    await target.tell("wait go")
    await eventually(lambda: target.mailbox_depth == 0)

    class Pusher(Actor[str]):
        async def receive(self, message: str) -> None:
            await target.tell("1")
            await target.tell("2")

    pusher = system.spawn(Pusher)
    await pusher.tell("push")
    await quiet()
    assert [child.state for child in system.snapshot().children] == [State.RUNNING, State.BLOCKED]
    story.gate("go").set()
    await eventually(lambda: system.snapshot().children[1].state is State.IDLE)


async def test_refs_are_equal_to_themselves_only_and_know_their_place(system: ActorSystem, story: Story) -> None:
    a, b = (system.spawn(lambda: Player(story), name=name) for name in "ab")
    assert len({a, b, a}) == 2
    assert (a.name, a.path, repr(b)) == ("a", "demo/a", "<ActorRef demo/b>")


@pytest.mark.parametrize("name", ["", "a/b"])
async def test_a_name_that_would_break_paths_is_refused(system: ActorSystem, story: Story, name: str) -> None:
    with pytest.raises(ActorError, match="slash"):
        system.spawn(lambda: Player(story), name=name)


async def test_a_name_is_taken_until_its_actor_has_stopped(system: ActorSystem, story: Story) -> None:
    ref = system.spawn(lambda: Player(story), name="a")
    with pytest.raises(ActorError, match="already there"):
        system.spawn(lambda: Player(story), name="a")
    await ref.stop()
    assert await system.spawn(lambda: Player(story), name="a").ask("x") == "X"


async def test_an_actor_without_receive_says_so(system: ActorSystem) -> None:
    class Empty(Actor[int]):
        pass

    with pytest.raises(NotImplementedError, match="Empty overrides neither"):
        await system.spawn(Empty).ask(1)
