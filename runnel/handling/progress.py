"""How far a function in a thread has got with the events that crossed to it.

The thread counts, and the event loop moves the position: a number that only the thread changes, and only the loop reads.
"""

from collections.abc import Callable
from typing import Generic, TypeVar

from runnel.clock import Timer
from runnel.errors import RecordError, TimedOut
from runnel.handling.breath import BREATH, breathe
from runnel.handling.crossing import Crossing, lost
from runnel.handling.source import Source

T = TypeVar("T")

MOST = 64
"""Events that cross at once. To cross costs some 50 µs, so that is less than 1 µs an event."""

PACE = 0.001
"""Seconds between two looks at how far a thread is that gets along: what is done meanwhile is not committed yet."""


class Progress:
    """Of one call of a function.

    Args:
        source: Whose events.
        crossing: The way to the thread.
        limit: Seconds that an event, or a batch, may take; None: as long as it wants.
    """

    def __init__(self, source: Source, crossing: Crossing, limit: float | None) -> None:
        self._position = source.position
        self._clock = source.clock
        self._durations = source.position.durations
        self._settled_at = 0.0
        self._crossing = crossing
        self._limit = limit
        self._done = 0
        self._is_out = False
        self._since = 0.0
        self._late: TimedOut | None = None
        self._is_watched = False
        """Whether the event loop will look by itself how far the thread is."""
        self._lent = False
        """Whether events have crossed that the thread counts."""
        self._known = 0
        """How many of the done ones the position knows."""
        self._timer: Timer | None = None
        self._reminder: Timer | None = None
        self.on_late: Callable[[], object] = lambda: None
        """Called in the event loop, once, when an event takes longer than the limit."""

    # ── in the thread ──

    def begin(self) -> None:
        """The function gets an event, or a batch."""
        self._is_out = True
        if self._limit is not None:
            self._since = self._clock.monotonic()

    def back(self) -> None:
        """The function comes back for the next.

        Raises:
            TimedOut: It was out for too long.
            LeaseLost: Nobody waits for it any more.
        """
        self.look_at_the_time()
        self.verdict()
        if self._crossing.over:
            raise lost()
        self._is_out = False

    def done(self, more: bool) -> bool:
        """The function comes back from one of several events that crossed. Whether it may have the next; raises as `back`."""
        self.back()
        self._done += 1
        if self._position.closing:
            return False
        if more and not self._is_watched:
            self._is_watched = True
            self._crossing.call(self._watch)
        return True

    def look_at_the_time(self) -> None:
        """If an event is out for too long, it has failed: a thread cannot be interrupted."""
        if self._limit is not None and self._is_out and self._clock.monotonic() - self._since > self._limit:
            self._late = TimedOut(f"took longer than {self._limit:g} s")

    def verdict(self) -> None:
        """Raise the error, once an event took too long, whatever the function made of it; also in the event loop.

        Raises:
            TimedOut: That.
        """
        if self._late is not None:
            raise self._late

    # ── in the event loop ──

    def lend(self) -> None:
        """Events that the thread counts cross now."""
        self._lent = True
        self._settled_at = self._clock.monotonic()
        self._position.out = 1

    def watch_the_time(self, told: float = -1.0) -> None:
        """From now on tell of each event that takes too long. Nothing else tells of a thread that hangs."""
        if self._limit is None:
            return
        if self._is_out and self._since != told and self._clock.monotonic() - self._since > self._limit:
            told = self._since
            self.on_late()
        self._reminder = self._clock.call_later(self._limit, lambda: self.watch_the_time(told))

    def end(self) -> None:
        """The function has ended, or counts for nothing from now on."""
        self.take_back()
        if self._reminder is not None:
            self._reminder.cancel()

    def take_back(self) -> None:
        """The thread asks for something, or has ended: what it was lent is the event loop's again."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._settle()
        if self._lent:
            self._lent = False
            self._position.out = int(self._is_out)

    def _settle(self) -> bool:
        """Have the position know what is done. Whether there was anything."""
        new = self._done - self._known if self._lent else 0
        if new:
            moment = self._clock.monotonic()
            self._durations.add((moment - self._settled_at) / new, new)
            self._settled_at = moment
            self._known += new
            self._position.done(new)
            self._position.out = 1
        return bool(new)

    def _watch(self) -> None:
        self._timer = None
        if not self._settle():
            self._is_watched = False
            if not self._settle():  # once more: the thread may have seen that it is watched just before
                return
            self._is_watched = True
        self._timer = self._clock.call_later(PACE, self._watch)


class Chunk(Generic[T]):
    """Makes of the events in hand what crosses to the thread, several at once.

    Args:
        source: Has them.
        progress: Of the function.
        make: What the function gets of an entry's id and fields; called in the event loop.
    """

    def __init__(self, source: Source, progress: Progress, make: Callable[[bytes, list[bytes]], T]) -> None:
        self._source = source
        self._progress = progress
        self._make = make

    async def next(self) -> list[T]:
        """The next things; none, once the partition is to be let go."""
        source, position = self._source, self._source.position
        self._progress.take_back()
        self._progress.verdict()
        while (position.left or await source.fill()) and not position.closing:
            if made := self._made():
                self._progress.lend()
                return made
            await breathe(0)
        return []

    def _made(self) -> list[T]:
        """None, if the next event does not decode, and is passed over."""
        source, position, made = self._source, self._source.position, list[T]()
        now = source.clock.monotonic
        until = now() + BREATH
        most = 1 if source.attempt > 1 or position.singly else MOST  # what has failed crosses alone: its attempt is its own
        for xid, fields in position.entries[position.at : position.at + most]:
            try:
                made.append(self._make(xid, fields))
                if now() >= until:
                    break  # large records: the event loop has others to serve
            except RecordError as error:
                if made:
                    break  # its turn comes
                position.out = 1
                if not source.excuses(error):
                    raise
                break  # what is in hand may be other events now
        return made
