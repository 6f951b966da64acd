"""The command line as its users meet it: real processes, a real server."""

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.commands import APP, Folder, order
from tests.integration.embedded_world import World
from tests.servers import Server, free_port
from tests.support import wait_until


@pytest.fixture
def shop(tmp_path: Path, valkey: Server) -> Folder:
    return Folder(tmp_path, valkey.url)


def assert_one_line(done: "subprocess.CompletedProcess[str]", code: int, *parts: str) -> None:
    assert done.returncode == code, done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith("runnel: ")
    for part in parts:
        assert part in done.stderr


# ── send ──


def test_send_prints_the_events_id(shop: Folder) -> None:
    done = shop.run("send", "shop:orders", order(1))
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"orders/[0-3]/\d+-\d+\n", done.stdout)
    assert done.stderr == ""


def test_send_goes_to_the_partition_of_the_key_that_is_given(shop: Folder) -> None:
    places = {shop.run("send", "shop:orders", order(n), "--key", "same").stdout.split("/")[1] for n in range(4)}
    assert len(places) == 1


@pytest.mark.parametrize(
    ("record", "parts"),
    [
        ('{"order_id": 1', ["not JSON", "line 1 column"]),
        ("[1]", ["Order", "an object"]),
        (order(1, '"dear"'), ["Order.amount", "int", "dear"]),
        (order(1, "1.5"), ["Order.amount", "int", "1.5"]),
        ('{"order_id": 1}', ["Order", "created_at"]),
        (order(1).replace("amount", "amuont"), ["Order", "amuont"]),
        (order(1).replace("2020-07-21T22:09:37Z", "yesterday"), ["Order.created_at", "yesterday"]),
    ],
)
def test_send_says_what_is_wrong_with_a_record(shop: Folder, record: str, parts: list[str]) -> None:
    assert_one_line(shop.run("send", "shop:orders", record), 1, *parts)


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["send", "shop:nothing", "{}"], ["'shop'", "'nothing'", "it has orders"]),
        (["send", "shop:app", "{}"], ["App", "Stream", "orders"]),
        (["send", "shop", "{}"], ["module:orders"]),
        (["send", "nowhere:orders", "{}"], ["no module 'nowhere'"]),
        (["status", "shop:nothing"], ["it has app"]),
        (["status", "nowhere:app"], ["no module 'nowhere'"]),
        (["worker", "shop:app", "--processors", "painter"], ["no processor 'painter'", "printer"]),
        (["run", "shop:app", "--log-level", "silly"], ["'--log-level': 'silly' is not one of"]),
        (["send", "shop:orders"], ["JSON"]),
        (["paint"], ["paint"]),
        (["sendmany", "shop:orders", "nothing.jsonl"], ["nothing.jsonl", "No such file"]),
        (["worker", "shop:app", "--redis-url", "http://localhost"], ["http://localhost", "redis://"]),
        (["worker", "shop:app", "--redis-url", "redis+cluster://localhost"], ["not supported yet"]),
    ],
)
def test_wrong_usage_is_one_line(shop: Folder, words: list[str], parts: list[str]) -> None:
    assert_one_line(shop.run(*words), 2, *parts)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("import runnel\napp = (\n", ["broken.py:2", "SyntaxError"]),
        ("import runnel\n\napp = App('x')\n", ["broken.py:3", "NameError"]),
        ("import notinstalled\n", ["broken.py:1", "notinstalled"]),
        ("from runnel import App\napp = App('x', colour='red')\n", ["broken.py:2", "colour"]),
    ],
)
def test_a_module_that_fails_is_one_line_that_says_where(shop: Folder, text: str, parts: list[str]) -> None:
    shop.write("broken.py", text)
    assert_one_line(shop.run("worker", "broken:app"), 2, *parts)


def test_traceback_is_shown_on_demand_wherever_the_option_stands(shop: Folder) -> None:
    for words in (["--traceback", "status", "no:app"], ["status", "no:app", "--traceback"]):
        done = shop.run(*words)
        assert done.returncode == 2
        assert "Traceback (most recent call last)" in done.stderr


# ── the server ──


@pytest.mark.parametrize("command", [["send", "shop:orders", order(1)], ["status", "shop:app"], ["worker", "shop:app"]])
def test_an_unreachable_server_is_one_line(shop: Folder, command: list[str]) -> None:
    url = f"redis://user:secret@127.0.0.1:{free_port()}"
    done = shop.run(*command, "--redis-url", url)
    assert_one_line(done, 4, "127.0.0.1", "cannot be reached")
    assert "secret" not in done.stderr


def test_a_server_that_hangs_is_one_line(shop: Folder, own_server: Callable[..., Server]) -> None:
    server = own_server()
    os.kill(server.pid, signal.SIGSTOP)
    assert_one_line(shop.run("status", "shop:app", "--redis-url", server.url), 4, "no answer in time")
    os.kill(server.pid, signal.SIGCONT)


def test_a_wrong_password_is_one_line(shop: Folder, valkey: Server) -> None:
    with valkey.client() as client:
        client.acl_setuser("clerk", enabled=True, passwords=["+right"], commands=["+@all"], keys=["*"])
    done = shop.run("status", "shop:app", "--redis-url", f"{valkey.url}?username=clerk&password=wrong")
    assert_one_line(done, 4, "refused", "password")
    assert "wrong" not in done.stderr.replace("WRONGPASS", "")


def test_a_server_that_needs_a_password_says_how_to_give_it(shop: Folder, own_server: Callable[..., Server]) -> None:
    server = own_server(tcp=True)
    server.config(requirepass="secret")
    assert_one_line(shop.run("status", "shop:app", "--redis-url", server.url), 4, "needs a password: redis://:PASSWORD@host")


def test_a_server_that_evicts_is_refused(shop: Folder, valkey: Server) -> None:
    valkey.config(maxmemory_policy="allkeys-lru")
    assert_one_line(shop.run("worker", "shop:app"), 2, "allkeys-lru", "noeviction")


def test_another_partition_count_than_before_is_refused(shop: Folder) -> None:
    assert shop.run("send", "shop:orders", order(1)).returncode == 0
    shop.write("shop.py", APP.replace("partition_count=4", "partition_count=8"))
    for words in (
        ["send", "shop:orders", order(1)],
        ["worker", "shop:app", "--log-level", "error"],
        ["status", "shop:app"],
        ["lag", "shop:app"],
        ["processor", "reset", "shop:printer", "--start", "latest", "--yes"],
    ):
        assert_one_line(shop.run(*words), 2, "partition_count 4, not 8")


@pytest.mark.parametrize(
    "words",
    [
        ["status", "shop:app"],
        ["lag", "shop:app", "--fail-above", "0"],
        ["processor", "reset", "shop:printer", "--start", "latest", "--yes"],
        ["processor", "delete", "shop:printer"],
        ["processor", "delete", "shop:app", "--name", "bill", "--force", "--yes"],
    ],
    ids=" ".join,
)
def test_to_look_at_an_embedded_server_begins_none(shop: Folder, words: list[str], world: World) -> None:
    before = sorted(shop.path.rglob("*"))
    done = shop.run(*words, "--redis-url", "embedded://data")
    assert_one_line(done, 2, str(world.folder), "no data of an embedded server")
    assert sorted(shop.path.rglob("*")) == before
    assert not world.processes()


def test_what_was_sent_to_an_embedded_server_is_there_to_look_at(shop: Folder, world: World) -> None:
    assert shop.run("send", "shop:orders", order(1), "--redis-url", "embedded://data").returncode == 0
    assert json.loads(shop.run("lag", "shop:app", "--json", "--redis-url", "embedded://data").stdout)["lag"] == 1


# ── sendmany ──


def test_sendmany_sends_every_line_of_a_file(shop: Folder, valkey: Server) -> None:
    done = shop.run("sendmany", "shop:orders", shop.orders("orders.jsonl", [1] * 2_500))
    assert (done.returncode, done.stderr) == (0, "2,500 events sent\n")
    assert events_in(valkey) == 2_500


def test_sendmany_reads_standard_input_and_passes_over_blank_lines(shop: Folder, valkey: Server) -> None:
    done = shop.run("sendmany", "shop:orders", "-", stdin=f"\n{order(1)}\n  \n{order(2)}")
    assert (done.returncode, done.stderr) == (0, "2 events sent\n")
    assert events_in(valkey) == 2


def test_a_bad_line_is_reported_and_nothing_is_sent_twice_when_it_is_mended(shop: Folder, valkey: Server) -> None:
    amounts: list[object] = [1] * 2_600
    amounts[2_344] = '{"order_id": 1, "created_at": 5, "amount": 1}'
    file = shop.orders("orders.jsonl", amounts)
    done = shop.run("sendmany", "shop:orders", file)
    assert_one_line(
        done, 1, "line 2345: Order.created_at", "Lines 1 to 2344 were sent", "go on with --from-line 2345"
    )
    assert events_in(valkey) == 2_344

    shop.orders("orders.jsonl", [1] * 2_600)
    done = shop.run("sendmany", "shop:orders", file, "--from-line", "2345")
    assert (done.returncode, done.stderr) == (0, "256 events sent\n")
    assert events_in(valkey) == 2_600


def test_a_bad_first_line_says_that_nothing_was_sent(shop: Folder) -> None:
    done = shop.run("sendmany", "shop:orders", "-", stdin="nonsense\n")
    assert_one_line(done, 1, "line 1: not JSON", "No line was sent")


def full(shop: Folder, **options: object) -> None:
    """Give the stream other options."""
    words = ", ".join(f"{name}={value!r}" for name, value in options.items())
    shop.write("shop.py", APP.replace("partition_count=4", words))


def go_on(done: "subprocess.CompletedProcess[str]") -> list[str]:
    """The options with which to go on, as the message says."""
    found = re.search(r"go on with ((--from-line \d+)( --skip [\d,-]+)?)$", done.stderr.strip())
    assert found, done.stderr
    return found.group(1).split()


def ids_in(server: Server) -> list[int]:
    """The order_ids in the log, partition after partition."""
    with server.client() as client:
        logs = [client.xrange(name) for name in sorted(client.scan_iter("*:log"))]
    return [json.loads(entry[1]["data"])["order_id"] for entries in logs for entry in entries or []]


def test_a_full_partition_says_which_lines_were_sent(shop: Folder, valkey: Server) -> None:
    full(shop, partition_count=1, partition_size=1_500, overflow="reject")
    done = shop.run("sendmany", "shop:orders", shop.orders("orders.jsonl", [1] * 3_000))
    assert_one_line(done, 1, "is full", "Lines 1 to 1500 were sent; go on with --from-line 1501\n")
    assert ids_in(valkey) == list(range(1_500))


def test_a_partition_smaller_than_a_batch_is_filled(shop: Folder, valkey: Server) -> None:
    full(shop, partition_count=1, partition_size=100, overflow="reject")
    done = shop.run("sendmany", "shop:orders", shop.orders("orders.jsonl", [1] * 300))
    assert_one_line(done, 1, "is full", "Lines 1 to 100 were sent; go on with --from-line 101\n")
    assert ids_in(valkey) == list(range(100))


@pytest.mark.parametrize("overflow", ["reject", "block"])
def test_going_on_as_a_full_stream_says_sends_every_line_once(shop: Folder, valkey: Server, overflow: str) -> None:
    full(shop, partition_count=4, partition_size=200, overflow=overflow)
    shop.write("shop.py", (shop.path / "shop.py").read_text().replace('App("shop"', 'App("shop", send_timeout=0.2'))
    file = shop.orders("orders.jsonl", [1] * 1_000)
    done, words, found = shop.run("sendmany", "shop:orders", file), [], []
    for _ in range(20):
        found += make_room(valkey)
        if done.returncode == 0:
            break
        assert "is full" in done.stderr
        words = go_on(done)
        done = shop.run("sendmany", "shop:orders", file, *words)
    assert "--skip" in words
    assert sorted(found) == list(range(1_000))


def make_room(server: Server) -> list[int]:
    """As if a processor had done all that is there; what that was."""
    found = []
    with server.client() as client:
        for name in client.scan_iter("*:log"):
            for entry_id, fields in client.xrange(name) or []:
                found.append(json.loads(fields["data"])["order_id"])
                client.xdel(name, entry_id)
    return found


async def test_sendmany_says_once_that_it_waits_for_room(shop: Folder, valkey: Server) -> None:
    full(shop, partition_count=1, partition_size=100)
    shop.orders("orders.jsonl", [1] * 500)
    with shop.started("sendmany", "shop:orders", "orders.jsonl") as sending:
        await sending.says("runnel: waiting for room: partition 0 of stream 'orders' is full")
        found: list[int] = []
        while sending.process.poll() is None:
            found += make_room(valkey)
            await asyncio.sleep(0)
        assert sending.process.wait() == 0, sending.stderr
        assert sorted(found + ids_in(valkey)) == list(range(500))
        assert sending.stderr.count("waiting for room") == 1
        assert sending.stderr.endswith("500 events sent\n")


async def test_sendmany_that_is_interrupted_while_it_waits_for_room_knows_what_was_sent(shop: Folder) -> None:
    full(shop, partition_count=1, partition_size=100)
    shop.orders("orders.jsonl", [1] * 300)
    with shop.started("sendmany", "shop:orders", "orders.jsonl") as sending:
        await sending.says("waiting for room")
        assert await sending.ends(signal.SIGINT) == 130
        assert "interrupted. Lines 1 to 100 were sent; go on with --from-line 101\n" in sending.stderr


async def test_sendmany_says_what_it_does_not_know_when_the_server_hangs(shop: Folder, valkey: Server) -> None:
    full(shop, partition_count=1)
    shop.write("shop.py", (shop.path / "shop.py").read_text().replace('App("shop"', 'App("shop", send_timeout=0.5'))
    with shop.piping("sendmany", "shop:orders", "-") as process, valkey.client() as client:
        assert process.stdin is not None
        assert process.stderr is not None
        process.stdin.write(f"{order(1)}\n{order(2)}\n")
        process.stdin.flush()
        await wait_until(lambda: events_in(valkey) == 2)
        client.client_pause(60_000, all=False)
        process.stdin.write("".join(f"{order(n)}\n" for n in (3, 4)))
        process.stdin.flush()
        assert process.wait(20) == 4
        client.client_unpause()
        said = process.stderr.read()
    assert "Lines 1 to 2 were sent; of 3-4 it is not known." in said
    assert "go on with --from-line 5, which leaves them out, or with --from-line 3, which sends them again" in said


def test_a_first_line_beyond_the_end_is_an_error(shop: Folder) -> None:
    file = shop.orders("orders.jsonl", [1] * 3)
    assert_one_line(shop.run("sendmany", "shop:orders", file, "--from-line", "4"), 2, "--from-line 4", "only 3 lines")
    assert shop.run("sendmany", "shop:orders", file, "--from-line", "3").stderr == "1 event sent\n"


@pytest.mark.parametrize("lines", ["x", "3-", "5-3", "1,,2", "-4"])
def test_lines_to_skip_that_are_none_are_an_error(shop: Folder, lines: str) -> None:
    file = shop.orders("orders.jsonl", [1] * 3)
    assert_one_line(shop.run("sendmany", "shop:orders", file, f"--skip={lines}"), 2, "3-5,9")


async def test_sendmany_sends_what_a_pipe_holds_and_says_how_far_it_got_when_interrupted(
    shop: Folder, valkey: Server
) -> None:
    with shop.piping("sendmany", "shop:orders", "-") as process:
        assert process.stdin is not None
        assert process.stderr is not None
        process.stdin.write(f"{order(1)}\n{order(2)}\n")
        process.stdin.flush()
        await wait_until(lambda: events_in(valkey) == 2)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
        assert "Lines 1 to 2 were sent" in process.stderr.read()


def events_in(server: Server) -> int:
    with server.client() as client:
        return sum(int(client.xlen(name)) for name in client.scan_iter("*:log"))


# ── worker and run ──


@pytest.mark.parametrize("command", ["worker", "run"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_worker_processes_and_stops_in_order_at_a_signal(
    shop: Folder, command: str, number: signal.Signals
) -> None:
    with shop.started(command, "shop:app") as worker:
        await worker.says("worker started")
        assert shop.run("send", "shop:orders", order(1, 4)).returncode == 0
        await worker.says("amount 25")
        assert await worker.ends(number) == 0
        assert "worker stopped" in worker.stderr
        assert "Traceback" not in worker.stderr
        assert "\x1b" not in worker.stdout + worker.stderr
    status = json.loads(shop.run("status", "shop:app", "--json").stdout)
    assert (status["lag"], status["processors"][0]["owned"]) == (0, 0)


async def test_logs_can_be_json(shop: Folder) -> None:
    with shop.started("run", "shop:app", "--log-format", "json", "--log-level", "debug") as worker:
        await worker.says("partition acquired", times=4)
        await worker.ends(signal.SIGTERM)
        lines = [json.loads(line) for line in worker.stderr.splitlines()]
    acquired = [line for line in lines if line["message"] == "partition acquired"]
    assert {line["partition"] for line in acquired} == {0, 1, 2, 3}
    assert {line["level"] for line in acquired} == {"debug"}


async def test_where_the_log_is_json_its_last_line_is_too(shop: Folder) -> None:
    shop.run("send", "shop:orders", order(7, 0))
    done = shop.run("worker", "shop:app", "--log-format", "json")
    last = json.loads(done.stderr.splitlines()[-1])
    assert (done.returncode, last["exit_code"], last["level"]) == (3, 3, "critical")
    assert "ZeroDivisionError" in last["message"]


async def test_a_function_that_does_not_loop_is_told_once_what_to_do(shop: Folder) -> None:
    app = APP.replace("partition_count=4", "partition_count=1")
    shop.write("shop.py", app[: app.index("    async for")] + "    print('called', flush=True)\n")
    with shop.started("worker", "shop:app") as worker:
        await worker.says("called", times=6)
        assert await worker.ends(signal.SIGINT) == 0
    assert worker.stderr.count("must loop over its events") == 1
    assert "async for record in events.records()" in worker.stderr


async def test_a_handler_that_fails_ends_the_worker_with_one_line_that_says_where(shop: Folder) -> None:
    line = next(i for i, text in enumerate(APP.splitlines(), 1) if "100 //" in text)
    shop.run("send", "shop:orders", order(7, 0))
    done = shop.run("worker", "shop:app")
    assert done.returncode == 3
    last = done.stderr.splitlines()[-1]
    assert last.startswith("runnel: processor 'printer': event orders/")
    assert "ZeroDivisionError" in last
    assert f"shop.py:{line}, in printer" in last
    assert done.stderr.count("Traceback") == 1
    assert "/runnel/roles/" not in done.stderr
    assert "/runnel/events.py" not in done.stderr


async def test_an_event_that_does_not_decode_ends_the_worker_with_one_line(shop: Folder, valkey: Server) -> None:
    shop.run("send", "shop:orders", order(7))
    with valkey.client() as client:
        for log in client.scan_iter("*:log"):
            client.xadd(log, {"data": "garbage", "~key": "7"})
    done = shop.run("worker", "shop:app")
    assert done.returncode == 3
    assert done.stderr.splitlines()[-1].startswith("runnel: processor 'printer': event orders/")
    assert "Traceback" not in done.stderr


async def test_a_second_signal_ends_a_worker_at_once(shop: Folder) -> None:
    begun = "        print('begun', flush=True)\n        import asyncio\n        await asyncio.sleep(3600)\n"
    shop.write("shop.py", APP.replace("        print(", f"{begun}        print("))
    shop.run("send", "shop:orders", order(1))
    with shop.started("worker", "shop:app") as worker:
        await worker.says("begun")
        worker.process.send_signal(signal.SIGINT)
        worker.process.send_signal(signal.SIGTERM)  # not the same: two of one kind may arrive as one
        assert await worker.ends() == 0
        assert "cut off in the middle of an event, which will run again" in worker.stderr


async def test_a_signal_ends_a_worker_that_is_still_connecting(shop: Folder) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"redis://127.0.0.1:{silent.getsockname()[1]}"
        with shop.started("worker", "shop:app", "--redis-url", url) as worker:
            connection, _ = silent.accept()
            with connection:
                assert await worker.ends(signal.SIGINT) == 0
                assert "Traceback" not in worker.stderr


@pytest.mark.parametrize("command", ["status shop:app", "worker shop:app"])
def test_a_pipe_that_is_closed_gives_no_traceback(shop: Folder, command: str) -> None:
    shop.run("sendmany", "shop:orders", shop.orders("orders.jsonl", [1] * 5_000))
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m runnel {command} | head -1"],
        cwd=shop.path,
        env=shop.environment(),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.count("\n") == 1
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


# ── reload ──


async def test_reload_starts_anew_at_a_change_and_survives_a_syntax_error(shop: Folder) -> None:
    with shop.started("run", "shop:app", "--reload") as worker:
        await worker.says("worker started")
        shop.write("shop.py", APP.replace("amount", "amount ("))
        await worker.says("SyntaxError")
        await worker.says("waiting for a change")
        shop.write("shop.py", APP.replace('"amount"', '"again"'))
        await worker.says("worker started", times=2)
        shop.run("send", "shop:orders", order(1, 4))
        await worker.says("again 25")
        assert await worker.ends(signal.SIGTERM) == 0
        assert "Traceback" not in worker.stderr


async def test_reload_passes_a_signal_of_the_whole_group_on_once(shop: Folder) -> None:
    waits = "        import asyncio, os\n        while not os.path.exists('go'):\n            await asyncio.sleep(0.01)\n"
    shop.write("shop.py", APP.replace("        print(", f"        print('begun', flush=True)\n{waits}        print("))
    shop.run("send", "shop:orders", order(1))
    with shop.started("run", "shop:app", "--reload") as worker:
        await worker.says("begun")
        os.killpg(worker.process.pid, signal.SIGINT)
        shop.write("go", "")
        assert await worker.ends() == 0
    assert "amount 100" in worker.stdout
    assert "stopping at once" not in worker.stderr


@pytest.mark.parametrize(("ends_by", "code"), [("os.kill(os.getpid(), 9)", 137), ("os._exit(7)", 7)])
async def test_reload_ends_with_the_last_childs_code_as_a_shell_would(shop: Folder, ends_by: str, code: int) -> None:
    shop.write("shop.py", f"import os\n{ends_by}")
    with shop.started("run", "shop:app", "--reload") as worker:
        await worker.says("waiting for a change")
        assert await worker.ends(signal.SIGTERM) == code


async def test_reload_ends_in_order_though_its_child_was_only_starting(shop: Folder) -> None:
    shop.write("shop.py", "print('waiting', flush=True)\nimport threading\nthreading.Event().wait()")
    with shop.started("run", "shop:app", "--reload") as worker:
        await worker.says("waiting")
        assert await worker.ends(signal.SIGINT) == 0
        assert "Traceback" not in worker.stderr


async def test_reload_without_watchfiles_says_what_to_install(shop: Folder) -> None:
    shop.write("watchfiles.py", "raise ImportError")
    assert_one_line(shop.run("run", "shop:app", "--reload"), 2, "runnel[reload]")


# ── status and reset ──


def test_status_needs_no_worker_and_changes_nothing(shop: Folder, valkey: Server) -> None:
    shop.run("sendmany", "shop:orders", shop.orders("orders.jsonl", [1] * 10))
    with valkey.client() as client:
        before = sorted(client.scan_iter())
        status = json.loads(shop.run("status", "shop:app", "--json").stdout)
        assert sorted(client.scan_iter()) == before
    [printer] = status["processors"]
    assert (status["lag"], printer["lag"], len(printer["partitions"])) == (10, 10, 4)
    assert {each["owner"] for each in printer["partitions"]} == {None}
    assert "10 events to do" in shop.run("status", "shop:app").stdout


async def test_status_shows_owners_and_a_processor_that_is_caught_up(shop: Folder) -> None:
    shop.run("sendmany", "shop:orders", shop.orders("orders.jsonl", [1] * 10))

    def status() -> dict[str, object]:
        found: dict[str, object] = json.loads(shop.run("status", "shop:app", "--json").stdout)["processors"][0]
        return found

    with shop.started("worker", "shop:app") as worker:
        await worker.says("amount", times=10)
        await wait_until(lambda: status()["lag"] == 0)
        found = status()
        assert (found["owned"], found["workers"]) == (4, 1)
        assert "caught up" in shop.run("status", "shop:app").stdout


def test_status_tells_how_long_the_oldest_event_of_each_partition_has_waited(shop: Folder, valkey: Server) -> None:
    now = server_ms(valkey)
    ages = {partition: 60 * (partition + 1) for partition in (0, 2)}
    with valkey.client() as client:
        for partition, seconds in ages.items():
            for later in (0, 5_000):
                client.xadd(f"{{shop:orders:{partition}}}:log", {"data": "x"}, id=f"{now - 1000 * seconds + later}-0")
    status = json.loads(shop.run("status", "shop:app", "--json").stdout)
    [printer] = status["processors"]
    found = {each["partition"]: each["oldest_age"] for each in printer["partitions"]}
    assert (found.pop(1), found.pop(3)) == (None, None)
    for partition, seconds in ages.items():
        assert seconds <= found[partition] < seconds + 30
    assert printer["oldest_age"] == status["oldest_age"] == found[2]
    assert "oldest 3 min" in shop.run("status", "shop:app").stdout


def server_ms(server: Server) -> int:
    with server.client() as client:
        seconds, micros = client.time()
    return int(seconds) * 1000 + int(micros) // 1000


def test_lag_is_a_line_for_each_processor(shop: Folder) -> None:
    shop.write("shop.py", APP + TWO)
    shop.run("sendmany", "shop:orders", shop.orders("orders.jsonl", [1] * 10))
    done = shop.run("lag", "shop:app")
    assert (done.returncode, done.stderr) == (0, "")
    head, printer, late = [line.split() for line in done.stdout.splitlines()]
    assert head == ["processor", "stream", "lag", "oldest", "owned", "workers"]
    assert (printer[:3], printer[-3:]) == (["printer", "orders", "10"], ["s", "0/4", "0"])
    assert late == ["late", "orders", "0", "-", "0/4", "0"]

    found = json.loads(shop.run("lag", "shop:app", "--json").stdout)
    [printer, late] = found["processors"]
    assert (found["lag"], found["oldest_age"]) == (10, printer["oldest_age"])
    assert 0 <= printer.pop("oldest_age") < 60
    assert printer == {
        "processor": "printer", "stream": "orders", "lag": 10, "owned": 0, "workers": 0, "partitions": 4,
        "parked": 0, "dead": 0, "states": 0, "emitted": 0, "quarantined": 0, "paused": 0, "breaker_open": {},
    }  # fmt: skip
    assert (late["lag"], late["oldest_age"]) == (0, None)


TWO = """
@app.processor(orders, start="latest")
async def late(events):
    async for order in events.records():
        pass
"""


def test_lag_is_a_check_for_monitoring(shop: Folder, valkey: Server) -> None:
    assert shop.run("lag", "shop:app", "--fail-above", "0", "--fail-above-age", "0").returncode == 0
    with valkey.client() as client:
        client.xadd("{shop:orders:1}:log", {"data": "x"}, id=f"{server_ms(valkey) - 100_000}-0")
    for words in (["--fail-above", "1"], ["--fail-above-age", "3600"]):
        done = shop.run("lag", "shop:app", *words)
        assert (done.returncode, done.stderr) == (0, "")
    done = shop.run("lag", "shop:app", "--fail-above", "0")
    assert_one_line(done, 1, "printer on orders: lag 1 is above 0")
    assert "printer" in done.stdout
    done = shop.run("lag", "shop:app", "--json", "--fail-above-age", "90")
    assert_one_line(done, 1, "printer on orders: its oldest event has waited 1", "above 90 s")
    assert json.loads(done.stdout)["lag"] == 1


@pytest.mark.parametrize("words", [["--fail-above", "many"], ["--fail-above", "-1"], ["--fail-above-age", "-0.5"]])
def test_a_limit_that_makes_no_sense_is_one_line(shop: Folder, words: list[str]) -> None:
    assert_one_line(shop.run("lag", "shop:app", *words), 2, words[0])


def test_a_reset_shows_its_plan_and_acts_only_when_told(shop: Folder) -> None:
    shop.run("sendmany", "shop:orders", shop.orders("orders.jsonl", [1] * 10))
    done = shop.run("processor", "reset", "shop:printer", "--start", "latest")
    assert "10 events are never run" in done.stdout
    assert "--yes" in done.stdout
    assert lag(shop) == 10
    assert shop.run("processor", "reset", "shop:printer", "--start", "latest", "--yes").returncode == 0
    assert lag(shop) == 0
    done = shop.run("processor", "reset", "shop:printer", "--start", "-1h", "--yes")
    assert "10 events run again" in done.stdout
    assert lag(shop) == 10


def test_a_reset_to_an_id_or_of_one_partition(shop: Folder, valkey: Server) -> None:
    ids = [shop.run("send", "shop:orders", order(n), "--key", "x").stdout.strip() for n in range(3)]
    _, partition, xid = ids[0].split("/")
    shop.run("processor", "reset", "shop:printer", "--start", "latest", "--yes")
    done = shop.run("processor", "reset", "shop:printer", "--start", xid, "--partition", partition, "--yes")
    assert "2 events run again" in done.stdout
    assert lag(shop) == 2


def test_a_resets_plan_for_programs_tells_how_to_undo_it(shop: Folder) -> None:
    ids = [shop.run("send", "shop:orders", order(n), "--key", "x").stdout.strip() for n in range(2)]
    _, number, first = ids[0].split("/")
    words = ["processor", "reset", "shop:printer", "--partition", number, "--json"]
    shop.run(*words, "--start", first, "--yes")
    plan = json.loads(shop.run(*words, "--start", "earliest").stdout)
    move = {"partition": int(number), "owner": None, "cursor_now": first, "cursor_then": "0-0", "again": 1, "skipped": 0}
    move |= {"parked": 0, "states": 0, "reminding": 0, "trimmed": 0}
    head = {"processor": "printer", "stream": "orders", "again": 1, "skipped": 0}
    assert plan == {**head, "done": False, "partitions": [move]}
    assert json.loads(shop.run(*words, "--start", "earliest", "--yes").stdout) == {**plan, "done": True}
    assert json.loads(shop.run(*words, "--start", first).stdout)["skipped"] == 1


def test_a_table_that_is_piped_is_not_cut_and_a_moment_reads_as_one(shop: Folder) -> None:
    place = shop.run("send", "shop:orders", order(1), "--key", "x").stdout.strip()
    _, number, last = place.split("/")
    words = ["processor", "reset", "shop:printer", "--partition", number]
    shop.run(*words, "--start", last, "--yes")
    lines = shop.run(*words, "--start", "2020-07-21T22:09:37Z").stdout.splitlines()
    assert lines[0].endswith(": 1 event runs again")
    assert re.split(" {2,}", lines[2].strip()) == [number, last, "before 2020-07-21T22:09:37Z", "1", "0", "-"]
    shop.run(*words, "--start", "earliest", "--yes")
    assert ": 1 event is never run\n" in shop.run(*words, "--start", "latest").stdout


def lag(shop: Folder) -> int:
    return int(json.loads(shop.run("status", "shop:app", "--json").stdout)["lag"])


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["--start", "tomorrow"], ["tomorrow", "earliest"]),
        (["--start", "2999-01-01"], ["yet to come"]),
        (["--start", "99999999999999-0"], ["beyond the last event", "no event was ever sent"]),
        (["--start", "latest", "--partition", "9"], ["no partition 9", "0 to 3"]),
        ([], ["--start"]),
    ],
)
def test_a_reset_that_makes_no_sense_is_one_line(shop: Folder, words: list[str], parts: list[str]) -> None:
    assert_one_line(shop.run("processor", "reset", "shop:printer", *words), 2, *parts)


async def test_a_reset_takes_a_running_worker_along(shop: Folder) -> None:
    shop.run("sendmany", "shop:orders", shop.orders("orders.jsonl", [1] * 10))
    with shop.started("worker", "shop:app") as worker:
        await worker.says("amount", times=10)
        done = shop.run("processor", "reset", "shop:printer", "--start", "earliest", "--yes")
        assert "Running workers go on from there" in done.stdout
        await worker.says("amount", times=20)
        assert await worker.ends(signal.SIGINT) == 0
        assert "Traceback" not in worker.stderr


# ── delete ──


async def run_once(shop: Folder, *, until: str = "worker started") -> None:
    """A worker that registers its processors, and does what there is."""
    with shop.started("worker", "shop:app") as worker:
        await worker.says(until)
        await wait_until(lambda: owned(shop) > 0)
        assert await worker.ends(signal.SIGTERM) == 0


def owned(shop: Folder) -> int:
    [processor] = json.loads(shop.run("lag", "shop:app", "--json").stdout)["processors"]
    return int(processor["owned"])


SMALL = APP.replace("partition_count=4", 'partition_count=1, partition_size=3, overflow="reject"')


async def test_a_renamed_processor_is_deleted_with_the_command_that_the_full_stream_names(
    shop: Folder, valkey: Server
) -> None:
    shop.write("shop.py", SMALL)
    await run_once(shop)
    shop.write("shop.py", SMALL.replace("def printer", "def painter"))
    shop.run("sendmany", "shop:orders", shop.orders("orders.jsonl", [1] * 3))
    await run_once(shop, until="amount")
    full = shop.run("send", "shop:orders", order(4))
    assert_one_line(full, 1, "'printer' has not done the 3 events", "runnel processor delete")
    command = full.stderr.partition("runnel processor delete ")[2].replace("MODULE:APP", "shop:app").split()

    with valkey.client() as client:
        before = sorted(client.scan_iter())
        plan = shop.run("processor", "delete", *command)
        assert plan.returncode == 0, plan.stderr
        assert "Delete printer on orders: lets go of 3 events" in plan.stdout
        assert "--yes" in plan.stdout
        assert sorted(client.scan_iter()) == before
        assert shop.run("send", "shop:orders", order(4)).returncode == 1

        assert shop.run("processor", "delete", *command, "--yes").stdout.endswith("Done.\n")
        assert client.hkeys("{shop:orders:0}:cursors") == ["painter"]
        assert not client.exists("{shop:orders:0}:proc:printer")
        assert [group["name"] for group in client.xinfo_groups("{shop:orders:0}:log")] == ["painter"]
    assert shop.run("send", "shop:orders", order(4)).returncode == 0
    assert_one_line(shop.run("processor", "delete", *command), 2, "no processor 'printer'", "painter (on orders)")


async def test_a_processor_that_runs_is_deleted_only_by_force(shop: Folder, valkey: Server) -> None:
    shop.run("sendmany", "shop:orders", shop.orders("orders.jsonl", [1] * 10))
    with shop.started("worker", "shop:app") as worker, valkey.client() as client:
        await worker.says("amount", times=10)
        await wait_until(lambda: lag(shop) == 0)
        owner = client.hget("{shop:orders:0}:proc:printer", "owner")
        plan = shop.run("processor", "delete", "shop:printer")
        assert plan.returncode == 0
        assert f"Run by {owner}: stop it first" in " ".join(plan.stdout.split())
        assert plan.stdout.splitlines()[-1].startswith("Nothing is changed yet: --yes would be refused while a worker")
        done = shop.run("processor", "delete", "shop:printer", "--yes")
        assert_one_line(done, 1, "processor 'printer' is run by", str(owner), "--force")
        assert lag(shop) == 0

        assert shop.run("processor", "delete", "shop:printer", "--yes", "--force").returncode == 0
        await worker.says("amount", times=20)  # as it says: what runs registers it again, from its start
        await wait_until(lambda: lag(shop) == 0)
        assert await worker.ends(signal.SIGTERM) == 0
        assert "Traceback" not in worker.stderr
    assert "No other processor" in shop.run("processor", "delete", "shop:printer", "--yes").stdout
    with valkey.client() as client:
        assert not list(client.scan_iter("*:cursors"))
        assert not list(client.scan_iter("*:proc:*"))


def test_a_processor_is_deleted_on_every_stream_or_on_one(shop: Folder, valkey: Server) -> None:
    """Also on a stream that the code does not declare any more."""
    with valkey.client() as client:
        client.hset("{shop}:streams", mapping={"old": '{"partition_count": 2, "hasher": "xxh64"}'})
        for cursors in ("{shop:orders:1}:cursors", "{shop:old:0}:cursors", "{shop:old:1}:cursors"):
            client.hset(cursors, mapping={"bill": "0-0", "ship": "0-0"})
        assert_one_line(
            shop.run("processor", "delete", "shop:app", "--name", "bill", "--stream", "new"), 2, "'new'", "old, orders"
        )
        for words, left in ((["--stream", "old"], ["{shop:orders:1}:cursors"]), ([], [])):
            done = shop.run("processor", "delete", "shop:app", "--name", "bill", "--yes", *words)
            assert done.returncode == 0, done.stderr
            assert "No other processor" not in done.stdout
            assert [key for key in client.scan_iter("*:cursors") if client.hexists(key, "bill")] == left
        assert len([key for key in client.scan_iter("*:cursors") if client.hexists(key, "ship")]) == 3


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["shop:printer"], ["no processor 'printer'", "none"]),
        (["shop:app", "--name", "bill"], ["no processor 'bill' is registered in app 'shop'", "none"]),
        (["shop:printer", "--stream", "orders"], ["--stream", "--name"]),
        (["shop:printer", "--name", "bill"], ["shop:printer", "not an App"]),
        (["shop:app"], ["shop:app", "not a Processor", "printer"]),
    ],
)
def test_a_deletion_that_makes_no_sense_is_one_line(shop: Folder, words: list[str], parts: list[str]) -> None:
    assert_one_line(shop.run("processor", "delete", *words, "--yes"), 2, *parts)
