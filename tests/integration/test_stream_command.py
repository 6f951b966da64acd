"""`runnel stream` and `runnel describe`: what they show, and what they do to a stream."""

from collections.abc import Iterator

import pytest
from attrs import evolve

from runnel.operations.streams import cut
from runnel.store.keys import AppKeys, PartitionKeys
from runnel.store.scripts import Look
from tests.integration.calling import Caller
from tests.integration.commands import APP, order
from tests.servers import Server

SEEN = Look(
    owner="",
    epoch=1,
    left=0,
    cursor="1-0",
    count=0,
    last="10-0",
    added=10,
    length=10,
    first="1-0",
    next="9-0",
    now=0,
)

ACTORS = """
from runnel import Actor

alerts = app.stream("alerts", record=Order, partition_by="order_id", partition_count=2)

class Balance(Record):
    total: int = 0

@app.actor(orders, key_concurrency=3)
class Account(Actor[Order, Balance]):
    async def receive(self, order: Order) -> None: ...
    async def on_start(self) -> None: ...

@app.timer(10)
async def often(): ...
"""


@pytest.fixture
def shop(call: Caller, valkey: Server) -> Iterator[Caller]:
    """Five events a partition, ids 1-0 to 5-0, of which `printer` has done two."""
    call("send", "shop:orders", order(1))
    with valkey.client() as client:
        for number in range(4):
            keys = PartitionKeys("shop", "orders", number)
            client.delete(keys.log)
            for ms in range(1, 6):
                client.xadd(keys.log, {"data": order(ms), "~key": str(ms)}, id=f"{ms}-0")
            client.hset(keys.cursors.decode(), "printer", "2-0")
            client.hset(keys.slot("printer").decode(), "count", 2)
        yield call


def lengths(server: Server) -> list[int]:
    with server.client() as client:
        return [client.xlen(PartitionKeys("shop", "orders", number).log) for number in range(4)]


# ── trim ──


@pytest.mark.parametrize(
    ("words", "left", "said"),
    [
        ([], 3, "8 events dropped"),
        (["--to", "2-0"], 4, "4 events dropped"),
        (["--to", "4-0"], 3, "4 events more would be dropped"),
        (["--length", "4"], 4, "4 events dropped"),
        (["--length", "1"], 3, "8 events more would be dropped"),
        (["--length", "1", "--force"], 1, "8 events of them printer has not done: lost for good"),
        (["--to", "1970-01-01T00:00:00.004Z", "--force"], 2, "4 events of them printer has not done"),
        (["--to", "-1s", "--force"], 0, "12 events of them printer has not done"),
    ],
)
def test_trimming_shows_its_plan_and_does_no_more(
    shop: Caller, valkey: Server, words: list[str], left: int, said: str
) -> None:
    planned = shop.done("stream", "trim", "shop:orders", *words)
    assert said in planned.out
    assert "Nothing is changed yet" in planned.out
    assert lengths(valkey) == [5] * 4
    done = shop.done("stream", "trim", "shop:orders", *words, "--yes", "--json").json
    assert (done["done"], done["dropped"]) == (True, 4 * (5 - left))
    assert lengths(valkey) == [left] * 4
    assert shop.done("stream", "trim", "shop:orders", *words, "--yes", "--json").json["dropped"] == 0


def test_what_is_to_stay_must_be_said_where_events_would_be_lost(shop: Caller) -> None:
    shop("stream", "trim", "shop:orders", "--force", "--yes").refused(2, "--to or --length")


def test_the_slowest_processor_holds_a_cut_back() -> None:
    def at(behind: int) -> Look:
        return evolve(SEEN, count=10 - behind)

    keys = PartitionKeys("shop", "orders", 0)
    found = cut(keys, {"fast": at(1), "slow": at(7)}, 10, 8, force=False)
    assert (found.dropped, found.held_back, found.lost) == (3, 5, {})
    found = cut(keys, {"fast": at(1), "slow": at(7)}, 10, 8, force=True)
    assert (found.dropped, found.held_back, found.lost) == (8, 0, {"slow": 5})
    assert cut(keys, {}, 10, 8, force=True).lost == {"": 8}


# ── delete ──


def test_a_stream_with_events_that_are_not_done_is_deleted_by_force_only(shop: Caller, valkey: Server) -> None:
    plan = shop.done("stream", "delete", "shop:orders").out
    assert "12 events not done, delayed, or on their way elsewhere: refused without --force" in plan
    assert "20 events, the cursors of 1 processor and all else" in plan
    assert "elsewhere: lost for good" in shop.done("stream", "delete", "shop:orders", "--force").out
    shop("stream", "delete", "shop:orders", "--yes").refused(1, "12 events are not done", "--force")
    assert lengths(valkey) == [5] * 4
    assert shop.done("stream", "delete", "shop:orders", "--yes", "--force", "--json").json["done"]
    with valkey.client() as client:
        assert [key for key in client.scan_iter() if ":producer:" not in key] == []


def test_what_is_run_is_not_deleted(shop: Caller, valkey: Server) -> None:
    slot = PartitionKeys("shop", "orders", 2).slot("printer").decode()
    with valkey.client() as client:
        history = client.info("replication")["master_replid"]
        client.hset(slot, mapping={"owner": "w", "epoch": 1, "nonce": "n", "history": history, "deadline": 2**45})
        for number in range(4):
            client.hset(PartitionKeys("shop", "orders", number).cursors.decode(), "printer", "5-0")
    shop("stream", "delete", "shop:orders", "--yes").refused(1, "is run by w", "--force")
    assert lengths(valkey) == [5] * 4


def test_one_that_is_gone_from_the_code_is_deleted_by_its_name_with_what_others_note_of_it(
    shop: Caller, valkey: Server
) -> None:
    """What `alerts` remembers of events that actors on `orders` emitted would keep out those of a new `orders`."""
    shop.write("shop", APP.replace('"orders"', '"others"'))
    mark = PartitionKeys("shop", "others", 1).relayed.decode()
    app = AppKeys("shop")
    with valkey.client() as client:
        client.hset(mark, mapping={"orders/3/printer": "1-0", "alerts/3/printer": "1-0"})
        client.hset(app.delaying.decode(), "orders", 4)
        client.hset(app.assignment("orders", "printer").decode(), "version", 1)
        shop("stream", "delete", "shop:app", "--name", "orders", "--yes", "--force")
        assert list(client.hgetall(mark)) == ["alerts/3/printer"]
        assert [key for key in client.scan_iter() if ":producer:" not in key] == [mark]
    shop("stream", "delete", "shop:app", "--name", "orders").refused(2, "has no stream 'orders'; it has others")


# ── looking ──


def test_streams_are_listed_also_those_that_are_gone_from_the_code(shop: Caller) -> None:
    shop.write("shop", APP.replace('"orders"', '"others"'))
    listed = {each["stream"]: each for each in shop.done("stream", "list", "shop:app", "--json").json["streams"]}
    assert (listed["orders"]["declared"], listed["orders"]["events"]) == (False, 20)
    assert listed["orders"]["processors"] == ["printer"]
    assert (listed["others"]["declared"], listed["others"]["oldest_age"]) == (True, None)
    assert "not in the code any more" in shop.done("stream", "list", "shop:app").out


def test_a_stream_is_described(shop: Caller) -> None:
    said = shop.done("describe", "shop:orders", "--json").json
    assert (said["kind"], said["record"], said["fields"]) == ("stream", "Order", ["order_id", "created_at", "amount"])
    first = said["partitions"][0]
    assert (first["events"], first["first"], first["last"], first["per_second"]) == (5, "1-0", "5-0", 1_000.0)
    assert first["memory"] > 0
    assert said["processors"] == [{"processor": "printer", "declared": True, "lag": 12, "workers": []}]
    assert shop.done("stream", "describe", "shop:orders", "--json").json.keys() == said.keys()
    assert "12" in shop.done("describe", "shop:orders").out


def test_a_processor_an_actor_and_an_app_are_described(shop: Caller) -> None:
    said = shop.done("describe", "shop:printer", "--json").json
    assert (said["kind"], said["exception_policy"], said["lag"], said["defined"]) == ("processor", "HALT", 12, "shop.printer")
    assert said["partitions"][1]["cursor"] == "2-0"
    shop.write("shop", APP + ACTORS)
    actor = shop.done("describe", "shop:Account", "--json").json
    assert (actor["kind"], actor["messages"]) == ("actor", ["Order"])
    assert (actor["state"], actor["state_fields"]) == ("Balance", ["total"])
    assert (actor["hooks"], actor["key_concurrency"], actor["partitions"][0]["states"]) == (["on_start"], 3, 0)
    app = shop.done("describe", "shop:app", "--json").json
    assert [each["stream"] for each in app["streams"]] == ["orders", "alerts"]
    assert [each["kind"] for each in app["processors"]] == ["a function", "actors"]
    assert app["jobs"] == [{"job": "often", "schedule": "every 10 s", "runs_on": "each worker"}]
    assert "key concurrency" in shop.done("describe", "shop:Account").out
    shop("describe", "shop:Order").refused(2, "no app, stream, processor or actor")
