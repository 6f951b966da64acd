"""The first event in hand of a partition of actors: whatever leaves the log without being done leaves it from here.

Actors handle events out of the log's order, but one that failed for good, or whose key is parked, waits here until all before
it are done. So the policy decides about events in the log's order, and events of a key are parked in it.
"""

from attrs import define

from runnel.entity.context import Entry
from runnel.entity.lane import Lane
from runnel.entity.messages import asks, refusal
from runnel.errors import KeyParked
from runnel.handling.window import Window
from runnel.roles.failing import failed, goes_on
from runnel.roles.lanes import Lanes, key_of
from runnel.roles.lease import Lease
from runnel.roles.passing import Passing


@define(eq=False)
class Head:
    """Of one partition.

    Attributes:
        failure: Why the partition fails, since its policy is not to pass over anything.
    """

    lease: Lease
    window: Window
    lanes: Lanes
    passing: Passing
    failure: Exception | None = None

    def attend(self) -> None:
        """Do what is to be done about the first events, until one is under way, or may run."""
        while self._has_first and self._passes(self.window.entries[self.window.at]):
            pass

    @property
    def _has_first(self) -> bool:
        window = self.window
        return window.left > 0 and not window.is_full and self.failure is None and self.lease.replay is None

    def _passes(self, entry: Entry) -> bool:
        """Whether it has left the log now."""
        if entry[0] in self.lanes.failed:
            return self._decide(*self.lanes.failed.pop(entry[0]))
        if key_of(entry[1]) not in self.lanes.parking.keys or self.lanes.of(entry).at is entry:
            return False
        return self._park(entry)

    def _decide(self, lane: Lane, error: Exception) -> bool:
        """What becomes of an event that failed for good."""
        self.window.out = 1
        if not goes_on(self.passing.policy):
            self.failure = failed(self.lease, error)
            self.failure.__cause__ = error
            return False
        if not self.passing.failed(1, error, lane.failures):
            self.window.out = 0
            self._keep(lane)
            return False
        self.lanes.leave(lane)
        return True

    def _keep(self, lane: Lane) -> None:
        """It runs again. So do others that have failed meanwhile, if it stays since nearly all fails."""
        self.lanes.again(lane)
        for xid, (other, error) in [*self.lanes.failed.items()]:
            if self.passing.gate.keeps_on(self.lease, error):
                del self.lanes.failed[xid]
                self.lanes.again(other)

    def _park(self, entry: Entry) -> bool:
        if asks(entry[1]):  # nobody would wait for that long
            key = key_of(entry[1]).decode(errors="replace")
            self.window.add([refusal(entry[1], KeyParked(f"key {key!r} is parked: its actor handles nothing for now"))])
            self.lanes.withdraw(entry).holds -= 1
            self.window.finish(entry)
            return True
        if not self.passing.room():
            return False
        self.lanes.withdraw(entry).holds -= 1
        self.window.leave(self.lanes.parking.park(entry))  # type: ignore[arg-type]
        return True
