"""SIGINT and SIGTERM end a worker without a traceback at every moment, and leave no server running for nobody."""

import fcntl
import os
import signal
from pathlib import Path

import pytest

from runnel.store import guardian
from tests.integration.commands import APP, Folder, Running, order
from tests.integration.embedded_world import World
from tests.servers import Server
from tests.support import wait_until

BOTH = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])

WAIT = "print('waiting', flush=True)\nimport threading\nthreading.Event().wait()\n"

SAYS_WHEN_IT_STARTS_A_SERVER = """
from runnel.store import client
real = client.start_embedded

def start(*args, **options):
    print("waiting", flush=True)
    return real(*args, **options)

client.start_embedded = start
"""


@pytest.fixture
def shop(tmp_path: Path, valkey: Server) -> Folder:
    return Folder(tmp_path, valkey.url)


def assert_quiet(worker: Running, lines: int) -> None:
    assert "Traceback" not in worker.stderr
    assert "Exception" not in worker.stderr
    assert worker.stderr.count("\n") <= lines, worker.stderr


@BOTH
@pytest.mark.parametrize("module", ["typer.py", "shop.py"])  # the first shadows what the command line imports
async def test_before_the_worker_begins_it_ends_the_process(shop: Folder, number: signal.Signals, module: str) -> None:
    shop.write(module, WAIT)
    with shop.started("worker", "shop:app") as worker:
        await worker.says("waiting")
        assert await worker.ends(number) == 128 + number
        assert_quiet(worker, lines=1)


@BOTH
@pytest.mark.parametrize("held", [True, False], ids=["a server that stops", "a server that starts"])
async def test_while_the_embedded_server_starts(
    shop: Folder, world: World, number: signal.Signals, held: bool
) -> None:
    shop.write("shop.py", APP + SAYS_WHEN_IT_STARTS_A_SERVER)
    world.folder.mkdir(mode=0o700)
    lock = guardian.open_lock(world.folder / guardian.USERS)
    if held:
        fcntl.flock(lock, fcntl.LOCK_EX)  # as a guardian that is stopping its server
    try:
        with shop.started("worker", "shop:app", "--redis-url", f"embedded://{world.folder}") as worker:
            await worker.says("waiting")
            assert await worker.ends(number) == 0
            assert_quiet(worker, lines=0)
    finally:
        os.close(lock)


@BOTH
async def test_after_the_worker_has_ended_it_ends_the_process_with_the_workers_code(
    shop: Folder, number: signal.Signals
) -> None:
    shop.write("shop.py", f"{APP}\nimport atexit\n@atexit.register\ndef bye():\n    {WAIT.replace(chr(10), '; ')}")
    with shop.started("worker", "shop:app") as worker:
        await worker.says("worker started")
        worker.process.send_signal(signal.SIGTERM)
        await worker.says("waiting")
        assert await worker.ends(number) == 0
        assert "Traceback" not in worker.stderr


async def test_a_second_signal_ends_a_worker_whose_event_loop_is_blocked(shop: Folder) -> None:
    shop.write("shop.py", APP.replace("        print(", "        " + WAIT.replace("\n", "; ") + "\n        print("))
    shop.run("send", "shop:orders", order(1))
    with shop.started("worker", "shop:app") as worker:
        await worker.says("waiting")
        worker.process.send_signal(signal.SIGINT)
        await worker.says("the event loop is blocked")
        worker.process.send_signal(signal.SIGINT)
        await wait_until(lambda: _ended_by_another(worker), timeout=30)
        assert worker.process.wait() == 130
    assert worker.stderr.splitlines()[-1] == "runnel: ended at once: a handler blocks the event loop"


def _ended_by_another(worker: Running) -> bool:
    worker.process.send_signal(signal.SIGINT)
    return worker.process.poll() is not None


@pytest.mark.parametrize("words", [("run", "--no-live"), ("run", "--reload")], ids=" ".join)
async def test_a_hangup_stops_a_worker_in_order(shop: Folder, words: tuple[str, ...]) -> None:
    gate = "        while not os.path.exists('go'):\n            await asyncio.sleep(0.01)\n"
    begun = f"        import asyncio, os\n        print('begun', flush=True)\n{gate}"
    shop.write("shop.py", APP.replace("        print(", f"{begun}        print("))
    shop.run("send", "shop:orders", order(1))
    with shop.started(words[0], "shop:app", *words[1:]) as worker:
        await worker.says("begun")
        for _ in range(2):  # the shell's and the kernel's
            os.killpg(worker.process.pid, signal.SIGHUP)
        shop.write("go", "")
        assert await worker.ends() == 0
        assert "amount 100" in worker.stdout
        assert "at once" not in worker.stderr


async def test_an_event_that_is_cut_off_when_its_time_is_over_is_named(shop: Folder) -> None:
    slow = f"        {WAIT.splitlines()[0]}\n        import asyncio\n        await asyncio.sleep(3600)\n"
    app = APP.replace("processor(orders)", "processor(orders, grace_period=0.1)")
    shop.write("shop.py", app.replace("        print(", f"{slow}        print("))
    event = shop.run("send", "shop:orders", order(1)).stdout.strip()
    with shop.started("worker", "shop:app") as worker:
        await worker.says("waiting")
        assert await worker.ends(signal.SIGTERM) == 0
    [line] = [line for line in worker.stderr.splitlines() if "will run again" in line]
    assert f"entry={event} " in line
