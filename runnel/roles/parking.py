"""What an owner knows of its partition's parked events, and how it runs those of a released key again.

Plain data, of one term of ownership: it begins with what `acquire` answered. An event that is parked leaves the log for good; a
released one is run from where it is parked, and leaves that in the commit that marks it done. Nothing is ever appended to the
log again: its newer events would come first.
"""

from collections.abc import Sequence

from attrs import define, field

from runnel.failed import behind, field_of, restored
from runnel.position import Position
from runnel.store.link import Link
from runnel.store.moves import Move, Park, Unpark
from runnel.store.scripts import ParkedNow
from runnel.stream import KEY

PAGE = 500
"""Parked events that are read at a time."""

CHUNK = 256
"""Released events that are held in memory at a time."""

SENT = [KEY]

Entry = tuple[bytes, list[bytes]]


def key_of(fields: list[bytes]) -> bytes:
    """An entry's key; what was put into the log without one has the empty key."""
    return field_of(fields, KEY) or b""


@define(eq=False)
class Parking:
    """The parked events of a partition.

    Attributes:
        keys: The keys that are parked: newer events of theirs must be parked too.
        released: Those of them that are to run again.
        events: How many events are parked.
        operated: How often operators have changed them, as far as is known.
        is_full: Whether an event waits for room.
    """

    keys: set[bytes] = field(factory=set)
    released: set[bytes] = field(factory=set)
    events: int = 0
    operated: int = 0
    is_full: bool = False

    def know(self, now: ParkedNow) -> None:
        """This is what the server holds, and nothing is under way."""
        self.keys, self.released = set(now.keys), set(now.released)
        self.events, self.operated = now.events, now.operated

    def run_of(self, entries: Sequence[Entry], *, parked: bool) -> int:
        """How many entries at the beginning have keys that are parked, or that are not."""
        keys = self.keys
        for i, (_, fields) in enumerate(entries):
            # Every event passes here while a key is parked: where `send` puts the key there is no call.
            key = fields[3] if fields[2:3] == SENT else key_of(fields)
            if (key in keys) is not parked:
                return i
        return len(entries)

    def park(self, entry: Entry, fields: list[bytes] | None = None) -> Park:
        """Take note that an event is parked, with these fields: it failed. Without: it lies behind one that did."""
        key = key_of(entry[1])
        self.keys.add(key)
        self.events += 1
        return Park(key, behind(*entry) if fields is None else fields)

    def free(self, key: bytes) -> None:
        """No event of this key is parked any more."""
        self.keys.discard(key)
        self.released.discard(key)


@define(eq=False, kw_only=True)
class Replay(Position):
    """Parked events of a released key, in hand like events of the log. What is done of them goes into commits of the partition.

    Attributes:
        main: The partition's position in the log, which stands still meanwhile.
        key: Whose events.
        ids: Where they are parked.
        told: How many of those that are done the partition knows of.
    """

    main: Position
    key: bytes
    ids: list[bytes]
    told: int = 0

    def note(self, move: Move) -> None:
        self.main.note(move)
        self.mark()

    def mark(self) -> None:  # called for each event, since `dirty` stays as it is
        while self.told < self.at:
            self.main.note(Unpark(self.key, self.ids[self.told]))
            self.told += 1


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
    return Replay(cursor=b"0-0", count=0, entries=entries, main=main, key=key, ids=ids) if ids else None
