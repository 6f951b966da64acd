"""`runnel processor release`, and what `status` says of quarantined partitions and dead letters."""

import json
from pathlib import Path

import pytest

from tests.integration.commands import Folder
from tests.servers import Server


@pytest.fixture
def folder(tmp_path: Path, valkey: Server) -> Folder:
    made = Folder(tmp_path, valkey.url)
    made.write(
        "shop.py",
        """
from runnel import App, Record
app = App("shop")
class Order(Record):
    n: int
orders = app.stream("orders", record=Order, partition_by="n", partition_count=4)
@app.processor(orders, exception_policy="quarantine")
async def printer(events):
    async for order in events.records():
        pass
""",
    )
    return made


def test_a_quarantined_partition_is_shown_and_released(folder: Folder, valkey: Server) -> None:
    with valkey.client() as client:
        client.hset("{shop:orders:2}:proc:printer", mapping={"stopped": "event orders/2/1-0 failed: ValueError: no"})
        client.xadd("{shop:orders:1}:proc:printer:dead", {"data": "{}"})
        client.xadd("{shop:orders:1}:proc:printer:parked", {"data": "{}"})
        client.hset("{shop:orders:1}:proc:printer:parked_keys", "k", 1)

        shown = folder.run("status", "shop:app")
        assert shown.returncode == 0, shown.stderr
        assert "1 event of 1 key parked, 1 dead letter" in shown.stdout
        assert "partition 2 is quarantined: event orders/2/1-0 failed: ValueError: no" in shown.stdout
        [status] = json.loads(folder.run("status", "shop:app", "--json").stdout)["processors"]
        assert (status["quarantined"], status["parked"], status["dead"]) == (1, 1, 1)
        assert status["partitions"][2]["stopped"] == "event orders/2/1-0 failed: ValueError: no"

        plan = folder.run("processor", "release", "shop:printer")
        assert "1 partition goes on" in plan.stdout
        assert "ValueError: no" in plan.stdout
        assert "Nothing is changed yet" in plan.stdout
        assert client.hget("{shop:orders:2}:proc:printer", "stopped")

        assert "0 partitions" in folder.run("processor", "release", "shop:printer", "--partition", "1", "--yes").stdout
        assert client.hget("{shop:orders:2}:proc:printer", "stopped")
        assert "Done." in folder.run("processor", "release", "shop:printer", "--yes").stdout
        assert client.hget("{shop:orders:2}:proc:printer", "stopped") is None

    wrong = folder.run("processor", "release", "shop:printer", "--partition", "4")
    assert (wrong.returncode, "has no partition 4" in wrong.stderr) == (2, True)
