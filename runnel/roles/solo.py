"""What a partition of actors does one by one, while its runners rest: events that may kill the worker, and parked ones.

Part of the partition actor, by which it is called.
"""

from collections.abc import Awaitable, Callable

from attrs import define

from runnel.entity.lane import Lane
from runnel.entity.performing import as_told
from runnel.handling.window import Window
from runnel.roles.admission import Admission
from runnel.roles.care import Care
from runnel.roles.failing import failed, goes_on
from runnel.roles.head import Head
from runnel.roles.lanes import Lanes
from runnel.roles.lease import Lease
from runnel.roles.parking import Replay
from runnel.roles.passing import Passing
from runnel.roles.runners import Runners


@define(eq=False)
class Solo:
    """Of one partition.

    Args:
        wait: Lets seconds pass, and raises `ActorStopping` when the partition is to stop.
        more: Waits for more events in hand; raises `ActorStopping`, too.
    """

    lease: Lease
    window: Window
    lanes: Lanes
    admission: Admission
    passing: Passing
    care: Care
    head: Head
    runners: Runners
    wait: Callable[[float], Awaitable[None]]
    more: Callable[[], Awaitable[None]]

    async def treat_culprit(self) -> None:
        """Pass over the event that has killed earlier owners.

        Raises:
            EventFailed: The policy is not to.
        """
        while self.care.is_ahead:
            await self.more()
        first = self.window.entries[self.window.at] if self.window.left else None
        if (error := await self.care.treat()) is not None:
            raise failed(self.lease, error) from error
        if first is not None and not (self.window.left and self.window.entries[self.window.at] is first):
            self.lanes.withdraw(first).holds -= 1

    async def run_carefully(self) -> None:
        """Run the next event, once all before it is committed: any may have been under way when an owner was lost."""
        await self.care.settle()
        self.head.attend()
        if self.head.failure is not None or self.lease.parking.is_full:
            return
        if not self.window.left:
            return await self.more()
        await self.care.step()
        entry = self.window.entries[self.window.at]
        lane = self.lanes.withdraw(entry)
        lane.at = entry
        if (error := await self._alone(lane)) is None:
            self.window.finish(entry)
            self.lanes.leave(lane)
        else:
            self.lanes.failed[entry[0]] = lane, error
            self.head.attend()

    async def replay(self, key: bytes) -> None:
        """Have parked events of a key run again.

        Raises:
            EventFailed: One has failed, and the policy is not to pass over it.
            StoreError: They cannot be read.
        """
        await self.passing.begin_replay(key)
        if (replay := self.lease.replay) is not None:
            if key not in self.lanes.by_key:
                await self.admission.make_lanes([key])
            while self.lease.replay is not None and replay.left and not self.window.closing:
                await self._replay_next(self.lanes.by_key[key], replay)
            if self.lease.replay is not None and not replay.left:
                self.passing.end_replay()
        self.lanes.free_all()

    async def _replay_next(self, lane: Lane, replay: Replay) -> None:
        if self.window.is_full:
            await self.care.settle()
        if self.lease.is_careful:
            await self.care.step()
        lane.at, replay.out = replay.entries[replay.at], 1
        error = await self._alone(lane)
        if error is None:
            replay.done(1)
        elif goes_on(self.passing.policy):
            self.passing.failed(1, error, lane.failures)
        else:
            raise failed(self.lease, error) from error
        lane.at, lane.failures = None, 0

    async def _alone(self, lane: Lane) -> Exception | None:
        """Have the event under way of this lane handled, and tried again: why it failed for good, if it has."""
        while (error := await self.runners.attempt(lane)) is not None:
            if (seconds := self.runners.tries_again(lane, error)) is None:
                return as_told(error)
            await self.wait(seconds)
        return None
