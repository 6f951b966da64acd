"""A lane: what a worker has of one key while it is active, its actor above all. Plain data."""

from collections import deque
from collections.abc import Mapping
from concurrent.futures import Future
from types import MappingProxyType

from attrs import define

from runnel.entity.context import Context, Entry

NONE: Mapping[str, int] = MappingProxyType({})
"""Of the many that have no reminders."""


@define(eq=False)
class Lane:
    """Of one key.

    Attributes:
        key: Which.
        state: What the actor remembers since its last event that was done, as it is stored.
        reminders: What it is to be reminded of: name → due time in ms.
        actor: The instance; None: the next event makes one.
        at: The event that is under way: it runs, or waits to be tried again, or has failed for good.
        waiting: Events that came to their turn while another one was under way, or while the key is parked.
        holds: How many events of the key are in hand: as long as there are any, the lane stays.
        failures: How often the event under way has failed.
        thread: Done when the thread has ended in which its actor did something last.
        used: When an event came last, by the monotonic clock.
    """

    key: bytes
    state: bytes | None = None
    reminders: Mapping[str, int] = NONE
    actor: Context | None = None
    at: Entry | None = None
    waiting: deque[Entry] | None = None
    holds: int = 0
    failures: int = 0
    thread: "Future[None] | None" = None
    used: float = 0.0

    def put(self, entry: Entry) -> None:
        """An event waits, behind the others."""
        if self.waiting is None:
            self.waiting = deque()
        self.waiting.append(entry)

    @property
    def is_idle(self) -> bool:
        """Whether it has no event in hand, and its actor is not just going."""
        return not self.holds and self.at is None
