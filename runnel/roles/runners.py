"""Runners: they have the lanes of a partition of actors handle their events, up to `key_concurrency` keys at once.

A runner is a task that takes the oldest event that may run, has it handled, and takes the next. Only when its handler waits for
something does the next runner begin; so handlers that do not wait cost no task, and no turn of the event loop, each.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Coroutine
from typing import Any

from attrs import define, field

from runnel.clock import Clock, Timer
from runnel.entity.declaration import Entity
from runnel.entity.lane import Lane
from runnel.entity.messages import asks, refusal
from runnel.entity.performing import Performer, Undecodable, as_told, nothing
from runnel.errors import RecordError
from runnel.handling.alarm import Alarm
from runnel.handling.breath import BREATH, breathe
from runnel.handling.retry import pause
from runnel.handling.window import Window
from runnel.roles.failing import reason, tell_again
from runnel.roles.gate import Gate
from runnel.roles.head import Head
from runnel.roles.lanes import Lanes
from runnel.roles.lease import Lease
from runnel.stream import TO

log = logging.getLogger(__name__)


@define(eq=False)
class Runners:
    """Those of one partition, for one incarnation of its actor.

    Args:
        lease: The term.
        window: The partition's.
        lanes: What is to run.
        performer: Has it handled.
        head: Looks after the first event.
        gate: Whether the processor runs at all.
        clock: The clock.
        begin: Has a runner run in the background.
        call: Called when the partition may have something else to do.

    Attributes:
        may_run: Whether events may begin.
        running: How many handlers run.
        retries: How often an event was tried again.
    """

    lease: Lease
    window: Window
    lanes: Lanes
    performer: Performer
    head: Head
    gate: Gate
    clock: Clock
    begin: Callable[[Coroutine[Any, Any, None]], None]
    call: Callable[[], None]
    may_run: bool = False
    running: int = 0
    retries: int = 0
    _begun: int = 0
    """How many runners there are."""
    _resting: list["asyncio.Future[None]"] = field(factory=list)
    _silence: "asyncio.Future[None] | None" = None
    _is_scouting: bool = False
    _due: float = 0.0
    """When the event loop gets a turn. For all runners together, or it would wait for each."""
    _timers: dict[Lane, Timer] = field(factory=dict)
    _has_breaker: bool = False

    def __attrs_post_init__(self) -> None:
        self._has_breaker = self.gate.circuit is not None

    # ── from outside ──

    def go_on(self) -> None:
        """Events may begin."""
        self.may_run = True
        self.wake()

    async def quiet(self, within: float | None = None) -> None:
        """Let no event begin, and wait until no handler runs, or for so many seconds."""
        self.may_run = False
        if not self.running:
            return
        silence = self._silence = asyncio.get_running_loop().create_future()
        timer = None if within is None else self.clock.call_later(within, self._end_silence)
        try:
            await silence
        finally:
            if timer is not None:
                timer.cancel()

    def wake(self) -> None:
        """There may be something to run."""
        if not self.may_run or not (self.lanes.waiting or self.lanes.freed):
            return
        if self._resting:
            self._resting.pop().set_result(None)
        elif self._begun < self._limit:
            self._begun += 1
            self.begin(self._serve())

    def end(self) -> None:
        """No event begins any more, nor is one tried again: commits may wake them until the next incarnation is there."""
        self.may_run = False
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def retries_later(self, lane: Lane) -> bool:
        """Whether its event has failed, and waits to be tried again."""
        return lane in self._timers

    async def attempt(self, lane: Lane) -> Exception | None:
        """Have the event under way of this lane handled: what it has failed with, if it has; its actor is gone then.

        An ask does not fail: whatever comes of it is its answer.
        """
        assert lane.at is not None
        limit = self.lease.processor.interrupted_after
        alarm = None if limit is None else Alarm(self.clock, limit)
        failure: Exception | None = None
        try:
            if alarm is not None:
                alarm.begin()
            ended = nothing if alarm is None else alarm.pause
            await self.performer.perform(lane, lane.at, ended)
            ended()
        except BaseException as error:
            failure = reason(error, alarm)
            lane.failures += 1
            await self._retire(lane, failure)
            if self._answers(lane, failure):
                return None
        return failure

    def tries_again(self, lane: Lane, failure: Exception) -> float | None:
        """Seconds until a failed event is tried again; None: it has failed for good. Says so."""
        if isinstance(failure, Undecodable):
            return None
        seconds = pause(self.lease.processor.options.retry, failure, lane.failures, random.random())
        if seconds is not None and lane.at is not None:
            self.retries += 1
            tell_again(self.lease, failure, lane.failures, seconds, lane.at)
        return seconds

    # ── a runner ──

    async def _serve(self) -> None:
        lanes, window, performer, now = self.lanes, self.window, self.performer, self.clock.monotonic
        waiting, freed, failed, parked = lanes.waiting, lanes.freed, lanes.failed, lanes.parking
        perform, keep, decode = performer.perform, performer.keep, performer.decode
        receive, has_state = self._entity.receive, self._entity.state is not None
        is_async = self._entity.is_async and self.lease.processor.stream.app.tracing is None  # `perform` makes spans
        limit, is_plain = self.lease.processor.interrupted_after, not self._has_breaker
        alarm: Alarm | None = None
        events, began = 0, (before := (moment := now()))
        while True:
            if is_plain and waiting and not freed and self.may_run and not (window.is_full or window.closing or parked.keys):
                lane, entry = waiting.popleft()  # `_next`, for nearly every event
                if lane.at is not None or lane.waiting:
                    lane.put(entry)
                    continue
                lane.at = entry
                if waiting and not self._is_scouting:
                    self._send_scout()
            elif (next_lane := self._next()) is not None:
                lane, entry = next_lane, next_lane.at  # type: ignore[assignment]
            else:
                window.durations.add_run(events, began, before, moment)
                await self._rest()
                events, began = 0, (moment := now())
                continue
            self.running += 1  # what follows is as in `attempt`, but it is paid for each event
            if limit is not None:
                if alarm is None or alarm.rang:
                    alarm = Alarm(self.clock, limit)
                alarm.begin()
            try:
                if is_async and (actor := lane.actor) is not None and (fields := entry[1])[0] != TO:  # as `perform` does
                    actor._entry = entry
                    if lane.failures:
                        actor._attempt = lane.failures + 1
                    try:
                        record = decode(fields)
                    except RecordError as error:
                        raise Undecodable(str(error)) from error
                    await receive(actor, record)
                    if alarm is not None:
                        alarm.pause()  # before `keep`: one that was interrupted, and swallowed that, leaves no trace
                    if has_state or actor._turn is not None:
                        keep(lane, actor)
                else:
                    await perform(lane, entry, nothing if alarm is None else alarm.pause)
                    if alarm is not None:
                        alarm.pause()
            except BaseException as error:
                await self._failed(lane, reason(error, alarm))
            else:
                window.finish(entry)
                lane.at = None  # `lanes.leave`
                lane.holds -= 1
                if lane.failures:
                    lane.failures = 0
                    if lane.actor is not None:
                        lane.actor._attempt = 1
                if lane.waiting:
                    freed.append(lane)
                if failed or parked.keys:
                    self.attend()
            self.running -= 1
            if self._silence is not None and not self.running:
                self._end_silence()
            events += 1
            before, moment = moment, now()
            if moment >= self._due:
                window.durations.add_run(events, began, before, moment)
                await self._breathe()
                events, began = 0, (moment := now())

    def _next(self) -> Lane | None:
        """The lane that is to run next, if one may."""
        if not self.may_run or self.window.is_full or self.window.closing or self.lanes.parking.is_full:
            return None
        if self._has_breaker and self.gate.state != "closed" and (self.running or self.gate.holds(self.lease)):
            return None
        if (lane := self.lanes.next()) is None:
            return None
        if not self._is_scouting and (self.lanes.waiting or self.lanes.freed):
            self._send_scout()
        return lane

    def _send_scout(self) -> None:
        if self._limit > 1:
            self._is_scouting = True
            asyncio.get_running_loop().call_soon(self._scout)

    def _scout(self) -> None:
        """If handlers wait for something by now, have further runners begin."""
        self._is_scouting = False
        for _ in range(min(self.running, self._limit - self.running)):
            self.wake()

    @property
    def _limit(self) -> int:
        return self._entity.options.key_concurrency

    @property
    def _entity(self) -> Entity:
        return self.performer.entity

    async def _rest(self) -> None:
        self.call()
        awake: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._resting.append(awake)
        await awake

    async def _breathe(self) -> None:
        self._due = 0.0  # whoever runs in this turn of the loop gives way after one event, too
        self.call()
        await breathe(0.0)
        self._due = self.clock.monotonic() + BREATH

    def _end_silence(self) -> None:
        if self._silence is not None and not self._silence.done():
            self._silence.set_result(None)
        self._silence = None

    # ── failures ──

    async def _failed(self, lane: Lane, failure: Exception) -> None:
        assert lane.at is not None
        lane.failures += 1
        await self._retire(lane, failure)
        if self._answers(lane, failure):
            self.window.finish(lane.at)
            self.lanes.leave(lane)
        elif (seconds := self.tries_again(lane, failure)) is not None:
            self._timers[lane] = self.clock.call_later(seconds, lambda: self._again(lane))
        elif self.gate.state != "closed" and self.gate.keeps(self.lease, lane.key, failure):
            self.lanes.again(lane)  # first or not: what fails now says nothing about it
        else:
            self.lanes.failed[lane.at[0]] = lane, as_told(failure)
        self.attend()

    def attend(self) -> None:
        """The partition hears at once of what came of it: this runner may next have a handler that takes for ever."""
        self.head.attend()
        self.call()

    async def _retire(self, lane: Lane, failure: Exception) -> None:
        """Its actor goes. First its thread must have ended, if it runs in one: the key is handled by one at a time."""
        if (thread := lane.thread) is not None and not thread.done():
            entry = self.lease.event_id(b"" if lane.at is None else lane.at[0])
            late = "an event takes longer than its timeout: a thread is not interrupted, it fails when it returns"
            log.warning(late, extra={**self.lease.log_fields, "entry": entry})
            await asyncio.wrap_future(thread)
        await self.performer.restart(lane, failure)

    def _answers(self, lane: Lane, failure: Exception) -> bool:
        """Whether somebody has asked: then they are told, and the message is done, since it has changed nothing."""
        if lane.at is None or not asks(lane.at[1]):
            return False
        self.window.add([refusal(lane.at[1], failure)])
        return True

    def _again(self, lane: Lane) -> None:
        del self._timers[lane]
        self.lanes.again(lane)
        self.wake()
