"""What the events that a function gets need of the partition that they come from. The partition actor is one."""

from typing import Protocol

from runnel.clock import Clock
from runnel.errors import RecordError
from runnel.handling.alarm import Alarm
from runnel.handling.position import Position


class Source(Protocol):
    """What events need of the partition that they come from."""

    @property
    def position(self) -> Position:
        """The entries in hand."""

    @property
    def attempt(self) -> int:
        """Which attempt the next event is."""

    @property
    def clock(self) -> Clock:
        """The clock."""

    @property
    def alarm(self) -> Alarm | None:
        """What interrupts the function when it takes too long; None: nothing does."""

    async def fill(self, timeout: float | None = None) -> bool:
        """Wait for more entries in hand. False when there are none: it is stopping, or time is up."""

    def tries_again(self, error: Exception) -> bool:
        """Whether what is out would be tried again, at once or one by one, if it failed with this error."""

    def excuses(self, error: RecordError) -> bool:
        """Pass over the next event, which does not decode, as the policy says. False: it is not passed over, it has failed."""
