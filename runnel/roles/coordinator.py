"""The coordinator: which partitions this worker owns. It takes leases, and gives them back.

Its child, the member, says which partitions this worker is to have. It tells the supervisors of processors `Own` and
`Disown`. It is the only one that acquires and releases; the heart (heart.py) prolongs leases for it. It stands down by its
own clock before a lease can have ended in Redis.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from contextlib import AsyncExitStack

from attrs import define, field, frozen

from runnel.actors import Actor, ActorRef, OneForOne
from runnel.errors import StoreError, StoreUnavailable
from runnel.processor import Processor
from runnel.roles.committer import Fenced
from runnel.roles.control import post, released
from runnel.roles.heart import MARGIN, Heart
from runnel.roles.lease import Lease, in_order, note
from runnel.roles.member import Freed, Join, Member, MemberMessage, Retire, Wanted
from runnel.roles.orders import LetGo
from runnel.roles.processor import CONTROL_MAILBOX, Disown, Disowned, Halt, Own, ProcessorMessage, Ready, escalate
from runnel.roles.slot import Slot, log_paused
from runnel.store.keys import AppKeys
from runnel.store.link import Link
from runnel.store.scripts import AcquireAnswer, Acquired
from runnel.telemetry.diary import Diary

log = logging.getLogger(__name__)

RETRY = 0.2
"""Seconds until partitions are asked for again from a server that is away."""


# ── messages ──


@frozen
class Leave:
    """Give back all partitions, in order, and take no more; `left` is done when that is done."""

    left: "asyncio.Future[None]"


@frozen
class _LookAround:
    """Stand down where a lease is about to end; acquire what is due."""


@frozen
class _Acquired:
    sent_at: float
    slots: Sequence[Slot]
    answers: Sequence[AcquireAnswer | StoreError]


@frozen
class _Unanswered:
    slots: Sequence[Slot]
    error: Exception


@frozen
class _Released:
    leases: Sequence[Lease]


CoordinatorMessage = (
    Ready | Wanted | Freed | LetGo | Disowned | Fenced | Halt | Leave | _LookAround | _Acquired | _Unanswered | _Released
)


@define(eq=False, kw_only=True)
class Coordinator(Actor[CoordinatorMessage]):
    """Owns the leases of this worker.

    Args:
        worker: Its id, as others see it in Redis.
        app: The app's keys.
        link: For acquiring and releasing.
        heart: Renews its leases.
        make_member: Makes the member, which is to tell this coordinator what it is to have.
        halted: Told when a handler's failure is to stop the worker.
        diary: The worker's.
    """

    worker: str
    app: AppKeys
    link: Link
    heart: Heart
    make_member: "Callable[[ActorRef[CoordinatorMessage]], Member]"
    halted: "asyncio.Future[Exception]"
    diary: Diary = field(factory=Diary)
    member: "ActorRef[MemberMessage]" = field(init=False)
    slots: dict[tuple[str, int], Slot] = field(factory=dict)
    giving_back: list[Lease] = field(factory=list)
    leaving: "asyncio.Future[None] | None" = None
    releasing: bool = False
    acquiring: bool = False
    away: bool = False

    async def on_start(self) -> None:
        strategy = OneForOne(decide=escalate)
        self.member = self.spawn(
            lambda: self.make_member(self.ref), name="member", mailbox=CONTROL_MAILBOX, supervision=strategy
        )
        self._stand_down()

    async def receive(self, message: CoordinatorMessage) -> None:
        match message:
            case Ready(processor, supervisor):
                self._add(processor, supervisor)
            case Wanted(name, partitions):
                self._want(name, partitions)
            case Freed(name, partitions):
                self._freed(name, partitions)
            case Disowned(lease):
                self._give_back(lease)
            case LetGo(lease):
                self.slots[lease.place].let_go(lease)
            case Fenced(lease):
                if self._lose(lease, "fenced: taken by another worker, reset, or the server was restarted"):
                    self.diary.counters["fenced"] += 1
            case Halt(error):
                if not self.halted.done():
                    self.halted.set_result(error)
            case Leave(left):
                self.leaving = left
                self.member.tell_nowait(Retire())
            case _LookAround():
                self._stand_down()
            case _Acquired(sent_at, slots, answers):
                self._acquired(sent_at, slots, answers)
            case _Unanswered(slots, error):
                self._unanswered(slots, error)
            case _Released(leases):
                self._released(leases)
        self._acquire()
        self._release_some()
        if self.leaving is not None and not self.leaving.done() and self._has_nothing():
            self.leaving.set_result(None)

    async def on_stop(self) -> None:
        """Give back what is still held: the processors and the heart have stopped by now, after a failure too."""
        if leases := self._leases():
            await self._release(leases, timeout=2)
        await self.link.close()

    def statistics(self) -> dict[str, object]:
        paused = sum(slot.paused is not None for slot in self.slots.values())
        return {"partitions": len(self._leases()), "of": len(self.slots), **({"paused": paused} if paused else {})}

    def _leases(self) -> list[Lease]:
        return [slot.lease for slot in self.slots.values() if slot.lease is not None]

    def _has_nothing(self) -> bool:
        return not (self.acquiring or any(slot.wanted or slot.lease is not None for slot in self.slots.values()))

    def _slots(self, name: str) -> Iterable[Slot]:
        return [slot for (processor, _), slot in self.slots.items() if processor == name]

    # ── what to have ──

    def _add(self, processor: Processor, supervisor: "ActorRef[ProcessorMessage]") -> None:
        name = processor.options.name
        if known := self._slots(name):
            for slot in known:
                slot.supervisor = supervisor
                if slot.lease is not None:  # its supervisor was restarted, and may find an old `Own` in its mailbox: begin anew
                    slot.lease.lost = True
                    supervisor.tell_nowait(Disown(slot.lease))
            return
        for keys in processor.stream.partitions:
            self.slots[name, keys.number] = Slot(processor, keys, supervisor)
        self.member.tell_nowait(Join(name, delay=processor.options.join_delay))

    def _want(self, name: str, partitions: frozenset[int]) -> None:
        for slot in self._slots(name):
            slot.wanted = slot.keys.number in partitions
            slot.retry_at = 0.0
            if slot.lease is not None and not slot.wanted:
                slot.supervisor.tell_nowait(Disown(slot.lease))

    def _freed(self, name: str, partitions: Iterable[int]) -> None:
        for partition in partitions:
            if (slot := self.slots.get((name, partition))) is not None:
                slot.retry_at, slot.freed = 0.0, True

    # ── taking ──

    def _acquire(self) -> None:
        if self.acquiring:
            return
        now = self.clock.monotonic()
        slots = [slot for slot in self.slots.values() if slot.is_missing and slot.retry_at <= now]
        if slots:
            self.acquiring = True
            self.pipe_to_self(
                self.link.run([slot.call(self.worker) for slot in slots]),
                lambda answers: _Acquired(now, slots, answers),
                lambda error: _Unanswered(slots, error),
            )

    def _acquired(self, sent_at: float, slots: Sequence[Slot], answers: Sequence[AcquireAnswer | StoreError]) -> None:
        self.acquiring = self.away = False
        refused: StoreError | None = None
        newly_paused: list[Slot] = []
        for slot, answer in zip(slots, answers, strict=True):
            match answer:
                case Acquired():
                    self._own(slot, answer, sent_at)
                case StoreError():
                    refused = answer
                case _:
                    if slot.is_refused(answer, self.clock.monotonic(), self.heart.interval):
                        newly_paused.append(slot)
        log_paused(newly_paused, self.worker)
        note(self.diary, "acquired", [slot.lease for slot in slots if slot.lease is not None])
        if refused is not None:
            raise refused
        self._renew_these()
        self._retry_later()

    def _own(self, slot: Slot, acquired: Acquired, sent_at: float) -> None:
        deadline = sent_at + slot.processor.options.lock_expiry
        lease = Lease.of(slot.processor, slot.keys, acquired, deadline, self.worker)
        lease.diary = self.diary
        if slot.wanted and self._ends(lease) <= self.clock.monotonic():
            return  # answered so late that another may have it by now: ask again, under the same nonce
        slot.own(lease)
        if slot.wanted:
            log.debug("partition acquired", extra=lease.log_fields)
            slot.supervisor.tell_nowait(Own(lease))
        else:
            self._give_back(lease)

    def _unanswered(self, slots: Sequence[Slot], error: Exception) -> None:
        if not isinstance(error, StoreUnavailable):
            raise error
        if not self.away:
            self.away = True
            log.warning("cannot acquire, trying again", extra={"worker": self.worker, "error": str(error)})
        self.acquiring = False
        for slot in slots:
            slot.retry_at = self.clock.monotonic() + RETRY
        self._retry_later()

    def _retry_later(self) -> None:
        due = [slot.retry_at for slot in self.slots.values() if slot.is_missing]
        if due:
            self.set_timer("retry", _LookAround(), max(0.0, min(due) - self.clock.monotonic()))

    # ── keeping ──

    def _renew_these(self) -> None:
        self.heart.leases = [lease for lease in self._leases() if not lease.lost]

    def _stand_down(self) -> None:
        """Give up leases that are about to end, and look again in time for the next."""
        now, pause = self.clock.monotonic(), self.heart.interval
        for lease in self._leases():
            left = self._ends(lease) - now
            if left <= 0:
                self._lose(lease, "not renewed in time")
            else:
                pause = min(pause, left)
        self.set_timer("stand down", _LookAround(), pause)

    def _ends(self, lease: Lease) -> float:
        """When to stand down: before the lease can have ended in Redis."""
        return lease.deadline - MARGIN * lease.processor.options.lock_expiry

    def _lose(self, lease: Lease, why: str) -> bool:
        """The lease is void: stop what runs under it at once, commit nothing, and acquire anew. Whether that was news."""
        slot = self.slots[lease.place]
        if slot.lease is not lease or slot.is_void or lease in self.giving_back:
            return False
        log.warning("partition lost", extra={**lease.log_fields, "reason": why})
        note(self.diary, "lost", [lease], f": {why}")
        slot.is_void = lease.lost = True
        lease.went = "lost"
        slot.supervisor.tell_nowait(Disown(lease))
        self._renew_these()
        return True

    # ── giving back ──

    def _give_back(self, lease: Lease) -> None:
        if self.slots[lease.place].lease is lease and lease not in self.giving_back:
            self.giving_back.append(lease)

    def _release_some(self) -> None:
        if self.giving_back and not self.releasing:
            self.releasing = True
            leases = list(self.giving_back)
            self.pipe_to_self(self._release(leases), lambda _: _Released(leases))

    async def _release(self, leases: Sequence[Lease], timeout: float = 5.0) -> None:
        for lease in leases:
            lease.lost = True  # no commit begins any more
        async with AsyncExitStack() as stack:
            for lease in in_order(leases):  # and none is under way
                await lease.lock.writer.acquire()
                stack.callback(lease.lock.writer.release)
            try:
                await self.link.run([lease.release() for lease in leases], timeout=timeout)
                await post(self.link, self.app, released(leases))
            except StoreError as error:
                log.warning("partitions not released, their leases end", extra={"partitions": len(leases), "error": str(error)})

    def _released(self, leases: Sequence[Lease]) -> None:
        self.releasing = False
        note(self.diary, "released", [lease for lease in leases if lease.went != "lost"])
        for lease in leases:
            self.giving_back.remove(lease)
            self.slots[lease.place].lease = None
        self._renew_these()
