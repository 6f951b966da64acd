"""A result: pairs of figures, one a run, and what their ratio ought to be."""

from statistics import median
from typing import Any

from attrs import field, frozen


@frozen
class Goal:
    """What must be reached, by the ratio or, where there is nothing to compare with, by the figure itself."""

    bound: float
    at_most: bool = False

    def is_met(self, value: float) -> bool:
        """Whether it is good enough."""
        return value <= self.bound if self.at_most else value >= self.bound

    def __str__(self) -> str:
        return f"{'≤' if self.at_most else '≥'} {self.bound:g}"


@frozen(kw_only=True)
class Result:
    """What one measurement found.

    Attributes:
        name: What was measured.
        unit: Of the figures.
        ours: One figure a run.
        raw: What it is compared with, each from the same moment; empty where there is nothing to compare with.
        cpu: How many times raw's CPU ours took for an event, in this process; the server's is not counted. It is much
            steadier than the ratio of the rates on a machine that has other things to do.
        goal: Of the median ratio, or of the median figure.
    """

    name: str
    unit: str
    ours: list[float]
    raw: list[float] = field(factory=list)
    cpu: list[float] = field(factory=list)
    goal: Goal | None = None

    @property
    def ratios(self) -> list[float]:
        """Ours by raw, run by run."""
        return [ours / raw for ours, raw in zip(self.ours, self.raw, strict=True)] if self.raw else []

    @property
    def is_met(self) -> bool | None:
        """Whether the goal is reached; None without one."""
        return None if self.goal is None else self.goal.is_met(median(self.ratios or self.ours))

    def as_json(self) -> dict[str, Any]:
        """All of it."""
        return {
            "name": self.name,
            "unit": self.unit,
            "raw": self.raw,
            "ours": self.ours,
            "ratios": self.ratios,
            "ratio": median(self.ratios) if self.ratios else None,
            "cpu": self.cpu,
            "goal": None if self.goal is None else str(self.goal),
            "ok": self.is_met,
        }
