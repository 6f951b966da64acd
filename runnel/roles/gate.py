"""The gate of a processor's partitions: what a circuit breaker decides, with a clock, and said in the log.

Shared by all partitions of a processor on this worker; part of none. Without a breaker it is always open to them.
"""

import logging
import math
from collections.abc import Callable
from typing import Literal

from attrs import define, field

from runnel.clock import Clock
from runnel.errors import Reject
from runnel.handling.breaker import Circuit
from runnel.handling.policy import ExceptionPolicy
from runnel.processor import Processor
from runnel.roles.lease import Lease

log = logging.getLogger(__name__)

LOOK = 1.0
"""Seconds after which a partition looks again: whether another one has found the system well, whether an operator has
changed what is parked, whether some of it is to run again by itself."""

GIVE_WAY = 0.05
"""Seconds for which the partition whose probe failed leaves the next one to others: its next event may be a bad one, and
all of them wake at the same moment."""


@define(eq=False)
class Gate:
    """Whether the partitions of a processor may run.

    Args:
        processor: Whose.
        clock: The clock.
        done: How many events its partitions did so far, all together. There may be many: it is asked for seldom.
        on_change: Called when the breaker has changed, and at each probe.
    """

    processor: Processor
    clock: Clock
    done: Callable[[], int]
    on_change: Callable[[], None] = lambda: None
    circuit: Circuit | None = field(init=False)
    prober: Lease | None = None
    last: Lease | None = None
    """Whose probe failed, until it has given way."""
    mark: int = 0
    """How many events the prober had done before its probe."""
    error: str = ""
    """What opened the breaker last."""

    def __attrs_post_init__(self) -> None:
        options = self.processor.options
        passes_over = options.exception_policy in (ExceptionPolicy.DEAD_LETTER, ExceptionPolicy.PARK)
        self.circuit = Circuit(options.breaker) if options.breaker is not None and passes_over else None

    @property
    def state(self) -> Literal["closed", "open", "half-open"]:
        """That of the breaker."""
        return "closed" if self.circuit is None else self.circuit.state

    @property
    def longest(self) -> int:
        """Seconds within which it is sure to change, or to have another probe."""
        return 60 if self.circuit is None else 60 + 2 * math.ceil(self.circuit.options.max_backoff)

    def statistics(self) -> dict[str, object]:
        """What the tree shows of it: nothing while it is closed."""
        circuit = self.circuit
        return {} if circuit is None or self.state == "closed" else {"breaker": self.state, "pauses": circuit.pauses}

    def holds(self, lease: Lease) -> bool:
        """Whether this partition is to run nothing more for now."""
        if self.prober is not None and self.prober.done > self.mark:
            self._decide(lambda circuit: circuit.look(self.done()))
        return self.state != "closed" and lease is not self.prober

    def keeps(self, lease: Lease, key: bytes, error: Exception) -> bool:
        """Whether an event of this key, which has failed for good, must stay the next one. Not what a handler rejected."""
        if isinstance(error, Reject):
            return False
        number, now = lease.keys.number, self.clock.monotonic()
        if lease is self.prober:
            self.last = lease
        self._decide(lambda circuit: circuit.has_failed(number, key, self.done(), now), error)
        return self.state != "closed"

    def keeps_on(self, lease: Lease, error: Exception) -> bool:
        """Whether an event that fails with this error now would stay the next one, since the processor pauses already.

        A parked event that runs again does not: it is held, or moved, all the same.
        """
        return lease.replay is None and self.state != "closed" and not isinstance(error, Reject)

    def wait(self, lease: Lease, *, has_events: bool) -> float:
        """Seconds for which this partition is to wait before it asks again; 0: it may run."""
        if self.circuit is None or not self.holds(lease):
            return 0.0
        now = self.clock.monotonic()
        if wait := self.circuit.wait(now) if has_events else LOOK:
            return min(LOOK, wait)
        if lease is self.last:
            self.last = None
            return GIVE_WAY
        self.prober, self.mark = lease, lease.done
        self._decide(lambda circuit: circuit.probes(lease.keys.number, self.done(), now))
        return 0.0

    def is_idle(self, lease: Lease) -> None:
        """This partition has nothing to run."""
        if lease is self.prober:
            self._decide(lambda circuit: circuit.passes_on(lease.keys.number, self.clock.monotonic()))

    def _decide(self, decide: Callable[[Circuit], None], error: Exception | None = None) -> None:
        """Have the breaker decide; say once that it opened, and once that it closed."""
        circuit = self.circuit
        if circuit is None:
            return
        was = circuit.state
        decide(circuit)
        if circuit.prober is None:
            self.prober = None
        fields: dict[str, object] = {"processor": self.processor.options.name, "pauses": circuit.pauses}
        if was == "closed" and circuit.state == "open":
            self.error = f"{type(error).__name__}: {error}".splitlines()[0]
            fields |= {"keys": len(circuit.failed), "error": self.error}
            log.error("circuit breaker open: nearly all fails, the processor pauses until an event is done", extra=fields)
        elif was != "closed" and circuit.state == "closed":
            log.warning("circuit breaker closed: the processor goes on", extra=fields)
        if was != circuit.state or circuit.prober is not None:
            self.on_change()
