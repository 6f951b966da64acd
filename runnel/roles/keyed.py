"""The partition of a processor with actors: a supervised mailbox actor that has each key's actor handle its events, in order.

It gets batches from the reader, takes them in hand (admission.py) and puts them before its runners (runners.py); what is done
goes to the committer, with all that it did. It looks after what is not the ordinary: events that may kill the worker, keys that
run again, operators, a processor that pauses. Then its runners rest (not beside a key that runs again), and it handles singly.
"""

from collections.abc import Callable, Coroutine
from typing import Any

from attrs import define, field, frozen

from runnel.actors import Actor, ActorRef, ActorSnapshot, ActorStopping
from runnel.clock import DueTimes
from runnel.entity.context import Place
from runnel.entity.declaration import Entity
from runnel.entity.performing import Performer
from runnel.handling.calling import whole
from runnel.handling.window import Window
from runnel.roles.admission import Admission
from runnel.roles.care import Care, Turns
from runnel.roles.committer import CommitterMessage, Dirty
from runnel.roles.gate import LOOK, Gate
from runnel.roles.head import Head
from runnel.roles.lanes import Lanes
from runnel.roles.lease import Lease
from runnel.roles.passing import Passing
from runnel.roles.passivation import Passivation, pace
from runnel.roles.reader import Batch, Feed, ReaderMessage, Room, Unfeed
from runnel.roles.relay import Deliver
from runnel.roles.residents import busiest, counts
from runnel.roles.runners import Runners
from runnel.roles.solo import Solo
from runnel.store.keys import AppKeys
from runnel.store.link import Link

# ── messages ──


@frozen
class TimeIsUp:
    """A pause is over."""


@frozen
class LookAround:
    """See whether an operator has changed what is parked."""


@frozen
class LookUp:
    """Its runners have come to where there may be something else to do."""


@frozen
class Sweep:
    """See which actors have been idle for long."""


@frozen
class _Ended:
    then: Callable[[], None]


KeyedMessage = Batch | TimeIsUp | LookAround | LookUp | Sweep | _Ended


@define(eq=False)
class KeyedPartition(Actor[KeyedMessage]):
    """One partition of a processor with actors, for one term of ownership.

    Args:
        lease: The term.
        reader: Feeds it.
        committer: Hears of what is done.
        relay: Hears of what was emitted.
        link: Reads states, and what is parked.
        turns: Those of the worker's partitions at events that may kill it.
        gate: Whether the processor runs at all.
        due_times: How far they are ahead.
        share: How many actors this partition may keep active now.
    """

    clear_mailbox_on_restart = True  # the reader goes back to the position, and reads all that again

    lease: Lease
    reader: "ActorRef[ReaderMessage]"
    committer: "ActorRef[CommitterMessage]"
    relay: "ActorRef[Deliver]"
    link: Link
    turns: Turns
    gate: Gate
    due_times: DueTimes
    share: Callable[[], int]
    feed: Feed | None = None
    window: Window = field(init=False)
    lanes: Lanes = field(init=False)
    admission: Admission = field(init=False)
    passing: Passing = field(init=False)
    care: Care = field(init=False)
    head: Head = field(init=False)
    performer: Performer = field(init=False)
    runners: Runners = field(init=False)
    solo: Solo = field(init=False)
    passivation: Passivation = field(init=False)
    is_called: bool = False  # by its runners, and it has not come yet

    def _put_together(self) -> None:
        lease, entity, options = self.lease, self._entity, self.lease.processor.options
        assert isinstance(lease.position, Window)
        window = self.window = lease.position
        lanes = self.lanes = Lanes(lease.parking)
        self.admission = Admission(lease, window, lanes, entity, self.link, self.clock)
        self.passing = Passing(lease, self.committer, self.link, self.clock, self.gate)
        self.care = Care(self.passing, self.turns, self._wait)
        self.head = Head(lease, window, lanes, self.passing)
        place = Place(lease.processor.stream, lease.keys.number, options.name)
        self.performer = Performer(entity, place, window, self.clock, self.due_times, lease.server_ahead)
        self.passivation = Passivation(lanes, self.performer, self.clock, self.share, self._begin)
        self.runners = Runners(lease, window, lanes, self.performer, self.head, self.gate, self.clock, self._begin, self._call)
        parts = self.admission, self.passing, self.care, self.head, self.runners
        self.solo = Solo(lease, window, lanes, *parts, self._wait, self._more)

    async def on_start(self) -> None:
        self._put_together()
        lease, window = self.lease, self.window
        self.passing.end_replay()
        self.turns.leave(lease)
        window.forget()
        await self._begin_term()
        window.on_dirty = lambda: self.committer.tell_nowait(Dirty(lease))
        window.on_awaited = lambda: self.committer.tell_nowait(Dirty(lease, is_awaited=True))
        window.on_taken, window.on_emitted = self._taken, lambda: self.relay.tell_nowait(Deliver(lease.keys))
        self.feed = Feed(lease=lease, partition=self.ref, after=window.cursor)
        self.reader.tell_nowait(self.feed)
        if lease.parking.keys or self.passing.looks_around:
            self.set_timer(LookAround, LookAround(), LOOK, repeat=True)
        self.set_timer(Sweep, Sweep(), pace(self._entity.options.idle_timeout), repeat=True)

    async def _begin_term(self) -> None:
        """Learn what earlier owners have done above the cursor, and see to it that reminders and emitted events go on."""
        keys, processor = self.lease.keys, self.lease.processor
        self.performer.server_ahead = self.lease.compare_clocks(self.clock.monotonic(), await self.link.command("TIME"))
        if not self.window.knows_marks:
            self.window.load_marks(await self.link.command("SMEMBERS", keys.done(processor.options.name)))
        if self._entity.on_reminder is not None:
            partitions = processor.stream.partition_count
            await self.link.command("HSET", AppKeys(keys.app).delaying, keys.stream, partitions)
        self.relay.tell_nowait(Deliver(keys))

    async def on_stop(self) -> None:
        self.turns.leave(self.lease)
        self.runners.end()
        self.passing.let_go()
        self.reader.tell_nowait(Unfeed(lease=self.lease))
        await self.passivation.passivate_all()

    async def run(self) -> None:
        try:
            while not self._is_ending:
                await self._go_on()
        except ActorStopping:
            pass
        except Exception:
            await self.runners.quiet(self.lease.processor.options.grace_period)  # a thread would not be interrupted
            raise
        await self.runners.quiet()

    async def _go_on(self) -> None:
        if self.head.failure is not None:
            raise self.head.failure
        if await self._does_else():
            return
        if self.lease.is_careful:
            return await self.solo.run_carefully()
        self.runners.go_on()
        await self._admit()
        if not self.window.left:
            self.gate.is_idle(self.lease)
        if not self._is_wanted:
            await self._hear()

    def statistics(self) -> dict[str, object]:
        window = self.window
        return {
            "done": self.lease.done,
            "cursor": window.cursor.decode(),
            "count": window.count,
            **counts(window, self.lanes, self.runners, self.passivation),
            **self.passing.statistics(),
            **self.care.statistics(),
        }

    def residents(self) -> list[ActorSnapshot]:
        return busiest(self.ref.path, self.lease.processor.options.name, self.lanes, self.runners)

    @property
    def _entity(self) -> Entity:
        entity = self.lease.processor.entity
        assert entity is not None
        return entity

    @property
    def _is_ending(self) -> bool:
        return self.is_stopping or self.lease.position.closing

    # ── messages ──

    async def _hear(self) -> None:
        """Take up the next message, however long it takes to come.

        Raises:
            ActorStopping: The partition is to stop.
        """
        await self._take_up(await self.next())

    async def _more(self) -> None:
        """Wait for more events in hand."""
        if not await self._admit():
            self.gate.is_idle(self.lease)
            await self._hear()

    async def _take_up(self, message: KeyedMessage) -> None:
        match message:
            case Batch(feed=feed):
                if feed is self.feed:  # or it is of an earlier incarnation, which this feed has replaced
                    self.admission.batches.append(message)
            case LookAround():
                await self.passing.look(self.runners.quiet)
                self.lanes.free_all()
                self.head.attend()
            case LookUp():
                self.is_called = False
            case Sweep():
                self.passivation.sweep()
            case _Ended(then):
                then()
                self.runners.wake()

    async def _wait(self, seconds: float) -> None:
        """Let time pass, and take up what comes meanwhile.

        Raises:
            ActorStopping: The partition is to stop: at once.
        """
        self.set_timer(TimeIsUp, TimeIsUp(), seconds)
        while not isinstance(message := await self.next(), TimeIsUp):
            await self._take_up(message)

    # ── its runners ──

    def _begin(self, work: Coroutine[Any, Any, None], then: Callable[[], None] = lambda: None) -> None:
        self.pipe_to_self(whole(work), lambda _: _Ended(then))

    def _call(self) -> None:
        """Its runners have come to where they can be left alone."""
        if self._is_wanted and not self.is_called:
            self.is_called = True
            self.ref.tell_nowait(LookUp())

    @property
    def _is_wanted(self) -> bool:
        """Whether there is anything for it to do."""
        return (
            self.head.failure is not None
            or self.admission.has_room
            or self.lanes.parking.is_full
            or (self.gate.state != "closed" and self.gate.holds(self.lease))
        )

    def _taken(self) -> None:
        """A commit has taken up what was done: there is room for more."""
        if self.lanes.failed or self.lanes.parking.keys:
            self.runners.attend()
        self.runners.wake()

    async def _admit(self) -> bool:
        """Take in hand what was read, as far as there is room. Whether there was anything."""
        admitted = False
        while self.admission.has_room:
            await self.admission.admit()
            admitted = True
            if self.lanes.parking.keys:
                self.head.attend()
            if self.feed is not None and self.feed.gets_room(1):
                self.reader.tell_nowait(Room(feed=self.feed))
            self.runners.wake()
        if admitted:
            self.passivation.make_room()
        return admitted

    # ── what is not the ordinary ──

    async def _does_else(self) -> bool:
        """Do what comes before the next event, if anything does: have parked events run again, or wait for better times."""
        parking, key = self.lease.parking, self.lease.parking.next_key
        has_events = bool(self.window.left or self.admission.batches)
        if wait := self.gate.wait(self.lease, has_events=has_events or key is not None):
            await self.care.stand_aside(wait, looks=not has_events)
        elif self.lease.culprit and not parking.is_full:
            await self.runners.quiet()
            await self.solo.treat_culprit()
        elif key is not None and (self.gate.state == "closed" or parking.is_full or not has_events):
            await self.runners.quiet()
            await self.solo.replay(key)
            await self._admit()
        elif parking.is_full:
            await self._wait_for_room()
        else:
            return False
        return True

    async def _wait_for_room(self) -> None:
        self.gate.is_idle(self.lease)
        await self.runners.quiet()
        await self.passing.look()  # perhaps more may be parked now, or some may run again
        if self.lease.parking.is_full and self.lease.parking.next_key is None:
            await self._wait(LOOK)
        self.head.attend()
