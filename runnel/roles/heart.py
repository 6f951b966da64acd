"""The heart: a thread that keeps a worker alive in Redis, even while a handler blocks the event loop.

It is told what a beat carries, calls and the leases to renew, runs that a few times within a lease over a connection of
its own, and hands the answers to the event loop. It goes on for `PATIENCE` seconds after the loop has last made progress: a
handler that blocks neither loses its worker's partitions at once nor keeps them for ever. It says where the loop is
blocked. It never decides anything else.
"""

import asyncio
import logging
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Sequence
from contextvars import copy_context
from pathlib import Path
from typing import Any

from attrs import define, field, frozen

from runnel.clock import Clock
from runnel.errors import StoreError
from runnel.roles.lease import Lease
from runnel.store.blocking import BlockingLink
from runnel.store.scripts import Call, RenewAnswer

log = logging.getLogger(__name__)

BEATS, SLOWEST = 4, 5.0
"""Beats within a lease, and seconds between two at most: whoever misses a notice learns what it said with the next beat."""

MARGIN = 0.1
"""The share of a lease before whose end it counts as over, by this worker's own clock."""

PATIENCE = 30.0
"""Seconds for which a blocked event loop keeps its leases."""

BLOCKED = 1.0
"""Seconds after which a blocked event loop is reported."""

_NOT_THE_USERS = (str(Path(__file__).parent.parent), str(Path(asyncio.__file__).parent))
"""Folders whose code calls a handler, and need not be shown."""

_RUNS_THE_LOOP = ("asyncio/runners.py", "uvloop/__init__.py")
"""What is above them in a stack is of the command."""

TICK = 0.25
"""Seconds between two looks at the event loop, at most."""

RETRY = 0.2
"""Seconds from a beat that failed to the next, at most."""


def beat_interval(leases: Iterable[float]) -> float:
    """Seconds between two beats, for leases of so many seconds."""
    return min(min(leases) / BEATS, SLOWEST)


@frozen
class Beat:
    """A beat that was answered, with what it carried."""

    sent_at: float
    answers: Sequence[Any]
    leases: Sequence[Lease]
    renewals: Sequence[RenewAnswer | StoreError]
    """The answer for each lease; False: it is void."""


@frozen
class MissedBeat:
    """A beat that was not answered, or whose answer cannot be understood."""

    error: Exception


@define(eq=False)
class Heart:
    """Beats in a thread of its own, from `start` to `stop`. All but `_run` and below belongs to the event loop.

    Args:
        link: A connection that nothing else uses.
        clock: The worker's.
        interval: Seconds between beats.
        calls: What to carry first, for whoever understands the answers; replaced as a whole, at any time.
        leases: What to renew; replaced likewise.
        report: What people may read of the worker; replaced likewise. It may be refused: nothing depends on it.
        answered_at: When the last beat that was answered was sent.
        is_answered: Whether the last beat was answered.
    """

    link: BlockingLink
    clock: Clock
    interval: float
    answered_at: float = float("-inf")
    is_answered: bool = False
    calls: Sequence[Call[Any]] = ()
    leases: Sequence[Lease] = ()
    report: Call[int] | None = None
    _stopping: bool = False
    _wake: threading.Event = field(factory=threading.Event)
    _thread: threading.Thread | None = None
    _watch: "LoopWatch | None" = None

    def start(self, deliver: Callable[[Beat | MissedBeat], object]) -> None:
        """Begin to beat; `deliver` is called in the running loop."""
        self._watch = LoopWatch(self.clock, asyncio.get_running_loop(), threading.get_ident())
        run = copy_context().run  # what it logs has the worker's id
        self._thread = threading.Thread(target=run, args=(self._run, self._watch, deliver), name="runnel-heart", daemon=True)
        self._thread.start()

    def beat_now(self) -> None:
        """Do not wait for the next beat's time: there is news."""
        self._wake.set()

    async def stop(self) -> None:
        """Beat no more; a beat under way ends first, or a late renewal would meet whoever comes next."""
        self._stopping = True
        self._wake.set()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join)
        self.link.close()

    # ── in the thread ──

    def _run(self, watch: "LoopWatch", deliver: Callable[[Beat | MissedBeat], object]) -> None:
        due = self.clock.monotonic()
        while not self._stopping:
            self._wake.wait(max(0.0, min(due - self.clock.monotonic(), TICK)))
            if asked := self._wake.is_set():  # not what `wait` says: it may have been set just after that timed out
                self._wake.clear()
            blocked = watch.look()
            now = self.clock.monotonic()
            if self._stopping or not (asked or now >= due) or blocked > PATIENCE:
                continue
            result = self._beat(now)
            self.is_answered = isinstance(result, Beat)
            due = now + (min(self.interval, RETRY) if isinstance(result, MissedBeat) else self.interval)
            watch.call(lambda result=result: deliver(result))  # type: ignore[misc]

    def _beat(self, now: float) -> Beat | MissedBeat:
        calls, leases, report = self.calls, self.leases, self.report
        try:
            answers = self.link.run([*calls, *(lease.renewal for lease in leases), *([] if report is None else [report])])
        except Exception as error:  # or the thread would be gone, and nobody would know
            return MissedBeat(error)
        self.answered_at = now
        beat = Beat(now, answers[: len(calls)], leases, answers[len(calls) : len(calls) + len(leases)])
        for lease, renewed in zip(leases, beat.renewals, strict=True):
            # Here, not in the loop: one that was blocked looks at deadlines before it hears of this.
            if renewed and not isinstance(renewed, StoreError):
                lease.renewed(now)
        return beat


class LoopWatch:
    """Notices that the event loop makes no progress: a call into it is not carried out. It says where it hangs, once."""

    def __init__(self, clock: Clock, loop: asyncio.AbstractEventLoop, thread: int) -> None:
        self._clock = clock
        self._loop = loop
        self._thread = thread
        self._asked_at: float | None = None
        self._reported = self._given_up = False

    def look(self) -> float:
        """How long the loop has been blocked, in seconds; 0 if it is not known to be."""
        now = self._clock.monotonic()
        asked_at = self._asked_at  # the loop sets it to None
        if asked_at is None:
            self._asked_at = now
            self.call(self._answer)
            return 0.0
        blocked = now - asked_at
        if blocked >= BLOCKED and not self._reported:
            self._reported = True
            log.warning("the event loop is blocked\n%s", self._stack(), extra={"blocked_s": round(blocked, 1)})
        if blocked > PATIENCE and not self._given_up:
            self._given_up = True
            log.error("the event loop is blocked for too long: others get what this worker has\n%s", self._stack())
        return blocked

    def call(self, callback: Callable[[], object]) -> None:
        """Call back in the loop, if it still runs."""
        try:
            self._loop.call_soon_threadsafe(callback)
        except RuntimeError:
            pass  # it was closed without stopping the worker: nobody listens

    def _answer(self) -> None:
        if self._reported and self._asked_at is not None:
            blocked = self._clock.monotonic() - self._asked_at
            log.warning("the event loop goes on", extra={"blocked_s": round(blocked, 1)})
        self._asked_at, self._reported, self._given_up = None, False, False

    def _stack(self) -> str:
        """Where it hangs: in the user's code, as far as it can be told."""
        frame = sys._current_frames().get(self._thread)
        frames = list(traceback.extract_stack(frame)) if frame is not None else []
        began = max((at for at, each in enumerate(frames) if each.filename.endswith(_RUNS_THE_LOOP)), default=-1)
        users = [each for each in frames[began + 1 :] if not each.filename.startswith(_NOT_THE_USERS)]
        return "".join(traceback.format_list((users or frames)[-3:])).rstrip()
