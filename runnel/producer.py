"""From encoded entries to the log: coalesces concurrent sends, one append under way per partition.

It gets parts (entries of one `send` for one partition), appends them in the order in which they came, each once however
often it is sent, and answers with their ids. It never reorders a partition, and never appends a part in pieces.

There is no task here: whoever waits for an answer and finds nobody sending sends for all. A sender that is cancelled
meanwhile leaves its append behind, to be sent again, under the same sequence, by the next.
"""

import asyncio
import logging
import secrets
from collections import Counter, deque
from collections.abc import Callable, Sequence
from shlex import quote
from typing import Literal

from attrs import Factory, define, field

from runnel.clock import Clock, io_timeout
from runnel.errors import RecordError, StoreError, StoreRefused, StoreUnavailable, StreamFull
from runnel.store.keys import PartitionKeys
from runnel.store.link import IO_TIMEOUT, Link
from runnel.store.scripts import AppendAnswer, Appended, Call, Full, IdNotAbove, Overflow, append

log = logging.getLogger(__name__)

MOST_ENTRIES = 500
MOST_BYTES = 2**20
"""What one append may hold: a script holds up the server while it runs."""


Fate = Literal["in the log", "not in the log", "unknown"]


@define(eq=False)
class Part:
    """Entries of one send for one partition, in their order: appended together, or not at all.

    Attributes:
        next: The later part of the same send for the same partition. It must not overtake this one: they fail together.
        unsure: Whether it was given up while a copy of it was not answered.
    """

    names: tuple[bytes, ...]
    explicit_ids: bool
    entries: int = 0
    size: int = 0
    values: list[bytes] = field(factory=list)
    ids: "asyncio.Future[list[str]]" = Factory(lambda: asyncio.get_running_loop().create_future())
    next: "Part | None" = None
    unsure: bool = False

    def fate(self) -> Fate:
        """What became of it, once its send has ended."""
        if self.unsure:
            return "unknown"
        if not self.ids.done() or self.ids.cancelled() or self.ids.exception() is not None:
            return "not in the log"
        return "in the log"


@define(eq=False)
class _Append:
    """Parts that travel together under one sequence. It never changes, so that it can be sent again as it is."""

    sequence: int
    parts: list[Part]
    call: Call[AppendAnswer]
    unanswered: int = 0
    """How many copies of it may still arrive, or have arrived, without our knowing."""


@define(eq=False)
class Lane:
    """What waits to be appended to one partition, and what is on its way."""

    keys: PartitionKeys
    cap: int
    overflow: Overflow
    producer: str
    waiting: deque[Part] = field(factory=deque)
    travelling: _Append | None = None
    sequence: int = 0
    one_by_one: bool = False
    blocked: StreamFull | None = None
    appended: int = 0
    """Entries that are in the log for sure."""

    def next_append(self) -> _Append | None:
        """What to send now: what was not answered yet, or else as many waiting parts of one shape as go together."""
        self._skip_done()
        if self.travelling is None and self.waiting:
            self.sequence += 1
            parts = self._take()
            values = parts[0].values if len(parts) == 1 else [value for part in parts for value in part.values]
            call = append(
                self.keys,
                self.producer,
                self.sequence,
                parts[0].names,
                values,
                cap=self.cap,
                overflow=self.overflow,
                explicit_ids=parts[0].explicit_ids,
            )
            self.travelling = _Append(self.sequence, parts, call)
        return self.travelling

    def _skip_done(self) -> None:
        """Pass over parts that need not be sent: their sender was cancelled, or an earlier part of the send has failed."""
        while self.waiting and self.waiting[0].ids.done():
            self.waiting.popleft()

    def _take(self) -> list[Part]:
        parts = [first] = [self.waiting.popleft()]
        entries, size = first.entries, first.size
        self._skip_done()
        while self.waiting and not self.one_by_one and not first.explicit_ids:
            part = self.waiting[0]
            entries, size = entries + part.entries, size + part.size
            if (
                part.names != first.names
                or part.explicit_ids
                or entries > min(MOST_ENTRIES, self.cap)
                or size > MOST_BYTES
            ):
                break
            parts.append(self.waiting.popleft())
            self._skip_done()
        return parts

    def answered(self, answer: AppendAnswer | StoreError) -> None:
        """Tell the senders of the append that travelled, unless it waits for room."""
        append, self.travelling, self.blocked = self.travelling, None, None
        assert append is not None
        append.unanswered -= 1
        match answer:
            case Appended(first, dropped):
                self.one_by_one = False
                self.appended += sum(part.entries for part in append.parts)
                self._tell_ids(append.parts, first)
                if dropped:
                    log.warning("unprocessed events dropped", extra=self._fields(dropped=dropped))
            case Full() if len(append.parts) > 1 and not append.unanswered:
                # Together they do not fit, the first alone may. Only if no copy of them all is under way any more.
                self.one_by_one = True
                self.waiting.extendleft(reversed(append.parts))
            case Full() if self.overflow == "block":
                self.travelling, self.blocked = append, self.full(answer)
            case Full() if not append.unanswered:
                self._fail(append.parts, self.full(answer))
            case IdNotAbove(entry_id):
                self._fail(
                    append.parts, RecordError(f"stream id {entry_id} is not above the last one of its partition")
                )
            case Full() | StoreRefused() if append.unanswered:
                why = self.full(answer) if isinstance(answer, Full) else answer
                self._fail(append.parts, StoreUnavailable(f"{why}; an earlier copy may have been appended"), unsure=True)
            case StoreError():
                self._fail(append.parts, answer, unsure=isinstance(answer, StoreUnavailable))
            case _:
                late = StoreUnavailable("the append came too late to be recognised as a repeated one")
                self._fail(append.parts, late, unsure=True)

    def abandon(self, part: Part) -> None:
        """Nobody waits for this part any more: it is not sent again."""
        part.ids.cancel()
        travelling = self.travelling
        part.unsure = travelling is not None and travelling.unanswered > 0 and part in travelling.parts
        if self.travelling is not None and all(p.ids.done() for p in self.travelling.parts):
            self.travelling = self.blocked = None

    def full(self, answer: Full) -> StreamFull:
        """The error that says which partition is full, and why."""
        keys, held = self.keys, self.cap - answer.room
        who = (
            f"processor {answer.processor!r} has not done the {held} events after {answer.cursor}. If it is gone for good, "
            f"let go of them: runnel processor delete MODULE:APP --name {quote(answer.processor)} --stream {quote(keys.stream)}"
            if answer.processor
            else f"no processor is registered yet for its {held} events: start a worker"
        )
        return StreamFull(f"partition {keys.number} of stream {keys.stream!r} is full ({self.cap} events): {who}")

    def _tell_ids(self, parts: list[Part], first: bytes) -> None:
        ms, _, seq = first.decode().partition("-")
        at = int(seq)
        prefix = f"{self.keys.stream}/{self.keys.number}/"
        for part in parts:
            if not part.ids.done():
                if part.explicit_ids:
                    step = len(part.names) + 1
                    part.ids.set_result([prefix + entry_id.decode() for entry_id in part.values[::step]])
                else:
                    stem = f"{prefix}{ms}-"
                    part.ids.set_result([f"{stem}{n}" for n in range(at, at + part.entries)])
            at += part.entries

    def _fail(self, parts: list[Part], error: Exception, *, unsure: bool = False) -> None:
        for part in parts:
            part.unsure = unsure and not part.ids.done()
        for part in parts:
            failed: Part | None = part
            while failed is not None:  # later ones would be in the log without what their sender put before them
                if not failed.ids.done():
                    failed.ids.set_exception(error)
                failed = failed.next

    def _fields(self, **more: object) -> dict[str, object]:
        return {"app": self.keys.app, "stream": self.keys.stream, "partition": self.keys.number, **more}


class Producer:
    """The appends of one event loop, as one idempotent producer."""

    def __init__(self, link: Link, clock: Clock) -> None:
        self._link = link
        self._clock = clock
        self._name = secrets.token_hex(8)
        self._lanes: dict[tuple[PartitionKeys, int, Overflow], Lane] = {}
        self._turn = asyncio.Lock()

    def sent(self) -> Counter[str]:
        """By stream: how many events are in the log that were sent here."""
        found: Counter[str] = Counter()
        for lane in self._lanes.values():
            found[lane.keys.stream] += lane.appended
        return found

    def lane(self, keys: PartitionKeys, cap: int, overflow: Overflow) -> Lane:
        """The lane of a partition. Two streams over the same partition may differ in options: each is a producer."""
        lane = self._lanes.get((keys, cap, overflow))
        if lane is None:
            name = f"{self._name}.{len(self._lanes)}"
            lane = self._lanes[keys, cap, overflow] = Lane(keys, cap, overflow, name)
        return lane

    async def send(
        self,
        parts: Sequence[tuple[Lane, Part]],
        timeout: float,
        on_full: Callable[[StreamFull], None] = lambda full: None,
    ) -> None:
        """Append the parts; each one's `ids` then holds its answer.

        Args:
            parts: What to append.
            timeout: Seconds, for all of it. Nothing is sent, or sent again, after that; so a copy is recognised as one by
                the producer's mark, which lives for longer.
            on_full: Told that a partition is full, each time that it is found so.

        Raises:
            StoreUnavailable: No answer within `timeout` seconds. The parts may or may not be in the log.
            StreamFull: No room within `timeout` seconds.
        """
        give_up = self._clock.monotonic() + timeout
        wait = 0.005
        trouble: StoreError | StreamFull = StoreUnavailable(f"the server did not answer within {timeout:g} s")
        for lane, part in parts:
            lane.waiting.append(part)
        try:
            while True:
                trouble = await self._take_turn(parts, give_up) or trouble
                if all(part.ids.done() for _, part in parts):
                    return
                if isinstance(trouble, StreamFull):
                    on_full(trouble)
                if self._clock.monotonic() + wait > give_up:
                    raise trouble
                await self._clock.sleep(wait)
                wait = min(2 * wait, 0.1)
        finally:
            for lane, part in parts:
                if not part.ids.done():
                    lane.abandon(part)
                elif not part.ids.cancelled():
                    part.ids.exception()  # only the first error is raised: asyncio need not complain of the others

    async def _take_turn(
        self, parts: Sequence[tuple[Lane, Part]], give_up: float
    ) -> StoreError | StreamFull | None:
        """Send until the parts are answered. Answers what hinders it; nothing if it is only that time is up."""
        if not await self._has_turn(give_up):
            return None
        try:
            while waiting := [lane for lane, part in parts if not part.ids.done()]:
                left = give_up - self._clock.monotonic()
                if left <= 0:
                    return None
                await self._exchange(waiting, min(IO_TIMEOUT, left))
                if full := next((lane.blocked for lane in waiting if lane.blocked is not None), None):
                    return full
        except StoreUnavailable as error:
            return error
        finally:
            self._turn.release()
        return None

    async def _has_turn(self, give_up: float) -> bool:
        """Wait for the turn, which others hold while they wait for the server."""
        try:
            async with io_timeout(give_up - self._clock.monotonic()):
                return await self._turn.acquire()
        except TimeoutError:
            return False

    async def _exchange(self, waiting: Sequence[Lane], timeout: float) -> None:
        """Send all lanes' next appends at once; those that wait for room only for the sake of who waits for them."""
        lanes, appends = [], []
        for lane in self._lanes.values():
            if (travelling := lane.next_append()) is not None and (lane.blocked is None or lane in waiting):
                travelling.unanswered += 1
                lanes.append(lane)
                appends.append(travelling)
        calls: list[Call[AppendAnswer]] = [travelling.call for travelling in appends]
        answers = await self._link.run(calls, timeout=timeout)
        for lane, answer in zip(lanes, answers, strict=True):
            lane.answered(answer)
