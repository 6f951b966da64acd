"""Actors whose last owners were lost: events run singly, a suspect alone, and a culprit not at all."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from runnel import Actor, Record, Retry, Stream
from runnel.errors import WorkerCrashed
from tests.integration.actors.support import Step, all_done, details, held, make_app, steps, working
from tests.integration.actors.test_parking import Till, fails
from tests.servers import Server
from tests.support import wait_until


class Seen(Record):
    numbers: str = ""


def tell(server: Server, stream: Stream[Step], **fields: Any) -> None:
    """Have the next owner told this."""
    with server.client() as client:
        client.hset(stream.partitions[0].slot("till").decode(), mapping={"number": 0, **fields})


def xids(server: Server, stream: Stream[Step]) -> list[str]:
    with server.client() as client:
        return [xid for xid, _ in client.xrange(stream.partitions[0].log.decode())]


async def test_who_follows_one_that_was_lost_runs_singly_and_commits_each_event_before_the_next(valkey: Server) -> None:
    """For as many events as may have been out: two times `prefetch_count`. Then keys run side by side again."""
    open_then, running, most = list[int](), list[str](), list[int]()

    async def handle(step: Step) -> None:
        running.append(step.key)
        most.append(len(running))
        open_then.append(xids(valkey, till.stream).index(held(valkey, till.stream, "till").cursor) if len(most) > 1 else -1)
        await asyncio.sleep(0.001)
        running.remove(step.key)

    till = Till(valkey, handle, prefetch_count=3)
    await till.stream.send(*steps("abcd", range(6)))
    tell(valkey, till.stream, crashes=1)
    async with working(till.app):
        await till.committed()
    assert most[:6] == [1] * 6
    assert open_then[:6] == [-1, 0, 1, 2, 3, 4]
    assert max(most) > 1
    assert till.remembered("d") == list(range(6))


@pytest.mark.parametrize("policy", ["ignore", "dead_letter", "park"])
async def test_a_culprit_never_runs_and_the_rest_goes_on(valkey: Server, policy: str) -> None:
    till = Till(valkey, lambda step: None, policy=policy)
    await till.stream.send(*steps("ab", range(4)))
    tell(valkey, till.stream, culprit=xids(valkey, till.stream)[0], crashes=4)
    async with working(till.app):
        await till.committed()
    assert till.begun_of("a") == ([] if policy == "park" else [1, 2, 3])
    assert till.remembered("b") == till.begun_of("b") == [0, 1, 2, 3]
    assert till.parked() == (["a0", "a1", "a2", "a3"] if policy == "park" else [])
    for fields in till.dead():
        assert fields["~error"].startswith("WorkerCrashed: 4 workers in a row were lost")


@pytest.mark.parametrize("policy", ["halt", "quarantine"])
async def test_a_culprit_that_may_not_be_passed_over_stops_its_partition(valkey: Server, policy: str) -> None:
    till = Till(valkey, lambda step: None, policy=policy)
    await till.stream.send(*steps("ab", range(4)))
    tell(valkey, till.stream, culprit=xids(valkey, till.stream)[0])
    slot = till.stream.partitions[0].slot("till").decode()
    async with working(till.app) as worker:
        with valkey.client() as client:
            await wait_until(lambda: "WorkerCrashed" in (client.hget(slot, "stopped") or "") and not client.hget(slot, "owner"))
        assert not worker.stopping
    assert not till.begun


async def test_a_culprit_behind_events_that_are_done_already_is_found(valkey: Server) -> None:
    till = Till(valkey, lambda step: None, policy="ignore")
    await till.stream.send(*steps("ab", range(3)))
    found = xids(valkey, till.stream)
    with valkey.client() as client:
        client.sadd(till.stream.partitions[0].done("till").decode(), found[0], found[1], found[3])
    tell(valkey, till.stream, culprit=found[2], crashes=4)
    async with working(till.app):
        await till.committed()
    assert till.begun == [("a", 2), ("b", 2)]


@pytest.mark.parametrize("policy", ["halt", "park"])
async def test_an_ask_that_was_the_end_of_workers_is_answered_and_stops_nothing(valkey: Server, policy: str) -> None:
    other = Till(valkey, lambda step: None, policy=policy)
    asking = asyncio.create_task(other.actors.ask("a", Step(key="a"), 20))
    await wait_until(lambda: len(xids(valkey, other.stream)) == 1)
    till = Till(valkey, lambda step: None, policy=policy)
    await till.stream.send(*steps("a", [1, 2]))
    tell(valkey, till.stream, culprit=xids(valkey, till.stream)[0], crashes=4)
    async with working(till.app):
        with pytest.raises(WorkerCrashed, match="4 workers in a row were lost"):
            await asking
        await till.committed()
    await other.app.close()
    assert till.begun == [("a", 1), ("a", 2)]
    assert not till.parked()


async def test_a_suspect_is_noted_before_it_runs_and_fails_like_any_other(valkey: Server) -> None:
    noted, slot = list[str](), "?"

    def handle(step: Step) -> None:
        with valkey.client() as client:
            noted.append(client.hget(slot, "suspect") or "")
        fails([True])(step)

    till = Till(valkey, handle, policy="dead_letter", retry=Retry(attempts=2, backoff=0.01))
    slot = till.stream.partitions[0].slot("till").decode()
    await till.stream.send(*steps("a", [0], do="fail"), *steps("ab", [1]))
    tell(valkey, till.stream, crashes=3)
    async with working(till.app):
        await till.committed()
    assert noted[:2] == [xids(valkey, till.stream)[0]] * 2
    assert till.begun == [("a", 0), ("a", 0), ("a", 1), ("b", 1)]
    assert [each["~error"] for each in till.dead()] == ["ValueError: no change"]


async def test_parked_events_that_run_again_are_committed_one_by_one_too(valkey: Server) -> None:
    broken, left = [True], list[int]()

    def handle(step: Step) -> None:
        fails(broken)(step)
        left.append(len(first.parked()))

    first = Till(valkey, handle)
    await first.stream.send(*steps("a", range(4), do="fail"))
    async with working(first.app):
        await first.committed()
    broken.clear()
    await first.release("a")
    await first.app.close()
    tell(valkey, first.stream, crashes=1)
    second = Till(valkey, handle)
    async with working(second.app):
        await second.nothing_parked()
    assert left == [4, 3, 2, 1]
    assert second.remembered("a") == [0, 1, 2, 3]


async def test_an_actor_that_is_just_going_is_waited_for(valkey: Server) -> None:
    """With care events run outside of their lanes' turns."""
    app, stream = make_app(valkey)
    seen = list[str]()

    @app.actor(stream, name="till", idle_timeout=0.02)
    class Actors(Actor[Step, Seen]):
        async def receive(self, step: Step) -> None:
            seen.append(f"{step.number}")

        async def on_stop(self) -> None:
            seen.append("stops")
            await asyncio.sleep(0.05)
            seen.append("stopped")

    await stream.send(*steps("a", [0]))
    tell(valkey, stream, crashes=1)
    async with working(app) as worker:
        await wait_until(lambda: "stops" in seen)
        await stream.send(*steps("a", [1]))
        await all_done(valkey, stream, "till")
        assert details(worker, "till")["passivated"] >= 1
    assert seen[:4] == ["0", "stops", "stopped", "1"]


# ── processes ──

WORKER = """
import os, signal, sys
from runnel import Actor, App, Record, RetryLater
from runnel.worker import Worker
from tests.integration.actors.support import Step

class Seen(Record):
    numbers: str = ""

app = App("shop", redis_url=sys.argv[1], default_lock_expiry=0.4)
stream = app.stream("steps", record=Step, partition_by="key", partition_count=1)

@app.actor(stream, name="till", key_concurrency=4, exception_policy="park", max_crashes=1)
class Till(Actor[Step, Seen]):
    async def receive(self, step):
        if step.do == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if step.do == "wait":
            raise RetryLater(after=3600)
        self.state.numbers += f"{step.number} "

Worker(app).start()
"""


def start(script: Path, url: str) -> "subprocess.Popen[bytes]":
    root = Path(__file__).parents[3]
    with script.with_suffix(".log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, str(script), url], stdout=log, stderr=log, env={**os.environ, "PYTHONPATH": str(root)}
        )


async def test_an_event_that_kills_its_worker_is_parked_in_the_end_and_all_else_is_done_once(
    valkey: Server, tmp_path: Path
) -> None:
    till = Till(valkey, lambda step: None)  # looks, and does not run
    await till.stream.send(*steps("ab", range(2)), *steps("a", [2], do="kill"), *steps("ab", range(3, 5)))
    script, died = tmp_path / "worker.py", 0
    script.write_text(WORKER)
    while not till.parked():
        process = start(script, valkey.url)
        try:
            await wait_until(lambda p=process: p.poll() is not None or bool(till.parked()), 20, what="a worker gets on")
            if process.poll() is None:
                await till.committed()
                break
            assert process.returncode == -signal.SIGKILL, script.with_suffix(".log").read_text()[-2000:]
            died += 1
        finally:
            process.kill()
            process.wait()
    assert 2 <= died <= 3
    assert till.parked() == ["a2", "a3", "a4"]
    assert till.remembered("a") == [0, 1]
    assert till.remembered("b") == [0, 1, 3, 4]


async def test_what_a_worker_had_done_out_of_order_when_it_was_killed_is_not_done_again(valkey: Server, tmp_path: Path) -> None:
    till = Till(valkey, lambda step: None)
    await till.stream.send(*steps("a", [0], do="wait"), *steps("ab", [1]), *steps("bc", range(2, 20)))
    script = tmp_path / "worker.py"
    script.write_text(WORKER)
    process = start(script, valkey.url)
    try:
        await wait_until(lambda: len(held(valkey, till.stream, "till").marks) == 37, 20, what="all other keys are done")
    finally:
        process.kill()
        process.wait()
    async with working(till.app):
        await till.committed()
    assert till.begun == [("a", 0), ("a", 1)]
    assert till.remembered("b") == [1, *range(2, 20)]
    assert till.remembered("c") == list(range(2, 20))
