"""Timers and crontabs by a manual clock: no drift, no pile, and claims whose answers are lost or late."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest
from attrs import define, field

from runnel.actors import ActorRef, ActorSystem, Backoff, OneForOne
from runnel.clock import DueTimes, ManualClock
from runnel.errors import StoreUnavailable
from runnel.roles.job import Look, Task, TimedJob
from runnel.roles.timeline import Lead, LeadersLine, OwnLine, Timeline
from runnel.store.keys import AppKeys
from runnel.store.scripts import Token
from runnel.timing.jobs import Job, Progress
from runnel.timing.schedule import Cron, Every, Schedule
from tests.support import wait_until

TOKEN = Token(b"1", b"n")


class Wall(ManualClock):
    """A manual clock whose time of day can be set apart from its monotonic one."""

    def __init__(self, start: str = "2026-03-01 12:00:00") -> None:
        super().__init__()
        self.shift = datetime.fromisoformat(start).replace(tzinfo=UTC).timestamp() - self.monotonic()

    def time(self) -> float:
        return self.monotonic() + self.shift


@define(eq=False)
class FakeServer:
    """Answers claims as `tick.lua` does, by a clock of its own, and loses answers when it is told to."""

    clock: Wall
    shift: float = 0.0
    last: int | None = None
    claimed_by: dict[bytes, bytes] = field(factory=dict)
    epoch: bytes = b"1"
    lose: int = 0
    """How many answers are still lost."""
    asked: int = 0
    claims: list[int] = field(factory=list)

    def now(self) -> int:
        return int((self.clock.time() + self.shift) * 1000)

    async def call(self, call: Any) -> Any:
        await asyncio.sleep(0)
        self.asked += 1
        answer = self._answer(*call.args)
        if self.lose > 0:
            self.lose -= 1
            raise StoreUnavailable("lost")
        return call.parse([answer[0].encode(), *answer[1:]])

    def _answer(self, job: bytes, epoch: bytes, nonce: bytes, ahead: bytes, due: bytes, claim: bytes) -> Any:
        now = self.now() + int(ahead)
        if due and self.claimed_by.get(nonce) == claim:
            return "OK", now, self.last
        if epoch != self.epoch:
            return "FENCED", now, 0
        self.last = now if self.last is None else self.last
        if not due:
            return "LAST", now, self.last
        if int(due) <= self.last:
            return "TAKEN", now, self.last
        if int(due) > now:
            return "EARLY", now, self.last
        self.last, self.claimed_by[nonce] = int(due), claim
        self.claims.append(int(due))
        return "OK", now, self.last


@define(eq=False)
class Bench:
    """A job, and when it ran: seconds since its beginning."""

    system: ActorSystem
    clock: Wall
    server: FakeServer
    lead: Lead
    progress: Progress
    line: Timeline
    start: float
    ran: list[float]
    dues: list[int]
    ref: "ActorRef[Look]"

    async def advance(self, seconds: float, step: float = 0.05) -> None:
        """Let time pass, and the loop turn."""
        for _ in range(round(seconds / step)):
            self.clock.advance(step)
            await settle()

    def since(self) -> list[float]:
        return [round(moment - self.start, 3) for moment in self.ran]


async def settle() -> None:
    for _ in range(12):
        await asyncio.sleep(0)


@asynccontextmanager
async def job_of(
    schedule: Schedule, work: Callable[[ManualClock], Any] | None = None, *, start: str = "2026-03-01 12:00:00", **options: Any
) -> AsyncIterator[Bench]:
    clock, ran, dues = Wall(start), list[float](), list[int]()

    async def function() -> None:
        ran.append(clock.monotonic())
        dues.append(progress.last or 0)
        if work is not None:
            await work(clock)

    progress, lead, server = Progress(), Lead(TOKEN), FakeServer(clock)
    job = Job(name="nightly", function=function, schedule=schedule, **options)  # type: ignore[arg-type]
    due_times = DueTimes()
    line: Timeline = (
        LeadersLine(job, clock, due_times, AppKeys("shop"), server, lead)  # type: ignore[arg-type]
        if job.on_leader
        else OwnLine(job, clock, due_times)
    )
    async with ActorSystem("test", clock=clock) as system:
        ref = system.spawn(
            lambda: TimedJob(job=job, progress=progress, line=line, grace=8.0),
            name="nightly",
            supervision=OneForOne(intensity=2**31, period=0),
        )
        await settle()
        clock.advance(0)
        await settle()
        yield Bench(system, clock, server, lead, progress, line, clock.monotonic(), ran, dues, ref)
        await system.stop(grace=0)


async def test_a_timer_of_a_tenth_of_a_second_does_not_drift_in_600_runs() -> None:
    async with job_of(Every(100)) as bench:
        await bench.advance(60, step=0.0173)
        assert len(bench.ran) in (599, 600)
        assert all(-1e-6 < moment - 0.1 * n < 0.1 for n, moment in enumerate(bench.since(), 1))
        assert bench.since()[-1] == pytest.approx(60, abs=0.1)


async def test_each_run_that_fails_is_followed_by_the_next_at_its_time() -> None:
    async def fail(clock: ManualClock) -> None:
        raise ValueError("no database")

    async with job_of(Every(1000), fail) as bench:
        await bench.advance(5)
        assert bench.since() == [1, 2, 3, 4, 5]
        [job] = bench.system.snapshot().children
        assert (job.restarts, job.last_error) == (5, "ValueError: no database")
        assert job.details["last_error"] == "ValueError: no database"


async def test_a_run_that_outlasts_its_interval_does_not_pile_up() -> None:
    async with job_of(Every(1000), lambda clock: clock.sleep(2.5)) as bench:
        await bench.advance(10)
        assert bench.since() == [1, 4, 7, 10]


async def test_runs_may_overlap_if_they_are_told_to() -> None:
    async with job_of(Every(1000), lambda clock: clock.sleep(2.5), overlap=True) as bench:
        await bench.advance(4)
        assert bench.since() == [1, 2, 3, 4]
        [job] = bench.system.snapshot().children
        assert len(job.children) == 3


async def test_an_overlapping_run_that_fails_takes_no_other_down() -> None:
    ended: list[str] = []

    async def work(clock: ManualClock) -> None:
        await clock.sleep(1.5)
        if not ended:
            ended.append("failed")
            raise ValueError
        ended.append("ended")

    async with job_of(Every(1000), work, overlap=True) as bench:
        await bench.advance(4.5)
        assert ended == ["failed", "ended", "ended"]
        [job] = bench.system.snapshot().children
        assert (job.restarts, job.details["last_error"]) == (0, "ValueError: ")


async def test_all_runs_what_fell_due_while_it_ran_each_after_the_other() -> None:
    async with job_of(Every(1000), lambda clock: clock.sleep(1.5), misfire="all") as bench:
        await bench.advance(7)
        assert bench.since() == [1, 2.5, 4, 5.5, 7]
        assert [due - bench.dues[0] for due in bench.dues] == [0, 1000, 2000, 3000, 4000]


async def test_a_crontab_of_each_worker_runs_through_clocks_that_are_set() -> None:
    async with job_of(Cron("0 * * * *"), start="2026-03-01 11:30:00", misfire="once") as bench:
        await bench.advance(1800, step=5)
        assert len(bench.ran) == 1
        bench.clock.shift -= 1800  # set back: noon comes again
        await bench.advance(3000, step=5)
        assert len(bench.ran) == 1
        await bench.advance(2400, step=5)
        assert len(bench.ran) == 2
        await bench.advance(5, step=5)
        bench.clock.shift += 3600  # put forward: the next hour is due at once
        await bench.advance(10, step=5)
        assert len(bench.ran) == 3


async def test_the_tree_tells_when_it_is_next_due_and_when_it_ran() -> None:
    async with job_of(Every(10_000)) as bench:
        await bench.advance(10)
        [job] = bench.system.snapshot().children
        assert job.details == {
            "schedule": "every 10 s",
            "runs": 1,
            "next": "2026-03-01T12:00:20.000Z",
            "last_run": "2026-03-01T12:00:10.000Z",
        }


# ── on the leader ──


async def test_a_leaders_timer_runs_at_multiples_of_its_interval_by_the_servers_clock() -> None:
    async with job_of(Every(10_000), on_leader=True) as bench:
        bench.server.shift = 3.0
        bench.lead.token = None
        bench.ref.tell_nowait(Look())
        await bench.advance(0.1)
        bench.lead.token = TOKEN
        bench.ref.tell_nowait(Look())
        await bench.advance(30)
        assert bench.server.claims == bench.dues
        assert [due % 10_000 for due in bench.dues] == [0, 0, 0]


async def test_who_does_not_lead_runs_nothing_and_asks_nothing() -> None:
    async with job_of(Every(1000), on_leader=True) as bench:
        await bench.advance(2)
        assert len(bench.ran) == 2
        bench.lead.token = None
        bench.ref.tell_nowait(Look())
        await bench.advance(1)
        asked = bench.server.asked
        await bench.advance(30)
        assert (len(bench.ran), bench.server.asked) == (2, asked)


async def test_a_leader_that_does_not_know_yet_that_it_is_none_runs_nothing() -> None:
    async with job_of(Every(1000), on_leader=True) as bench:
        await bench.advance(2)
        bench.server.epoch = b"2"
        asked = bench.server.asked
        await bench.advance(5)
        assert len(bench.ran) == 2
        assert bench.server.asked - asked < 30, "it does not ask all the time"


async def test_a_claim_whose_answer_was_lost_runs_once() -> None:
    async with job_of(Every(1000), on_leader=True) as bench:
        await bench.advance(0.95)
        bench.server.lose = 1
        await bench.advance(5)
        assert bench.dues == bench.server.claims
        assert len(set(bench.dues)) == len(bench.dues) == 5


async def test_a_claim_whose_answer_was_lost_with_the_leadership_is_run_all_the_same() -> None:
    """Nobody else will: it is taken."""
    async with job_of(Every(5000), on_leader=True) as bench:
        await bench.advance(4.95)
        bench.server.lose = 1
        await bench.advance(0.15)
        assert (len(bench.server.claims), bench.ran) == (1, [])
        bench.server.epoch, bench.lead.token = b"2", None
        await bench.advance(1)
        assert bench.dues == bench.server.claims
        await bench.advance(20)
        assert len(bench.ran) == 1


async def test_due_times_that_another_leader_has_claimed_are_passed_over() -> None:
    async with job_of(Every(1000), on_leader=True, misfire="all") as bench:
        await bench.advance(2)
        assert bench.server.last is not None
        bench.server.last += 3000
        await bench.advance(5)
        assert [due - bench.dues[0] for due in bench.dues] == [0, 1000, 5000, 6000]


async def test_a_servers_clock_that_is_put_forward_or_back_doubles_nothing() -> None:
    async with job_of(Every(1000), on_leader=True, misfire="all") as bench:
        await bench.advance(2)
        bench.server.shift += 100
        await bench.advance(20)
        assert len(bench.ran) > 100, "what was skipped is run"
        bench.server.shift -= 50
        count = len(bench.ran)
        asked = bench.server.asked
        await bench.advance(20)
        assert len(bench.ran) == count, "these have run"
        assert bench.server.asked - asked < 10, "and nobody asks all the time"
        await bench.advance(60)
        assert len(bench.ran) > count
        assert bench.dues == sorted(set(bench.dues))


async def test_a_loop_that_was_blocked_when_the_answer_came_does_not_run_late_for_ever() -> None:
    async with job_of(Every(1000), on_leader=True) as bench:
        assert isinstance(bench.line, LeadersLine)
        bench.line._sync(sent=0.0, received=5000.0, server=10_000.0)  # it was heard of 5 s later
        late = bench.line.offset
        bench.line._sync(sent=6000.0, received=6010.0, server=16_005.0)
        soon = bench.line.offset
        bench.line._sync(sent=7000.0, received=12_000.0, server=17_005.0)
        assert (late, soon, bench.line.offset) == (5000.0, 9995.0, 9995.0)


# ── tasks ──


async def test_a_task_that_fails_is_run_again_after_a_pause_and_one_that_returns_is_not() -> None:
    clock, progress, begun = ManualClock(), Progress(), list[float]()

    async def work() -> None:
        begun.append(clock.monotonic())
        if len(begun) < 3:
            raise ValueError("no database")

    job = Job(name="once", function=work)
    supervision = OneForOne(intensity=2**31, period=60, backoff=Backoff(0.5, max=30))
    async with ActorSystem("test", clock=clock) as system:
        system.spawn(lambda: Task(job, progress), name="once", supervision=supervision)
        await settle()
        for _ in range(40):
            clock.advance(0.25)
            await settle()
        await wait_until(lambda: progress.ended)
        assert [moment - begun[0] for moment in begun] == [0, 0.5, 1.5]
        [seen] = system.snapshot().children
        assert (seen.state, seen.restarts, seen.details["ended"], seen.details["runs"]) == ("idle", 2, True, 3)
        await system.stop()


# ── whatever happens ──


@define(eq=False)
class Hand:
    """One of two workers that may lead; each has its own connection, which may lose answers or be cut."""

    server: FakeServer
    lead: Lead = field(factory=Lead)
    luck: random.Random = field(factory=random.Random)
    cut: bool = False

    async def call(self, call: Any) -> Any:
        if self.cut:
            await asyncio.sleep(0)
            raise StoreUnavailable("cut off")
        lost = self.luck.random() < 0.1
        self.server.lose += lost
        return await self.server.call(call)


@pytest.mark.parametrize("seed", range(20))
async def test_two_workers_that_take_turns_leading_run_each_due_time_once(seed: int) -> None:
    luck, clock, ran = random.Random(seed), Wall(), list[int]()
    server = FakeServer(clock, epoch=b"0")
    hands = [Hand(server, luck=luck) for _ in range(2)]

    async def tick(due: datetime) -> None:
        ran.append(round(due.timestamp() * 1000))
        await clock.sleep(luck.choice((0, 0, 0.03, 0.25)))

    job = Job(name="tick", function=tick, schedule=Every(100), on_leader=True, misfire="all")
    async with ActorSystem("test", clock=clock) as system:
        refs = []
        for n, hand in enumerate(hands):
            line = LeadersLine(job, clock, DueTimes(), AppKeys("shop"), hand, hand.lead)  # type: ignore[arg-type]
            make = partial(TimedJob, job=job, progress=Progress(), line=line, grace=8.0)
            refs.append(system.spawn(make, name=f"tick-{n}", supervision=OneForOne(intensity=2**31, period=0)))
        for step in range(60):
            cut, leads = luck.choice(hands), luck.randrange(2)
            cut.cut = not cut.cut
            if luck.random() < 0.5:  # a new term; the old leader may hear of that later, or never until it asks
                token = Token(b"%d" % (step + 1), b"n%d" % leads)
                server.epoch, hands[leads].lead.token = token.epoch, token
                if luck.random() < 0.5:
                    hands[1 - leads].lead.token = None
            for ref in refs:
                ref.tell_nowait(Look())
            for _ in range(luck.randrange(1, 30)):
                clock.advance(0.02)
                await settle()
        for hand in hands:
            hand.cut = False
        luck.random = lambda: 1.0  # type: ignore[method-assign]
        for _ in range(600):
            clock.advance(0.1)
            await settle()
        await system.stop(grace=0)
    assert len(set(ran)) == len(ran), "none twice"
    assert sorted(set(ran)) == list(range(min(ran), max(ran) + 1, 100)), "none lost"
