"""The coordinator: which partitions this worker owns. It joins the app's workers, takes leases, and gives them back.

It tells the supervisors of processors `Own` and `Disown`. Assignments say what it should own (roster.py), acquired leases
what it does own. It is the only one that acquires and releases; the heart (heart.py) prolongs leases for it. It stands
down by its own clock before a lease can have ended in Redis.
"""

import asyncio
import logging
import os
import secrets
import socket
from collections.abc import Callable, Iterable, Sequence
from contextlib import AsyncExitStack

from attrs import define, field, frozen

from runnel.actors import Actor, ActorRef
from runnel.errors import StoreError, StoreUnavailable
from runnel.processor import Processor
from runnel.roles.committer import Fenced
from runnel.roles.control import Listener, Notice, post
from runnel.roles.heart import Beat, Heart, Load, MissedBeat
from runnel.roles.leader import Follow, Lead, LeaderMessage
from runnel.roles.lease import Lease
from runnel.roles.processor import Disown, Disowned, Halt, Own, ProcessorMessage, Ready
from runnel.roles.roster import Roster
from runnel.store import membership, scripts
from runnel.store.keys import AppKeys, PartitionKeys
from runnel.store.link import Link
from runnel.store.membership import About, Assigned, Elected, Membership
from runnel.store.scripts import Acquired, Held

log = logging.getLogger(__name__)

BEATS = 4
"""Heartbeats within a lease."""

MARGIN = 0.1
"""The share of a lease before whose end its owner stands down, by its own clock."""

RETRY = 0.2
"""Seconds until partitions are asked for again from a server that is away."""

HANDOVER = 2.0
"""Seconds within which a leaving worker should be assigned nothing any more; then it gives back what it has anyway."""


# ── messages ──


@frozen
class Leave:
    """Give back all partitions, in order, and take no more; `left` is done when that is done."""

    left: "asyncio.Future[None]"


@frozen
class _Join:
    processor: str


@frozen
class _LookAround:
    """Stand down where a lease is about to end; acquire what has become due."""


@frozen
class _Assign:
    pass


@frozen
class _Stored:
    assigned: Sequence[tuple[str, Assigned]]
    answers: Sequence[int | StoreError]


@frozen
class _HandoverFailed:
    pass


@frozen
class _Acquired:
    sent_at: float
    slots: "Sequence[Slot]"
    answers: Sequence[Acquired | Held | StoreError]


@frozen
class _Released:
    leases: Sequence[Lease]


@frozen
class _Unreachable:
    error: Exception
    slots: "Sequence[Slot]" = ()


CoordinatorMessage = (
    Ready
    | Disowned
    | Halt
    | Fenced
    | Leave
    | Notice
    | Beat
    | MissedBeat
    | _Join
    | _LookAround
    | _Assign
    | _Stored
    | _HandoverFailed
    | _Acquired
    | _Released
    | _Unreachable
)


@define(eq=False)
class Slot:
    """A partition of a processor that this worker runs: whether it is to own it, and the lease while it does."""

    processor: Processor
    keys: PartitionKeys
    supervisor: "ActorRef[ProcessorMessage]"
    wanted: bool = False
    retry_at: float = 0.0
    lease: Lease | None = None
    nonce: bytes = b""
    void: bool = False

    def call(self, worker: str) -> scripts.Call[Acquired | Held]:
        """The acquire; sent again with the same nonce until it is answered."""
        options = self.processor.options
        self.nonce = self.nonce or secrets.token_hex(8).encode()
        return scripts.acquire(
            self.keys, options.name, worker=worker, nonce=self.nonce, lease=options.lock_expiry, start=options.start
        )


@define(eq=False, kw_only=True)
class Coordinator(Actor[CoordinatorMessage]):
    """Owns the leases of this worker.

    Args:
        worker: Its id, as others see it in Redis.
        app: The app's keys.
        processors: All that this worker runs.
        link: For acquiring, releasing and assigning.
        open_link: Makes the connection on which it listens to other workers.
        heart: Beats for it.
        leader: Told whether this worker leads.
        halted: Told when a handler's failure is to stop the worker.
    """

    worker: str
    app: AppKeys
    processors: Sequence[Processor]
    link: Link
    open_link: Callable[[], Link]
    heart: Heart
    leader: "ActorRef[LeaderMessage]"
    halted: "asyncio.Future[Exception]"
    roster: Roster = field(init=False)
    lease_time: float = field(init=False)
    candidacy: bytes = field(factory=lambda: secrets.token_hex(8).encode())
    term_ends: float | None = None
    joined: list[str] = field(factory=list)
    slots: dict[tuple[str, int], Slot] = field(factory=dict)
    giving_back: list[Lease] = field(factory=list)
    leaving: "asyncio.Future[None] | None" = None
    releasing: bool = False
    acquiring: bool = False
    assigning: bool = False
    away: bool = False

    def __attrs_post_init__(self) -> None:
        self.lease_time = min(processor.options.lock_expiry for processor in self.processors)
        self.roster = Roster({each.options.name: len(each.stream.partitions) for each in self.processors})

    async def on_start(self) -> None:
        self.spawn(lambda: Listener(self.app, self.open_link(), self.ref), name="listener")
        self.heart.start(self.ref.tell_nowait)
        self.set_timer("look", _LookAround(), self.heart.interval / 2, repeat=True)

    async def receive(self, message: CoordinatorMessage) -> None:
        match message:
            case Ready(processor, supervisor):
                self._add(processor, supervisor)
            case Disowned(lease):
                self._give_back(lease)
            case Fenced(lease):
                self._lose(lease, "fenced")
            case Halt(error):
                if not self.halted.done():
                    self.halted.set_result(error)
            case Leave(left):
                self._leave(left)
            case Notice():
                self._hear(message)
            case Beat():
                self._beaten(message)
            case MissedBeat(error):
                self._unreachable(error)
            case _Join(name):
                self._join(name)
            case _LookAround():
                self._look_around()
            case _Assign():
                self._assign()
            case _Stored(assigned, answers):
                self._stored(assigned, answers)
            case _HandoverFailed():
                self._disown_all()
            case _Acquired(sent_at, slots, answers):
                self._acquired(sent_at, slots, answers)
            case _Released(leases):
                self._released(leases)
            case _Unreachable(error, slots):
                self._unreachable(error, slots)
        self._go_on()

    async def on_stop(self) -> None:
        """Give back what is still held: the processors below have stopped by now, after a failure too."""
        await self.heart.stop()
        await self._release([slot.lease for slot in self.slots.values() if slot.lease is not None])
        try:
            await self.link.call(membership.leave(self.app, self.worker, self.candidacy), timeout=2)
        except StoreError as error:
            log.warning("not left in order, others notice by themselves", extra={"error": str(error)})
        await self.link.close()

    def statistics(self) -> dict[str, object]:
        return {
            "partitions": len(self._leases()),
            "of": len(self.slots),
            "workers": len(self.roster.members),
            "leads": self.term_ends is not None,
        }

    def _leases(self) -> list[Lease]:
        return [slot.lease for slot in self.slots.values() if slot.lease is not None]

    def _go_on(self) -> None:
        self._acquire()
        self._release_some()
        if self.leaving is not None and not self.leaving.done() and not self._leases() and not self.acquiring:
            self.leaving.set_result(None)

    # ── being a member ──

    def _add(self, processor: Processor, supervisor: "ActorRef[ProcessorMessage]") -> None:
        name = processor.options.name
        if (name, 0) not in self.slots:
            for keys in processor.stream.partitions:
                self.slots[name, keys.number] = Slot(processor, keys, supervisor)
            self.set_timer(("join", name), _Join(name), processor.options.join_delay)
            return
        for slot in self._slots(name):  # the processor was restarted, and what it did last is not known: begin anew
            slot.supervisor = supervisor
            if slot.lease is not None:
                self._give_back(slot.lease)

    def _join(self, name: str) -> None:
        self.joined.append(name)
        self._reload()
        self.heart.beat_now()

    def _slots(self, name: str) -> Iterable[Slot]:
        return [slot for (processor, _), slot in self.slots.items() if processor == name]

    def _reload(self) -> None:
        """What the heart carries from now on."""
        if not self.joined:
            return
        streams = {each.options.name: each.stream.name for each in self.processors}
        about = About(
            processors={} if self.leaving else {name: streams[name] for name in self.joined},
            host=socket.gethostname(),
            pid=os.getpid(),
        )
        known = [
            (self.app.assignment(streams[name], name), self.roster.known(name).version) for name in self.roster.partitions
        ]
        beat = membership.heartbeat(
            self.app, self.worker, about, lease=self.lease_time, known=self.roster.version, assignments=known
        )
        stand = membership.elect(self.app, self.worker, self.candidacy, lease=0 if self.leaving else self.lease_time)
        self.heart.load = Load([beat, stand], [lease for lease in self._leases() if not lease.lost])

    def _beaten(self, beat: Beat) -> None:
        if not beat.load.calls:
            return
        self.away = False
        heard, elected, *_ = beat.answers
        for lease, answer in zip(beat.load.leases, beat.renewals, strict=True):
            if isinstance(answer, StoreError):
                raise answer
            if not answer:
                self._lose(lease, "fenced")
        if isinstance(heard, StoreError) or isinstance(elected, StoreError):
            log.warning("the workers' registry refuses", extra={"app": self.app.app, "error": str(heard)})
            return  # no reason to drop partitions that are held
        self._hear_of_members(heard)
        self._elected(elected, beat.sent_at)

    def _hear_of_members(self, heard: Membership) -> None:
        version = self.roster.version
        news = self.roster.hear(list(self.roster.partitions), heard, self.clock.monotonic())
        for name in news:
            self._adopt(name)
        if news or self.roster.version != version:
            log.debug("workers", extra={"version": self.roster.version, "workers": len(self.roster.members)})
            self._reload()
        if self.roster.stale() and not self.assigning:
            self.set_timer("assign", _Assign(), max(0.0, self.roster.settled_at - self.clock.monotonic()))

    def _elected(self, elected: Elected, sent_at: float) -> None:
        if elected.epoch and self.leaving is None:
            self.term_ends = sent_at + self.lease_time
            self.leader.tell_nowait(Lead(elected.epoch))
        elif self.term_ends is not None:
            self._follow()

    def _follow(self) -> None:
        self.term_ends = None
        self.leader.tell_nowait(Follow())

    def _hear(self, notice: Notice) -> None:
        if notice.kind != "released":
            self.heart.beat_now()  # it brings the assignment, or tells which leases are void
            return
        for partition in notice.partitions:
            if (slot := self.slots.get((notice.processor, partition))) is not None:
                slot.retry_at = 0.0

    # ── assigning ──

    def _assign(self) -> None:
        names = self.roster.stale()
        if self.assigning or not names:
            return
        streams = {each.options.name: each.stream.name for each in self.processors}
        calls, assigned = [], []
        for name in names:
            known, owners = self.roster.known(name), self.roster.assign(name)
            notice = b"" if owners == known.owners else Notice(kind="assigned", processor=name).to_json()
            calls.append(
                membership.assign(
                    self.app,
                    self.app.assignment(streams[name], name),
                    owners,
                    replaces=known.version,
                    membership=self.roster.version,
                    notice=notice,
                )
            )
            assigned.append((name, Assigned(version=known.version + 1, membership=self.roster.version, owners=owners)))
        self.assigning = True
        self.pipe_to_self(self.link.run(calls), lambda answers: _Stored(assigned, answers), _Unreachable)

    def _stored(self, assigned: Sequence[tuple[str, Assigned]], answers: Sequence[int | StoreError]) -> None:
        self.assigning = self.away = False
        for (name, made), answer in zip(assigned, answers, strict=True):
            if isinstance(answer, StoreError):
                log.warning("assignment refused", extra={"processor": name, "error": str(answer)})
            elif answer == made.version and made.version > self.roster.known(name).version:
                self.roster.assignments[name] = made
                self._adopt(name)
        self._reload()
        if self.roster.stale():
            self.heart.beat_now()  # another worker was first, or the membership changed meanwhile

    def _adopt(self, name: str) -> None:
        """Let go what is another's now; what is ours is acquired next."""
        for slot in self._slots(name):
            slot.wanted = self.roster.owner(name, slot.keys.number) == self.worker
            slot.retry_at = 0.0
            if slot.lease is not None and not slot.wanted:
                self._disown(slot)

    # ── taking ──

    def _acquire(self) -> None:
        if self.acquiring or self.leaving is not None:
            return
        now = self.clock.monotonic()
        slots = [slot for slot in self.slots.values() if slot.wanted and slot.lease is None and slot.retry_at <= now]
        if slots:
            self.acquiring = True
            self.pipe_to_self(
                self.link.run([slot.call(self.worker) for slot in slots]),
                lambda answers: _Acquired(now, slots, answers),
                lambda error: _Unreachable(error, slots),
            )

    def _acquired(self, sent_at: float, slots: Sequence[Slot], answers: Sequence[Acquired | Held | StoreError]) -> None:
        self.acquiring = self.away = False
        for slot, answer in zip(slots, answers, strict=True):
            match answer:
                case Acquired():
                    self._own(slot, answer, sent_at)
                case Held(owner, left):
                    slot.nonce = b""
                    slot.retry_at = self.clock.monotonic() + min(left, self.heart.interval)
                    log.debug("partition held by another worker", extra={"owner": owner, "left": left})
                case _:
                    raise answer
        self._reload()
        self._retry_later(slots)

    def _retry_later(self, slots: Iterable[Slot]) -> None:
        waiting = [slot.retry_at for slot in slots if slot.wanted and slot.lease is None]
        if waiting:
            self.set_timer("retry", _LookAround(), max(0.0, min(waiting) - self.clock.monotonic()))

    def _own(self, slot: Slot, acquired: Acquired, sent_at: float) -> None:
        lease = Lease.of(slot.processor, slot.keys, acquired, sent_at + slot.processor.options.lock_expiry)
        slot.lease, slot.nonce, slot.void = lease, b"", False
        if self.leaving is not None or not slot.wanted:
            self._give_back(lease)
        else:
            log.debug("partition acquired", extra=lease.log_fields)
            slot.supervisor.tell_nowait(Own(lease))

    # ── keeping ──

    def _look_around(self) -> None:
        now = self.clock.monotonic()
        for lease in self._leases():
            if not lease.lost and now >= lease.deadline - MARGIN * lease.processor.options.lock_expiry:
                self._lose(lease, "not renewed in time")
        if self.term_ends is not None and now >= self.term_ends - MARGIN * self.lease_time:
            self._follow()

    def _unreachable(self, error: Exception, slots: Sequence[Slot] = ()) -> None:
        if not isinstance(error, StoreUnavailable):
            raise error
        if not self.away:
            self.away = True
            log.warning("the server is away, trying again", extra={"worker": self.worker, "error": str(error)})
        if slots:
            self.acquiring = False
            for slot in slots:
                slot.retry_at = self.clock.monotonic() + RETRY
            self._retry_later(slots)
        else:
            self.assigning = False

    # ── giving back ──

    def _lose(self, lease: Lease, why: str) -> None:
        """The lease is void: stop what runs under it at once, commit nothing, and acquire anew."""
        slot = self.slots[lease.processor.options.name, lease.keys.number]
        if slot.lease is lease and not slot.void:
            log.warning("partition lost", extra={**lease.log_fields, "worker": self.worker, "reason": why})
            slot.void = lease.lost = True
            self._disown(slot)
            self._reload()

    def _disown(self, slot: Slot) -> None:
        assert slot.lease is not None
        slot.supervisor.tell_nowait(Disown(slot.lease))

    def _leave(self, left: "asyncio.Future[None]") -> None:
        self.leaving = left
        self._follow()
        self._reload()
        if any(set(self.roster.runners(name)) - {self.worker} for name in self.joined):
            self.heart.beat_now()  # those who stay are assigned what is ours, and have it as soon as we let go
            self.set_timer("handover", _HandoverFailed(), HANDOVER)
        else:
            self._disown_all()

    def _disown_all(self) -> None:
        for slot in self.slots.values():
            slot.wanted = False
            if slot.lease is not None:
                self._disown(slot)

    def _give_back(self, lease: Lease) -> None:
        slot = self.slots[lease.processor.options.name, lease.keys.number]
        if slot.lease is lease and lease not in self.giving_back:
            self.giving_back.append(lease)

    def _release_some(self) -> None:
        if self.giving_back and not self.releasing:
            self.releasing = True
            leases = list(self.giving_back)
            self.pipe_to_self(self._release(leases), lambda _: _Released(leases))

    async def _release(self, leases: Sequence[Lease]) -> None:
        async with AsyncExitStack() as stack:
            for lease in leases:  # no commit is under way any more, and none begins
                await lease.lock.writer.acquire()
                stack.callback(lease.lock.writer.release)
                lease.lost = True
            try:
                calls = [scripts.release(lease.keys, lease.processor.options.name, lease.token) for lease in leases]
                await self.link.run(calls)
            except StoreError as error:
                log.warning(
                    "partitions not released, their leases end by themselves",
                    extra={"partitions": len(leases), "error": str(error)},
                )
        if len(self.roster.members) > 1:
            await post(self.link, self.app, *_notices(leases))

    def _released(self, leases: Sequence[Lease]) -> None:
        self.releasing = False
        for lease in leases:
            self.giving_back.remove(lease)
            self.slots[lease.processor.options.name, lease.keys.number].lease = None
        self._reload()


def _notices(leases: Sequence[Lease]) -> list[Notice]:
    partitions: dict[str, list[int]] = {}
    for lease in leases:
        partitions.setdefault(lease.processor.options.name, []).append(lease.keys.number)
    return [
        Notice(kind="released", processor=name, partitions=tuple(numbers)) for name, numbers in partitions.items()
    ]
