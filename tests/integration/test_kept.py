"""`runnel dead` and `runnel parked`, with a real worker: what is shown, and what becomes of what is released."""

import json
import signal
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.integration.commands import Folder
from tests.servers import Server
from tests.support import wait_until

APP = """
from pathlib import Path
from runnel import App, Record
app = App("shop", default_lock_expiry=1)
class Order(Record):
    key: str
    n: int
orders = app.stream("orders", record=Order, partition_by="key", partition_count=1)
@app.processor(orders, exception_policy="POLICY")
async def printer(events):
    async for order in events.records():
        if order.n == 2 and not Path("fixed").exists():
            raise ValueError(f"no change for {order.key}")
        with Path("done").open("a") as file:
            print(order.key, order.n, file=file)
"""

Make = Callable[[str], Folder]


@pytest.fixture
def make(tmp_path: Path, valkey: Server) -> Make:
    def make(policy: str) -> Folder:
        folder = Folder(tmp_path, valkey.url)
        folder.write("shop.py", APP.replace("POLICY", policy))
        orders = [{"key": key, "n": n} for n in range(1, 5) for key in "ab"]
        folder.write("orders", "".join(json.dumps(order) + "\n" for order in orders))
        assert folder.run("sendmany", "shop:orders", "orders").returncode == 0
        return folder

    return make


def moment(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def done(folder: Folder) -> list[str]:
    path = folder.path / "done"
    return path.read_text().splitlines() if path.exists() else []


def listed(folder: Folder, *words: str) -> list[dict[str, Any]]:
    ran = folder.run(*words, "--json")
    assert ran.returncode == 0, ran.stderr
    found: list[dict[str, Any]] = json.loads(ran.stdout)
    return found


async def test_parked_keys_are_shown_and_released(make: Make) -> None:
    folder = make("park")
    with folder.started("worker", "shop:app") as worker:
        await wait_until(lambda: len(listed(folder, "parked", "list", "shop:printer")) == 6)
        assert done(folder) == ["a 1", "b 1"]

        shown = folder.run("parked", "list", "shop:printer").stdout
        assert shown.count("ValueError: no change for a") == 1
        assert shown.splitlines()[0].split() == ["name", "key", "at", "tried", "next", "error"]
        failed = listed(folder, "parked", "list", "shop:printer", "--error", "for a")
        assert [json.loads(each["fields"]["data"]) for each in failed] == [{"key": "a", "n": 2}]
        assert len(listed(folder, "parked", "list", "shop:printer", "--key", "a")) == 3
        assert len(listed(folder, "parked", "list", "shop:printer", "--limit", "2")) == 2
        assert len(listed(folder, "parked", "list", "shop:printer", "--since", "-1h")) == 6
        one = folder.run("parked", "show", "shop:printer", failed[0]["name"]).stdout
        assert "ValueError: no change for a" in one
        assert "shop.py" in one
        assert "next_try" in one
        about_a_minute = moment(failed[0]["next_try"]) - moment(failed[0]["at"])
        assert 59 <= about_a_minute <= 65
        assert failed[0]["tried_again"] == 0
        assert folder.run("parked", "show", "shop:printer", "0/1-1").returncode == 2

        folder.write("fixed", "")
        plan = folder.run("parked", "release", "shop:printer", "--key", "a")
        assert "Nothing is changed yet" in plan.stdout
        assert len(listed(folder, "parked", "list", "shop:printer")) == 6
        assert folder.run("parked", "release", "shop:printer", "--key", "a", "--yes").returncode == 0
        await wait_until(lambda: done(folder)[2:] == ["a 2", "a 3", "a 4"])

        first = ("parked", "discard", "shop:printer", "--error", "for b")
        assert "Drop: 1 parked event\n" in folder.run(*first).stdout
        assert "What lies behind them stays parked" in folder.run(*first, "--yes").stdout
        assert folder.run("parked", "release", "shop:printer", "--yes").returncode == 0
        await wait_until(lambda: done(folder)[5:] == ["b 3", "b 4"])
        assert listed(folder, "parked", "list", "shop:printer") == []
        assert await worker.ends(signal.SIGINT) == 0


async def test_when_a_parked_key_is_tried_next_is_told(make: Make) -> None:
    folder = make("park")
    with folder.started("worker", "shop:app") as worker:
        await wait_until(lambda: len(listed(folder, "parked", "list", "shop:printer")) == 6)
        assert folder.run("parked", "release", "shop:printer", "--key", "a", "--yes").returncode == 0
        await wait_until(lambda: tried_again(folder, "a") == 1)
        [a, *_], [b, *_] = (listed(folder, "parked", "list", "shop:printer", "--key", key) for key in "ab")
        assert (a["tried_again"], b["tried_again"]) == (1, 0)
        assert 110 <= moment(a["next_try"]) - time.time() <= 121
        assert await worker.ends(signal.SIGINT) == 0
    folder.write("shop.py", APP.replace('"POLICY"', '"park", park_retry=None'))
    [a, *_] = listed(folder, "parked", "list", "shop:printer", "--key", "a")
    assert (a["tried_again"], a["next_try"]) == (1, None)
    folder.run("parked", "release", "shop:printer", "--key", "a", "--yes")
    [a, *_] = listed(folder, "parked", "list", "shop:printer", "--key", "a")
    assert abs(moment(a["next_try"]) - time.time()) < 5


def tried_again(folder: Folder, key: str) -> int:
    found: int = listed(folder, "parked", "list", "shop:printer", "--key", key)[0]["tried_again"]
    return found


async def test_dead_letters_are_shown_exported_run_again_and_dropped(make: Make) -> None:
    folder = make("dead_letter")
    with folder.started("worker", "shop:app") as worker:
        await wait_until(lambda: len(done(folder)) == 6)
        await wait_until(lambda: len(listed(folder, "dead", "list", "shop:printer")) == 2)
        [a, b] = [json.loads(line) for line in folder.run("dead", "export", "shop:printer").stdout.splitlines()]
        assert (a["error"], b["error"]) == ("ValueError: no change for a", "ValueError: no change for b")
        assert (a["key"], a["attempts"]) == ("a", 1)
        assert "next_try" not in a
        assert "next" not in folder.run("dead", "list", "shop:printer").stdout
        assert "Traceback" in folder.run("dead", "show", "shop:printer", a["name"]).stdout

        assert "Run again: 1 dead letter\n" in folder.run("dead", "retry", "shop:printer", "--key", "a").stdout
        assert len(listed(folder, "dead", "list", "shop:printer")) == 2
        folder.write("fixed", "")
        assert folder.run("dead", "retry", "shop:printer", "--key", "a", "--yes").returncode == 0
        await wait_until(lambda: done(folder)[6:] == ["a 2"])
        assert [each["key"] for each in listed(folder, "dead", "list", "shop:printer")] == ["b"]

        assert folder.run("dead", "discard", "shop:printer", "--error", "for b", "--yes").returncode == 0
        assert listed(folder, "dead", "list", "shop:printer") == []
        assert folder.run("dead", "list", "shop:printer").stdout.strip() == "none"
        assert await worker.ends(signal.SIGINT) == 0
    assert done(folder)[6:] == ["a 2"]
