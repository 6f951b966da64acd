"""The supervisor of a processor: reader, committer, and one partition actor for each lease it is given.

It gets `Own` and `Disown` from the coordinator, and answers `Disowned` when nothing of the partition runs any more and
all that was done is committed.
"""

import logging
from collections.abc import Callable
from typing import Any, Never

from attrs import define, field, frozen

from runnel.actors import Actor, ActorRef, Backoff, Directive, OneForOne, Strategy, Terminated
from runnel.clock import DueTimes
from runnel.errors import HandlerFailed, WorkerCrashed
from runnel.handling.durations import Durations
from runnel.handling.policy import ExceptionPolicy
from runnel.processor import Processor
from runnel.roles.care import Turns
from runnel.roles.committer import Committer, CommitterMessage, Fenced, Settle
from runnel.roles.failing import EventFailed, directive, goes_on, tells
from runnel.roles.gate import Gate
from runnel.roles.keyed import KeyedPartition
from runnel.roles.lease import ROOM, Lease
from runnel.roles.partition import Partition
from runnel.roles.reader import Reader, ReaderMessage, Unfeed
from runnel.roles.relay import Deliver, Relay
from runnel.store.keys import AppKeys
from runnel.store.link import Link
from runnel.store.moves import Stop
from runnel.telemetry.diary import Diary

log = logging.getLogger(__name__)


# ── messages ──


@frozen
class Own:
    """Run this partition from now on."""

    lease: Lease


@frozen
class Disown:
    """Let this partition go: in order, or at once if the lease is lost. Answered by `Disowned`."""

    lease: Lease


@frozen
class _Gone:
    lease: Lease


@frozen
class _Told:
    pass


ProcessorMessage = Own | Disown | Terminated | _Gone | _Told


# ── what it tells the coordinator ──


@frozen
class Ready:
    """This processor runs, and owns nothing yet. Also after a restart, which has lost what it owned."""

    processor: Processor
    ref: "ActorRef[ProcessorMessage]"


@frozen
class Disowned:
    """Nothing of this lease's partition runs here any more."""

    lease: Lease


@frozen
class Halt:
    """A handler failed for good: the worker is to stop."""

    error: Exception


MAILBOX = ROOM + 8
"""Of a partition: for the batches that its reader has room for, and for what its own timers send, which come room or not:
a reader that found their room taken would fail, and its whole processor with it."""

CONTROL_MAILBOX = 2**16
"""Room for the few messages that each partition may have under way to an actor that serves them all: these never wait
for one another, so that they cannot wait in a circle."""


def escalate(error: Exception) -> Directive:
    """Without its reader or committer a processor is nothing: it fails as a whole, and its supervisor decides."""
    return Directive.ESCALATE


@define(eq=False)
class ProcessorSupervisor(Actor[ProcessorMessage]):
    """Everything that this worker runs for one processor.

    Args:
        processor: Its declaration.
        coordinator: Who gives and takes leases.
        open_link: Makes a connection.
        turns: Those of the worker's partitions at events that may kill it.
        due_times: How far they are ahead.
        diary: The worker's.
    """

    processor: Processor
    coordinator: "ActorRef[Ready | Disowned | Halt | Fenced]"
    open_link: Callable[[], Link]
    turns: Turns
    due_times: DueTimes
    diary: Diary = field(factory=Diary)
    reader: "ActorRef[ReaderMessage] | None" = None
    committer: "ActorRef[CommitterMessage] | None" = None
    relay: "ActorRef[Deliver] | None" = None
    """Only where there are actors."""
    link: Link | None = None
    """For partitions with parked events: connected when first used."""
    gate: Gate = field(init=False)
    partitions: dict[Lease, "ActorRef[Never]"] = field(factory=dict)
    done_before: int = 0
    """Events that were done of partitions that are gone."""
    took_before: Durations = field(factory=Durations)
    """How long these took."""
    told: str = "closed"
    """What the diary says of the circuit breaker."""
    quarantined: dict[int, str] = field(factory=dict)
    """Partitions that failed for good, and why."""

    async def on_start(self) -> None:
        self.link = self.open_link()
        self.gate = Gate(self.processor, self.clock, self._done, self._tell_people)
        together = OneForOne(decide=escalate)
        self.committer = self.spawn(
            lambda: Committer(self.open_link(), self.coordinator),
            name="committer",
            mailbox=CONTROL_MAILBOX,
            supervision=together,
        )
        self.reader = self.spawn(
            lambda: Reader(self.processor.options, self.open_link(), self.open_link()),
            name="reader",
            mailbox=CONTROL_MAILBOX,
            supervision=together,
        )
        if self.processor.entity is not None:
            self.relay = self.spawn(
                lambda: Relay(self.processor.options.name, self.open_link()),
                name="relay",
                mailbox=CONTROL_MAILBOX,
                supervision=together,
            )
        self.coordinator.tell_nowait(Ready(self.processor, self.ref))

    async def receive(self, message: ProcessorMessage) -> None:
        match message:
            case Own(lease):
                self._start(lease)
            case Disown(lease):
                if lease in self.partitions:
                    self.pipe_to_self(self._let_go(lease, self.partitions[lease]), lambda _: _Gone(lease))
                else:
                    self.coordinator.tell_nowait(Disowned(lease))
            case _Gone(lease):
                if self.partitions.pop(lease, None) is not None:
                    self.done_before += lease.done
                    self.took_before.include(lease.position.durations)
                    self.coordinator.tell_nowait(Disowned(lease))
            case _Told():
                pass
            case Terminated(ref, error):
                self._ended(ref, error)

    async def on_stop(self) -> None:
        if self.link is not None:
            await self.link.close()

    def statistics(self) -> dict[str, object]:
        said = {"quarantined": dict(self.quarantined)} if self.quarantined else {}
        took = Durations()
        for each in (self.took_before, *(lease.position.durations for lease in self.partitions)):
            took.include(each)
        return {
            "stream": self.processor.stream.name,
            "partitions": len(self.partitions),
            **said,
            **self.gate.statistics(),
            "~processor": self.processor.options.name,
            "~done": self._done(),
            "~counts": tuple(took.counts),
            "~seconds": took.total,
        }

    def _done(self) -> int:
        return self.done_before + sum(lease.done for lease in self.partitions)

    def _tell_people(self) -> None:
        """Have Redis say, for `runnel status`, whether the processor pauses here. Nothing depends on it."""
        if self.gate.state != self.told:
            self.told = self.gate.state
            error = f": {self.gate.error}" if self.told != "closed" else ""
            self.diary.happened("breaker", f"{self.processor.options.name}: circuit breaker {self.told}{error}")
        if (lease := next(iter(self.partitions), None)) is None or self.link is None:
            return
        key = AppKeys(lease.keys.app).paused(self.processor.options.name, lease.worker)
        known = ("DEL", key) if self.gate.state == "closed" else ("SET", key, self.gate.error, "EX", self.gate.longest)
        self.pipe_to_self(self.link.command(*known), lambda _: _Told(), lambda _: _Told())

    def _start(self, lease: Lease) -> None:
        self.quarantined.pop(lease.keys.number, None)
        partition = self.partitions[lease] = self.spawn(
            lambda: self._partition(lease),
            name=f"{lease.keys.number}.{int(lease.token.epoch)}",
            mailbox=MAILBOX if self.relay is None else CONTROL_MAILBOX,  # any number of passivations may end at once
            supervision=supervision(self.processor.options.exception_policy),
        )
        self.watch(partition)
        log.debug("partition started", extra=lease.log_fields)

    def _partition(self, lease: Lease) -> Actor[Any]:
        reader, committer, link = self.reader, self.committer, self.link
        assert reader is not None
        assert committer is not None
        assert link is not None
        if self.relay is None:
            return Partition(lease, reader, committer, link, self.turns, self.gate)
        return KeyedPartition(
            lease, reader, committer, self.relay, link, self.turns, self.gate, self.due_times, self._share
        )

    def _share(self) -> int:
        """How many actors each partition may keep active."""
        entity = self.processor.entity
        assert entity is not None
        return max(1, entity.options.max_active // max(1, len(self.partitions)))

    async def _let_go(self, lease: Lease, partition: "ActorRef[Never]") -> None:
        """Stop feeding, finish what runs, commit. A lease that is lost has nothing to finish."""
        assert self.reader is not None
        assert self.committer is not None
        self.reader.tell_nowait(Unfeed(lease=lease))
        lease.close()
        await partition.stop(grace=0 if lease.lost else self.processor.options.grace_period)
        if not lease.lost:
            await self.committer.ask(Settle(lease))
        log.debug("partition stopped", extra=lease.log_fields)

    async def _quarantine(self, lease: Lease, error: EventFailed) -> None:
        """Stop the partition for good, whoever owns it next, in the commit of what was done before it failed."""
        assert self.committer is not None
        log.error("partition quarantined", extra=_fields(lease, error), exc_info=error.__cause__)
        self.quarantined[lease.keys.number] = str(error)
        self.diary.happened("quarantine", str(error))
        lease.position.note(Stop(str(error)))
        await self.committer.ask(Settle(lease))

    def _ended(self, ref: "ActorRef[Never]", error: Exception | None) -> None:
        lease = next((lease for lease, partition in self.partitions.items() if partition is ref), None)
        if error is None and lease is not None and not (lease.position.closing or lease.lost):
            # Something cancelled its task, and nobody asked for it: it is taken anew, or nothing would run it ever again.
            log.warning("partition ended without being told to, it begins anew", extra=lease.log_fields)
            self.pipe_to_self(self._let_go(lease, self.partitions[lease]), lambda _: _Gone(lease))
        if not isinstance(error, EventFailed):
            return
        fate = "left for the next owner" if goes_on(self.processor.options.exception_policy) else "holds up its partition"
        if lease is not None and lease.current.left:
            lease.note_failure(fate, error.reason, 0)
        policy = self.processor.options.exception_policy
        if goes_on(policy):  # it was told to stop just then: the event stays the next one, whoever owns that next
            log.info("event failed while its partition was let go", extra=_fields(lease, error), exc_info=error.__cause__)
        elif policy is ExceptionPolicy.QUARANTINE or isinstance(error.__cause__, WorkerCrashed):
            # Under HALT too: the worker would stop, and the next one, and the next, for an event that nobody runs any more.
            if lease is not None:
                self.pipe_to_self(self._quarantine(lease, error), lambda _: _Gone(lease))
        else:
            log.error("event failed, the worker stops", extra=_fields(lease, error), exc_info=error.__cause__)
            halted = HandlerFailed(str(error))
            halted.__cause__ = error.__cause__
            self.coordinator.tell_nowait(Halt(halted))


def _fields(lease: Lease | None, error: EventFailed) -> dict[str, object]:
    """What the log says of an event that failed."""
    return {**({} if lease is None else lease.log_fields), "entry": error.entry, "error": str(error)}


def supervision(policy: ExceptionPolicy) -> Strategy:
    """Of one partition, by itself: others of its processor are none the worse for it.

    What fails outside of an event, such as a database that the function opens before its loop, or a sink of dead letters
    that is full, is tried again until it works: with this backoff the intensity is never reached.
    """
    return OneForOne(
        intensity=100, period=60, backoff=Backoff(0.1, max=5), decide=lambda error: directive(policy, error), tells=tells
    )
