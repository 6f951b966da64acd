"""One event of one key: from its entry, through the user's code, to what goes into the commit.

What an event does is collected, and noted in the partition's window at once when the handler is through; a handler that fails
leaves nothing. It moves nothing itself: its caller marks the event done in the same turn of the event loop.
"""

import asyncio
import logging
import math
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

import orjson
from attrs import define, field

from runnel.clock import Clock, DueTimes
from runnel.entity.context import Context, Entry, Place
from runnel.entity.declaration import Entity, Hook
from runnel.entity.lane import Lane
from runnel.entity.messages import REMINDER, Addressed, Message, Reminder, addressed
from runnel.entity.turn import Turn
from runnel.errors import RecordError
from runnel.handling.calling import call
from runnel.handling.event import Event
from runnel.handling.window import Effect, Window
from runnel.store import acts
from runnel.store.acts import Answer
from runnel.stream import HEADERS, KEY, TO
from runnel.timing.delayed import Due

log = logging.getLogger(__name__)


Ended = Callable[[], None]
Perform = Callable[[Lane, Entry, Ended], Coroutine[Any, Any, None]]


class Undecodable(RecordError):
    """The event cannot be decoded: it fails, and is not tried again. Raised from the error that says why."""


def as_told(error: Exception) -> Exception:
    """An error as people are told it: that an event cannot be decoded is no other error for actors than for others."""
    return error.__cause__ if isinstance(error, Undecodable) and isinstance(error.__cause__, Exception) else error


def nothing() -> None:
    """Where no alarm is set."""


@define(eq=False)
class Performer:
    """Has the actors of one partition handle their events.

    Args:
        entity: Their class, or function.
        place: Where they live.
        window: Of the partition.
        clock: The app's.
        due_times: How far they are ahead.
        server_ahead: By how many seconds the server's clock is ahead of the monotonic one, at most.
    """

    entity: Entity
    place: Place
    window: Window
    clock: Clock
    due_times: DueTimes
    server_ahead: float
    decode: Callable[[Any], Any] = field(init=False)
    perform: Perform = field(init=False)
    """Have an event handled, as `_perform` says; within a span, if the app makes any."""
    _dumps: Callable[[Any], bytes] | None = field(init=False, default=None)
    _initial: Callable[[], Any] = field(init=False, default=lambda: None)
    _first: bytes | None = field(init=False, default=None)
    """The initial state as it would be stored: a key that never had another one has none."""

    def __attrs_post_init__(self) -> None:
        self.decode = self.place.stream.codec.decode if self.entity.decodes else lambda fields: None
        self.perform = self._perform if self.place.stream.app.tracing is None else self._traced
        if (kind := self.entity.state) is not None:
            self._dumps, self._initial = kind.codec.dumps, kind.initial
            self._first = kind.codec.dumps(kind.initial())

    async def _traced(self, lane: Lane, entry: Entry, ended: Ended) -> None:
        place, tracing, (xid, fields) = self.place, self.place.stream.app.tracing, entry
        assert tracing is not None
        event = Event(place.stream, place.partition, place.processor, xid, fields, lane.failures + 1)
        kind = "event" if fields[0] != TO else "reminder" if REMINDER in fields[::2] else "message"
        finished = self.window.spans
        with tracing.processing(place.stream.name, place.processor, place.partition, event, finished, kind):
            await self._perform(lane, entry, ended)

    async def _perform(self, lane: Lane, entry: Entry, ended: Ended) -> None:
        """Have an event handled.

        Args:
            lane: Of its key.
            entry: The event, which is under way there.
            ended: Called when the handler has come back, before anything that it did is noted: raises, if it was interrupted.

        Raises:
            Undecodable: It does not decode.
            Exception: What the handler raised.
        """
        fields = entry[1]
        actor = lane.actor
        if actor is None:
            actor = await self._activate(lane, entry)
        else:
            actor._entry, actor._attempt = entry, lane.failures + 1
        if fields[0] == TO:
            return await self._perform_addressed(lane, actor, entry, ended)
        try:
            record = self.decode(fields)
        except RecordError as error:
            raise Undecodable(str(error)) from error
        if self.entity.is_async:
            await self.entity.receive(actor, record)
        else:
            await self._call(lane, self.entity.receive, actor, record)
        ended()
        self.keep(lane, actor)

    async def restart(self, lane: Lane, error: Exception) -> None:
        """The event under way has failed: its actor goes, and the next one finds the state of before."""
        if self.entity.on_restart is not None:
            await self._retire(lane, self.entity.on_restart, error)
        else:
            await self._retire(lane, self.entity.on_stop)  # as the docstring of `on_restart` says

    async def passivate(self, lane: Lane) -> None:
        """The actor goes in order."""
        await self._retire(lane, self.entity.on_stop)

    # ── instances ──

    async def _activate(self, lane: Lane, entry: Entry) -> Context:
        entity = self.entity
        actor = entity.make()
        actor._place, actor._key = self.place, lane.key
        actor._entry, actor._attempt, actor._turn = entry, lane.failures + 1, None
        if entity.state is not None:
            actor._state = entity.state.load(lane.state)  # type: ignore[attr-defined]
        if entity.on_start is not None:
            await self._call(lane, entity.on_start, actor)
        lane.actor = actor
        return actor

    async def _retire(self, lane: Lane, hook: Hook | None, *args: Any) -> None:
        actor, lane.actor = lane.actor, None
        if actor is None or hook is None:
            return
        try:
            await self._call(lane, hook, actor, *args)
        except (Exception, asyncio.CancelledError) as error:
            task = asyncio.current_task()
            if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
                raise  # it is meant for the task
            fields = {**self.place.log_fields, "key": actor.key, "hook": hook.__name__}
            log.warning("hook of an actor failed", extra=fields, exc_info=error)

    async def _call(self, lane: Lane, function: Hook, *args: Any) -> Any:
        """Call it: in a thread, unless it is `async def`."""
        place = self.place
        return await call(partial(function, *args), f"{place.processor}/{place.partition}", partial(setattr, lane, "thread"))

    # ── what it did ──

    def keep(self, lane: Lane, actor: Context, answer: Answer | None = None) -> None:
        """Note what the event did; nothing, if any of it cannot be stored."""
        stored = lane.state
        if self._dumps is not None:
            if (state := actor._state) is not None:  # type: ignore[attr-defined]
                stored = self._dumps(state)
                if lane.state is None and stored == self._first:
                    stored = None
            else:
                stored, actor._state = None, self._initial()  # type: ignore[attr-defined]
        if actor._turn is not None or answer is not None:
            turn, actor._turn = actor._turn, None
            self._keep_turn(lane, turn or Turn(), () if answer is None else (answer,))
        if stored != lane.state:  # last, since all above may fail
            lane.state = stored
            self.window.save(lane.key, stored)

    def _keep_turn(self, lane: Lane, turn: Turn, answers: tuple[Effect, ...]) -> None:
        effects: list[Effect] = [*map(acts.emit, turn.emitted), *answers]
        pending = dict(lane.reminders)
        for name, due in turn.reminders.items():
            if due is not None:
                pending[name] = self._moment(due)
                effects.append(self._reminder(lane.key, name, pending[name]))
            elif pending.pop(name, None) is not None:
                effects.append(acts.unwake(self.place.processor, lane.key, name))
        if pending != lane.reminders:
            self.window.pend(lane.key, orjson.dumps(pending) if pending else None)
            lane.reminders = pending
        self.window.add(effects, emits=bool(turn.emitted))

    def _reminder(self, key: bytes, name: str, due: int) -> Effect:
        processor = self.place.processor
        fields = (TO, processor.encode(), KEY, key, b"~reminder", name.encode(), b"~due", b"%d" % due)
        tracing = self.place.stream.app.tracing
        if tracing is not None and (headers := tracing.carried(None)):
            return acts.wake(processor, key, name, due, (*fields, HEADERS, orjson.dumps(headers)))
        return acts.wake(processor, key, name, due, fields)

    def _moment(self, due: Due) -> int:
        """In ms, by the server's clock; never too early."""
        seconds = due.at if due.after is None else self._server_now + self.due_times.ahead + due.after
        assert seconds is not None
        return math.ceil(seconds * 1000)

    @property
    def _server_now(self) -> float:
        return self.clock.monotonic() + self.server_ahead

    # ── reminders and messages ──

    async def _perform_addressed(self, lane: Lane, actor: Context, entry: Entry, ended: Ended) -> None:
        try:
            found: Addressed = addressed(entry[1], self.entity.methods)
        except RecordError as error:
            raise Undecodable(str(error)) from error
        if isinstance(found, Message) and found.asker is not None:
            if not self._is_late(entry[0], found.within):
                await self._answer(lane, actor, found, ended)
            return
        if isinstance(found, Message):
            await self._call(lane, found.method.function, actor, found.value)
        else:
            await self._remind(lane, actor, found)
        ended()
        self.keep(lane, actor)

    async def _remind(self, lane: Lane, actor: Context, reminder: Reminder) -> None:
        """Call it, unless it was cancelled, or set anew, since it went into the log."""
        if lane.reminders.get(reminder.name) != reminder.due or self.entity.on_reminder is None:
            return
        actor._now.cancel_reminder(reminder.name)  # unless the handler sets it again
        await self._call(lane, self.entity.on_reminder, actor, reminder.name)

    async def _answer(self, lane: Lane, actor: Context, message: Message, ended: Ended) -> None:
        """Whatever comes of it is the answer: an error too, and then it has changed nothing."""
        try:
            value = await self._call(lane, message.method.function, actor, message.value)
            ended()
            self.keep(lane, actor, message.answer(value))
        except Exception as error:
            ended()
            if (tracing := self.place.stream.app.tracing) is not None:
                tracing.failed(error)
            log.info("an actor answers with an error", extra={**self.place.log_fields, "error": type(error).__name__})
            await self.restart(lane, error)
            self.window.add([message.refusal(error)])

    def _is_late(self, xid: bytes, within: float) -> bool:
        """Whether nobody waits for the answer any more."""
        return self._server_now > int(xid.partition(b"-")[0]) / 1000 + within
