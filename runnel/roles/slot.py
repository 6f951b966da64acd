"""A slot: what the coordinator notes of one partition of one processor. Plain data."""

import logging
import secrets
from collections.abc import Sequence

from attrs import define, evolve

from runnel.actors import ActorRef
from runnel.processor import Processor
from runnel.roles.lease import Lease
from runnel.roles.processor import Disown, ProcessorMessage
from runnel.store import scripts
from runnel.store.keys import PartitionKeys
from runnel.store.scripts import AcquireAnswer, Held, Paused, Stopped

log = logging.getLogger(__name__)


def log_paused(slots: Sequence["Slot"], worker: str) -> None:
    """Say what is paused: a line for each processor and reason, however many partitions."""
    found: dict[tuple[Processor, Paused], list[int]] = {}
    for slot in slots:
        assert slot.paused is not None
        found.setdefault((slot.processor, evolve(slot.paused, since=0.0)), []).append(slot.keys.number)
    for (processor, paused), partitions in found.items():
        said = {"partitions": sorted(partitions), "worker": worker, "reason": paused.reason, "by": paused.by}
        log.warning("partitions paused: `runnel resume` lets them go on", extra={**whose(slots[0], processor), **said})


def whose(slot: "Slot", processor: Processor | None = None) -> dict[str, object]:
    """What log lines about it carry; or about a processor of the same app."""
    processor = slot.processor if processor is None else processor
    return {"app": slot.keys.app, "stream": processor.stream.name, "processor": processor.options.name}


@define(eq=False)
class Slot:
    """A partition of a processor that this worker runs: whether it is to own it, and the lease while it does."""

    processor: Processor
    keys: PartitionKeys
    supervisor: "ActorRef[ProcessorMessage]"
    wanted: bool = False
    retry_at: float = 0.0
    freed: bool = False
    """Whether its owner has let go since it was last asked for."""
    nonce: bytes = b""
    lease: Lease | None = None
    is_void: bool = False
    stopped: str = ""
    """Why nobody may own it, as far as is known."""
    paused: Paused | None = None
    """Who wants nobody to own it, as far as is known."""
    is_let_go: bool = False
    """Whether what runs was told that an operator wants it to be given back."""

    @property
    def is_missing(self) -> bool:
        """Whether it is still to be acquired."""
        return self.wanted and self.lease is None

    def is_refused(self, answer: Held | Stopped | Paused, now: float, interval: float) -> bool:
        """The answer was no: note when to ask again, and say why, once. Whether it is news that it is paused."""
        self.nonce = b""
        match answer:
            case Held(owner, left):
                interval = min(left, interval)
                log.debug("partition held by another worker", extra={**whose(self), "owner": owner, "left": left})
            case Stopped(reason) if self.stopped != reason:
                self.stopped = reason
                fields = {**whose(self), "partition": self.keys.number, "reason": reason}
                log.warning("partition quarantined: `runnel processor release` lets it go on", extra=fields)
        if not self.freed:  # its owner may have let go after this was answered, or it was resumed, and that been heard before
            self.retry_at = now + interval
        was, self.paused = self.paused, answer if isinstance(answer, Paused) else None
        return self.paused is not None and self.paused != was

    def own(self, lease: Lease) -> None:
        """It was acquired."""
        self.lease, self.nonce, self.is_void, self.is_let_go = lease, b"", False, False
        self.stopped, self.paused = "", None

    def let_go(self, lease: Lease) -> None:
        """Give the lease back in order, by order of an operator; told again, it goes on with that."""
        if self.lease is lease and not (self.is_void or self.is_let_go):
            self.is_let_go = True
            self.supervisor.tell_nowait(Disown(lease))

    def call(self, worker: str) -> scripts.Call[AcquireAnswer]:
        """The acquire; sent again with the same nonce until it is answered."""
        options = self.processor.options
        self.freed = False
        self.nonce = self.nonce or secrets.token_hex(8).encode()
        return scripts.acquire(
            self.keys, options.name, worker=worker, nonce=self.nonce, lease=options.lock_expiry, start=options.start
        )
