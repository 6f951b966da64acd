"""How a partition passes over events that it does not run: those that failed for good, and those of parked keys.

Part of the partition actor, by which it is called; it runs nothing by itself. Whatever leaves the log here does so in the
commit that moves the cursor past it.
"""

import logging
from collections.abc import Awaitable, Callable

from attrs import define, field

from runnel.actors import ActorRef
from runnel.clock import Clock
from runnel.errors import StoreUnavailable
from runnel.handling.failed import kept
from runnel.handling.policy import ExceptionPolicy
from runnel.handling.retry import park_wait
from runnel.roles.committer import CommitterMessage, Settle
from runnel.roles.gate import Gate
from runnel.roles.lease import Lease
from runnel.roles.parking import CHUNK, Entry, Parking, Replay, key_of, load
from runnel.store import moves
from runnel.store.link import Link
from runnel.store.moves import Bury, Hold
from runnel.stream import TO

log = logging.getLogger(__name__)


@define(eq=False)
class Passing:
    """What becomes of events that are passed over, by the processor's policy.

    Args:
        lease: The partition's.
        committer: Commits what leaves the log.
        link: Reads what is parked.
        clock: The clock.
        gate: Whether the processor may pass over anything.
    """

    lease: Lease
    committer: "ActorRef[CommitterMessage]"
    link: Link
    clock: Clock
    gate: Gate
    behind: list[Entry] = field(factory=list)
    """Read, but not in hand: among them may be events of parked keys."""
    dropped: int = 0
    buried: int = 0
    began: float = 0.0
    """When the last replay began."""
    not_before: float = 0.0
    """When a key may run again by itself."""

    @property
    def parking(self) -> Parking:
        """What is parked."""
        return self.lease.parking

    @property
    def policy(self) -> ExceptionPolicy:
        """What becomes of events that failed for good."""
        return self.lease.processor.options.exception_policy

    @property
    def looks_around(self) -> bool:
        """Whether there may be anything parked, which operators change."""
        return self.policy in (ExceptionPolicy.DEAD_LETTER, ExceptionPolicy.PARK)

    @property
    def is_paused(self) -> bool:
        """Whether no event of the log may run for now."""
        return self.parking.is_full or self.gate.holds(self.lease)

    def statistics(self) -> dict[str, object]:
        """What the tree shows of it."""
        return {
            "dropped": self.dropped,
            "dead": self.buried,
            "parked": self.parking.events,
            "parked_keys": len(self.parking.keys),
            "paused": self.is_paused,
            "~state": self._standing,
            "~at": self.lease.next_id if self.lease.current.out and self.lease.current.left else None,
            "~counts": tuple(self.lease.position.durations.counts),
        }

    @property
    def _standing(self) -> str:
        """What the partition is at, where that is not the ordinary."""
        if self.lease.lost:
            return "fenced"
        if self.lease.position.closing:
            return "draining"
        if self.is_paused:
            return "parked" if self.parking.is_full else "paused"
        return "" if self.lease.replay is None else "replaying"

    def splits(self, events: int) -> bool:
        """Whether so many events, which have failed for good together, are tried one by one: only the culprit is to move."""
        return events > 1 and self.policy in (ExceptionPolicy.DEAD_LETTER, ExceptionPolicy.PARK)

    def failed(self, events: int, error: Exception, attempts: int) -> bool:
        """Go on behind the next events, which have failed. False when they may not be passed over yet: they stay the next."""
        position = self.lease.current
        fields = {**self.lease.log_fields, "entry": self.lease.next_id, "attempt": attempts}
        if self.policy is ExceptionPolicy.IGNORE:
            self.dropped += events
            log.warning("failed event dropped", extra={**fields, "events": events}, exc_info=error)
            self.lease.note_failure("dropped", error, attempts)
            position.done(events)
        elif self.splits(events):
            log.warning("batch failed, trying its events one by one", extra={**fields, "events": events}, exc_info=error)
            position.singly, position.out = events, 0
        elif self.lease.replay is None and self.gate.keeps(self.lease, self._key, error):
            log.info("failed event stays the next: the circuit breaker is open", extra={**fields, "error": str(error)})
            return False
        elif self.policy is ExceptionPolicy.DEAD_LETTER:
            self.buried += 1
            log.warning("failed event moved to the dead letters", extra=fields, exc_info=error)
            self.lease.note_failure("dead letter", error, attempts)
            position.leave(Bury(self._kept(error, attempts)))
        elif self.lease.replay is not None:
            log.warning("parked event failed again, its key stays parked", extra=fields, exc_info=error)
            self.lease.note_failure("parked again", error, attempts)
            self._hold(self.lease.replay, error)
        else:
            return self._park(error, attempts, fields)
        return True

    @property
    def _key(self) -> bytes:
        position = self.lease.current
        return key_of(position.entries[position.at][1])

    def _kept(self, error: Exception, attempts: int) -> list[bytes]:
        position = self.lease.current
        xid, fields = position.entries[position.at]
        return kept(xid, fields, error, attempts=attempts, now=self.clock.time(), worker=self.lease.worker)

    def _park(self, error: Exception, attempts: int, fields: dict[str, object]) -> bool:
        """Have the failed event and all later ones of its key leave the log."""
        position = self.lease.position
        if not self.room():
            log.warning("failed event cannot be parked, it stays the next", extra=fields, exc_info=error)
            return False
        log.warning("failed event parked, and its key", extra=fields, exc_info=error)
        self.lease.note_failure("parked", error, attempts)
        key = self._key
        position.leave(self.parking.park(position.entries[position.at], self._kept(error, attempts)))
        self._note(key, 0, error)
        self.behind[:0] = position.set_aside()
        return True

    def _hold(self, replay: Replay, error: Exception) -> None:
        """What is left of a replay stays parked. What is tried in vain takes a fifth of the partition's time at most."""
        replay.out = 0
        del replay.entries[replay.at :]
        self.end_replay()
        self.parking.rest(replay.key)
        self._note(replay.key, self.parking.tried(replay.key), error)
        now = self.clock.monotonic()
        self.not_before = now + 4 * (now - self.began)
        self.gate.is_idle(self.lease)

    def _note(self, key: bytes, tried: int, error: Exception | None = None) -> None:
        """Have the commit say how often a parked key was tried again, and when it is next."""
        wait = park_wait(self.lease.processor.options.park_retry, error, tried)
        self.lease.position.note(self.parking.hold(key, tried, wait, self.clock.monotonic()))

    # ── events of parked keys ──

    def take_in(self, entries: list[Entry]) -> None:
        """These were read."""
        if self.behind or self.parking.keys or self.lease.is_careful or TO in [fields[0] for _, fields in entries]:
            self.behind += entries
        else:
            self.lease.position.take_in(entries)

    def advance(self) -> bool:
        """Take in hand what lies behind, up to the next event of a parked key; park what comes first. False: none is left.

        One event, to be handed out singly, where care is taken (care.py).
        """
        position, parking = self.lease.position, self.parking
        while self.behind:
            if self.behind[0][1][0] == TO:  # it is for actors
                if position.left:
                    return False
                position.take_in([self.behind.pop(0)])
                position.skip()
                continue
            if not (count := parking.run_of(self.behind, parked=True)):
                if self.lease.is_careful:
                    count = position.singly = 1
                else:
                    count = parking.run_of(self.behind, parked=False)
                position.take_in(self.behind[:count])
                del self.behind[:count]
                return True
            if position.left or not (count := min(count, self.room())):
                return False
            for entry in self.behind[:count]:
                position.take_in([entry])
                position.leave(parking.park(entry))
            del self.behind[:count]
        return False

    def room(self) -> int:
        """How many events more may be parked. None: the partition has to pause."""
        room = max(0, self.lease.processor.options.max_parked - self.parking.events)
        if not (room or self.parking.is_full):
            self.parking.is_full = True
            log.error("partition paused: as many events are parked as may be (max_parked)", extra=self.lease.log_fields)
        return room

    # ── keys that run again ──

    async def begin_replay(self, key: bytes) -> None:
        """Take parked events of a key in hand, once it is committed what of them has run.

        That a key is tried again by itself is committed before it is: should it kill this process, the next owner waits.

        Raises:
            StoreError: The server cannot be reached, or refuses.
        """
        self.began = self.clock.monotonic()
        by_itself = key not in self.parking.released
        if by_itself:
            self._note(key, self.parking.tried(key) + 1)
        await self.settle()
        parked = self.lease.keys.parked(self.lease.processor.options.name)
        most = 1 if self.lease.is_careful else CHUNK
        self.lease.replay = replay = await load(self.link, parked, key, self.lease.position, most)
        if replay is None:
            log.info("parked key is free", extra={**self.lease.log_fields, "key": key.decode(errors="replace")})
            self.parking.free(key)
            self.wake()
        elif by_itself:
            replay.progress = Hold(key, self.parking.operated, tried=0, wait=0.0)
        else:
            self.parking.again(key, self.parking.tried(key) + 1)

    def wake(self) -> None:
        """Have a parked key run again by itself, if one is due."""
        options, now = self.lease.processor.options, self.clock.monotonic()
        if options.park_retry is not None and self.policy is ExceptionPolicy.PARK and now >= self.not_before:
            self.parking.wake(now)

    def end_replay(self) -> None:
        """Go back to the log."""
        if (replay := self.lease.replay) is not None:
            self.parking.events -= replay.told
            self.lease.replayed += replay.told - replay.passed
            self.lease.replay = None
            if replay.told:
                self.parking.again(replay.key, 0)

    def let_go(self) -> None:
        """The partition is let go. A try that is cut off before its first event was done does not count: it is due now."""
        if (replay := self.lease.replay) is not None and replay.progress is not None:
            tried = self.parking.tried(replay.key) - 1
            self.lease.position.note(self.parking.hold(replay.key, tried, 0.0, self.clock.monotonic()))

    async def look(self, quiet: Callable[[], Awaitable[None]] | None = None) -> None:
        """See whether an operator has changed what is parked; a server that is away can wait.

        Args:
            quiet: Called when so: lets nothing be under way any more.
        """
        keys, name, parking = self.lease.keys, self.lease.processor.options.name, self.parking
        try:
            operated = await self.link.command("HGET", keys.slot(name), "operated")
            if int(operated or 0) != parking.operated:
                if quiet is not None:
                    await quiet()
                await self.settle()  # or what is not committed yet would be forgotten
                moment = self.clock.monotonic()
                parking.know(await self.link.call(moves.parked(keys, name)), moment)
                if self.lease.replay is not None:
                    parking.events += self.lease.replay.told  # gone already: `end_replay` takes them off
        except StoreUnavailable as error:
            log.debug("cannot see what is parked", extra={**self.lease.log_fields, "error": str(error)})
        if parking.events < self.lease.processor.options.max_parked:
            parking.is_full = False
        self.wake()

    async def settle(self) -> None:
        """Wait until all that is done is committed, or the lease is lost."""
        await self.committer.ask(Settle(self.lease))
