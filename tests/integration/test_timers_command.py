"""`runnel timers`: what is shown of jobs and delayed events, and cancelling."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.integration.commands import Folder
from tests.servers import Server
from tests.support import wait_until

APP = """
from runnel import App, Record

app = App("shop", default_lock_expiry=1)

class Order(Record):
    key: str
    n: int

orders = app.stream("orders", record=Order, partition_by="key", partition_count=4)

letters = app.stream("letters", record=Order, partition_by="key")

@app.timer(0.05, on_leader=True)
async def often(): ...

@app.crontab("45 17 * * *", timezone="Europe/London")
def nightly(): ...

@app.timer(10)
def locally(): ...

@app.task
def once(): ...

async def send():
    from datetime import datetime, UTC
    for n in range(230):
        await orders.send(Order(key="abc"[n % 3], n=n), at=datetime(2040, 1, 1, 0, n // 60, n % 60, tzinfo=UTC))

if __name__ == "__main__":
    import asyncio
    asyncio.run(send())
"""


@pytest.fixture
def folder(tmp_path: Path, valkey: Server) -> Folder:
    folder = Folder(tmp_path, valkey.url)
    folder.write("late.py", APP)
    return folder


@pytest.fixture
def sent(folder: Folder) -> Folder:
    subprocess.run([sys.executable, "late.py"], cwd=folder.path, env=folder.environment(), check=True)
    return folder


def listed(folder: Folder, *words: str) -> dict[str, Any]:
    done = folder.run("timers", "list", "late:app", "--json", *words)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def numbers(found: dict[str, Any]) -> list[int]:
    return [json.loads(each["fields"]["data"])["n"] for each in found["delayed"]]


def test_delayed_events_are_listed_in_the_order_of_their_due_times(sent: Folder) -> None:
    found = listed(sent)
    assert (numbers(found), found["delayed_total"]) == (list(range(100)), 230)
    assert found["delayed"][61]["due"] == "2040-01-01T00:01:01.000Z"
    assert found["delayed"][61]["key"] == "b"
    assert numbers(listed(sent, "--limit", "1000")) == list(range(230))
    assert numbers(listed(sent, "--key", "c", "--limit", "2")) == [2, 5]
    shown = sent.run("timers", "list", "late:app", "--limit", "1").stdout
    assert "2040-01-01 00:00:00" in shown
    assert listed(sent, "--stream", "letters")["delayed_total"] == 0  # it never had any
    assert "of 230" in shown


async def test_jobs_are_listed_with_their_next_due_times(folder: Folder) -> None:
    often, nightly, locally, once = listed(folder)["jobs"]
    assert (often["schedule"], often["on_leader"], often["claimed"]) == ("every 0.05 s", True, None)
    assert often["next"] is not None
    assert nightly["schedule"] == "45 17 * * * (Europe/London)"
    assert nightly["next"].endswith(":45:00.000Z")
    assert (locally["next"], once["next"], once["schedule"]) == (None, None, "at the start")
    with folder.started("worker", "late:app"):
        await wait_until(lambda: listed(folder)["jobs"][0]["claimed"], timeout=20)


async def test_jobs_of_modules_that_are_discovered_are_listed_and_run(folder: Folder) -> None:
    folder.write("base.py", "from runnel import App\napp = App('shop', autodiscover='jobs/*.py')\n")
    (folder.path / "jobs").mkdir()
    folder.write("jobs/some.py", "from base import app\n@app.task\ndef found():\n    print('found it', flush=True)\n")
    assert '"found"' in folder.run("timers", "list", "base:app", "--json").stdout
    with folder.started("worker", "base:app") as worker:
        await worker.says("found it")


def test_cancelling_shows_its_plan_first(sent: Folder) -> None:
    [first, second] = listed(sent, "--limit", "2")["delayed"]
    plan = sent.run("timers", "cancel", "late:app", first["id"], second["id"])
    assert "2 delayed events are cancelled" in plan.stdout
    assert "Nothing is changed yet" in plan.stdout
    assert listed(sent)["delayed_total"] == 230
    done = sent.run("timers", "cancel", "late:app", first["id"], second["id"], "--yes")
    assert done.stdout.endswith("Done.\n")
    assert numbers(listed(sent, "--limit", "2")) == [2, 3]


def test_all_of_a_key_or_a_stream_are_cancelled(sent: Folder) -> None:
    done = sent.run("timers", "cancel", "late:app", "--key", "a", "--yes", "--json")
    assert numbers(json.loads(done.stdout)) == list(range(0, 230, 3))
    assert {each["key"] for each in listed(sent, "--limit", "1000")["delayed"]} == {"b", "c"}
    sent.run("timers", "cancel", "late:app", "--stream", "orders", "--limit", "3", "--yes")
    assert numbers(listed(sent, "--limit", "1")) == [5]
    sent.run("timers", "cancel", "late:app", "--stream", "orders", "--yes")
    assert listed(sent)["delayed_total"] == 0
    assert "no delayed events" in sent.run("timers", "list", "late:app").stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "say which delayed events: give their ids, or --stream, or --key"),
        (("17",), "'17' is no delayed event: write stream/partition/number"),
        (("--stream", "orderz"), "app 'shop' has no stream 'orderz'; it has letters, orders"),
    ],
)
def test_what_cannot_be_meant_is_said(sent: Folder, words: tuple[str, ...], said: str) -> None:
    done = sent.run("timers", "cancel", "late:app", *words, "--yes")
    assert done.returncode == 2
    assert said in done.stderr
    assert listed(sent)["delayed_total"] == 230
