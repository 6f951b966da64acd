"""`runnel replay`: what runs once more, and that nothing of the real app is touched."""

import asyncio
import signal

import pytest

from runnel.store.keys import PartitionKeys
from tests.integration.calling import Caller, Done
from tests.integration.commands import Folder
from tests.servers import Server

APP = """
from runnel import Actor, App, Record

app = App("shop", default_lock_expiry=1)

class Order(Record):
    key: str
    n: int

class Balance(Record):
    total: int = 0

orders = app.stream("orders", record=Order, partition_by="key", partition_count=2)
sums = app.stream("sums", record=Order, partition_by="key", partition_count=2)

@app.processor(orders, POLICY)
async def bill(events):
    async for event in events:
        order = event.record()
        if order.n == 13:
            raise ValueError("no thirteen")
        print(event.group, event.id, order.key, order.n)

@app.actor(orders)
class Account(Actor[Order, Balance]):
    async def receive(self, order):
        self.state.total += order.n
        print("total", order.key, self.state.total)
        self.emit(sums, Order(key=order.key, n=self.state.total))
        self.remind("later", after=60)

    async def on_reminder(self, name): ...

@app.processor(sums)
async def other(events): ...

@app.timer(0.01)
async def often():
    print("a job ran")
"""


def app(policy: str = "") -> str:
    return APP.replace("POLICY", policy)


@pytest.fixture
def shop(call: Caller, valkey: Server) -> Caller:
    """Events 1-0 to 6-0 of two keys, each in its own partition, and a message that is for an actor."""
    call.write("shop", app())
    with valkey.client() as client:
        for ms in range(1, 7):
            key = "ab"[ms % 2]
            fields = {"data": f'{{"key": "{key}", "n": {ms}}}', "~key": key}
            client.xadd(PartitionKeys("shop", "orders", ms % 2).log, fields, id=f"{ms}-0")
        message = {"~to": "Account", "~key": "a", "~type": "Order", "~message": "{}"}
        client.xadd(PartitionKeys("shop", "orders", 0).log, message, id="6-1")
    call.done("send", "shop:sums", '{"key": "x", "n": 1}')
    return call


def everything(server: Server) -> dict[str, object]:
    with server.client() as client:
        kinds = {"hash": client.hgetall, "stream": client.xrange, "zset": lambda key: client.zrange(key, 0, -1)}
        return {key: kinds[client.type(key)](key) for key in sorted(client.scan_iter()) if ":producer:" not in key}


def replay(shop: Caller, *words: str, by: str = "bill") -> Done:
    return shop("replay", "shop:orders", "--processor", f"shop:{by}", "--as", "bill2", *words)


def ran(done: Done) -> list[int]:
    return [int(line.split()[-1]) for line in done.out.splitlines() if line.startswith("bill2 ")]


def test_all_runs_again_under_another_name_and_nothing_else_changes(shop: Caller, valkey: Server) -> None:
    before = everything(valkey)
    planned = replay(shop)
    assert "7 events" in planned.out
    assert "Nothing is run yet" in planned.out
    assert ran(planned) == []
    done = replay(shop, "--yes")
    assert (done.code, done.err, sorted(ran(done))) == (0, "", [1, 2, 3, 4, 5, 6])
    assert "bill2 orders/1/3-0 b 3" in done.out  # the event's id is what it always was
    assert "a job ran" not in done.out
    assert "Done: 6 events; 1 left out: messages and reminders of actors." in done.out
    assert everything(valkey) == before


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--from", "2-0", "--to", "4-0"], [2, 3, 4]),
        (["--from", "1970-01-01T00:00:00.005Z"], [5, 6]),
        (["--to", "1970-01-01T00:00:00.002Z"], [1, 2]),
        (["--partition", "1"], [1, 3, 5]),
        (["--from", "-1h"], []),
    ],
)
def test_a_range_runs_to_its_end_and_no_further(shop: Caller, words: list[str], expected: list[int]) -> None:
    done = replay(shop, *words, "--yes")
    assert (done.code, sorted(ran(done))) == (0, expected)


def test_only_events_of_a_key(shop: Caller, valkey: Server) -> None:
    partition = int(shop.done("send", "shop:orders", '{"key": "mine", "n": 7}').out.split("/")[1])
    with valkey.client() as client:
        log = PartitionKeys("shop", "orders", partition).log
        client.xadd(log, {"data": '{"key": "x", "n": 8}', "~key": "x"})
    assert ran(replay(shop, "--key", "mine", "--yes")) == [7]


def test_more_events_than_the_sandbox_holds_at_once(shop: Caller, valkey: Server) -> None:
    with valkey.client() as client:
        log, pipe = PartitionKeys("shop", "orders", 0).log, client.pipeline()
        for n in range(100, 2_400):
            pipe.xadd(log, {"data": f'{{"key": "a", "n": {n}}}', "~key": "a"}, id=f"{n}-0")
        pipe.execute()
    assert ran(replay(shop, "--from", "100-0", "--yes")) == list(range(100, 2_400))


def test_what_actors_remember_and_emit_goes_with_the_sandbox(shop: Caller, valkey: Server) -> None:
    before = everything(valkey)
    done = replay(shop, "--yes", by="Account")
    assert (done.code, done.err) == (0, "")
    assert {"total a 12", "total b 9"} <= set(done.out.splitlines())
    assert everything(valkey) == before
    assert "total a 12" in replay(shop, "--yes", by="Account").out  # and again from nothing


@pytest.mark.parametrize(
    ("policy", "code", "said"),
    [
        ('exception_policy="dead_letter"', 1, "1 of 7 events failed, or lie behind one that did: orders/0/13-0: ValueError"),
        ('exception_policy="park"', 1, "1 of 7 events failed, or lie behind one that did: orders/0/13-0: ValueError"),
        ('exception_policy="quarantine"', 1, "event orders/0/13-0 failed: ValueError"),
        ("", 3, "event orders/0/13-0"),
    ],
)
def test_an_event_that_fails_fails_the_replay_and_nothing_else(
    shop: Caller, valkey: Server, policy: str, code: int, said: str
) -> None:
    shop.write("shop", app(policy))
    with valkey.client() as client:
        log = PartitionKeys("shop", "orders", 0).log
        client.xadd(log, {"data": '{"key": "a", "n": 13}', "~key": "a"}, id="13-0")
    before = everything(valkey)
    done = replay(shop, "--yes")
    assert done.code == code
    assert said in done.err.splitlines()[-1]
    assert everything(valkey) == before


def test_one_that_is_interrupted_leaves_nothing_and_one_that_is_killed_is_cleared_up_by_the_next(
    shop: Caller, valkey: Server
) -> None:
    folder = Folder(shop.path, valkey.url)
    slow = "        print('slow', flush=True); import asyncio; await asyncio.sleep(60)"
    changed = app().replace("        order = event.record()", slow).replace("default_lock_expiry=1", "default_grace_period=0")
    folder.write("shop.py", changed)
    words = ("replay", "shop:orders", "--processor", "shop:bill", "--as", "bill2", "--yes")
    before = everything(valkey)
    with folder.started(*words) as running:
        asyncio.run(running.says("slow"))
        shop(*words).refused(2, "a replay as 'bill2' is under way")
        assert asyncio.run(running.ends(signal.SIGINT)) == 130
        assert "Traceback" not in running.stderr
    assert everything(valkey) == before
    with folder.started(*words) as running:
        asyncio.run(running.says("slow"))
        assert asyncio.run(running.ends(signal.SIGTERM)) == 143
        assert running.stderr == "runnel: terminated\n"
    assert everything(valkey) == before
    with folder.started(*words) as running:
        asyncio.run(running.says("slow"))
    assert everything(valkey) != before
    shop.write("shop", app())
    with valkey.client() as client:
        [members] = client.scan_iter("*replay*:members")
        client.zadd(members, dict.fromkeys(client.zrange(members, 0, -1), 1))  # its membership has run out
    assert sorted(ran(shop.done(*words, "--from", "3-0", "--to", "4-0"))) == [3, 4]
    assert everything(valkey) == before


# ── without a name ──


def test_without_a_name_the_processor_is_set_back(shop: Caller, valkey: Server) -> None:
    cursors = [PartitionKeys("shop", "orders", number).cursors.decode() for number in range(2)]
    words = ("replay", "shop:orders", "--processor", "shop:bill", "--from", "3-0")
    with valkey.client() as client:
        for cursor in cursors:
            client.hset(cursor, "bill", "6-1")
        for number in range(2):
            client.hset(PartitionKeys("shop", "orders", number).slot("bill").decode(), "count", 3)
        assert "runs again" in (out := shop.done(*words).out) or "run again" in out
        assert [client.hget(cursor, "bill") for cursor in cursors] == ["6-1"] * 2
        assert shop.done(*words, "--yes", "--json").json["done"]
        assert [client.hget(cursor, "bill") for cursor in cursors] == ["2-18446744073709551615"] * 2


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["--processor", "shop:bill", "--to", "4-0"], "--to and --key go with --as"),
        (["--processor", "shop:bill", "--key", "a"], "--to and --key go with --as"),
        (["--processor", "shop:other"], "is a processor of stream 'sums', not of 'orders'"),
        (["--processor", "shop:bill", "--as", "x", "--from", "latest"], "nothing to replay"),
        (["--processor", "shop:bill", "--as", "x", "--from", "soon"], "'soon'"),
        (["--processor", "shop:bill", "--as", "x", "--to", "soon"], "'soon'"),
        (["--processor", "shop:bill", "--as", "x", "--from", "-1h", "--to", "-2h"], "the end '-2h' is before the begin '-1h'"),
        (["--processor", "shop:bill", "--as", "x", "--from", "4-1", "--to", "4-0"], "the end '4-0' is before"),
        (["--processor", "shop:bill", "--as", "x", "--partition", "2"], "no partition 2: 0 to 1"),
        (["--processor", "shop:sums", "--as", "x"], "shop:sums is a Stream, not a Processor"),
    ],
)
def test_a_replay_that_makes_no_sense_is_one_line(shop: Caller, words: list[str], part: str) -> None:
    shop("replay", "shop:orders", *words, "--yes").refused(2, part)
