"""The coordinator: which partitions this worker owns. It takes leases, prolongs them, and gives them back.

It tells the supervisors of processors `Own` and `Disown`. It is the only one that acquires, renews and releases, and it
stands down by its own clock before a lease can have ended in Redis.
"""

import asyncio
import logging
import secrets
from collections.abc import Iterable, Sequence

from attrs import define, field, frozen

from runnel.actors import Actor, ActorRef
from runnel.errors import StoreError, StoreUnavailable
from runnel.processor import Processor
from runnel.roles.committer import Fenced
from runnel.roles.lease import Lease
from runnel.roles.processor import Disown, Disowned, Halt, Own, ProcessorMessage, Ready
from runnel.store import scripts
from runnel.store.keys import PartitionKeys
from runnel.store.link import Link
from runnel.store.scripts import Acquired, Held

log = logging.getLogger(__name__)

BEATS = 4
"""Renewals within a lease."""

MARGIN = 0.1
"""The share of a lease before whose end its owner stands down, by its own clock."""


# ── messages ──


@frozen
class Leave:
    """Give back all partitions, in order, and take no more; `left` is done when that is done."""

    left: "asyncio.Future[None]"


@frozen
class _Beat:
    pass


@frozen
class _Renewed:
    sent_at: float
    leases: Sequence[Lease]
    answers: Sequence[bool | StoreError]


@frozen
class _Acquired:
    sent_at: float
    slots: "Sequence[Slot]"
    answers: Sequence[Acquired | Held | StoreError]


@frozen
class _Released:
    slot: "Slot"


@frozen
class _Unreachable:
    error: Exception
    slots: "Sequence[Slot]" = ()


CoordinatorMessage = Ready | Disowned | Halt | Fenced | Leave | _Beat | _Renewed | _Acquired | _Released | _Unreachable


@define(eq=False)
class Slot:
    """A partition of a processor that this worker is to own, and the lease while it does."""

    processor: Processor
    keys: PartitionKeys
    supervisor: "ActorRef[ProcessorMessage]"
    retry_at: float
    lease: Lease | None = None
    nonce: bytes = b""
    busy: bool = False

    def call(self, worker: str) -> scripts.Call[Acquired | Held]:
        """The acquire; sent again with the same nonce until it is answered."""
        options = self.processor.options
        self.nonce = self.nonce or secrets.token_hex(8).encode()
        return scripts.acquire(
            self.keys, options.name, worker=worker, nonce=self.nonce, lease=options.lock_expiry, start=options.start
        )


@define(eq=False)
class Coordinator(Actor[CoordinatorMessage]):
    """Owns the leases of this worker.

    Args:
        worker: Its id, as others see it in Redis.
        link: For acquiring and releasing.
        renewals: A connection for renewals only, which nothing else may hold up.
        halted: Told when a handler's failure is to stop the worker.
    """

    worker: str
    link: Link
    renewals: Link
    halted: "asyncio.Future[Exception]"
    slots: dict[tuple[str, int], Slot] = field(factory=dict)
    leaving: "asyncio.Future[None] | None" = None
    renewing: bool = False
    acquiring: bool = False
    beating: bool = False
    away: bool = False

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
            case _Beat():
                self._beat()
            case _Renewed(sent_at, leases, answers):
                self._renewed(sent_at, leases, answers)
            case _Acquired(sent_at, slots, answers):
                self._acquired(sent_at, slots, answers)
            case _Released(slot):
                slot.lease, slot.busy = None, False
            case _Unreachable(error, slots):
                self._unreachable(error, slots)
        self._go_on()

    async def on_stop(self) -> None:
        """Give back what is still held: the processors below have stopped by now, after a failure too."""
        for slot in self.slots.values():
            if slot.lease is not None:
                await self._release(slot.lease)
        await self.link.close()
        await self.renewals.close()

    def statistics(self) -> dict[str, object]:
        return {"partitions": len(list(self._leases())), "of": len(self.slots)}

    def _leases(self) -> Iterable[Lease]:
        return [slot.lease for slot in self.slots.values() if slot.lease is not None]

    def _go_on(self) -> None:
        self._acquire()
        if self.leaving is not None and not self.leaving.done() and not any(self._leases()):
            self.leaving.set_result(None)

    # ── processors ──

    def _add(self, processor: Processor, supervisor: "ActorRef[ProcessorMessage]") -> None:
        retry_at = self.clock.monotonic() + processor.options.join_delay
        for keys in processor.stream.partitions:
            slot = self.slots.get((processor.options.name, keys.number))
            if slot is None:
                self.slots[processor.options.name, keys.number] = Slot(processor, keys, supervisor, retry_at)
                continue
            slot.supervisor = supervisor
            if slot.lease is not None:  # the processor was restarted, and what it did last is not known: begin anew
                self._give_back(slot.lease)
        if processor.options.join_delay:
            self.set_timer(("join", processor.options.name), _Beat(), processor.options.join_delay)
        if not self.beating:
            self.beating = True
            self._beat()

    # ── taking ──

    def _acquire(self) -> None:
        if self.acquiring or self.leaving is not None:
            return
        now = self.clock.monotonic()
        slots = [slot for slot in self.slots.values() if slot.lease is None and slot.retry_at <= now]
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
                    slot.retry_at = self.clock.monotonic() + min(left, slot.processor.options.lock_expiry / BEATS)
                    log.debug("partition held by another worker", extra={"owner": owner, "left": left})
                case _:
                    raise answer

    def _own(self, slot: Slot, acquired: Acquired, sent_at: float) -> None:
        lease = Lease.of(slot.processor, slot.keys, acquired, sent_at + slot.processor.options.lock_expiry)
        slot.lease, slot.nonce = lease, b""
        if self.leaving is not None:
            self._give_back(lease)
        else:
            log.debug("partition acquired", extra=lease.log_fields)
            slot.supervisor.tell_nowait(Own(lease))

    # ── keeping ──

    def _beat(self) -> None:
        """Renew, and stand down where renewals have not been answered for too long."""
        now = self.clock.monotonic()
        for lease in self._leases():
            if not lease.lost and now >= lease.deadline - MARGIN * lease.processor.options.lock_expiry:
                self._lose(lease, "not renewed in time")
        leases = [lease for lease in self._leases() if not lease.lost]
        if leases and not self.renewing:
            self.renewing = True
            self.pipe_to_self(
                self.renewals.run([self._renewal(lease) for lease in leases], timeout=self._interval()),
                lambda answers: _Renewed(now, leases, answers),
                _Unreachable,
            )
        self.set_timer("beat", _Beat(), self._interval())

    def _interval(self) -> float:
        return min(slot.processor.options.lock_expiry for slot in self.slots.values()) / BEATS

    def _renewal(self, lease: Lease) -> scripts.Call[bool]:
        options = lease.processor.options
        return scripts.renew(lease.keys, options.name, lease.token, options.lock_expiry)

    def _renewed(self, sent_at: float, leases: Sequence[Lease], answers: Sequence[bool | StoreError]) -> None:
        self.renewing = self.away = False
        for lease, answer in zip(leases, answers, strict=True):
            if isinstance(answer, StoreError):
                raise answer
            if answer:
                lease.deadline = sent_at + lease.processor.options.lock_expiry
            else:
                self._lose(lease, "fenced")

    def _unreachable(self, error: Exception, slots: Sequence[Slot]) -> None:
        if not isinstance(error, StoreUnavailable):
            raise error
        if not self.away:
            self.away = True
            log.warning("the server is away, trying again", extra={"worker": self.worker, "error": str(error)})
        if not slots:
            self.renewing = False
            return
        self.acquiring = False
        for slot in slots:
            slot.retry_at = self.clock.monotonic() + 0.2
        self.set_timer("retry", _Unreachable(error), 0.25)

    # ── giving back ──

    def _lose(self, lease: Lease, why: str) -> None:
        """The lease is void: stop what runs under it at once, commit nothing, and acquire anew."""
        slot = self.slots[lease.processor.options.name, lease.keys.number]
        if slot.lease is lease:
            log.warning("partition lost", extra={**lease.log_fields, "worker": self.worker, "reason": why})
            lease.lost = True
            slot.supervisor.tell_nowait(Disown(lease))

    def _leave(self, left: "asyncio.Future[None]") -> None:
        self.leaving = left
        for slot in self.slots.values():
            if slot.lease is not None:
                slot.supervisor.tell_nowait(Disown(slot.lease))

    def _give_back(self, lease: Lease) -> None:
        slot = self.slots[lease.processor.options.name, lease.keys.number]
        if slot.lease is lease and not slot.busy:
            slot.busy = True
            self.pipe_to_self(self._release(lease), lambda _: _Released(slot))

    async def _release(self, lease: Lease) -> None:
        async with lease.lock.writer:  # no commit is under way any more, and none begins
            lease.lost = True
            try:
                await self.link.call(scripts.release(lease.keys, lease.processor.options.name, lease.token))
            except StoreError as error:
                log.warning(
                    "partition not released, its lease ends by itself", extra={**lease.log_fields, "error": str(error)}
                )
