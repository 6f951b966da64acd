"""How a partition goes on whose last owners were lost: died, hung for too long, or were cut off, whichever it was.

Part of the partition actor, by which it is called; it runs nothing by itself. Nobody knows which event was out then, only what
is committed. So events are handed out singly, and each is committed before the next: if the owner is lost again, the next
event is the one that was out. When that has happened `max_crashes` times in a row, it is the suspect: it is noted in Redis,
and runs alone. If its owner is lost once more it is the culprit, and does not run again: the policy decides about it.
"""

import logging
from collections.abc import Awaitable, Callable

from attrs import define, field

from runnel.errors import StoreUnavailable, WorkerCrashed
from runnel.handling.position import before
from runnel.roles.failing import goes_on
from runnel.roles.lease import Lease
from runnel.roles.parking import key_with, load
from runnel.roles.passing import Passing
from runnel.store import moves

log = logging.getLogger(__name__)

TURN = 0.05
"""Seconds between two tries to get a turn, or to reach a server that is away."""


@define(eq=False)
class Turns:
    """Which partitions of a worker are at an event that may kill it. Only one that runs alone may be blamed for its end.

    So it waits for other first events of partitions whose owners were lost, and these for it. All other partitions go on.
    """

    alone: Lease | None = None
    others: set[Lease] = field(factory=set)

    def take(self, lease: Lease, *, alone: bool) -> bool:
        """Whether this partition may run its first event now, beside others or alone."""
        self.leave(lease)
        if self.alone is not None or (alone and self.others):
            return False
        if alone:
            self.alone = lease
        else:
            self.others.add(lease)
        return True

    def leave(self, lease: Lease) -> None:
        """Its first event is committed, or will not run here. Harmless without a turn."""
        self.others.discard(lease)
        if self.alone is lease:
            self.alone = None


@define(eq=False)
class Care:
    """What a partition does about events that may have killed its last owners.

    Args:
        passing: Passes over a culprit.
        turns: Those of the worker.
        wait: Lets seconds pass, and raises `ActorStopping` when the partition is to stop.
    """

    passing: Passing
    turns: Turns
    wait: Callable[[float], Awaitable[None]]

    @property
    def lease(self) -> Lease:
        """The partition's."""
        return self.passing.lease

    def statistics(self) -> dict[str, object]:
        """What the tree shows of it, as long as anything is suspected."""
        if not self.lease.crashes or self.lease.number:
            return {}
        return {"crashes": self.lease.crashes, "alone": self.turns.alone is self.lease}

    async def settle(self) -> None:
        """No event is out: let all that is done be committed."""
        await self.passing.settle()
        self.turns.leave(self.lease)

    async def step(self) -> None:
        """The next event is in hand: it may be handed out when all before it is committed, and it is noted if it is suspected.

        Raises:
            ActorStopping: The partition is to stop: it must not be handed out.
            StoreRefused: It cannot be noted.
        """
        lease = self.lease
        await self.settle()
        if lease.number:
            return  # events have been committed since: nothing speaks against this one
        alone = lease.crashes >= lease.processor.options.max_crashes
        while not self.turns.take(lease, alone=alone):
            await self.wait(TURN)
        if alone:
            log.warning("event runs alone: workers were lost at it", extra=self._fields)
            while not await self._noted(lease.next_xid):
                await self.wait(TURN)
        if lease.went == "idle":  # or it was lost meanwhile
            lease.went = "well"

    async def stand_aside(self, seconds: float, *, looks: bool) -> None:
        """The processor pauses: others may have a turn, or whoever is to probe may wait for it for ever.

        The suspect does not run meanwhile, so it is not to blame for what happens: it is noted again before it runs.

        Args:
            seconds: How long.
            looks: Whether to see what is parked then: it may be due, and be all that there is to probe with.
        """
        if self.turns.alone is not self.lease or await self._noted(b""):  # or the next pause tries again
            self.turns.leave(self.lease)
        await self.wait(seconds)
        if looks and self.lease.replay is None:
            await self.passing.look()

    async def _noted(self, suspect: bytes) -> bool:
        """Note the suspect, if the server can be reached. If the token is void, we are about to be told to stop."""
        lease, name = self.lease, self.lease.processor.options.name
        try:
            return await self.passing.link.call(moves.suspect(lease.keys, name, lease.token, suspect))
        except StoreUnavailable as error:
            log.debug("cannot note the suspect", extra={**lease.log_fields, "error": str(error)})
            return False

    # ── the culprit ──

    @property
    def is_ahead(self) -> bool:
        """Whether it lies in the log, where nothing is in hand yet."""
        position, culprit = self.lease.position, self.lease.culprit
        return culprit is not None and not position.left and before(position.cursor.decode(), culprit.decode())

    async def treat(self) -> WorkerCrashed | None:
        """Pass over the culprit, unless somebody has taken it away; if it was in the log, it is in hand by now.

        Returns:
            The error by which the partition fails, since its policy is not to pass over anything.
        """
        lease = self.lease
        if not await self._find():
            lease.culprit = None
            return None
        error, lease.current.out = self.verdict(), 1
        if lease.replay is None and not goes_on(self.passing.policy):
            return error
        if self.passing.failed(1, error, lease.crashes or 1):
            self.passing.end_replay()
            lease.culprit = None
        lease.current.out = 0  # if there is no room for it, for now: it stays the next one
        return None

    async def _find(self) -> bool:
        """Put the culprit in hand, if it is the next event of the log, or the first parked one of its key."""
        lease, culprit = self.lease, self.lease.culprit
        if lease.position.left:
            return lease.next_xid == culprit
        link, parked = self.passing.link, lease.keys.parked(lease.processor.options.name)
        if culprit is None or (key := await key_with(link, parked, culprit)) is None:
            return False
        self.passing.began = self.passing.clock.monotonic()
        lease.replay = await load(link, parked, key, lease.position, 1)
        if lease.replay is not None and lease.next_xid == culprit:
            return True
        self.passing.end_replay()
        return False

    def verdict(self) -> WorkerCrashed:
        """What the culprit, which is the next event, has failed with. Says so."""
        log.error("event is not run again: workers were lost at it, the last one ran it alone", extra=self._fields)
        crashes = self.lease.crashes
        lost = f"{crashes} workers in a row were lost" if crashes > 1 else "its worker was lost"
        return WorkerCrashed(f"{lost} when running it: the last one ran it alone, and crashed, hung or was cut off")

    @property
    def _fields(self) -> dict[str, object]:
        return {**self.lease.log_fields, "entry": self.lease.next_id, "crashes": self.lease.crashes}
