"""A lane: what a worker has of one key while it is active, its actor above all. Plain data."""

from collections import deque

from attrs import define, field

from runnel.entity.context import Context, Entry


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
        used: When an event came last, by the monotonic clock.
    """

    key: bytes
    state: bytes | None = None
    reminders: dict[str, int] = field(factory=dict)
    actor: Context | None = None
    at: Entry | None = None
    waiting: deque[Entry] = field(factory=deque)
    holds: int = 0
    failures: int = 0
    used: float = 0.0

    @property
    def is_idle(self) -> bool:
        """Whether it has no event in hand, and its actor is not just going."""
        return not self.holds and self.at is None
