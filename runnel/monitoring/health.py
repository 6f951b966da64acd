"""Whether a worker is alive, and whether it is ready: plain decisions over what is known at one moment.

Alive: the event loop turns; if it does not for long, only a restart helps. Ready: the worker does what it is there for, or it
has nothing to do. A partition that an operator has paused is left alone on purpose: nothing is wrong with the worker.
"""

from collections.abc import Collection, Sequence

from attrs import field, frozen

from runnel.telemetry.standing import Standstill


@frozen
class Verdict:
    """Yes or no, and why."""

    ok: bool
    status: str
    """In a word."""
    reason: str


@frozen(kw_only=True)
class Health:
    """What is known at one moment.

    Attributes:
        now: By the worker's monotonic clock.
        beat_age: Seconds since the event loop last turned.
        blocked_after: From how many on it counts as blocked.
        loop_lag: By how many seconds it was late at worst, of late.
        stopping: Whether the worker is about to stop, or has stopped.
        joined: Whether it has joined the app's workers, and knows what it is to run.
        server_up: Whether the server answered the last heartbeat.
        standstills: Partitions with events to do, of which none gets done.
        stalled_after: From how many seconds of this on it is no coincidence.
        open_breakers: Processors that pause here by their circuit breakers.
        paused: Partitions that an operator has paused.
    """

    now: float
    beat_age: float = 0.0
    blocked_after: float
    loop_lag: float = 0.0
    stopping: bool = False
    joined: bool = True
    server_up: bool = True
    standstills: Sequence[Standstill] = field(default=())
    stalled_after: float
    open_breakers: Collection[str] = frozenset()
    paused: int = 0

    @property
    def stalled(self) -> list[Standstill]:
        """Partitions that get nowhere, those first that have for longest."""
        found = [each for each in self.standstills if each.seconds >= self.stalled_after]
        return sorted(found, key=lambda each: -each.seconds)

    def live(self) -> Verdict:
        """Whether the event loop turns."""
        if self.beat_age > self.blocked_after:
            return Verdict(
                False,
                "blocked",
                f"the event loop has not turned for {self.beat_age:.1f} s, {self.blocked_after:g} s are allowed: "
                "the worker's log says where a handler blocks it",
            )
        return Verdict(True, "live", f"the event loop turned {self.beat_age:.1f} s ago")

    def ready(self) -> Verdict:
        """Whether the worker does what it is there for."""
        if not (live := self.live()).ok:
            return live
        if self.stopping:
            return Verdict(False, "leaving", "the worker is about to stop, and lets go of its partitions")
        if not self.joined:
            return Verdict(False, "starting", "the worker has not joined the others yet")
        if not self.server_up:
            return Verdict(False, "server away", "the server did not answer the last heartbeat")
        if stalled := self.stalled:
            return Verdict(False, "stalled", self._stands_still(stalled))
        paused = f"; paused by an operator: {counted(self.paused)}, which is no fault of the worker" if self.paused else ""
        return Verdict(True, "ready", f"the worker has joined, and none of its partitions stands still{paused}")

    def _stands_still(self, stalled: Sequence[Standstill]) -> str:
        first = stalled[0]
        why = first.why or ("its circuit breaker is open" if first.processor in self.open_breakers else "")
        others = f"; likewise {counted(len(stalled) - 1)} more" if len(stalled) > 1 else ""
        events = "event" if first.lag == 1 else "events"
        return (
            f"partition {first.partition} of {first.processor} has {first.lag:,} {events} to do, "
            f"and has done none for {first.seconds:.0f} s{f': {why}' if why else ''}{others}"
        )


def counted(partitions: int) -> str:
    """So many partitions, in words."""
    return f"{partitions:,} partition{'' if partitions == 1 else 's'}"
