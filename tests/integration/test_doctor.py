"""`runnel doctor`: what it finds on a real server, and what it makes of it."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runnel import App, Record
from runnel.operations.doctor import examine
from runnel.operations.finding import Finding
from runnel.operations.server_health import permissions
from runnel.store import moves, scripts
from runnel.store.keys import PartitionKeys
from runnel.store.moves import Stop
from runnel.store.scripts import Acquired
from runnel.store.upkeep import APP_COMMANDS, OTHER_COMMANDS, PARTITION_COMMANDS
from tests.integration.calling import Caller
from tests.integration.commands import APP, order
from tests.servers import Server, free_port

LUA = Path(scripts.__file__).parent / "lua"


def found(call: Caller, check: str, *words: str) -> list[dict[str, Any]]:
    said = call("doctor", "shop:app", "--json", "--wait", "0", *words).json
    return [each for each in said["findings"] if each["check"] == check]


def test_an_app_that_nobody_has_used_yet_has_no_problem(call: Caller) -> None:
    done = call("doctor", "shop:app")
    assert (done.code, done.err) == (0, "")
    assert "no streams, processors or keys that the app does not know" in done.out
    said = call("doctor", "shop:app", "--json").json
    assert said["problems"] == 0
    assert all(each["advice"] for each in said["findings"] if each["level"] != "ok")


def test_a_problem_ends_it_with_1_and_one_line(call: Caller) -> None:
    assert call("send", "shop:orders", order(1)).code == 0
    done = call("doctor", "shop:app", "--wait", "0")
    done.refused(1, "2 problems: workers, processor printer")
    assert "→ Start one" in done.out


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl"])
def test_what_no_command_would_start_on_is_a_finding_here(call: Caller, valkey: Server, policy: str) -> None:
    valkey.config(maxmemory_policy=policy)
    done = call("doctor", "shop:app")
    done.refused(1, "eviction")
    assert policy in done.out


def test_what_older_code_left_behind(call: Caller, valkey: Server) -> None:
    assert call("send", "shop:orders", order(1)).code == 0
    with valkey.client() as client:
        client.hset("{shop}:streams", "letters", '{"partition_count": 2, "hasher": "xxh64"}')
        client.xadd("{shop:letters:1}:log", {"data": "x"})
        client.hset("{shop:orders:0}:cursors", "bill", "0-0")
        client.xgroup_create("{shop:orders:0}:log", "mine", mkstream=True)
        for key in ("{shop:orders:9}:counts", "{shop:notes:0}:cursors", "{shop:orders:1}:proc:gone:state"):
            client.hset(key, "x", "1")
        client.set("{shop:orders:9}:producer:x", "1", px=60_000)
        client.set("{shopping:orders:9}:log", "another app's")
        client.set("{shop%7Ereplay%7Ebill%202:orders:0}:log", "of a replay")
        client.set("{shop%7Ereplay%7Ebill%202}:streams", "of the same")
    assert "letters" in found(call, "streams")[1]["said"]
    assert "bill on orders" in found(call, "processors")[0]["said"]
    assert "1 consumer groups" in found(call, "groups")[0]["said"]
    keys, replays = found(call, "keys")
    assert replays["said"].endswith("killed: bill 2")
    assert keys["said"].startswith("3 keys")
    assert "{shop:notes:0}:cursors, {shop:orders:1}:proc:gone:state, {shop:orders:9}:counts" in keys["said"]


def test_another_partition_count_is_a_problem_and_nothing_more_is_said_of_partitions(call: Caller) -> None:
    assert call("send", "shop:orders", order(1)).code == 0
    call.write("shop", APP.replace("partition_count=4", "partition_count=8"))
    done = call("doctor", "shop:app")
    done.refused(1, "1 problem: streams")
    assert "partition_count 4, not 8" in done.out


class Order(Record):
    n: int


async def test_partitions_that_stand_still(valkey: Server) -> None:
    """One is quarantined; one has an owner that does nothing, and an old event; one is full; events are parked and dead."""
    app = App("shop", redis_url=valkey.url)
    orders = app.stream("orders", record=Order, partition_by="n", partition_count=3, partition_size=2)

    @app.processor(orders, name="bill", max_parked=1)
    async def bill(events: Any) -> None: ...

    async with app:
        link = (await app.open()).link()
        with valkey.client() as client:
            for keys in orders.partitions:
                client.xadd(keys.log, {"data": b'{"n": 1}', "~key": "1"}, id="1-0")
            client.xadd(orders.partitions[2].log, {"data": b'{"n": 1}'}, id="2-0")
            client.xadd(orders.partitions[1].parked("bill"), {"data": "x"})
            client.xadd(orders.partitions[1].dead("bill"), {"data": "x"})

        async def take(keys: PartitionKeys) -> Acquired:
            call = scripts.acquire(keys, "bill", worker="w", nonce=b"n", lease=60, start="earliest")
            answer = await link.call(call)
            assert isinstance(answer, Acquired)
            return answer

        stopped = await take(orders.partitions[0])
        await link.call(moves.move(orders.partitions[0], "bill", stopped.token, 1, b"0-0", 0, [Stop("ValueError: no")]))
        await take(orders.partitions[1])
        said = {(each.level, each.said) for each in await examine(app, wait=0) if each.check == "processor bill"}
    assert said == {
        ("problem", "partition 0 is quarantined: ValueError: no"),
        ("problem", "nobody runs partition 2, with events to do"),
        ("warning", "no event was done in partition 1 between two looks, though a worker owns them"),
        ("problem", "as many events are parked as may be (max_parked) in partition 1: there it pauses"),
        ("warning", "1 dead letter"),
        ("problem", "partition 2 full of events that it has not done: producers wait, or are refused"),
    }


async def findings(url: str, check: str) -> list[Finding]:
    app = App("shop", redis_url=url)
    try:
        return [each for each in await examine(app, wait=0) if each.check == check]
    finally:
        await app.close()


@pytest.mark.parametrize(
    ("without", "check", "part"),
    [
        ("-xgroup|setid", "permissions", "XGROUP SETID"),
        ("-unlink", "permissions", "UNLINK"),
        ("-@scripting", "scripts", "do not run"),
    ],
)
async def test_what_the_user_may_not_do_is_named(
    own_server: Callable[..., Server], without: str, check: str, part: str
) -> None:
    server = own_server(tcp=True)
    with server.client() as client:
        run: Callable[..., object] = client.execute_command
        advice = permissions(["HSET"], "shop").advice  # what it advises is enough
        run("ACL", "SETUSER", "app", "reset", "on", ">secret", *advice.split()[2:])
        url = server.url.replace("redis://", "redis://app:secret@")
        [well] = await findings(url, "permissions")
        assert well.level == "ok"
        run("ACL", "SETUSER", "app", without)
    [finding] = await findings(url, check)
    assert finding.level == "problem"
    assert part in finding.said


def test_a_server_that_is_away_is_one_line(call: Caller) -> None:
    call("doctor", "shop:app", "--redis-url", f"redis://127.0.0.1:{free_port()}").refused(4, "cannot be reached")


def test_all_commands_of_the_scripts_are_asked_for() -> None:
    source = "".join(file.read_text() for file in LUA.glob("*.lua"))
    called = {" ".join(filter(None, words)) for words in re.findall(r"call\('([A-Z]+)'(?:, '([A-Z]+)')?", source)}
    asked = {command.replace(" k", "") for command in (*PARTITION_COMMANDS, *APP_COMMANDS, *OTHER_COMMANDS)}
    for command in called:
        assert any(each.startswith(command) for each in asked), command
