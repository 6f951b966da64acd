"""Where a partition stands: the entries in hand, and how many of them are done. Plain data, no tasks.

The partition's events move it, the committer reads it. An event costs one assignment here; cursor and count are worked
out when a commit asks for them.
"""

from collections.abc import Callable, Sequence
from typing import Any

from attrs import define, field, frozen

from runnel.handling.durations import Durations
from runnel.store.moves import LARGEST, MOST, Move, size

Entry = Sequence[object]
"""An entry as Redis returns it: its id, and a flat list of its fields and values (all bytes)."""


@frozen
class Moved:
    """A change that goes into a commit: that one which takes the cursor to where the position was then, or beyond."""

    move: Move
    size: int
    cursor: bytes
    count: int


@define(eq=False)
class Position:
    """The entries that a partition has taken in, in the log's order, and how far it got.

    Attributes:
        entries: What is in hand.
        at: How many of them are done.
        out: How many of the next ones the user's function has got: it fails, or they are done, together.
        dirty: Whether something is done that no commit has taken up.
        passed: How many entries have left the log without being done.
        singly: How many of the next events are handed out one by one, since their batch has failed.
        moves: Changes that no commit has taken up, in their order.
        closing: Whether the partition is to be let go: nothing more is handed out.
        on_dirty: Called when the first thing is done after a commit took everything up.
        on_closing: Called once each when it is closed.
        durations: How long events took.
        spans: Of the events that were handled, for the next commit's; always empty without traces.
    """

    _cursor: bytes
    _count: int
    on_dirty: Callable[[], None] = lambda: None
    entries: list[tuple[bytes, list[bytes]]] = field(factory=list)
    at: int = 0
    out: int = 0
    passed: int = 0
    singly: int = 0
    moves: list[Moved] = field(factory=list)
    dirty: bool = False
    closing: bool = False
    on_closing: list[Callable[[], None]] = field(factory=list)
    durations: Durations = field(factory=Durations)
    spans: list[Any] = field(factory=list)

    @property
    def cursor(self) -> bytes:
        """The id of the last entry that is done; all before it are done too."""
        return self.entries[self.at - 1][0] if self.at else self._cursor

    @property
    def count(self) -> int:
        """How many entries the log had, since it began, up to the cursor."""
        return self._count + self.at

    @property
    def left(self) -> int:
        """How many entries in hand are not done."""
        return len(self.entries) - self.at

    def take_in(self, entries: list[tuple[bytes, list[bytes]]]) -> None:
        """Put entries behind those in hand; those that are done are forgotten."""
        left = self.entries[self.at :]
        self._settle()
        self.entries = left + entries if left else entries

    def forget(self) -> None:
        """Drop what is in hand: reading goes on at the cursor."""
        self._settle()

    def _settle(self) -> None:
        self._cursor, self._count = self.cursor, self.count
        self.entries = []
        self.at = self.out = 0

    def set_aside(self) -> list[tuple[bytes, list[bytes]]]:
        """Give back what is in hand and not done: it must be looked through before it is handed out."""
        aside = self.entries[self.at :]
        del self.entries[self.at :]
        return aside

    def done(self, events: int) -> None:
        """The next `events` are done."""
        self.at += events
        self.out = 0
        self.singly = max(0, self.singly - events)
        self.mark()

    def close(self) -> None:
        """Hand out nothing more."""
        self.closing = True
        for wake in self.on_closing:
            wake()

    def leave(self, move: Move) -> None:
        """The next event leaves the log: this becomes of it, in the commit that passes over it."""
        self.at += 1
        self.passed += 1
        self.out = 0
        self.singly = max(0, self.singly - 1)
        self.note(move)

    def skip(self) -> None:
        """The next event is not for this processor."""
        self.at += 1
        self.passed += 1
        self.mark()

    def note(self, move: Move) -> None:
        """Have a commit carry this change, at the earliest when all that is done now is committed."""
        self.moves.append(Moved(move, size(move), self.cursor, self.count))
        self.mark()

    def take(self) -> tuple[bytes, int, Sequence[Any]]:
        """What the next commit says: cursor, count, and the changes that it carries. There may be more to follow."""
        total = 0
        for i, moved in enumerate(self.moves):
            total += moved.size
            if i and (i >= MOST or total > LARGEST):
                taken, self.moves = self.moves[:i], self.moves[i:]
                return taken[-1].cursor, taken[-1].count, [each.move for each in taken]
        taken, self.moves = self.moves, []
        self.dirty = False
        return self.cursor, self.count, [each.move for each in taken]

    def committed(self) -> None:
        """What `take` gave last is committed."""

    @property
    def is_crowded(self) -> bool:
        """Whether there are so many changes to commit that no more should come for now."""
        return len(self.moves) >= MOST or sum(moved.size for moved in self.moves) >= LARGEST

    def mark(self) -> None:
        """Say that there is something to commit."""
        if not self.dirty:
            self.dirty = True
            self.on_dirty()


def before(one: str, other: str) -> bool:
    """Whether an entry's id ("ms-seq") is smaller than another."""
    return id_parts(one) < id_parts(other)


def id_parts(entry_id: str) -> tuple[int, int]:
    """An id's two numbers."""
    ms, _, seq = entry_id.partition("-")
    return int(ms), int(seq)
