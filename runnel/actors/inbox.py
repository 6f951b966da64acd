"""The receiving side of an actor: its mailbox, the message in hand, and the stash.

It gets messages from refs and from the kernel and hands them to the one task that runs the actor's code. It says
nothing about what happens to the actor; it is told when to close.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Generic, Protocol, TypeVar

from runnel.actors.mailbox import Envelope, Mailbox
from runnel.clock import Clock
from runnel.errors import ActorError, ActorStopped, AskTimeout, MailboxFull

M = TypeVar("M")

# A loop over a full mailbox may never suspend by itself: after so much it lets others run.
SLICE_SECONDS = 0.005
SLICE_MESSAGES = 100


class ActorStopping(BaseException):
    """Raised by `Actor.next` when the actor is to stop: let it leave `run`.

    A signal and not an error, so like `asyncio.CancelledError` it is no `Exception`: an `except Exception` inside a
    loop must not eat it.
    """


class Sender(Protocol):
    """An actor whose code a task runs, as far as those that it sends to care."""

    path: str
    blocked: bool
    """Whether it waits for room in another's mailbox."""


Executing = Mapping[asyncio.Task[object], Sender]


def sender_of(executing: Executing) -> Sender | None:
    """The actor whose code is running right now, if any."""
    task = asyncio.current_task()
    return None if task is None else executing.get(task)


class Inbox(Generic[M]):
    """What one actor receives.

    Args:
        path: The actor's.
        capacity: Of the mailbox, and again of the stash.
        clock: For timeouts.
        executing: Which tasks run which actors' code.
        bury: Takes a told message that nobody will handle.
    """

    def __init__(
        self, path: str, capacity: int, clock: Clock, executing: Executing, bury: Callable[[object], None]
    ) -> None:
        self.path = path
        self.blocked = False
        self.closed = False
        self.processed = 0
        self.mailbox: Mailbox[M] = Mailbox(capacity)
        self._clock = clock
        self._executing = executing
        self._bury = bury
        self._current: Envelope[M] | None = None
        self._since = 0.0
        self._stash: list[Envelope[M]] = []
        self._slice_start = 0.0
        self._slice_messages = 0

    # --- for senders -----------------------------------------------------------------------------------------------

    def offer(self, message: M) -> bool:
        """Take a message if there is room; a closed inbox takes all, for the dead."""
        if self.closed:
            self._bury(message)
            return True
        return self.mailbox.offer(Envelope(message))

    def refuse(self) -> MailboxFull:
        return MailboxFull(f"the mailbox of {self.path} holds {self.mailbox.capacity} messages and has no room")

    async def wait_for_room(self, message: M) -> None:
        sender = sender_of(self._executing)
        if sender is self:
            raise self.refuse()
        if sender is None:
            return await self.mailbox.wait_for_room(Envelope(message))
        sender.blocked = True
        try:
            await self.mailbox.wait_for_room(Envelope(message))
        finally:
            sender.blocked = False

    async def ask(self, message: M, timeout: float | None) -> Any:
        if sender_of(self._executing) is self:
            raise ActorError(f"{self.path} asks itself, which would never be answered")
        if self.closed:
            raise self._stopped()
        envelope = Envelope(message, asyncio.get_running_loop().create_future())
        self.mailbox.enqueue(envelope)
        return await self._answer(envelope, timeout)

    async def _answer(self, envelope: Envelope[M], timeout: float | None) -> object:
        reply = envelope.reply
        assert reply is not None
        expired = AskTimeout(f"{self.path} did not answer within {timeout} s")
        timer = None if timeout is None else self._clock.call_later(timeout, lambda: _fail(reply, expired))
        try:
            return await reply
        except asyncio.CancelledError:
            self.mailbox.withdraw(envelope)
            if not reply.cancelled():
                # An error that came too late for the asker: asyncio would complain that nobody saw it.
                reply.exception()
            raise
        except AskTimeout:
            self.mailbox.withdraw(envelope)
            raise
        finally:
            if timer is not None:
                timer.cancel()

    def deliver(self, envelope: Envelope[M]) -> None:
        """Take what the kernel itself sends, room or not; a closed inbox drops it."""
        if not self.closed:
            self.mailbox.force(envelope)

    # --- for the actor ---------------------------------------------------------------------------------------------

    async def next(self) -> M:
        self._complete()
        await self._let_others_run()
        while (envelope := self._take()) is None:
            await self.mailbox.wait()
            self._slice_start = self._clock.monotonic()
            self._slice_messages = 0
        return envelope.message

    def next_nowait(self) -> M | None:
        self._complete()
        envelope = self._take()
        return None if envelope is None else envelope.message

    def reply(self, answer: object) -> None:
        if self._current is not None and self._current.reply is not None and not self._current.reply.done():
            self._current.reply.set_result(answer)

    def stash(self) -> None:
        if self._current is None:
            raise ActorError(f"{self.path} has no message in hand to stash")
        if len(self._stash) >= self.mailbox.capacity:
            raise MailboxFull(f"the stash of {self.path} holds {len(self._stash)} messages and has no room")
        self._stash.append(self._current)
        self._current = None

    def unstash_all(self) -> None:
        stashed, self._stash = self._stash, []
        self.mailbox.put_front(stashed)

    def _take(self) -> Envelope[M] | None:
        if self.closed:
            raise ActorStopping(self.path)
        envelope = self.mailbox.take()
        if envelope is not None:
            self._current = envelope
            self._since = self._clock.monotonic()
        return envelope

    def _complete(self) -> None:
        if self._current is not None:
            self.reply(None)
            self._current = None
            self.processed += 1

    async def _let_others_run(self) -> None:
        self._slice_messages += 1
        if self._slice_messages < SLICE_MESSAGES and self._clock.monotonic() - self._slice_start < SLICE_SECONDS:
            return
        await asyncio.sleep(0)
        self._slice_start = self._clock.monotonic()
        self._slice_messages = 0

    # --- for the cell ----------------------------------------------------------------------------------------------

    @property
    def busy(self) -> bool:
        """Whether a message is in hand."""
        return self._current is not None

    def age(self, now: float) -> float | None:
        """Seconds since the message in hand was taken."""
        return None if self._current is None else now - self._since

    def complete(self) -> None:
        """The actor's code has ended in order: so has the message in hand."""
        self._complete()

    def interrupt(self, error: Exception | None) -> None:
        """The actor's code has failed, or was interrupted (None): the message in hand is gone."""
        if self._current is not None and self._current.reply is not None:
            _fail(self._current.reply, self._stopped() if error is None else error)
        self._current = None

    def recover(self, *, clear: bool) -> None:
        """Make ready for the next incarnation: what was stashed comes first, unless all of it is dropped.

        What timers, watches and background work of the last incarnation sent is dropped in any case.
        """
        self.unstash_all()
        queued = self.mailbox.take_all()
        if clear:
            for envelope in queued:
                if envelope.reply is not None:
                    _fail(envelope.reply, self._stopped())
        else:
            self.mailbox.put_front(envelope for envelope in queued if envelope.source is None)
        self.mailbox.admit()

    def close(self) -> None:
        """Accept no more, and tell the actor so. Senders who wait for room are let go."""
        self.closed = True
        for envelope in self.mailbox.dismiss_senders():
            self._reject(envelope)
        self.mailbox.wake()

    def reject_all(self) -> None:
        """Send away all that is queued and stashed, after `close`."""
        self.unstash_all()
        for envelope in self.mailbox.take_all():
            self._reject(envelope)

    def _reject(self, envelope: Envelope[M]) -> None:
        if envelope.reply is not None:
            _fail(envelope.reply, self._stopped())
        elif envelope.source is None:
            self._bury(envelope.message)

    def _stopped(self) -> ActorStopped:
        return ActorStopped(f"{self.path} stopped before it answered")


def _fail(reply: asyncio.Future[object], error: Exception) -> None:
    if not reply.done():
        reply.set_exception(error)
