"""What an owner knows of its partition's parked events, and how it runs those of a released key again.

Plain data, of one term of ownership: it begins with what `acquire` answered. An event that is parked leaves the log for good; a
released one is run from where it is parked, and leaves that in the commit that marks it done. Nothing is ever appended to the
log again: its newer events would come first.
"""

from collections.abc import Sequence
from math import inf

from attrs import define, evolve, field, frozen

from runnel.handling.failed import behind, field_of, restored
from runnel.handling.position import Position
from runnel.store.link import Link
from runnel.store.moves import Hold, Move, Park, Unpark
from runnel.store.scripts import ParkedNow, Tries
from runnel.stream import KEY, TO

PAGE = 500
"""Parked events that are read at a time."""

CHUNK = 256
"""Released events that are held in memory at a time."""

Entry = tuple[bytes, list[bytes]]


def key_of(fields: list[bytes]) -> bytes:
    """An entry's key; what was put into the log without one has the empty key."""
    return field_of(fields, KEY) or b""


@frozen
class Waiting:
    """How often the first event of a parked key was tried again, and when it is next, by this worker's monotonic clock."""

    tried: int
    due: float


@define(eq=False)
class Parking:
    """The parked events of a partition.

    Attributes:
        keys: The keys that are parked: newer events of theirs must be parked too.
        released: Those of them that an operator has run again.
        woken: The one of them that runs again by itself.
        events: How many events are parked.
        operated: How often operators have changed them, as far as is known.
        is_full: Whether an event waits for room.
    """

    keys: dict[bytes, Waiting] = field(factory=dict)
    released: set[bytes] = field(factory=set)
    woken: bytes | None = None
    events: int = 0
    operated: int = 0
    is_full: bool = False

    def know(self, now: ParkedNow, moment: float) -> None:
        """This is what the server held at that moment of the monotonic clock, and nothing is under way."""
        at_once = Tries(tried=0, due=now.now)  # its owner did not come to note when it is next
        tries = {key: now.tries.get(key, at_once) for key in now.keys}
        left = {key: inf if each.due is None else each.due - now.now for key, each in tries.items()}
        self.keys = {key: Waiting(each.tried, moment + left[key]) for key, each in tries.items()}
        self.released, self.woken = set(now.released), None
        self.events, self.operated = now.events, now.operated

    @property
    def next_key(self) -> bytes | None:
        """The key that is to run again first, if one is."""
        return min(self.released) if self.released else self.woken

    def wake(self, moment: float) -> None:
        """Have the key run again that is due, the longest first."""
        if self.woken is None and self.keys:
            key = min(self.keys, key=lambda key: self.keys[key].due)
            self.woken = key if self.keys[key].due <= moment else None

    def run_of(self, entries: Sequence[Entry], *, parked: bool) -> int:
        """How many entries at the beginning have keys that are parked, or that are not."""
        keys = self.keys
        for i, (_, fields) in enumerate(entries):
            # Every event passes here while a key is parked: where `send` puts the key of most there is no call.
            key = fields[3] if len(fields) > 2 and fields[2] == KEY else key_of(fields)
            if (key in keys) is not parked or fields[0] == TO:
                return i
        return len(entries)

    def park(self, entry: Entry, fields: list[bytes] | None = None) -> Park:
        """Take note that an event is parked, with these fields: it failed. Without: it lies behind one that did."""
        key = key_of(entry[1])
        self.keys.setdefault(key, Waiting(0, inf))
        self.events += 1
        return Park(key, behind(*entry) if fields is None else fields)

    def free(self, key: bytes) -> None:
        """No event of this key is parked any more."""
        self.keys.pop(key, None)
        self.rest(key)

    def rest(self, key: bytes) -> None:
        """This key does not run again for now."""
        self.released.discard(key)
        if self.woken == key:
            self.woken = None

    def tried(self, key: bytes) -> int:
        """How often the first event of this key was tried again."""
        return self.keys[key].tried if key in self.keys else 0

    def again(self, key: bytes, tried: int) -> None:
        """Take note that it was tried again so often."""
        if key in self.keys:
            self.keys[key] = evolve(self.keys[key], tried=tried)

    def hold(self, key: bytes, tried: int, wait: float | None, moment: float) -> Hold:
        """Take note that this key, tried again so often, is next in so many seconds, or not by itself."""
        self.keys[key] = Waiting(tried, inf if wait is None else moment + wait)
        return Hold(key, self.operated, tried, wait)


@define(eq=False, kw_only=True)
class Replay(Position):
    """Parked events of a released key, in hand like events of the log. What is done of them goes into commits of the partition.

    Attributes:
        main: The partition's position in the log, which stands still meanwhile.
        key: Whose events.
        ids: Where they are parked.
        told: How many of those that are done the partition knows of.
        progress: What a commit carries, too, once the first one is done.
    """

    main: Position
    key: bytes
    ids: list[bytes]
    told: int = 0
    progress: Move | None = None

    def note(self, move: Move) -> None:
        self.main.note(move)
        self.mark()

    def mark(self) -> None:  # called for each event, since `dirty` stays as it is
        while self.told < self.at:
            self.main.note(Unpark(self.key, self.ids[self.told]))
            self.told += 1
            if self.progress is not None:
                self.main.note(self.progress)
                self.progress = None


async def key_with(link: Link, parked: bytes, event: bytes) -> bytes | None:
    """The key of the parked event that has this id in the log; None: it is not parked.

    Raises:
        StoreError: The server cannot be reached, or refuses.
    """
    after = b"-"
    while page := await link.command("XRANGE", parked, after, "+", "COUNT", PAGE):
        for _, fields in page:
            xid, own, _ = restored(fields)
            if xid == event:
                return key_of(own)
        after = b"(" + page[-1][0]
    return None


async def load(link: Link, parked: bytes, key: bytes, main: Position, most: int = CHUNK) -> Replay | None:
    """The first parked events of a key, at most so many; None: there are none.

    Raises:
        StoreError: The server cannot be reached, or refuses.
    """
    ids: list[bytes] = []
    entries: list[Entry] = []
    after = b"-"
    while len(ids) < most:
        page = await link.command("XRANGE", parked, after, "+", "COUNT", PAGE)
        for parked_id, fields in page:
            xid, own, _ = restored(fields)
            if key_of(own) == key and len(ids) < most:
                ids.append(parked_id)
                entries.append((xid, own))
        if len(page) < PAGE:
            break
        after = b"(" + page[-1][0]
    if not ids:
        return None
    return Replay(cursor=b"0-0", count=0, entries=entries, main=main, key=key, ids=ids, durations=main.durations)
