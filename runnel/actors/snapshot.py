"""A picture of the tree of actors at one moment: plain values, safe to keep, to send and to print."""

from collections.abc import Mapping
from enum import StrEnum

from attrs import field, frozen


class State(StrEnum):
    """What an actor is at."""

    STARTING = "starting"
    """Not through `on_start` yet."""
    RUNNING = "running"
    """Handling a message, or busy in a `run` of its own."""
    BLOCKED = "blocked"
    """Waiting for room in another actor's mailbox."""
    IDLE = "idle"
    """Waiting for a message."""
    WAITING = "waiting"
    """Has messages, and waits for its turn: a resident, see `Actor.residents`."""
    RESTARTING = "restarting"
    """Its last incarnation is being cleared away."""
    BACKOFF = "backoff"
    """Cleared away; the next incarnation waits for its time, or for the rest of its group."""
    STOPPING = "stopping"
    STOPPED = "stopped"


@frozen(kw_only=True)
class ActorSnapshot:
    """One actor and all below it."""

    path: str
    name: str
    kind: str
    """The class's name; of an actor that never started, the factory's."""
    state: State
    mailbox_depth: int = 0
    mailbox_capacity: int = 0
    """0 for the system itself, which has no mailbox."""
    processed: int = 0
    """Messages handled to their end, over all incarnations; failed and interrupted ones do not count."""
    restarts: int = 0
    last_error: str | None = None
    """The class and text of the last failure, shortened."""
    message_age: float | None = None
    """Seconds since the current message was taken; None when there is none."""
    details: Mapping[str, object] = field(factory=dict)
    """What the actor's own `statistics()` says."""
    children: tuple["ActorSnapshot", ...] = ()
    """Its actors, then its residents."""
    is_resident: bool = False
    """Whether it is none of the kernel's actors, but lives in its parent, which says all this of it."""
