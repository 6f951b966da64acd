"""What a worker reports of itself with its heartbeats, for the live view and for monitoring. Plain data, bounded in size.

It is for people: nothing is decided by it. A worker of another version may say more, or less.
"""

from typing import Any

import orjson
from attrs import field, frozen
from cattrs.preconf.orjson import make_converter

from runnel.errors import RunnelError


@frozen(kw_only=True)
class ActorReport:
    """An actor, as a line of the tree."""

    depth: int
    """How many stand above it."""
    name: str
    kind: str
    state: str
    path: str = ""
    mailbox: int = 0
    capacity: int = 0
    processed: int = 0
    rate: float = 0.0
    """Messages, or events, a second."""
    p50: float | None = None
    p99: float | None = None
    """Seconds that handlers took, of the last while."""
    at: str | None = None
    """What is in hand: an event or a key."""
    age: float | None = None
    """For how many seconds."""
    restarts: int = 0
    error: str | None = None
    details: str = ""


@frozen(kw_only=True)
class ProcessorReport:
    """A processor on this worker, since the worker began."""

    processor: str
    stream: str
    kind: str = "processor"
    """`processor` or `actors`."""
    done: int = 0
    rate: float = 0.0
    commits: int = 0
    retries: int = 0
    restarts: int = 0
    active: int = 0
    """Actors that are active: of keys."""
    passivated: int = 0
    mailbox: int = 0
    """The fullest mailbox of a partition."""
    owned: int = 0
    """Partitions that this worker owns."""
    read: int = 0
    """Events that were read from the log; those that are read again count again."""
    emitted: int = 0
    """Events of actors that were delivered to other streams."""
    failed: int = 0
    """How often an event failed; one that is tried again may fail again."""
    breaker: str = "closed"
    counts: tuple[int, ...] = ()
    """How many events took so long, for each of `durations.BOUNDS`, and how many longer than all."""
    seconds: float = 0.0


@frozen(kw_only=True)
class MailboxReport:
    """The fullest mailbox of one kind of actors in a processor."""

    processor: str
    """Empty: of the worker itself."""
    actor: str
    """The kind."""
    depth: int = 0
    """Messages in it."""
    capacity: int = 0
    """How many it can hold."""


@frozen(kw_only=True)
class PartitionReport:
    """A partition that this worker owns."""

    processor: str
    partition: int
    epoch: int
    state: str
    """running, idle, draining, paused, parked, backoff, ..."""
    done: int = 0
    rate: float = 0.0
    p50: float | None = None
    p99: float | None = None
    buffered: int = 0
    at: str | None = None
    age: float | None = None
    retries: int = 0
    restarts: int = 0
    error: str | None = None


@frozen(kw_only=True)
class KeyReport:
    """A key with events in hand."""

    processor: str
    partition: int
    key: str
    state: str
    """running, waiting, retrying, parked."""
    waiting: int = 0
    failures: int = 0


@frozen(kw_only=True)
class JobReport:
    """A task, timer or crontab, as this worker knows it. Moments are seconds since the epoch."""

    job: str
    schedule: str
    on_leader: bool = False
    next: float | None = None
    last: float | None = None
    runs: int = 0
    running: int = 0
    error: str | None = None


@frozen(kw_only=True)
class FailureReport:
    """An event that failed."""

    at: float
    """Seconds since the epoch."""
    processor: str
    partition: int
    event: str
    key: str
    attempt: int
    fate: str
    """What became of it: tried again, parked, dropped, ..."""
    error: str
    traceback: str = ""


@frozen(kw_only=True)
class Happening:
    """Something that happened on this worker."""

    at: float
    """Seconds since the epoch."""
    kind: str
    text: str


@frozen(kw_only=True)
class Report:
    """All of it, at one moment."""

    worker: str
    version: str = ""
    uptime: float = 0.0
    state: str = "running"
    """running, or draining: it lets go of everything, in order."""
    memory: int = 0
    """Bytes of the process that are resident."""
    loop_lag: float = 0.0
    """By how many seconds the event loop was late at most, since the last report."""
    dead_letters: int = 0
    leads: bool = False
    """Whether this worker is the app's leader."""
    restarts: int = 0
    """Of the worker's own actors, which belong to no processor."""
    counters: dict[str, int] = field(factory=dict)
    """How often what happened, since the worker began."""
    processors: tuple[ProcessorReport, ...] = ()
    partitions: tuple[PartitionReport, ...] = ()
    mailboxes: tuple[MailboxReport, ...] = ()
    keys: tuple[KeyReport, ...] = ()
    jobs: tuple[JobReport, ...] = ()
    failures: tuple[FailureReport, ...] = ()
    happenings: tuple[Happening, ...] = ()
    actors: tuple[ActorReport, ...] = ()
    hidden: int = 0
    """Actors that have no line of their own."""

    def to_json(self) -> bytes:
        """For the server."""
        return _converter.dumps(self)

    @classmethod
    def from_json(cls, text: bytes) -> "Report":
        """What a worker reported.

        Raises:
            RunnelError: It is no report.
        """
        try:
            return _converter.loads(text, cls)
        except Exception as error:
            raise RunnelError(f"a worker's report cannot be read: {type(error).__name__}") from error

    def plain(self) -> Any:
        """For programs, as JSON types."""
        return orjson.loads(self.to_json())


_converter = make_converter(detailed_validation=False)
