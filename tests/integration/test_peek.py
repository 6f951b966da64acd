"""`runnel peek` and `runnel tail`: what is shown of events, and what is looked at for it."""

import asyncio
import json
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from runnel.records import default_hasher
from tests.integration.calling import Caller
from tests.integration.commands import Folder, order
from tests.servers import Server
from tests.support import wait_until

LOG = "{shop:orders:%d}:log"


@pytest.fixture
def sent(call: Caller, valkey: Server) -> Caller:
    """Ten orders, in several partitions."""
    for number in range(10):
        add(valkey, default_hasher(number) % 4, f"{1_000 + number}-0", data=order(number), own_key=str(number))
    return call


def add(server: Server, partition: int, entry: str = "*", **fields: str) -> str:
    with server.client() as client:
        return str(client.xadd(LOG % partition, {name.replace("own_", "~"): value for name, value in fields.items()}, id=entry))


def numbers(call: Caller, *words: str) -> list[int]:
    return [event["record"]["order_id"] for event in call.done("peek", "shop:orders", "--json", *words).json]


def test_events_of_all_partitions_come_in_the_order_of_their_ids(sent: Caller) -> None:
    assert numbers(sent) == list(range(10))
    assert numbers(sent, "--count", "3") == [0, 1, 2]
    assert numbers(sent, "--from", "latest", "-n", "3") == [7, 8, 9]


def test_to_look_changes_nothing(sent: Caller, valkey: Server) -> None:
    with valkey.client() as client:
        before = sorted(client.scan_iter())
        length = sum(client.xlen(LOG % n) for n in range(4))
        sent.done("peek", "shop:orders")
        sent.done("tail", "shop:orders")
        assert (sorted(client.scan_iter()), sum(client.xlen(LOG % n) for n in range(4))) == (before, length)


def test_where_to_begin(call: Caller, valkey: Server) -> None:
    for ms in (1_000, 2_000, 3_000):
        add(valkey, 0, f"{ms}-5", data=order(ms), own_key=str(ms))
    assert numbers(call, "--from", "2000-5") == [2_000, 3_000]
    assert numbers(call, "--from", "2000-6") == [3_000]
    assert numbers(call, "--from", "1970-01-01T00:00:03Z") == [3_000]
    assert numbers(call, "--from", "-1h") == []
    assert "no events" in call.done("peek", "shop:orders", "--partition", "1").out


def test_a_keys_events_are_searched_for_in_its_partition_within_a_limit(call: Caller, valkey: Server) -> None:
    assert call("send", "shop:orders", order(1), "--key", "mine").code == 0
    [first] = call.done("peek", "shop:orders", "--key", "mine", "--json").json
    assert first["key"] == "mine"
    partition = first["partition"]
    with valkey.client() as client, client.pipeline() as pipe:
        for number in range(2, 600):
            pipe.xadd(LOG % partition, {"data": order(number), "~key": "mine" if number in (300, 599) else "other"})
        pipe.execute()
    assert numbers(call, "--key", "mine") == [1, 300, 599]
    assert numbers(call, "--key", "mine", "--count", "2") == [1, 300]
    assert numbers(call, "--key", "mine", "--from", "latest", "--count", "2") == [300, 599]
    short = call.done("peek", "shop:orders", "--key", "mine", "--search", "550").out
    assert "The search ended at" in short
    assert short.count("mine") == 2
    other = (partition + 1) % 4
    call("peek", "shop:orders", "--key", "mine", "--partition", str(other)).refused(2, f"'mine' is in partition {partition}")


def test_what_does_not_decode_is_shown_with_the_reason_and_no_command_of_a_terminal(call: Caller, valkey: Server) -> None:
    add(valkey, 2, data="\x1b[2Jjunk", own_key="\x1b[31m")
    out = call.done("peek", "shop:orders").out
    assert "does not decode: Order: cannot be decoded" in out
    assert "\x1b" not in out + call.done("tail", "shop:orders").out
    [event] = call.done("peek", "shop:orders", "--json").json
    assert (event["record"], event["fields"]["data"]) == (None, "\x1b[2Jjunk")
    assert "JSON" in event["error"]


def test_headers_and_messages_to_actors_are_shown_as_such(call: Caller, valkey: Server) -> None:
    add(valkey, 0, "1-1", data=order(1), own_key="a", own_headers='{"trace": "x1"}')
    add(valkey, 0, "2-1", own_to="Account", own_type="Show", own_message='{"deep": true}', own_key="a")
    event, message = call.done("peek", "shop:orders", "--json").json
    assert event["headers"] == {"trace": "x1"}
    assert (message["to"], message["what"], message["record"]) == ("Account", "Show", {"deep": True})
    assert 'for Account alone: Show {"deep":true}' in call.done("peek", "shop:orders").out


def test_tail_shows_the_last_events_a_line_each(sent: Caller) -> None:
    lines = sent.done("tail", "shop:orders", "-n", "2", "--json").out.splitlines()
    assert [json.loads(line)["record"]["order_id"] for line in lines] == [8, 9]
    assert sent.done("tail", "shop:orders", "-n", "0").out == ""
    assert sent.done("tail", "shop:orders", "--key", "3").out.count("\n") == 1


async def test_tail_follows_through_a_server_that_is_away(tmp_path: Path, own_server: Callable[..., Server]) -> None:
    server = own_server()
    folder = Folder(tmp_path, server.url)
    first = add(server, 0, data=order(1), own_key="1")
    with folder.started("tail", "shop:orders", "-f") as tail:
        await tail.says(f"orders/0/{first}")
        second = add(server, 3, data=order(2), own_key="2")
        await tail.says(f"orders/3/{second}")
        server.restart(kill=True)
        await tail.says("trying again")
        third = add(server, 3, data=order(3), own_key="3")
        await tail.says(f"orders/3/{third}")
        assert "the server is back" in tail.stderr
        assert await tail.ends(signal.SIGINT) == 130
        assert tail.stdout.count("\n") == 3
        assert "Traceback" not in tail.stderr


def test_tail_into_a_closed_pipe_ends_in_silence(tmp_path: Path, valkey: Server) -> None:
    folder = Folder(tmp_path, valkey.url)
    add(valkey, 0, data=order(1), own_key="1")
    process = subprocess.Popen(
        folder.command("tail", "shop:orders", "-f"),
        cwd=folder.path,
        env=folder.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()

        def ended() -> bool:
            add(valkey, 0, data=order(2), own_key="2")
            return process.poll() is not None

        asyncio.run(wait_until(ended))
        assert (process.returncode, process.stderr.read()) == (1, "")
