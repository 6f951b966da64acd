"""A leader's timer of 0.1 s on three workers, the leader killed, paused and resumed: no due time twice, none lost.

`just long` runs it for a minute.
"""

import asyncio
import random
import signal
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field

from tests.integration.ticking import INTERVAL, LEASE
from tests.servers import Server
from tests.support import wait_until

ROOT = Path(__file__).parents[2]
SLACK = 3.0
"""Seconds for a machine that has other things to do."""


@define(eq=False)
class Crew:
    """Three workers, as processes."""

    server: Server
    folder: Path
    workers: "list[subprocess.Popen[bytes]]" = field(factory=list)

    def start(self) -> None:
        with (self.folder / f"{len(list(self.folder.iterdir()))}.log").open("wb") as log:
            self.workers.append(
                subprocess.Popen(
                    [sys.executable, "-m", "tests.integration.ticking", self.server.url], cwd=ROOT, stdout=log, stderr=log
                )
            )

    def leader(self) -> "subprocess.Popen[bytes] | None":
        with self.server.client() as client:
            owner = str(client.hget("{shop}:leader", "owner") or "")
        return next((each for each in self.workers if f"-{each.pid}-" in owner), None)

    async def led_by_other_than(self, pid: int | None) -> "subprocess.Popen[bytes]":
        found: list[Any] = []

        def other() -> bool:
            leader = self.leader()
            found[:] = [leader] if leader is not None and leader.pid != pid else []
            return bool(found)

        await wait_until(other, timeout=LEASE + 20, what="another leads")
        worker: subprocess.Popen[bytes] = found[0]
        return worker

    def ran(self) -> list[tuple[int, int]]:
        """When it ran, by the server's clock, and for which due time; in ms."""
        with self.server.client() as client:
            return [(int(entry.split("-")[0]), int(fields["due"])) for entry, fields in client.xrange("ran")]

    def end(self) -> None:
        for worker in self.workers:
            worker.kill()
            worker.wait()


async def run_with_faults(crew: Crew, seconds: float, luck: random.Random) -> int:
    """Trouble the leader for so long; answers how often it was killed."""
    loop, kills, fault = asyncio.get_running_loop(), 0, 0
    until = loop.time() + seconds
    while loop.time() < until or fault < 3:
        leader = await crew.led_by_other_than(None)
        count = len(crew.ran())
        ticks = luck.randrange(1, 12)
        await wait_until(lambda count=count, ticks=ticks: len(crew.ran()) >= count + ticks, timeout=LEASE + 20)
        fault += 1
        if fault % 3 == 1:
            leader.send_signal(signal.SIGKILL)
            leader.wait()
            crew.workers.remove(leader)
            kills += 1
            crew.start()
        elif fault % 3 == 2:  # beyond its lease: another leads when it wakes up
            leader.send_signal(signal.SIGSTOP)
            await crew.led_by_other_than(leader.pid)
            leader.send_signal(signal.SIGCONT)
        else:  # and not: nobody notices
            leader.send_signal(signal.SIGSTOP)
            since = loop.time()
            await wait_until(lambda since=since: loop.time() > since + LEASE / 4)
            leader.send_signal(signal.SIGCONT)
    return kills


@pytest.mark.parametrize(
    "seconds", [pytest.param(4.0, id="short"), pytest.param(60.0, id="long", marks=pytest.mark.long)]
)
@pytest.mark.timeout(240)
async def test_no_due_time_runs_twice_and_none_is_lost(seconds: float, own_server: Any, tmp_path: Path) -> None:
    crew = Crew(own_server(), tmp_path)
    try:
        for _ in range(3):
            crew.start()
        await wait_until(lambda: len(crew.ran()) > 3, timeout=30)
        kills = await run_with_faults(crew, seconds, random.Random(5))
        count = len(crew.ran())
        await wait_until(lambda: len(crew.ran()) > count + 5, timeout=30)
        for worker in crew.workers:
            worker.send_signal(signal.SIGTERM)
        await wait_until(lambda: all(worker.poll() is not None for worker in crew.workers), timeout=30)
        ran = crew.ran()
    finally:
        crew.end()

    dues = [due for _, due in ran]
    assert len(set(dues)) == len(dues), "none runs twice"
    missing = set(range(min(dues), max(dues), round(INTERVAL * 1000))) - set(dues)
    assert len(missing) <= kills, "only what a killed leader had in hand, at most one each"
    gaps = [(after - before) / 1000 for before, after in pairwise(sorted(moment for moment, _ in ran))]
    assert max(gaps) <= LEASE + LEASE / 4 + SLACK
