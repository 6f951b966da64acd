"""The lanes of a partition of actors: which keys are active, and which event comes next. Plain data.

Events wait in the log's order. One whose key is busy waits in its lane, so it never waits behind another key's; whoever is
free takes the oldest one that may run.
"""

from collections import deque
from collections.abc import Iterator

from attrs import define, field

from runnel.entity.context import Entry
from runnel.entity.lane import Lane
from runnel.roles import parking
from runnel.roles.parking import Parking
from runnel.stream import KEY


@define(eq=False)
class Lanes:
    """Of one partition.

    Attributes:
        parking: Events of keys that are parked do not run.
        by_key: All lanes.
        waiting: Events that have not come to their turn, with their lanes.
        freed: Lanes with events that have, and may run now.
        failed: The ids of events that have failed for good, and why, until they are the first of all.
    """

    parking: Parking
    by_key: dict[bytes, Lane] = field(factory=dict)
    waiting: deque[tuple[Lane, Entry]] = field(factory=deque)
    freed: deque[Lane] = field(factory=deque)
    failed: dict[bytes, tuple[Lane, Exception]] = field(factory=dict)

    def of(self, entry: Entry) -> Lane:
        """The lane of an event in hand."""
        return self.by_key[key_of(entry[1])]

    # ── turns ──

    def next(self) -> Lane | None:
        """A lane whose next event may run; it is under way now. None: there is none."""
        while self.freed:
            lane = self.freed.popleft()
            if self.follow(lane):
                return lane
        parked = self.parking.keys
        while self.waiting:
            lane, entry = self.waiting.popleft()
            if lane.at is not None or lane.waiting or (parked and lane.key in parked):
                lane.waiting.append(entry)
            else:
                lane.at = entry
                return lane
        return None

    def follow(self, lane: Lane) -> bool:
        """Have the next event of this lane under way, if there is one that may run."""
        if lane.at is not None or not lane.waiting or lane.key in self.parking.keys:
            return False
        lane.at = lane.waiting.popleft()
        return True

    def leave(self, lane: Lane) -> None:
        """The event under way is done, or has left the log."""
        lane.at = None
        lane.failures = 0
        lane.holds -= 1
        if lane.waiting:
            self.freed.append(lane)

    def again(self, lane: Lane) -> None:
        """The event under way comes to its turn once more."""
        assert lane.at is not None
        lane.waiting.appendleft(lane.at)
        lane.at = None
        self.freed.append(lane)

    def free_all(self) -> None:
        """Keys may be parked no more."""
        self.freed.extend(lane for lane in self.by_key.values() if lane.waiting and lane.at is None)

    def withdraw(self, entry: Entry) -> Lane:
        """Take the first event of all in hand, which is not under way, out of turn."""
        lane = self.of(entry)
        if self.waiting and self.waiting[0][1] is entry:
            self.waiting.popleft()
        else:
            first = lane.waiting.popleft()
            assert first is entry
        return lane

    # ── which are active ──

    def idle_since(self, moment: float) -> list[Lane]:
        """Lanes without events, which had none since then either."""
        return [lane for lane in self.by_key.values() if lane.is_idle and lane.used <= moment]

    def beyond(self, most: int) -> list[Lane]:
        """If there are more lanes than this, those used least recently; some more, so that it need not be asked soon."""
        if len(self.by_key) <= most:
            return []
        idle = sorted((lane for lane in self.by_key.values() if lane.is_idle), key=lambda lane: lane.used)
        return idle[: len(self.by_key) - most + most // 10]

    def longest(self, most: int) -> Iterator[Lane]:
        """Some lanes that have most events in hand, for people."""
        busy = sorted((lane for lane in self.by_key.values() if lane.holds), key=lambda lane: -lane.holds)
        return iter(busy[:most])


def key_of(fields: list[bytes]) -> bytes:
    """An entry's key, which `send` puts second."""
    return fields[3] if len(fields) > 3 and fields[2] == KEY else parking.key_of(fields)
