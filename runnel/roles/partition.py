"""The partition: a supervised mailbox actor that runs the user's function over the events of one partition.

It gets batches from the reader and says what is done to the committer. One event (or batch) is out at a time. When the
function fails, so does the actor, with `EventFailed`: its supervisor decides by the processor's policy.
"""

import logging

from attrs import define, frozen

from runnel.actors import Actor, ActorRef, ActorStopping, Directive
from runnel.errors import HandlerFailed, RecordError
from runnel.events import Events
from runnel.policy import ExceptionPolicy
from runnel.position import Position
from runnel.roles.committer import CommitterMessage, Dirty
from runnel.roles.lease import Lease
from runnel.roles.reader import Batch, Feed, ReaderMessage, Room

log = logging.getLogger(__name__)

IDLE_CALLS = 3
"""How often the function may end without having got on, before the next call waits."""


# ── messages ──


@frozen
class TimeIsUp:
    """A `take` has waited long enough for its batch to fill."""


PartitionMessage = Batch | TimeIsUp


class EventFailed(HandlerFailed):
    """The handler of an event failed."""


def directive(policy: ExceptionPolicy) -> dict[ExceptionPolicy, Directive]:
    """What supervision does about a failed event under a policy."""
    return {}


@define(eq=False)
class Partition(Actor[PartitionMessage]):
    """One partition of one processor, for one term of ownership.

    Args:
        lease: The term.
        reader: Feeds it.
        committer: Hears of what is done.
    """

    clear_mailbox_on_restart = True  # the reader goes back to the position, and reads it all again

    lease: Lease
    reader: "ActorRef[ReaderMessage]"
    committer: "ActorRef[CommitterMessage]"
    feed: Feed | None = None
    failed: bytes | None = None
    attempts: int = 0
    events: int = 0

    # ── what events need ──

    @property
    def position(self) -> Position:
        """How far it is."""
        return self.lease.position

    @property
    def attempt(self) -> int:
        """Which attempt the next event is: 1, or more if it was the next one before."""
        position = self.position
        again = position.left and position.entries[position.at][0] == self.failed
        return self.attempts + 1 if again else 1

    async def fill(self, timeout: float | None = None) -> bool:
        """Take the next batch in hand. False when time is up, or the partition is to stop."""
        assert self.feed is not None
        if not self.position.left and self.position.entries:
            self._finished_batch()
        if timeout is not None:
            self.set_timer(TimeIsUp, TimeIsUp(), timeout)
        try:
            message = await self.next()
        except ActorStopping:
            return False
        finally:
            self.cancel_timer(TimeIsUp)
        if isinstance(message, TimeIsUp):
            return False
        self.position.take_in(message.entries)
        return True

    def excuses(self, error: RecordError) -> bool:
        """Whether an event that does not decode is passed over."""
        return False
