"""What a partition of actors does one by one: events that may kill the worker, while its runners rest, and parked ones.

Part of the partition actor, by which it is called.
"""

from collections.abc import Awaitable, Callable

from attrs import define

from runnel.entity.context import Entry
from runnel.entity.lane import Lane
from runnel.entity.messages import asks, refusal
from runnel.entity.performing import as_told
from runnel.handling.window import Window
from runnel.roles.admission import Admission
from runnel.roles.care import TURN, Care
from runnel.roles.failing import failed, goes_on
from runnel.roles.head import Head
from runnel.roles.lanes import Lanes, key_of
from runnel.roles.lease import Lease
from runnel.roles.parking import Replay
from runnel.roles.passing import Passing
from runnel.roles.passivation import GOING
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
        if first is not None and first[0] == self.lease.culprit and asks(first[1]):
            return self._answer_culprit(first)
        if (error := await self.care.treat()) is not None:
            raise failed(self.lease, error) from error
        if first is not None and not (self.window.left and self.window.entries[self.window.at] is first):
            self.lanes.withdraw(first).holds -= 1

    def _answer_culprit(self, entry: Entry) -> None:
        """Whoever asked is told, whatever the policy: an ask that fails has changed nothing, and stops nothing."""
        self.window.add([refusal(entry[1], self.care.verdict())])
        self.lanes.withdraw(entry).holds -= 1
        self.window.finish(entry)
        self.lease.culprit = None

    async def run_carefully(self) -> None:
        """Run the next event, once all before it is committed: any may have been under way when an owner was lost."""
        await self.care.settle()
        self.head.attend()
        if self.head.failure is not None or self.lease.parking.is_full:
            return
        if not self.window.left:
            return await self.more()
        entry = self.window.entries[self.window.at]
        await self._wait_for_actor(key_of(entry[1]))
        await self.care.step()
        lane = self.lanes.withdraw(entry)
        lane.at = entry
        if (error := await self._alone(lane)) is None:
            self.window.finish(entry)
            self.lanes.leave(lane)
        else:
            self.lanes.failed[entry[0]] = lane, error
            self.head.attend()

    async def replay(self, key: bytes) -> None:
        """Have parked events of a key run again. Other keys go on meanwhile, with what is in hand.

        Raises:
            EventFailed: One has failed, and the policy is not to pass over it.
            StoreError: They cannot be read.
        """
        await self.passing.begin_replay(key)
        if (replay := self.lease.replay) is not None:
            lane = await self._lane(key)
            lane.holds += 1  # or it would be passivated in between
            self._let_others_run()
            while self.lease.replay is not None and replay.left and not self.window.closing:
                await self._replay_next(lane, replay)
            lane.holds -= 1
            if self.lease.replay is not None and not replay.left:
                self.passing.end_replay()
        self.lanes.free_all()
        self.head.attend()

    def _let_others_run(self) -> None:
        if self.runners.gate.state == "closed" and not self.lease.is_careful:
            self.runners.go_on()

    async def _lane(self, key: bytes) -> Lane:
        await self._wait_for_actor(key)
        if key not in self.lanes.by_key:
            await self.admission.make_lanes([key])
        return self.lanes.by_key[key]

    async def _wait_for_actor(self, key: bytes) -> None:
        """If it is just going: there is one at a time."""
        while (lane := self.lanes.by_key.get(key)) is not None and lane.at is GOING:
            await self.wait(TURN)

    async def _replay_next(self, lane: Lane, replay: Replay) -> None:
        if self.window.is_full:
            await self.runners.quiet()  # or there might always be more to commit
            await self.care.settle()
            self._let_others_run()
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
