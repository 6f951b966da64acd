"""What is known of a run when it is over: plain data, which `checks` judges."""

from collections.abc import Sequence

from attrs import define, field, frozen

from tests.integration.faults.ledger import Line, Order

Span = tuple[float, float]
"""From when to when, by `time.monotonic`."""

FOR_EVER = float("inf")


@frozen
class Entry:
    """An event in a partition's log, under its id."""

    event: Order
    id: str


@frozen(kw_only=True)
class Sample:
    """How a partition stood from `at` until its next sample: all read at one moment of the server."""

    at: float
    era: int
    partition: int
    owner: str
    epoch: int
    nonce: str
    history: str
    number: int
    cursor: str


@define(eq=False, kw_only=True)
class Era:
    """The time between two lossy failovers: the time of one log. A restart that loses nothing begins no other.

    Attributes:
        began: When the workers could first reach this server.
        ended: When they could not any more.
        cursors: The partitions' cursors when it began.
        older: The nonces that were seen before it.
        logs: The partitions' entries at its end, in their order.
    """

    number: int
    began: float
    ended: float = FOR_EVER
    cursors: dict[int, str] = field(factory=dict)
    older: set[str] = field(factory=set)
    logs: dict[int, list[Entry]] = field(factory=dict)


@define(eq=False, kw_only=True)
class Life:
    """A worker process: when it was there, when it was stopped, and how it ended.

    `flawed`: its handlers may hold it up, or it may stop by itself. `doomed`: it was killed, or will be when it passes a fail
    point. `dismissed`: it was told to leave.
    """

    name: str
    pid: int
    flawed: bool
    doomed: bool
    dismissed: bool = False
    ready: float = FOR_EVER
    ended: float = FOR_EVER
    exit_code: int | None = None
    stopped: list[Span] = field(factory=list)

    def is_up(self, at: float) -> bool:
        """Whether it ran then."""
        return self.ready <= at < self.ended and not any(begin <= at < end for begin, end in self.stopped)

    def owns(self, sample: Sample) -> bool:
        """Whether this is the owner that the sample names."""
        return f"-{self.pid}-" in sample.owner


@frozen
class Sent:
    """What `send` returned for an event, and the era in which it was called."""

    place: str
    era: int


@frozen(kw_only=True)
class Record:
    """Everything that a run left behind. `unrest`: when no takeover can be asked for, since the server is out of reach."""

    lease: float
    prefetch: int
    sent: dict[Order, Sent]
    lines: Sequence[Line]
    eras: Sequence[Era]
    samples: Sequence[Sample]
    lives: Sequence[Life]
    unrest: Sequence[Span]
    over: float
