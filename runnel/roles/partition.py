"""The partition: a supervised mailbox actor that runs the user's function over the events of one partition.

It gets batches from the reader and says what is done to the committer. One event (or batch) is out at a time. When the
function fails it is called again from that event, as often as the processor's `retry` says. Then the actor fails too, with
`EventFailed`: its supervisor decides, by the processor's policy, whether it goes on (the failed event is then passed over)
or stops (it stays the next one).
"""

import logging
import random
from typing import Any

from attrs import define, field, frozen

from runnel.actors import Actor, ActorRef, ActorStopping
from runnel.errors import RecordError
from runnel.handling.alarm import Alarm, outcome
from runnel.handling.events import Events
from runnel.handling.position import Position
from runnel.handling.retry import pause
from runnel.roles.attempts import Attempts
from runnel.roles.care import Care, Turns
from runnel.roles.committer import CommitterMessage, Dirty
from runnel.roles.failing import EventFailed, failed, goes_on, tell_again, too_early
from runnel.roles.gate import LOOK, Gate
from runnel.roles.lease import Lease
from runnel.roles.passing import Passing
from runnel.roles.reader import Batch, Feed, ReaderMessage, Room, Unfeed
from runnel.store.link import Link

log = logging.getLogger(__name__)

# ── messages ──


@frozen
class TimeIsUp:
    """A `take` has waited long enough for its batch to fill, or a failed event for its next attempt."""


@frozen
class LookAround:
    """See whether an operator has changed what is parked."""


PartitionMessage = Batch | TimeIsUp | LookAround


@define(eq=False)
class Partition(Actor[PartitionMessage]):
    """One partition of one processor, for one term of ownership.

    Args:
        lease: The term.
        reader: Feeds it.
        committer: Hears of what is done.
        link: Reads what is parked.
        turns: Those of the worker's partitions at events that may kill it.
        gate: Whether the processor runs at all.
    """

    clear_mailbox_on_restart = True  # the reader goes back to the position, and reads all that again

    lease: Lease
    reader: "ActorRef[ReaderMessage]"
    committer: "ActorRef[CommitterMessage]"
    link: Link
    turns: Turns
    gate: Gate
    feed: Feed | None = None
    batches_in_hand: int = 0
    passing: Passing = field(init=False)
    care: Care = field(init=False)
    running: Position | None = None
    """What the function was called with: events of the log, or parked ones."""
    undecodable: RecordError | None = None
    failed: EventFailed | None = None
    attempts: Attempts = field(factory=Attempts)
    alarm: Alarm | None = None
    retries: int = 0

    async def on_start(self) -> None:
        self.passing = Passing(self.lease, self.committer, self.link, self.clock, self.gate)
        self.passing.end_replay()
        self.care = Care(self.passing, self.turns, self._wait)
        self.turns.leave(self.lease)
        position = self.lease.position
        position.forget()
        position.on_dirty = lambda: self.committer.tell_nowait(Dirty(self.lease))
        self.feed = Feed(lease=self.lease, partition=self.ref, after=position.cursor)
        self.reader.tell_nowait(self.feed)
        if self.lease.parking.keys or self.passing.looks_around:
            self.set_timer(LookAround, LookAround(), LOOK, repeat=True)

    async def on_stop(self) -> None:
        self.turns.leave(self.lease)
        self.passing.let_go()
        self.reader.tell_nowait(Unfeed(lease=self.lease))

    async def run(self) -> None:
        if self.failed is not None:  # supervision lets it go on after a failure
            error, self.failed = self.failed, None
            if not self._pass_over(error.events, error.reason):
                self.position.out = 0  # it stays the next one
        while not self._is_ending:
            if await self._does_else():
                continue
            position = self.running = self.position
            if self.lease.is_careful and position.left:
                await self.care.step()
            cursor = position.cursor
            try:
                await self._call_function()
            except EventFailed as error:
                await self._try_again(error)
                continue
            if self.lease.replay is not None and not self.lease.replay.left:
                self.passing.end_replay()
            if not (self._is_ending or self.position is not position or self._is_elsewhere):
                await self._called_too_early(cursor)

    async def _does_else(self) -> bool:
        """Do what comes before the next event, if anything does: have parked events run again, or wait for better times."""
        parking, key = self.lease.parking, self.lease.parking.next_key
        has_events = bool(self.lease.current.left or self.passing.behind)
        if wait := self.gate.wait(self.lease, has_events=has_events or key is not None):
            await self.care.stand_aside(wait, looks=not has_events)
            return True
        if self.lease.replay is not None:
            return False
        if self.lease.culprit and not parking.is_full:
            await self._treat_culprit()
            return True
        if key is not None and (self.gate.state == "closed" or parking.is_full or not has_events):
            await self.passing.begin_replay(key)
            return True
        if parking.is_full:
            self.gate.is_idle(self.lease)
            await self.passing.look()  # perhaps more may be parked now, or some may run again
            if parking.is_full and parking.next_key is None:
                await self._wait(LOOK)
            return True
        return False

    async def _treat_culprit(self) -> None:
        while self.care.is_ahead and not self.passing.advance():
            await self._hear(None)
        if (error := await self.care.treat()) is not None:
            self.attempts.failed(self.position)
            raise failed(self.lease, error) from error

    @property
    def _is_elsewhere(self) -> bool:
        """Whether something else comes before the next event."""
        return self.passing.is_paused or (self.lease.parking.next_key is not None and self.gate.state == "closed")

    @property
    def _is_ending(self) -> bool:
        return self.is_stopping or self.lease.position.closing

    def statistics(self) -> dict[str, object]:
        position = self.lease.position
        return {
            "done": position.count - self.lease.count_before,
            "cursor": position.cursor.decode(),
            "count": position.count,
            "buffered": position.left + len(self.passing.behind),
            "retries": self.retries,
            **self.passing.statistics(),
            **self.care.statistics(),
        }

    # ── what events need ──

    @property
    def position(self) -> Position:
        """The events in hand: of the log, or parked ones that run again."""
        return self.lease.current

    @property
    def attempt(self) -> int:
        """Which attempt the next event is: 1, or more if it was out before and was not done."""
        return self.attempts.next(self.position)

    async def fill(self, timeout: float | None = None) -> bool:
        """Take the next events in hand. False when there are none: time is up, the partition is to stop, or to do else."""
        if self.lease.replay is not None or self.running is not self.position:
            return False  # what is parked was in hand as a whole
        if self.position.is_crowded or self.lease.is_careful:
            await self.care.settle()
        until = None if timeout is None else self.clock.monotonic() + timeout
        left = self.position.left
        try:
            while not self.gate.holds(self.lease):
                if self.position.left != left or self.passing.advance():
                    if self.lease.is_careful:
                        await self.care.step()
                    return True
                if not left:
                    self.gate.is_idle(self.lease)
                if self.passing.behind or self.lease.parking.next_key is not None or not await self._hear(until):
                    break
        except ActorStopping:
            pass
        return False

    async def _hear(self, until: float | None) -> bool:
        """Take the next message, if it comes by then. False when none has."""
        self._give_room()
        message = self.next_nowait() or await self._next(until)
        match message:
            case TimeIsUp():
                return False
            case LookAround():
                await self.passing.look()
            case Batch(feed=feed) if feed is self.feed:  # or it is of an earlier incarnation, which this feed has replaced
                self._take_in(message)
        return True

    def _take_in(self, batch: Batch) -> None:
        self.batches_in_hand += 1
        self.passing.take_in(batch.entries)

    async def _next(self, until: float | None) -> PartitionMessage:
        if until is None:
            return await self.next()
        self.set_timer(TimeIsUp, TimeIsUp(), max(0.0, until - self.clock.monotonic()))
        try:
            return await self.next()
        finally:
            self.cancel_timer(TimeIsUp)

    def tries_again(self, error: Exception) -> bool:
        """Whether what is out would be tried again, at once or one by one, if it failed with this error."""
        position, retry = self.position, self.lease.processor.options.retry
        again = pause(retry, error, self.attempts.if_failed(position)) is not None
        return again or self.passing.splits(position.out) or self.gate.keeps_on(self.lease, error)

    def excuses(self, error: RecordError) -> bool:
        """Pass over an event that does not decode, if the policy lets it; if not, it has failed, whatever the function does."""
        if not goes_on(self.passing.policy):
            self.undecodable = error
            return False
        self.attempts.failed(self.position)
        if self._pass_over(1, error):
            return True
        self.undecodable = error  # there is no room for it, for now
        return False

    def _give_room(self) -> None:
        if (feed := self.feed) is not None and feed.gets_room(self.batches_in_hand):
            self.reader.tell_nowait(Room(feed=feed))
        self.batches_in_hand = 0

    # ── the function ──

    async def _call_function(self) -> None:
        processor = self.lease.processor
        events: Events[Any] = Events(
            self, processor.stream, self.lease.keys.number, processor.options.name, processor.options.middleware
        )
        self.undecodable = None
        limit = processor.interrupted_after
        alarm = self.alarm = None if limit is None else Alarm(self.clock, limit)
        failure: Exception | None = None
        try:
            failure = await outcome(processor.run(events), alarm)
        finally:
            await events.end(failure)
        if (failure := self.undecodable or failure) is not None:
            self.attempts.failed(self.position)
            raise failed(self.lease, failure) from failure

    async def _try_again(self, failed: EventFailed) -> None:
        """Wait until the failed event may be tried again.

        Raises:
            EventFailed: It is not tried again: supervision decides.
        """
        retry = self.lease.processor.options.retry
        seconds = None if self.undecodable else pause(retry, failed.reason, self.attempts.times, random.random())
        if seconds is None:
            self.failed = failed
            raise failed
        self.retries += 1
        tell_again(self.lease, failed.reason, self.attempts.tried(self.position), seconds)
        self.position.out = 0
        await self._wait(seconds)

    async def _wait(self, seconds: float) -> None:
        """Let time pass, and take in hand what comes meanwhile.

        Raises:
            ActorStopping: The partition is to stop: at once.
        """
        until = self.clock.monotonic() + seconds
        while not isinstance(message := await self._next(until), TimeIsUp):
            if isinstance(message, Batch) and message.feed is self.feed:
                self._take_in(message)

    # ── events that failed for good ──

    def _pass_over(self, events: int, error: Exception) -> bool:
        if not self.passing.failed(events, error, self.attempts.tried(self.position)):
            return False
        if self.position.singly and events > 1:
            self.attempts.singly()
        return True

    async def _called_too_early(self, cursor: bytes) -> None:
        """The function ended although there may be more: call it again, but not ever faster if it gets nowhere."""
        if self.position.cursor != cursor:
            self.attempts.times = 0
        self.attempts.failed(self.position)
        self.position.out = 0
        if seconds := too_early(self.lease, self.attempts.times):
            await self.clock.sleep(seconds)
