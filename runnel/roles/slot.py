"""A slot: what the coordinator notes of one partition of one processor. Plain data."""

import logging
import secrets

from attrs import define

from runnel.actors import ActorRef
from runnel.processor import Processor
from runnel.roles.lease import Lease
from runnel.roles.processor import ProcessorMessage
from runnel.store import scripts
from runnel.store.keys import PartitionKeys
from runnel.store.scripts import AcquireAnswer

log = logging.getLogger(__name__)


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

    @property
    def is_missing(self) -> bool:
        """Whether it is still to be acquired."""
        return self.wanted and self.lease is None

    def is_stopped(self, reason: str) -> None:
        """The answer was that it is quarantined: say so, once."""
        self.nonce = b""
        if self.stopped != reason:
            self.stopped = reason
            fields = {"processor": self.processor.options.name, "partition": self.keys.number, "reason": reason}
            log.warning("partition quarantined: `runnel processor release` lets it go on", extra=fields)

    def call(self, worker: str) -> scripts.Call[AcquireAnswer]:
        """The acquire; sent again with the same nonce until it is answered."""
        options = self.processor.options
        self.freed = False
        self.nonce = self.nonce or secrets.token_hex(8).encode()
        return scripts.acquire(
            self.keys, options.name, worker=worker, nonce=self.nonce, lease=options.lock_expiry, start=options.start
        )
