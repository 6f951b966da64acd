"""A slot: what the coordinator notes of one partition of one processor. Plain data."""

import secrets

from attrs import define

from runnel.actors import ActorRef
from runnel.processor import Processor
from runnel.roles.lease import Lease
from runnel.roles.processor import ProcessorMessage
from runnel.store import scripts
from runnel.store.keys import PartitionKeys
from runnel.store.scripts import Acquired, Held


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

    @property
    def is_missing(self) -> bool:
        """Whether it is still to be acquired."""
        return self.wanted and self.lease is None

    def call(self, worker: str) -> scripts.Call[Acquired | Held]:
        """The acquire; sent again with the same nonce until it is answered."""
        options = self.processor.options
        self.nonce = self.nonce or secrets.token_hex(8).encode()
        return scripts.acquire(
            self.keys, options.name, worker=worker, nonce=self.nonce, lease=options.lock_expiry, start=options.start
        )
