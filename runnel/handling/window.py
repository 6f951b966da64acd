"""Where a partition of actors stands: as a `Position`, but events of different keys may be done out of the log's order.

Those that are done above the cursor are marked. Cursor, marks, states and all else that the events did go into one commit, and
always all of it: a state covers every event of its key that is done, so it must not be committed without one of them.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from attrs import define, field

from runnel.handling.position import Position, id_parts
from runnel.store import acts
from runnel.store.acts import Answer
from runnel.store.moves import LARGEST, Move, size

MOST = 500
"""States, or other changes, that are to be committed when no further event may begin: one commit carries them all."""

LIGHT = LARGEST // MOST
"""Bytes of a state that is not weighed."""

WIDEST = 1_024
"""How many events are in hand at most: so many may be marked."""

Effect = Move | Answer


@define(eq=False)
class Latest:
    """The last values of some keys that the server may not have yet: to be committed, or on their way."""

    fresh: dict[bytes, bytes | None] = field(factory=dict)
    travelling: dict[bytes, bytes | None] = field(factory=dict)

    def knows(self, key: bytes) -> bool:
        """Whether there is such a value; None is one, too."""
        return key in self.fresh or key in self.travelling

    def of(self, key: bytes) -> bytes | None:
        """The value of a key that it knows."""
        return self.fresh[key] if key in self.fresh else self.travelling[key]

    def take(self) -> dict[bytes, bytes | None]:
        """What the next commit says. It takes up everything, so the one before is answered, and the server has its values."""
        self.fresh, self.travelling = {}, self.fresh
        return self.travelling


@define(eq=False, kw_only=True)
class Window(Position):
    """The entries that a partition of actors has in hand.

    Attributes:
        above: The ids of events that are done, but not all before them.
        states: What actors remember.
        reminders: What they are to be reminded of, as JSON.
        is_full: Whether there is as much to commit as one commit carries: no further event should begin.
        knows_marks: Whether it was told what earlier owners have done above the cursor.
        on_taken: Called when a commit has taken up what was to be committed.
        on_emitted: Called when events that were emitted are in the outbox.
        on_awaited: Called when somebody waits for what is to be committed.
    """

    above: set[bytes] = field(factory=set)
    states: Latest = field(factory=Latest)
    reminders: Latest = field(factory=Latest)
    is_full: bool = False
    knows_marks: bool = False
    on_taken: Callable[[], None] = lambda: None
    on_emitted: Callable[[], None] = lambda: None
    on_awaited: Callable[[], None] = lambda: None
    _unmarked: dict[bytes, None] = field(factory=dict)
    """Those of `above` that no commit has marked."""
    _marked: set[bytes] = field(factory=set)
    """Those that one has."""
    _below: list[bytes] = field(factory=list)
    """Ids that are marked, and not above the cursor any more."""
    _expected: deque[bytes] = field(factory=deque)
    """Those of `above` that are not in hand, in the log's order: to be read again, unless they have left the log."""
    _effects: list[Effect] = field(factory=list)
    _weight: int = 0
    _emits: bool = False
    _emits_travel: bool = False
    _awaited: bool = False

    def load_marks(self, ids: Sequence[bytes]) -> None:
        """These were done before, by an earlier owner."""
        self.knows_marks = True
        self.above.update(ids)
        self._marked.update(ids)
        self._expect()

    def forget(self) -> None:
        super().forget()
        self._expect()

    def _expect(self) -> None:
        self._expected = deque(sorted(self.above, key=lambda xid: id_parts(xid.decode())))

    def _prune(self) -> None:
        """Drop what the cursor has passed without meeting it: it would stay for ever."""
        passed = id_parts(self.cursor.decode())
        while self._expected and id_parts(self._expected[0].decode()) <= passed:
            if (xid := self._expected.popleft()) in self.above:
                self.above.remove(xid)
                self._pass(xid)

    # ── what is done ──

    def finish(self, entry: Sequence[Any]) -> None:
        """This event in hand is done: called for each, and so quick."""
        if self.entries[at := self.at] is entry:
            self.at = at + 1
            if self.above:
                self.catch_up()
        else:
            self.above.add(entry[0])
            self._unmarked[entry[0]] = None
        if not self.dirty:
            self.dirty = True
            self.on_dirty()

    def catch_up(self) -> None:
        """Pass the next events, as far as they are done."""
        entries, above = self.entries, self.above
        while self.at < len(entries) and (xid := entries[self.at][0]) in above:
            above.remove(xid)
            self.at += 1
            self._pass(xid)

    def _pass(self, xid: bytes) -> None:
        """The cursor is above this one now."""
        if xid in self._marked:
            self._marked.remove(xid)
            self._below.append(xid)
            self.mark()
        else:
            del self._unmarked[xid]

    def take_in(self, entries: list[tuple[bytes, list[bytes]]]) -> None:
        super().take_in(entries)
        self.catch_up()

    def set_aside(self) -> list[tuple[bytes, list[bytes]]]:
        return []  # each event waits in its key's lane

    def done(self, events: int) -> None:
        super().done(events)
        self.catch_up()

    def leave(self, move: Move) -> None:
        super().leave(move)
        self.catch_up()

    # ── what they did ──

    def save(self, key: bytes, state: bytes | None) -> None:
        """What the key's actor remembers from now on; None: nothing."""
        fresh = self.states.fresh
        if state is not None and len(state) > LIGHT:  # as many as may be there are within bounds, else
            before = len(fresh.get(key) or b"")  # which it replaces
            self._weigh(len(state) - (before if before > LIGHT else 0))
        fresh[key] = state
        if len(fresh) >= MOST:
            self.is_full = True

    def pend(self, key: bytes, reminders: bytes | None) -> None:
        """What the key's actor is to be reminded of from now on, as JSON; None: of nothing."""
        self.reminders.fresh[key] = reminders
        self._weigh(len(reminders or b""))

    def add(self, effects: Sequence[Effect], *, emits: bool = False) -> None:
        """What an event that is done now did beside it."""
        self._effects += effects
        self._emits = self._emits or emits
        self._weigh(sum(_size(effect) for effect in effects))
        if not self._awaited and any(isinstance(effect, Answer) for effect in effects):
            self._awaited = self.dirty = True
            self.on_awaited()

    def note(self, move: Move) -> None:
        self._effects.append(move)
        self._weigh(size(move))
        self.mark()

    def _weigh(self, size: int) -> None:
        self._weight += size
        if self._weight >= LARGEST or len(self._effects) >= MOST:
            self.is_full = True

    @property
    def is_crowded(self) -> bool:
        return self.is_full

    # ── commits ──

    def take(self) -> tuple[bytes, int, Sequence[Effect]]:
        if self._expected:
            self._prune()
        reminders = self.reminders.take().items()
        carried: list[Effect] = [
            *acts.save(self.states.take()),
            *(acts.remind(key, pending or b"") for key, pending in reminders),
            *self._effects,
            *acts.mark([*self._unmarked]),
            *acts.unmark(self._below),
        ]
        self._marked.update(self._unmarked)
        self._unmarked, self._below = {}, []
        self._effects, self._weight, self.is_full = [], 0, False
        self._emits, self._emits_travel = False, self._emits
        self.dirty = self._awaited = False
        taken = self.cursor, self.count, carried  # before anything more leaves the log
        self.on_taken()
        return taken

    def committed(self) -> None:
        if self._emits_travel:
            self.on_emitted()


def _size(effect: Effect) -> int:
    return sum(map(len, effect.fields if isinstance(effect, Answer) else effect.args))
