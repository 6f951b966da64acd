"""The gauge: looks at how far behind the partitions are that this worker answers for, for monitoring.

It is there only where somebody reads the worker's board. It looks in its own time, never when it is asked: a server that is
away holds up nobody who asks. However many partitions there are, it takes a small share of the time, and it changes nothing.
"""

import logging
from collections.abc import Callable, Mapping

from attrs import define, field, frozen

from runnel.actors import Actor
from runnel.app import App
from runnel.errors import StoreError, StoreUnavailable
from runnel.operations.status import PartitionStatus, partition_status
from runnel.store import scripts
from runnel.store.link import Link
from runnel.store.scripts import Call, Look
from runnel.telemetry.board import Board, Seen
from runnel.telemetry.standing import Marks, Place, standing

log = logging.getLogger(__name__)

INTERVAL = 1.0
"""Seconds between two looks, at least."""

SHARE = 0.02
"""The share of the time that looking may take."""

LONGEST = 30.0
"""Seconds between two looks, at most."""

AT_ONCE = 128
"""Partitions in one exchange: others' commands come in between."""

TIMEOUT = 2.0
"""Seconds that an exchange may take."""


# ── messages ──


@frozen
class _Look:
    pass


@define(eq=False, kw_only=True)
class Gauge(Actor[_Look]):
    """Of one worker.

    Args:
        app: Whose processors.
        board: Says which partitions, and is told how they stand.
        open_link: Makes a connection.
    """

    app: App
    board: Board
    open_link: Callable[[], Link]
    link: Link = field(init=False)
    marks: Marks = field(factory=Marks)
    looks: int = 0
    is_refused: bool = False

    async def on_start(self) -> None:
        self.link = self.open_link()
        self.set_timer("look", _Look(), INTERVAL)

    async def receive(self, message: _Look) -> None:
        self.board.sent = self.app.sent()
        took = await self._look() if self.board.duty is not None else 0.0
        self.set_timer("look", _Look(), max(INTERVAL, min(took / SHARE, LONGEST)))

    async def on_stop(self) -> None:
        await self.link.close()

    def statistics(self) -> dict[str, object]:
        return {"looks": self.looks}

    async def _look(self) -> float:
        """Answers how many seconds it took; 0 if the server is away: look again soon."""
        began = self.clock.monotonic()
        declared = {name: len(each.stream.partitions) for name, each in self.app.processors.items()}
        try:
            found = await self._found([place for place in self.board.places(declared) if place[0] in declared])
        except StoreError as error:
            self._failed(error)
            return 0.0
        now = self.clock.monotonic()
        mine = self.board.duty.wanted if self.board.duty is not None else {}
        standstills = self.marks.see(now, {place: each for place, each in found.items() if place[1] in mine.get(place[0], ())})
        by_processor: dict[str, list[PartitionStatus]] = {name: [] for name in declared}
        for (name, _), status in found.items():
            by_processor[name].append(status)
        standings = tuple(standing(name, statuses) for name, statuses in by_processor.items())
        self.board.seen = Seen(at=now, standings=standings, standstills=standstills)
        self.looks += 1
        self.is_refused = False
        return now - began

    async def _found(self, places: list[Place]) -> Mapping[Place, PartitionStatus]:
        found: dict[Place, PartitionStatus] = {}
        for first in range(0, len(places), AT_ONCE):
            some = places[first : first + AT_ONCE]
            answers = await self.link.run([self._call(*place) for place in some], timeout=TIMEOUT)
            for (name, number), seen in zip(some, answers, strict=True):
                if isinstance(seen, StoreError):
                    raise seen
                found[name, number] = partition_status(number, seen, self.app.processors[name].options.start)
        return found

    def _call(self, name: str, number: int) -> Call[Look]:
        return scripts.look(self.app.processors[name].stream.partitions[number], name)

    def _failed(self, error: StoreError) -> None:
        """What was seen stays, with its age; for how long something has stood still is not known any more."""
        self.marks.forget()
        if (seen := self.board.seen) is not None:
            self.board.seen = Seen(at=seen.at, standings=seen.standings, standstills=())
        if not isinstance(error, StoreUnavailable) and not self.is_refused:  # of a server that is away others tell
            self.is_refused = True
            log.warning("the lag cannot be read, for monitoring", extra={"error": str(error)})
