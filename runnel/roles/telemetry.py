"""Telemetry: now and then it has the heart carry a report of this worker to the server, for people and monitoring.

It takes a picture of the tree of actors, however many events there are; nothing depends on what it says.
"""

from collections.abc import Callable

from attrs import define, field, frozen

from runnel.actors import Actor, ActorSnapshot
from runnel.clock import Timer
from runnel.roles.heart import Heart
from runnel.store import membership
from runnel.store.keys import AppKeys
from runnel.telemetry.board import Board
from runnel.telemetry.collect import Collector

INTERVAL = 1.0
"""Seconds between two reports."""

BLINK = 0.1
"""Seconds between two looks at how late the event loop is."""

LIVES = 10.0
"""Seconds for which a report can be read."""


# ── messages ──


@frozen
class Look:
    """Time for a report."""


@define(eq=False, kw_only=True)
class Telemetry(Actor[Look]):
    """Of one worker.

    Args:
        collector: Makes reports.
        snapshot: Takes a picture of the tree.
        is_draining: Whether the worker is about to stop.
        heart: Carries the reports.
        app: The app's keys.
        board: Gets each report, too, for whoever reads it in this process.
    """

    collector: Collector
    snapshot: Callable[[], ActorSnapshot | None]
    is_draining: Callable[[], bool]
    heart: Heart
    app: AppKeys
    board: Board = field(factory=Board)
    lag: float = 0.0
    reports: int = 0
    _blink: Timer | None = None

    async def on_start(self) -> None:
        self.set_timer("look", Look(), INTERVAL, repeat=True)
        self._watch_loop()

    async def receive(self, message: Look) -> None:
        if (tree := self.snapshot()) is None:
            return
        lag, self.lag = self.lag, 0.0
        now = self.clock.monotonic()
        report = self.collector.report(tree, now, lag=lag, draining=self.is_draining())
        self.board.put(report, tree, now)
        self.heart.report = membership.report(self.app, self.collector.worker, report.to_json(), lease=LIVES)
        self.reports += 1

    async def on_stop(self) -> None:
        if self._blink is not None:
            self._blink.cancel()

    def statistics(self) -> dict[str, object]:
        return {"reports": self.reports}

    def _watch_loop(self) -> None:
        due = self.clock.monotonic() + BLINK

        def look() -> None:
            self.lag = max(self.lag, self.clock.monotonic() - due)
            self._watch_loop()

        self._blink = self.clock.call_later(BLINK, look)
