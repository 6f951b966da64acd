"""The relay: brings the events that a processor emitted to the partitions that they are for.

Commits put them into outboxes, one a partition; the relay gets `Deliver` for an outbox that may hold something. It appends
them to their targets and, once that was answered, removes them. It needs no lease: scripts see to it that each event is
delivered once, in the order of its outbox, however many relays of owners old and new are at it. A relay that stops, or
dies, leaves what it has not delivered to the next owner's.
"""

import logging
from collections.abc import Sequence

from attrs import define, field, frozen

from runnel.actors import Actor
from runnel.errors import StoreError
from runnel.roles.outbox import ODD, Outbox, Step, Trouble
from runnel.store.keys import PartitionKeys
from runnel.store.link import Link
from runnel.store.outbox import LARGEST, PAGE

log = logging.getLogger(__name__)

ROUND = 4 * PAGE
"""Events that one exchange delivers, at most, of all outboxes together: the event loop is not to wait for their encoding."""

AGAIN = 1.0
"""Seconds until what was refused is tried again."""


# ── messages ──


@frozen
class Deliver:
    """This partition's outbox may hold something: it was acquired, or a commit has emitted events."""

    keys: PartitionKeys


@frozen
class _Answered:
    steps: Sequence[Step]
    answers: Sequence[object]


@frozen
class _Unanswered:
    error: Exception


@frozen
class _Again:
    pass


@frozen
class _Resume:
    pass


RelayMessage = Deliver | _Answered | _Unanswered | _Again | _Resume


@define(eq=False)
class Relay(Actor[RelayMessage]):
    """Delivers what one processor emits, from all partitions that this worker owns, or owned.

    One exchange follows the other, each for all outboxes that have something. An outbox that is done is forgotten.

    Args:
        processor: Its name.
        link: A connection of its own.
    """

    processor: str
    link: Link
    outboxes: dict[PartitionKeys, Outbox] = field(factory=dict)
    troubles: dict[bytes, Trouble] = field(factory=dict)
    travelling: bool = False
    resting: bool = False
    """Whether what was refused is to be tried again later, and not now."""
    again: bool = False
    """Whether it is to be tried again now."""
    pausing: bool = False
    failures: int = 0
    event_size: float = 0.0
    relayed: int = 0

    async def receive(self, message: RelayMessage) -> None:
        match message:
            case Deliver(keys):
                self._outbox(keys).told = True
            case _Answered(steps, answers):
                self._take(steps, answers)
            case _Unanswered(error):
                self._wait_for_server(error)
            case _Again():
                self.resting, self.again = False, True
            case _Resume():
                self.pausing = False
        self._go_on()

    async def on_stop(self) -> None:
        await self.link.close()

    def statistics(self) -> dict[str, object]:
        return {"relayed": self.relayed, "waiting": len(self.outboxes), "failing": len(self.troubles)}

    def _outbox(self, keys: PartitionKeys) -> Outbox:
        found = self.outboxes.get(keys)
        if found is None:
            found = self.outboxes[keys] = Outbox(keys, self.processor)
        return found

    def _go_on(self) -> None:
        if self.travelling or self.pausing:
            return
        if self.again:
            self.again = False
            for outbox in self.outboxes.values():
                outbox.retry()
        busy = [outbox for outbox in self.outboxes.values() if outbox.is_busy]
        if busy:
            most = self._count(len(busy))
            steps = [step for outbox in busy for step in outbox.steps(most)]
            self.travelling = True
            calls = [step.call for step in steps]
            self.pipe_to_self(self.link.run(calls), lambda answers: _Answered(steps, answers), _Unanswered)
        if self.troubles and not self.resting:
            self.resting = True
            self.set_timer("again", _Again(), AGAIN)

    def _count(self, outboxes: int) -> int:
        """How many entries each of so many outboxes may be asked for: what is in memory is bounded in bytes as well."""
        fits = LARGEST / self.event_size if self.event_size else 16  # nothing is known of their size yet
        return max(1, min(PAGE, ROUND // outboxes, int(fits)))

    def _take(self, steps: Sequence[Step], answers: Sequence[object]) -> None:
        self.travelling, self.failures = False, 0
        self.relayed += sum(step.take(answer) for step, answer in zip(steps, answers, strict=True))
        if largest := max(outbox.largest for outbox in self.outboxes.values()):
            self.event_size = max(float(largest), 0.9 * self.event_size + 0.1 * largest)
        self._tell_people()
        self.outboxes = {keys: outbox for keys, outbox in self.outboxes.items() if not outbox.is_done}

    def _tell_people(self) -> None:
        """Log, once, why events wait."""
        found: dict[bytes, Trouble] = {}
        for outbox in self.outboxes.values():
            for key, trouble in outbox.troubles.items():
                if key not in found and self.troubles.get(key) != trouble:
                    self._log(key, trouble, outbox)
                found[key] = trouble
        self.troubles = found

    def _log(self, key: bytes, trouble: Trouble, outbox: Outbox) -> None:
        source = outbox.source
        place = {"app": source.app, "stream": source.stream, "processor": self.processor, "partition": source.number}
        level = logging.ERROR if trouble.said is ODD else logging.WARNING
        log.log(level, trouble.said, extra={**place, "key": key.decode(), "error": trouble.error})

    # ── a server that is away ──

    def _wait_for_server(self, error: Exception) -> None:
        if not isinstance(error, StoreError):
            raise error
        if not self.failures:
            fields = {"processor": self.processor, "error": str(error)}
            log.warning("emitted events cannot be delivered, trying again", extra=fields)
        self.travelling, self.failures, self.pausing = False, self.failures + 1, True
        for outbox in self.outboxes.values():
            outbox.restart()
        self.set_timer("pause", _Resume(), min(0.05 * 2**self.failures, 1.0))
