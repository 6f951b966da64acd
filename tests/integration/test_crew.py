"""`runnel worker APP --workers N`: real processes, a real server, real signals."""

import json
import os
import re
import signal
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.integration.commands import APP, Folder, Running, order
from tests.integration.embedded_world import alive
from tests.integration.test_cli import assert_one_line, lag
from tests.servers import Server, free_port
from tests.support import wait_until

BUSY = APP.replace(
    "        print(",
    """        print("begun", flush=True)
        while not Path("gate").exists():
            await asyncio.sleep(0.005)
        print(""",
).replace("\n", "\nimport asyncio\nfrom pathlib import Path\n", 1)
"""An event is under way until the file `gate` is there."""


@pytest.fixture
def shop(tmp_path: Path, valkey: Server) -> Folder:
    return Folder(tmp_path, valkey.url)


class Crew(Running):
    """A parent and its workers, whose process ids are read from what they say."""

    def pids(self) -> set[int]:
        """All that there have been."""
        said = re.findall(r"worker=\S+-(\d+)-\w{6}|\bpid=(\d+)|\"worker\":\"\S+?-(\d+)-\w{6}\"", self.stderr)
        return {int(pid) for found in said for pid in found if pid}

    def pid(self, number: int) -> int:
        """That of a worker, as it was last started."""
        return int(re.findall(rf"\[{number}\] worker started  worker=\S+-(\d+)-", self.stderr)[-1])

    async def is_up(self, size: int) -> None:
        for number in range(1, size + 1):
            await self.says(f"[{number}] worker started")

    async def all_gone(self) -> None:
        await wait_until(lambda: not any(map(alive, self.pids())), timeout=20, what=f"no process:\n{self.stderr}")


@pytest.fixture
async def crews(shop: Folder) -> AsyncIterator["Crews"]:
    """Starts crews; none of their processes is left after the test."""
    crews = Crews(shop)
    yield crews
    for crew in crews.started:
        crew.kill()
        left = [pid for pid in crew.pids() if alive(pid)]
        (shop.path / "gate").touch()
        try:
            await crew.all_gone()
        finally:
            for pid in filter(alive, left):
                os.kill(pid, signal.SIGKILL)


class Crews:
    def __init__(self, shop: Folder) -> None:
        self.shop = shop
        self.started: list[Crew] = []

    def start(self, *words: str) -> Crew:
        self.started.append(Crew(self.shop, self.shop.command(*words), self.shop.environment()))
        return self.started[-1]


def owned(shop: Folder) -> int:
    return sum(each["owned"] for each in json.loads(shop.run("status", "shop:app", "--json").stdout)["processors"])


# ── crashes ──


async def test_a_worker_that_is_killed_starts_again_and_no_event_is_lost(shop: Folder, crews: Crews) -> None:
    crew = crews.start("worker", "shop:app", "--workers", "2")
    await crew.is_up(2)
    shop.run("sendmany", "shop:orders", shop.orders("orders.jsonl", [1] * 20))
    await crew.says("amount", times=20)
    killed = crew.pid(1)
    os.kill(killed, signal.SIGKILL)
    await crew.says(
        f"worker ended, it starts again  worker_number=1  pid={killed}  ended='killed by SIGKILL'  again_in="
    )
    shop.run("sendmany", "shop:orders", shop.orders("orders.jsonl", [1] * 20))
    await crew.says("[1] worker started", times=2)
    assert crew.pid(1) != killed
    await wait_until(lambda: lag(shop) == 0, timeout=30)
    assert await crew.ends(signal.SIGTERM) == 0
    assert owned(shop) == 0


async def test_a_worker_that_is_stopped_from_outside_starts_again(crews: Crews) -> None:
    crew = crews.start("worker", "shop:app", "--workers", "2")
    await crew.is_up(2)
    os.kill(crew.pid(2), signal.SIGTERM)
    await crew.says("ended='exit code 0'")
    await crew.says("[2] worker started", times=2)
    assert await crew.ends(signal.SIGTERM) == 0


async def test_too_many_crashes_stop_all_in_order_with_one_line(shop: Folder, crews: Crews) -> None:
    crew = crews.start("worker", "shop:app", "--workers", "2")
    await crew.is_up(2)
    shop.write("shop.py", "import os\nos._exit(70)\n")  # from now on, a worker does not start
    os.kill(crew.pid(2), signal.SIGKILL)
    assert await crew.ends() == 1
    assert crew.stderr.count("it starts again") == 5
    assert "[1] worker stopped" in crew.stderr
    assert crew.stderr.splitlines()[-1] == (
        "runnel: workers end too often: more than 5 restarts within 60 s; the last was worker 2: exit code 70"
    )
    shop.write("shop.py", APP)
    assert owned(shop) == 0


async def test_a_handler_that_fails_stops_all_in_order(shop: Folder, crews: Crews) -> None:
    crew = crews.start("worker", "shop:app", "--workers", "3")
    await crew.is_up(3)
    shop.run("send", "shop:orders", order(7, 0))
    assert await crew.ends() == 3
    assert crew.stderr.count("worker stopped") == 3
    # Not always once: another worker may take the partition, and fail at the same event, before the parent has stopped it.
    said = re.findall(r"^runnel: \[[123]\] processor 'printer': event orders/", crew.stderr, re.MULTILINE)
    assert 1 <= len(said) <= 3
    assert crew.stderr.count("runnel: ") == len(said)
    assert "it starts again" not in crew.stderr
    assert owned(shop) == 0


# ── wrong from the start ──


@pytest.mark.parametrize("command", ["worker", "run"])
def test_a_wrong_configuration_is_said_once(shop: Folder, command: str) -> None:
    shop.write("broken.py", "import runnel\napp = (\n")
    assert_one_line(shop.run(command, "broken:app", "--workers", "3"), 2, "broken.py:2", "SyntaxError")


def test_a_server_that_is_not_as_it_must_be_is_said_once(shop: Folder, valkey: Server) -> None:
    valkey.config(maxmemory_policy="allkeys-lru")
    assert_one_line(shop.run("worker", "shop:app", "--workers", "3"), 2, "allkeys-lru")


def test_an_unreachable_server_is_said_once(shop: Folder) -> None:
    url = f"redis://127.0.0.1:{free_port()}"
    assert_one_line(shop.run("worker", "shop:app", "--workers", "3", "--redis-url", url), 4, "cannot be reached")


def test_options_reach_the_workers(shop: Folder) -> None:
    done = shop.run("worker", "shop:app", "--workers", "2", "--processors", "painter", "--traceback")
    assert done.returncode == 2
    assert "no processor 'painter'" in done.stderr
    assert done.stderr.count("Traceback") == 1


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["run", "shop:app", "--workers", "2", "--live"], ["--live", "--workers"]),
        (["run", "shop:app", "--workers", "2", "--live", "--reload"], ["--live", "--workers"]),
        (["run", "shop:app", "--workers", "0"], ["--workers"]),
        (["worker", "shop:app", "--workers", "many"], ["--workers"]),
    ],
)
def test_wrong_usage_is_one_line(shop: Folder, words: list[str], parts: list[str]) -> None:
    assert_one_line(shop.run(*words), 2, *parts)


async def test_one_worker_has_no_parent(crews: Crews) -> None:
    crew = crews.start("worker", "shop:app", "--workers", "1")
    await crew.says("worker started")
    assert crew.pids() == {crew.process.pid}
    assert await crew.ends(signal.SIGTERM) == 0


# ── signals ──


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_a_signal_reaches_each_worker_once_and_all_end_in_order(
    shop: Folder, crews: Crews, number: signal.Signals
) -> None:
    shop.write("shop.py", BUSY)
    crew = crews.start("run", "shop:app", "--workers", "3")
    await crew.is_up(3)
    shop.run("send", "shop:orders", order(1))
    await crew.says("begun")
    os.killpg(crew.process.pid, number)  # as a terminal does: to the whole process group
    await crew.says("worker stopped", times=2)
    assert owned(shop) >= 1  # by the worker that has an event under way; the parent waits for it
    assert crew.process.poll() is None
    (shop.path / "gate").touch()
    assert await crew.ends() == 0
    assert "amount 100" in crew.stdout
    assert crew.stderr.count("worker stopped") == 3
    assert "at once" not in crew.stderr
    assert "it starts again" not in crew.stderr
    assert (lag(shop), owned(shop)) == (0, 0)


async def test_a_second_signal_ends_all_at_once(shop: Folder, crews: Crews) -> None:
    shop.write("shop.py", BUSY.replace("(orders)\nasync", "(orders, grace_period=3600)\nasync"))
    crew = crews.start("worker", "shop:app", "--workers", "2")
    await crew.is_up(2)
    shop.run("send", "shop:orders", order(1))
    await crew.says("begun")
    crew.process.send_signal(signal.SIGINT)
    await crew.says("worker stopped")
    crew.process.send_signal(signal.SIGINT)
    assert await crew.ends() == 0
    assert "stopping at once" in crew.stderr
    assert "amount" not in crew.stdout


async def test_a_signal_ends_a_crew_whose_first_worker_is_still_connecting(shop: Folder, crews: Crews) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"redis://127.0.0.1:{silent.getsockname()[1]}"
        crew = crews.start("worker", "shop:app", "--workers", "2", "--redis-url", url)
        connection, _ = silent.accept()
        with connection:
            assert await crew.ends(signal.SIGINT) == 0
    assert crew.stderr == ""


async def test_a_hangup_that_is_ignored_stays_so(shop: Folder, crews: Crews) -> None:
    command = ["sh", "-c", 'trap "" HUP; exec "$@"', "sh", *shop.command("worker", "shop:app", "--workers", "2")]
    crew = Crew(shop, command, shop.environment())
    crews.started.append(crew)
    await crew.is_up(2)
    crew.process.send_signal(signal.SIGHUP)
    os.kill(crew.pid(1), signal.SIGKILL)
    await crew.says("[1] worker started", times=2)
    assert await crew.ends(signal.SIGTERM) == 0


# ── the parent's death ──


async def test_workers_whose_parent_was_killed_stop_in_order(shop: Folder, crews: Crews) -> None:
    shop.write("shop.py", BUSY)
    crew = crews.start("worker", "shop:app", "--workers", "3")
    await crew.is_up(3)
    shop.run("send", "shop:orders", order(1))
    await crew.says("begun")
    crew.process.kill()
    await crew.says("the parent process is gone", times=3)
    (shop.path / "gate").touch()
    await crew.all_gone()
    assert "amount 100" in crew.stdout
    assert crew.stderr.count("worker stopped") == 3
    assert (lag(shop), owned(shop)) == (0, 0)


async def test_a_parent_killed_while_all_stop_does_not_hurry_them(shop: Folder, crews: Crews) -> None:
    shop.write("shop.py", BUSY)
    crew = crews.start("worker", "shop:app", "--workers", "2")
    await crew.is_up(2)
    shop.run("send", "shop:orders", order(1))
    await crew.says("begun")
    crew.process.terminate()
    await crew.says("worker stopped")
    crew.process.kill()
    await crew.says("the parent process is gone")
    (shop.path / "gate").touch()
    await crew.all_gone()
    assert "amount 100" in crew.stdout
    assert "at once" not in crew.stderr


async def test_a_worker_whose_parent_died_before_it_was_up_does_not_stay(shop: Folder, crews: Crews) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"redis://127.0.0.1:{silent.getsockname()[1]}"
        crew = crews.start("worker", "shop:app", "--workers", "2", "--redis-url", url)
        connection, _ = silent.accept()
        with connection:
            crew.process.kill()
            connection.settimeout(20)
            while connection.recv(4096):  # until it closes it, that is, ends
                pass
    assert "the parent process is gone" in crew.stderr


# ── logs, reload ──


async def test_each_line_says_which_worker_it_is_of_and_the_parents_are_in_the_apps_format(
    shop: Folder, crews: Crews
) -> None:
    shop.write("shop.py", APP.replace('App("shop")', 'App("shop", log_format="json", log_level="debug")'))
    crew = crews.start("worker", "shop:app", "--workers", "2")
    await crew.says('"message":"worker started"', times=2)
    os.kill(max(crew.pids()), signal.SIGKILL)
    await crew.says('"message":"worker ended, it starts again"')
    await crew.says('"message":"worker started"', times=3)
    await crew.ends(signal.SIGTERM)
    lines = [json.loads(line) for line in crew.stderr.splitlines()]
    assert {line["worker_number"] for line in lines} == {1, 2}
    assert {line["level"] for line in lines} == {"debug", "info", "warning"}


async def test_reload_starts_all_anew(shop: Folder, crews: Crews) -> None:
    crew = crews.start("run", "shop:app", "--workers", "2", "--reload")
    await crew.is_up(2)
    shop.write("shop.py", APP.replace('"amount"', '"again"'))
    await crew.says("worker stopped", times=2)
    await crew.says("worker started", times=4)
    shop.run("send", "shop:orders", order(1, 4))
    await crew.says("again 25")
    assert await crew.ends(signal.SIGTERM) == 0
    assert crew.stderr.count("worker stopped") == 4
