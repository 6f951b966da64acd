"""A worker's diary: what happened last, and which events failed, for people. Bounded; nothing is decided by it."""

import traceback
from collections import Counter, OrderedDict, deque

from attrs import define, evolve, field

from runnel.clock import Clock, SystemClock
from runnel.telemetry.report import FailureReport, Happening

MOST_HAPPENINGS, MOST_FAILURES = 100, 30

LONGEST = 300
"""Characters of an error's text."""

LONGEST_TRACEBACK = 2_000
"""Characters of a traceback: its end, which says most."""


@define(eq=False)
class Diary:
    """Of one worker.

    Attributes:
        counters: How often what happened.
        failures_of: How often an event failed, by processor.
    """

    clock: Clock = field(factory=SystemClock)
    counters: Counter[str] = field(factory=Counter)
    failures_of: Counter[str] = field(factory=Counter)
    _happenings: deque[Happening] = field(factory=lambda: deque(maxlen=MOST_HAPPENINGS))
    _failures: OrderedDict[tuple[str, str], FailureReport] = field(factory=OrderedDict)

    @property
    def happenings(self) -> tuple[Happening, ...]:
        """The last ones, the newest first."""
        return tuple(reversed(self._happenings))

    @property
    def failures(self) -> tuple[FailureReport, ...]:
        """The events that failed last, the newest first."""
        return tuple(reversed(self._failures.values()))

    def happened(self, kind: str, text: str, times: int = 1) -> None:
        """Note it. What happened several times at once (to many partitions) is one line."""
        self.counters[kind] += times
        self._happenings.append(Happening(at=self.clock.time(), kind=kind, text=text[:LONGEST]))

    def failed(
        self, *, processor: str, partition: int, event: str, key: str, attempt: int, fate: str, error: BaseException
    ) -> None:
        """An event failed. Of one that fails again only the last time is kept."""
        self.counters["failed"] += 1
        self.failures_of[processor] += 1
        where = processor, event
        self._failures.pop(where, None)
        self._failures[where] = FailureReport(
            at=self.clock.time(),
            processor=processor,
            partition=partition,
            event=event,
            key=key[:LONGEST],
            attempt=attempt,
            fate=fate,
            error=said(error),
            traceback="".join(traceback.format_exception(error))[-LONGEST_TRACEBACK:],
        )
        while len(self._failures) > MOST_FAILURES:
            self._failures.popitem(last=False)

    def became(self, processor: str, event: str, fate: str) -> None:
        """Something else became of an event that failed."""
        if (known := self._failures.get((processor, event))) is not None:
            self._failures[processor, event] = evolve(known, fate=fate)


def said(error: BaseException) -> str:
    """An error in a line."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:LONGEST]
