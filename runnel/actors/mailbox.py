"""A bounded queue with one reader: plain data and futures; it knows neither actors nor time.

A message goes in by `offer` (there is room), by `wait_for_room` (first come, first served), or by `force`, for what the
kernel itself sends and may not refuse. Room that appears is given to the longest waiting sender at once, so nobody
overtakes.
"""

import asyncio
from collections import deque
from collections.abc import Iterable
from typing import Generic, Protocol, TypeVar

from attrs import define

M = TypeVar("M")


class Source(Protocol):
    """Where a message of the kernel's own comes from: it can be called off while its message is queued."""

    @property
    def live(self) -> bool:
        """Whether its message may still be delivered."""

    def delivered(self) -> None:
        """Its message has been taken out, to be handled."""


@define(eq=False)
class Envelope(Generic[M]):
    """A message on its way."""

    message: M
    reply: asyncio.Future[object] | None = None
    """Who asked waits here; done when it is answered, or when the asker has gone."""
    source: Source | None = None

    @property
    def wanted(self) -> bool:
        """Whether anyone still cares: its asker has not gone, and its source was not called off."""
        if self.reply is not None and self.reply.done():
            return False
        return self.source is None or self.source.live


class Mailbox(Generic[M]):
    """The messages that an actor has not taken yet.

    Args:
        capacity: How many messages may be queued before senders have to wait.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._queue: deque[Envelope[M]] = deque()
        self._senders: deque[tuple[Envelope[M], asyncio.Future[None] | None]] = deque()
        self._reader: asyncio.Future[None] | None = None

    def __len__(self) -> int:
        return len(self._queue)

    @property
    def awaited(self) -> bool:
        """Whether the reader is waiting for a message."""
        return self._reader is not None

    def offer(self, envelope: Envelope[M]) -> bool:
        """Queue it if there is room. Waiting senders imply that there is none."""
        if len(self._queue) >= self.capacity:
            return False
        self.force(envelope)
        return True

    def force(self, envelope: Envelope[M]) -> None:
        """Queue it, room or not."""
        self._queue.append(envelope)
        self.wake()

    async def wait_for_room(self, envelope: Envelope[M]) -> None:
        """Queue it when its turn comes. Cancelled while it waits, or before it is read, it leaves nothing behind."""
        admitted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._senders.append((envelope, admitted))
        try:
            await admitted
        except asyncio.CancelledError:
            # Room may have been given to it between the cancelling and this line: look in the queue as well.
            self.withdraw(envelope)
            raise

    def enqueue(self, envelope: Envelope[M]) -> None:
        """Queue it now, or in its turn, without waiting: for an ask, which waits for its answer anyway."""
        if not self.offer(envelope):
            self._senders.append((envelope, None))

    def withdraw(self, envelope: Envelope[M]) -> None:
        """Take a message back, if it has not been read. Senders behind it move up."""
        self._senders = deque(sender for sender in self._senders if sender[0] is not envelope)
        if envelope in self._queue:
            self._queue.remove(envelope)
            self.admit()

    def take(self) -> Envelope[M] | None:
        """The next message that is still wanted, or None."""
        while self._queue:
            envelope = self._queue.popleft()
            if self._senders:
                self.admit()
            if envelope.reply is None and envelope.source is None:
                return envelope
            if envelope.wanted:
                if envelope.source is not None:
                    envelope.source.delivered()
                return envelope
        return None

    async def wait(self) -> None:
        """Wait until there may be a message, or `wake`. For the one reader only."""
        if self._reader is not None:
            raise RuntimeError("only the actor itself, and one task of it, may wait for its messages")
        if self._queue:
            return
        self._reader = asyncio.get_running_loop().create_future()
        try:
            await self._reader
        finally:
            self._reader = None

    def wake(self) -> None:
        """Let the reader look around."""
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    def put_front(self, envelopes: Iterable[Envelope[M]]) -> None:
        """Queue them before all others, in their order, room or not."""
        self._queue.extendleft(reversed(list(envelopes)))
        self.wake()

    def take_all(self) -> list[Envelope[M]]:
        """Take out everything that is queued. Waiting senders move up only in `admit`, so that some may be put back."""
        envelopes = list(self._queue)
        self._queue.clear()
        return envelopes

    def dismiss_senders(self) -> list[Envelope[M]]:
        """Let waiting senders go, and return what they wanted to send."""
        dismissed = [envelope for envelope, _ in self._senders]
        for _, admitted in self._senders:
            if admitted is not None and not admitted.done():
                admitted.set_result(None)
        self._senders.clear()
        return dismissed

    def admit(self) -> None:
        """Let waiting senders in as far as there is room."""
        while self._senders and len(self._queue) < self.capacity:
            envelope, admitted = self._senders.popleft()
            if admitted is not None and admitted.done():
                continue  # cancelled a moment ago, its task has not run yet
            if admitted is not None:
                admitted.set_result(None)
            elif not envelope.wanted:
                continue
            self._queue.append(envelope)
            self.wake()
