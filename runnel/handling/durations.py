"""How long handlers take over events: a histogram, which costs nothing for each event.

Events that follow each other fast are counted together, by their mean: whoever hands them out looks at the clock anyway, to
give the event loop its turn, and it gets one after half a millisecond. What takes longer than that is counted by itself.
"""

from bisect import bisect_left
from collections.abc import Sequence
from itertools import pairwise

from attrs import define, field

BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Seconds: those that monitoring is told of. An event belongs to the first that it does not exceed, or behind all of them."""

SHORTER = tuple(BOUNDS[0] / 2**halved for halved in (5, 4, 3, 2, 1))
STEPS = 8
"""Parts of the way from one bound to the next: the view's quantiles are to be right within an eighth."""


def _finer(low: float, high: float) -> list[float]:
    """The bounds from one to another, which is the last of them, each longer than the one before by the same factor."""
    return [*(low * (high / low) ** (step / STEPS) for step in range(1, STEPS)), high]


FINE = tuple(bound for low, high in pairwise((*SHORTER, *BOUNDS)) for bound in _finer(low, high))
"""Seconds: those by which events are counted."""

_FIRST = FINE.index(BOUNDS[0]) + 1


@define(eq=False)
class Durations:
    """Of the events of one partition.

    Attributes:
        counts: How many events took so long, for each of `FINE`, and how many longer than all.
        total: Seconds that all took together.
    """

    counts: list[int] = field(factory=lambda: [0] * (len(FINE) + 1))
    total: float = 0.0

    def add(self, seconds: float, events: int = 1) -> None:
        """So many events took so long each."""
        self.counts[bisect_left(FINE, seconds)] += events
        self.total += seconds * events

    def include(self, other: "Durations") -> None:
        """Count what was counted elsewhere, too."""
        self.counts = [mine + theirs for mine, theirs in zip(self.counts, other.counts, strict=True)]
        self.total += other.total

    def add_run(self, events: int, began: float, before: float, ended: float) -> None:
        """Events came one after the other; the last of them from `before` to `ended`."""
        if events > 1:
            self.add((before - began) / (events - 1), events - 1)
        if events > 0:
            self.add(ended - before)


def coarse(counts: Sequence[int]) -> tuple[int, ...]:
    """The same counts for each of `BOUNDS`, and behind all of them; nothing where there are none."""
    if not counts:
        return ()
    return sum(counts[:_FIRST]), *(sum(counts[at : at + STEPS]) for at in range(_FIRST, len(counts), STEPS))


def quantile(counts: Sequence[int], share: float) -> float | None:
    """Within how many seconds this share of the events was handled; None: there are none.

    It is right within an eighth where it lies from 0.02 ms to 60 s: events of one count are taken to be spread evenly
    between its bounds.
    """
    wanted, seen = share * sum(counts), 0.0
    for at, count in enumerate(counts):
        if count and seen + count >= wanted:
            low = FINE[at - 1] if at else 0.0
            high = FINE[at] if at < len(FINE) else 2 * FINE[-1]
            return low + (high - low) * (wanted - seen) / count
        seen += count
    return None
