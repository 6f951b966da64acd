"""The gauge: when it looks at the server, and what it tells when that does not answer."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from attrs import define

from runnel import App
from runnel.actors import ActorSystem
from runnel.clock import ManualClock
from runnel.errors import StoreError, StoreRefused, StoreUnavailable
from runnel.roles.gauge import INTERVAL, LONGEST, SHARE, Gauge
from runnel.store.scripts import Look
from runnel.telemetry.board import Board, Duty
from tests.support import wait_until
from tests.unit.roles.stage import FakeLink, processor


def seen(lag: int, cursor: str = "5-0") -> Look:
    return Look(
        owner="me",
        epoch=1,
        left=4.0,
        cursor=cursor,
        count=10,
        last="9-0",
        added=10 + lag,
        length=10 + lag,
        first="1-0",
        next="6-0",
        now=60.0,
    )


@define
class Stage:
    """A gauge alone."""

    app: App
    board: Board
    link: FakeLink
    clock: ManualClock
    system: ActorSystem

    async def looks(self, *answers: Look | StoreError, took: float = 0.0) -> None:
        """Let it look, and answer."""
        asked = len(self.link.asked)
        self.clock.advance(INTERVAL)
        await wait_until(lambda: len(self.link.asked) > asked, what="a look")
        self.clock.advance(took)
        await self.link.answers(*answers)
        await wait_until(lambda: self.system.snapshot().children[0].state == "idle")


@asynccontextmanager
async def stage(*, leads: bool = False, wanted: frozenset[int] = frozenset({0}), run: str = "bill") -> AsyncIterator[Stage]:
    app, clock, link = processor(2).stream.app, ManualClock(), FakeLink()
    assert isinstance(app, App)
    duty = Duty(wanted={"bill": wanted} if wanted else {}, run=frozenset({run}), is_member=True, leads=leads)
    board = Board(is_read=True, duty=duty)
    async with ActorSystem("test", clock=clock) as system:
        system.spawn(lambda: Gauge(app=app, board=board, open_link=lambda: link), name="gauge")  # type: ignore[arg-type, return-value]
        await wait_until(lambda: system.snapshot().children[0].state == "idle")
        yield Stage(app, board, link, clock, system)
        link.over = True


async def test_it_tells_of_the_partitions_that_are_for_this_worker() -> None:
    async with stage() as s:
        await s.looks(seen(3))
        assert len(s.link.asked[0]) == 1
        assert s.board.seen is not None
        [bill] = s.board.seen.standings
        assert (bill.processor, bill.lag, bill.oldest_age) == ("bill", 3, 59.994)
        [standstill] = s.board.seen.standstills
        assert (standstill.partition, standstill.lag, standstill.seconds) == (0, 3, 0.0)
        await s.looks(seen(3))
        assert s.board.seen.standstills[0].seconds == INTERVAL
        await s.looks(seen(2, "6-0"))
        assert s.board.seen.standstills[0].seconds == 0.0, "one was done"


@pytest.mark.parametrize(("leads", "run", "asked"), [(True, "other", 2), (True, "bill", 0), (False, "other", 0)])
async def test_only_the_leader_tells_of_processors_that_nobody_runs(leads: bool, run: str, asked: int) -> None:
    async with stage(leads=leads, wanted=frozenset(), run=run) as s:
        if asked:
            await s.looks(*[seen(4)] * asked)
        s.clock.advance(INTERVAL)
        await wait_until(lambda: s.board.seen is not None)
        assert s.board.seen is not None
        assert sum(each.lag for each in s.board.seen.standings) == 4 * asked
        assert s.board.seen.standstills == (), "no worker's fault"


async def test_it_takes_a_small_share_of_the_time() -> None:
    async with stage() as s:
        await s.looks(seen(0), took=0.1)
        s.clock.advance(0.1 / SHARE - 0.5)
        for _ in range(50):
            await asyncio.sleep(0)
        assert len(s.link.asked) == 1
        await s.looks(seen(0), took=10.0)
        s.clock.advance(LONGEST - INTERVAL)
        await s.looks(seen(0))


async def test_a_server_that_is_away_leaves_what_was_seen_but_not_for_how_long_it_stood_still() -> None:
    async with stage() as s:
        await s.looks(seen(3))
        before = s.board.seen
        await s.looks(StoreUnavailable("away"))
        after = s.board.seen
        assert before is not None
        assert after is not None
        assert (after.at, after.standings, after.standstills) == (before.at, before.standings, ())
        await s.looks(seen(3))
        assert s.board.seen is not None
        assert s.board.seen.standstills[0].seconds == 0.0


async def test_a_server_that_refuses_is_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    async with stage() as s:
        for _ in range(3):
            await s.looks(StoreRefused("no permission"))
        assert caplog.text.count("the lag cannot be read, for monitoring") == 1
