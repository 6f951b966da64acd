"""`runnel top` and the view of `runnel run` in a real terminal: keys are sent by tmux, and what is on the screen is read back.

One app is looked at all the time: two workers, a handler that fails, keys that are parked because of it, and, on the way, a
partition that is paused. Each test asks for one session with as much as can be seen in it, since sessions take seconds.
"""

import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.commands import Folder
from tests.servers import Server
from tests.support import wait_until

PROMPT = r"^bash-[0-9.]+[#$] ?$"

pytestmark = pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")

APP = """
from runnel import Actor, App, ExceptionPolicy, Record

app = App("seen")

class Order(Record):
    number: int

class Count(Record):
    orders: int = 0

orders = app.stream("orders", record=Order, partition_by="number", partition_count=4)

@app.processor(orders, exception_policy=ExceptionPolicy.PARK)
async def bill(events):
    async for order in events.records():
        if order.number == 13:
            raise ValueError("unlucky\\x1b[2J")
        print("billed", order.number, flush=True)

@app.actor(orders)
class Account(Actor[Order, Count]):
    async def receive(self, order):
        self.state.orders += 1

@app.timer(interval=0.1)
async def feed():
    await orders.send(*[Order(number=number) for number in range(10, 20)])
"""


class Tmux:
    """A terminal of 80 × 24 for each command, on a tmux server of its own."""

    def __init__(self, folder: Folder, server: Server) -> None:
        self.server, self.folder = server, folder
        self._sockets = Path(tempfile.mkdtemp(prefix="runnel-tmux-"))  # a path of a socket must be short

    def __call__(self, *words: str) -> str:
        command = ["tmux", "-S", str(self._sockets / "s"), "-f", "/dev/null", *words]
        environment = self.folder.environment() | {"TERM": "xterm-256color"}
        done = subprocess.run(command, cwd=self.folder.path, env=environment, capture_output=True, text=True, timeout=20)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def open(self, name: str, *words: str) -> "Window":
        """A shell in which this is typed."""
        self("new-session", "-d", "-x", "80", "-y", "24", "-s", name, "bash --norc --noprofile -i")
        self("set-option", "-g", "status", "off")
        window = Window(self, name)
        window.type(shlex.join(self.folder.command(*words)))
        return window

    def close(self) -> None:
        subprocess.run(["tmux", "-S", str(self._sockets / "s"), "kill-server"], capture_output=True)
        shutil.rmtree(self._sockets, ignore_errors=True)


class Window:
    """One of its terminals."""

    def __init__(self, tmux: Tmux, name: str) -> None:
        self._tmux, self.name = tmux, name

    @property
    def screen(self) -> str:
        return self._tmux("capture-pane", "-p", "-t", self.name)

    @property
    def scrolled(self) -> str:
        """What is on the screen, and what has left it at the top."""
        return self._tmux("capture-pane", "-p", "-S", "-", "-t", self.name)

    def press(self, *keys: str) -> None:
        self._tmux("send-keys", "-t", self.name, *keys)

    def type(self, line: str) -> None:
        self._tmux("send-keys", "-t", self.name, "-l", line)
        self.press("Enter")

    def resize(self, width: int, height: int) -> None:
        self._tmux("resize-window", "-t", self.name, "-x", str(width), "-y", str(height))

    async def shows(self, *patterns: str) -> str:
        """Wait until all of these are on the screen."""
        seen = ""

        def all_there() -> bool:
            nonlocal seen
            seen = self.screen
            return all(re.search(pattern, seen, re.MULTILINE) for pattern in patterns)

        try:
            await wait_until(all_there, timeout=20)
        except AssertionError:
            raise AssertionError(f"not all of {patterns} are in:\n{seen}") from None
        return seen

    async def does(self, key: str, *patterns: str) -> str:
        """Press a key, and wait for what it shows."""
        self.press(key)
        return await self.shows(*patterns)


@pytest.fixture
def tmux(tmp_path: Path, own_server: Callable[..., Server]) -> Iterator[Tmux]:
    server = own_server()
    folder = Folder(tmp_path, server.url)
    folder.write("seen.py", APP)
    opened = Tmux(folder, server)
    yield opened
    opened.close()


async def test_every_page_and_key_of_top(tmux: Tmux) -> None:
    with tmux.folder.started("run", "seen:app", "--workers", "2"):
        top = tmux.open("top", "top", "seen:app")
        await top.shows(r"^seen  unix://", "2 workers, leader ", r"/s done  [\d,]+/s in", "parked [1-9]", "coordinator")
        await pages(top)
        await rows(top)
        await actions(top)
        await leaving(top)


async def pages(top: Window) -> None:
    await top.does("2", r"partition +state +lag", r"bill/\d +(idle|running)", r"Account/\d")
    await top.does("3", r"key +state", r"13 +parked")
    await top.does("4", r"feed +\w+ .*\d\d:\d\d:\d\d", "every 0.1 s")
    await top.does("5", r"parked +bill +13 +ValueError: unlucky·")
    await top.does("6", r"worker. +state +partitions", r"leads +running")
    await top.does("7", "rebalance +bill: 2 partitions are for this worker, one of 2")
    await top.does("Tab", "coordinator")
    await top.does("BTab", "rebalance")
    await top.does("Left", r"worker. +state +partitions")
    await top.does("Right", "rebalance")
    await top.does("1", "coordinator")
    await top.does("?", "into a row, and out of it")
    await top.does("Escape", "coordinator")


async def rows(top: Window) -> None:
    await top.does("5", "unlucky")
    await top.does("Enter", "attempt +1", "error +ValueError: unlucky", "raise ValueError")
    await top.does("Escape", "^› .*unlucky")
    top.press("2")
    await top.does("o", "oldest[▾▴]")
    await top.does("O", "oldest▴")
    for _ in range(5):
        top.press("o")
    await top.does("o", "sorted by owner, rising")
    await top.does("g", r"lag.*\n› ")
    await top.does("j", r"lag.*\n  .*\n› ")
    await top.does("k", r"lag.*\n› ")
    await top.does("Down", r"lag.*\n  .*\n› ")
    await top.does("Up", r"lag.*\n› ")
    await top.does("G", r"^› .*\n.* help")
    top.press("/", "b", "i", "l", "l", "/", "x")
    await top.shows("no row holds 'bill/x'")
    await top.does("BSpace", "bill/0", "bill/1", "bill/2", "bill/3")
    top.press("2", "Enter")
    assert "Account" not in await top.shows(r"^› bill/2", "help")
    await top.does("Space", "frozen")
    await top.does("Space", "every 1 s")
    await top.does("-", "every 2 s")
    top.press("+")
    await top.does("+", "every 0.5 s")
    top.resize(200, 40)
    await top.shows(r"epoch\S? +lease")
    top.resize(40, 12)
    await top.shows(r"^partition|^  partition", r"^› bill/2")
    top.resize(80, 24)


async def actions(top: Window) -> None:
    await top.does("P", r"pause partition 2 of bill.*\?")
    await top.does("n", "nothing done")
    top.press("P")
    await top.does("y", "paused partition 2 of bill", r"bill/2 +paused +[1-9]")
    await top.does("U", r"resume partition 2 of bill\?")
    await top.does("y", "resumed partition 2 of bill", r"bill/2 +(idle|running)")
    top.press("R")
    await top.does("y", "restarted partition 2 of bill")
    top.press("3")
    await top.shows(r"^› 13 +parked")
    await top.does("L", "release what is parked of key '13' of bill")
    await top.does("y", r"released [\d,]+ parked events? of key '13' of bill")


async def leaving(top: Window) -> None:
    await top.does("C-z", "Stopped", PROMPT)
    top.type("fg")
    await top.does("2", "^› bill/2")
    await top.does("q", PROMPT)
    assert "bill/2" not in top.screen
    top.type("stty -a | grep -o ' echo ' && echo $?")
    await top.shows("^0$")


async def test_the_view_of_run_and_a_server_that_comes_back(tmux: Tmux) -> None:
    run = tmux.open("run", "run", "seen:app")
    top = tmux.open("top", "top", "seen:app")
    await run.shows("1 worker, leader", "coordinator")
    # the view leaves a line or two to what is printed, and that is soon another order
    await wait_until(lambda: re.search("^billed 19", run.scrolled, re.MULTILINE) is not None, timeout=20)
    await top.shows("1 worker, leader", "coordinator")
    tmux.server.kill()
    await top.shows("cannot be reached.*", "coordinator")
    await run.shows("cannot be reached.*")
    tmux.server.start()
    await top.shows("1 worker, leader", "every 1 s")
    await run.does("6", r"leads +running")
    await run.does("q", r"stop this worker, in order\?")
    await run.does("n", "nothing done")
    run.press("q", "y")
    await run.shows("seen: [0-9,]+ events done", PROMPT)
    assert "gone without notice" not in run.screen, "the server has closed the connection over which it takes its leave"
    await top.shows("0 workers, leader nobody")
    await top.does("1", "no worker runs")
