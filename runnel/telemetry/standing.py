"""How far behind the partitions are that a worker answers for, as monitoring tells it; and which of them get nowhere.

Pure: roles/gauge.py looks at the server, and passes on what it has seen. Each partition of a processor is answered for by one
worker at a time, so that sums over workers are true.
"""

from collections.abc import Mapping, Sequence

from attrs import define, field, frozen

from runnel.operations.status import PartitionStatus

Place = tuple[str, int]
"""A partition of a processor."""


@frozen(kw_only=True)
class Standstill:
    """A partition with events to do, of which none gets done."""

    processor: str
    partition: int
    seconds: float
    """From the first look that saw it like that to the last one: what has become of it since then nobody knows yet."""
    lag: int
    why: str
    """What is known of why; empty: nothing is."""


@frozen(kw_only=True)
class Standing:
    """A processor, over the partitions that this worker answers for."""

    processor: str
    lag: int = 0
    oldest_age: float = 0.0
    """Seconds; 0: nothing is to be done."""
    parked: int = 0
    parked_keys: int = 0
    dead: int = 0
    paused: int = 0
    """Partitions that an operator has paused."""
    quarantined: int = 0
    """Partitions that the policy QUARANTINE has stopped."""
    states: int = 0
    undelivered: int = 0
    """Events that actors emitted, and that are not delivered yet."""


def standing(processor: str, found: Sequence[PartitionStatus]) -> Standing:
    """The sums over these partitions."""
    return Standing(
        processor=processor,
        lag=sum(each.lag for each in found),
        oldest_age=max((each.oldest_age for each in found if each.oldest_age is not None), default=0.0),
        parked=sum(each.parked for each in found),
        parked_keys=sum(each.parked_keys for each in found),
        dead=sum(each.dead for each in found),
        paused=sum(each.paused is not None for each in found),
        quarantined=sum(each.stopped is not None for each in found),
        states=sum(each.states for each in found),
        undelivered=sum(each.emitted for each in found),
    )


@define(eq=False)
class Marks:
    """What was last seen of each partition, and since when it has been the same."""

    _marks: dict[Place, tuple[object, float]] = field(factory=dict)

    def see(self, now: float, found: Mapping[Place, PartitionStatus]) -> tuple[Standstill, ...]:
        """These are all that are to be run here. Answers those that have events to do, and have done none since.

        One that an operator has paused stands still on purpose.
        """
        marks: dict[Place, tuple[object, float]] = {}
        for place, status in found.items():
            if status.lag and status.paused is None:
                mark = _mark(status)
                known = self._marks.get(place)
                marks[place] = known if known is not None and known[0] == mark else (mark, now)
        self._marks = marks
        return tuple(_standstill(place, now - since, found[place]) for place, (_, since) in marks.items())

    def forget(self) -> None:
        """Nothing was seen for a while: begin anew."""
        self._marks = {}


def _standstill(place: Place, seconds: float, status: PartitionStatus) -> Standstill:
    processor, partition = place
    return Standstill(processor=processor, partition=partition, seconds=seconds, lag=status.lag, why=_why(status))


def _mark(status: PartitionStatus) -> object:
    """What changes when an event gets done, or goes elsewhere."""
    return status.cursor, status.parked, status.dead


def _why(status: PartitionStatus) -> str:
    if status.stopped is not None:
        return f"it is quarantined: {status.stopped}"
    return "" if status.owner is not None else "no worker has it"
