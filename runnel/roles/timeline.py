"""The time line of a job: where its time comes from, and who lets it run for a due time. One for each worker, one for the app.

A line outlives the actor that runs the job: what it has claimed and was not answered for is known after a restart, too.
"""

import secrets
from typing import Protocol

from attrs import define, evolve, field, frozen

from runnel.clock import Clock, DueTimes
from runnel.store import timing
from runnel.store.keys import AppKeys
from runnel.store.link import Link
from runnel.store.scripts import Token
from runnel.store.timing import Tick
from runnel.timing.jobs import Job, Progress
from runnel.timing.schedule import Every, Schedule

SYNC = 10.0
"""Seconds after which a leader's job asks the server for its time again, at the latest: clocks are set."""

RETRY = 0.2
"""Seconds until a worker that is to lead, and by the server's account does not, asks again."""


@define(eq=False)
class Lead:
    """Whether this worker leads: the token of its term, or None. Changed by the leader's duty alone."""

    token: Token | None = None


class Timeline(Protocol):
    """All moments are in ms."""

    @property
    def schedule(self) -> Schedule:
        """When the job is due, on this line."""

    def now(self) -> int:
        """The moment."""

    def wall(self, moment: int) -> int:
        """That moment in ms since the epoch."""

    async def unanswered(self, progress: Progress) -> int | None:
        """The due time of an earlier claim that is found to have taken effect: it is to run now."""

    async def pause(self, progress: Progress) -> float:
        """Seconds to wait since the job may not run here now; 0: it may, and `progress.last` is known."""

    async def claim(self, progress: Progress, due: int) -> bool:
        """Whether this due time is ours to run. `progress` knows of it then, or of what is claimed already."""


@define(eq=False)
class OwnLine:
    """A job that every worker runs: a timer by its monotonic clock, from its start on; a crontab by the clock on the wall."""

    job: Job
    clock: Clock
    due_times: DueTimes
    schedule: Schedule = field(init=False)

    def __attrs_post_init__(self) -> None:
        schedule = self.job.schedule
        assert schedule is not None
        self.schedule = evolve(schedule, origin=self.now()) if isinstance(schedule, Every) else schedule

    def now(self) -> int:
        seconds = self.clock.monotonic() if isinstance(self.job.schedule, Every) else self.clock.time()
        return int((seconds + self.due_times.ahead) * 1000)

    def wall(self, moment: int) -> int:
        return int((self.clock.time() + self.due_times.ahead) * 1000) + moment - self.now()

    async def unanswered(self, progress: Progress) -> int | None:
        return None

    async def pause(self, progress: Progress) -> float:
        if progress.last is None:
            progress.last = self.now()
        return 0.0

    async def claim(self, progress: Progress, due: int) -> bool:
        progress.last = due
        return True


@frozen
class _Claim:
    due: int
    token: Token
    nonce: bytes


@define(eq=False)
class LeadersLine:
    """A job that runs once in the app: by the server's clock, each due time claimed in Redis under the leader's token.

    The server's clock is this worker's monotonic one and an offset, of which each answer tells the bounds: when the question
    was sent, the server's clock showed no more than the answer says, and when it was received, no less.
    """

    job: Job
    clock: Clock
    due_times: DueTimes
    keys: AppKeys
    link: Link
    lead: Lead
    schedule: Schedule = field(init=False)
    offset: float | None = None
    synced_at: float = 0.0
    synced_for: Token | None = None
    pending: _Claim | None = None
    """A claim that was sent and not answered."""

    def __attrs_post_init__(self) -> None:
        assert self.job.schedule is not None
        self.schedule = self.job.schedule

    def now(self) -> int:
        return int(self.clock.monotonic() * 1000 + (self.offset or 0.0) + self.due_times.ahead * 1000)

    def wall(self, moment: int) -> int:
        return moment

    async def unanswered(self, progress: Progress) -> int | None:
        if (claim := self.pending) is None:
            return None
        return claim.due if await self._ask(claim, progress) else None

    async def pause(self, progress: Progress) -> float:
        token = self.lead.token
        if token is None:
            self.synced_for = None
            return SYNC  # or until it leads, which it is told
        if token != self.synced_for or self.clock.monotonic() - self.synced_at >= SYNC:
            tick = await self._tick(_Claim(0, token, b""), only_ask=True)
            self.synced_for = None if tick.answer == "FENCED" else token
            if self.synced_for is not None:
                progress.last = max(tick.last, progress.last or 0)
        return RETRY if self.synced_for is None else 0.0

    async def claim(self, progress: Progress, due: int) -> bool:
        if self.lead.token is None:
            return False
        return await self._ask(_Claim(due, self.lead.token, secrets.token_hex(8).encode()), progress)

    async def _ask(self, claim: _Claim, progress: Progress) -> bool:
        self.pending = claim
        tick = await self._tick(claim)
        self.pending = None
        if tick.answer == "FENCED":
            self.synced_for = None
        else:
            progress.last = max(tick.last, progress.last or 0)
        return tick.answer == "OK"

    async def _tick(self, claim: _Claim, *, only_ask: bool = False) -> Tick:
        sent, ahead = self.clock.monotonic(), self.due_times.ahead
        due = None if only_ask else claim.due
        call = timing.tick(self.keys, self.job.name, claim.token, due=due, claim=claim.nonce, ahead=ahead)
        tick = await self.link.call(call)
        self._sync(sent * 1000, self.clock.monotonic() * 1000, tick.now - ahead * 1000)
        return tick

    def _sync(self, sent: float, received: float, server: float) -> None:
        lowest, highest = server - received, server + 1 - sent
        is_known = self.offset is not None and self.offset <= highest  # else the server's clock was set back
        self.offset = max(lowest, self.offset) if is_known and self.offset is not None else lowest
        self.synced_at = self.clock.monotonic()
