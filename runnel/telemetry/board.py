"""The board: what a worker tells of itself to whoever reads it from another thread, without the event loop's help.

The worker's actors put whole, frozen objects there about once a second; a reader takes whichever is there. It needs no lock,
and answers while a handler blocks the loop and while the server is away. Nothing is decided by it.
"""

from collections.abc import Callable, Mapping, Sequence

from attrs import define, field, frozen

from runnel.actors import ActorSnapshot
from runnel.telemetry.report import Report
from runnel.telemetry.standing import Place, Standing, Standstill


@frozen(kw_only=True)
class Duty:
    """What a worker is there for, as its member and its leader tell."""

    wanted: Mapping[str, frozenset[int]]
    """By processor: the partitions that it is to have. A processor is missing that nothing was heard of yet."""
    run: frozenset[str]
    """The processors that any worker runs."""
    is_member: bool
    """Whether it has heard who the app's workers are."""
    leads: bool

    def has_joined(self, processors: Sequence[str]) -> bool:
        """Whether it has heard, for all that it runs, what it is to have."""
        return self.is_member and all(name in self.wanted for name in processors)


@frozen(kw_only=True)
class Seen:
    """What the gauge has seen on the server."""

    at: float
    """By the monotonic clock."""
    standings: tuple[Standing, ...]
    standstills: tuple[Standstill, ...]


@define(eq=False)
class Board:
    """Of one worker. Moments are its monotonic clock's.

    Attributes:
        is_read: Whether anybody reads it: only then does the gauge look at the server.
        report: What the worker reports of itself.
        reported_at: When it was made.
        duty: What the worker is to do.
        seen: How far behind it is; as it was last seen, when the server is away.
        sent: By stream: how many events this process has sent.
        server_answers: Whether the server answered the last heartbeat.
        processors: Those that run.
    """

    is_read: bool = False
    report: Report | None = None
    reported_at: float = 0.0
    duty: Duty | None = None
    seen: Seen | None = None
    sent: Mapping[str, int] = field(factory=dict)
    server_answers: Callable[[], bool] = lambda: False
    processors: Sequence[str] = ()

    def put(self, report: Report, tree: ActorSnapshot, now: float) -> None:
        """There is a new report, made of this picture of the tree."""
        self.report, self.reported_at = report, now
        self.duty = duty_of(tree, leads=report.leads)

    @property
    def has_joined(self) -> bool:
        """Whether the worker has joined the others, and knows what it is to run."""
        return self.duty is not None and self.duty.has_joined(self.processors)

    def places(self, declared: Mapping[str, int]) -> list[Place]:
        """The partitions that this worker answers for: those that it is to run, and as the leader those that nobody is.

        Args:
            declared: Of each processor of the app, how many partitions it has.
        """
        if self.duty is None:
            return []
        wanted, run = self.duty.wanted, self.duty.run
        mine = [(name, number) for name, numbers in wanted.items() for number in sorted(numbers)]
        if not (self.duty.leads and self.duty.is_member):
            return mine
        return mine + [(name, number) for name, count in declared.items() if name not in run for number in range(count)]


def duty_of(tree: ActorSnapshot, *, leads: bool) -> Duty | None:
    """What the member says in this picture; None: there is none yet."""
    member = next((each for top in tree.children for each in top.children if each.kind == "Member"), None)
    wanted = None if member is None else member.details.get("~wanted")
    if member is None or not isinstance(wanted, dict):
        return None
    run, version = member.details.get("~run"), member.details.get("version")
    return Duty(
        wanted=wanted,
        run=run if isinstance(run, frozenset) else frozenset(),
        is_member=isinstance(version, int) and version >= 0,
        leads=leads,
    )
