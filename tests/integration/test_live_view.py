"""`runnel run` on a real (pseudo) terminal."""

import fcntl
import json
import os
import pty
import re
import shlex
import signal
import struct
import subprocess
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.commands import APP, Folder, order
from tests.servers import Server, free_port
from tests.support import wait_until


class Terminal:
    """A command on a terminal of its own; `text` is all that it wrote."""

    def __init__(self, folder: Folder, *words: str, **environment: str) -> None:
        self._end, theirs = pty.openpty()
        os.set_blocking(self._end, False)
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
        self.process = subprocess.Popen(
            folder.command(*words),
            cwd=folder.path,
            env=folder.environment() | {"TERM": "xterm", **environment},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        self._text = b""

    @property
    def text(self) -> str:
        try:
            while chunk := os.read(self._end, 65_536):
                self._text += chunk
        except (BlockingIOError, OSError):
            pass
        return self._text.decode(errors="replace")

    async def shows(self, text: str) -> None:
        await wait_until(lambda: text in re.sub(r"\x1b\[[0-9;]*m", "", self.text), timeout=30, what=text)

    async def ends(self) -> int:
        self.process.send_signal(signal.SIGINT)
        await wait_until(lambda: self.text is not None and self.process.poll() is not None, timeout=30)
        return self.process.wait()

    def hang_up(self) -> None:
        """As when a terminal's window is closed: nothing can be written any more, and the kernel sends SIGHUP."""
        os.close(self._end)
        self._end = -1
        self.process.send_signal(signal.SIGHUP)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        if self._end >= 0:
            os.close(self._end)


@pytest.fixture
def shop(tmp_path: Path, valkey: Server) -> Folder:
    return Folder(tmp_path, valkey.url)


@pytest.fixture
def terminals() -> Iterator[list[Terminal]]:
    opened: list[Terminal] = []
    yield opened
    for terminal in opened:
        terminal.close()


async def test_the_tree_is_shown_and_prints_appear_whole_above_it(shop: Folder, terminals: list[Terminal]) -> None:
    terminal = Terminal(shop, "run", "shop:app")
    terminals.append(terminal)
    await terminal.shows("coordinator")
    await terminal.shows("3.1")
    shop.run("sendmany", "shop:orders", shop.orders("orders.jsonl", [*range(1, 51)]))
    await wait_until(lambda: terminal.text.count("amount ") >= 50, timeout=30)
    assert await terminal.ends() == 0
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "\n", terminal.text)
    printed = re.findall(r"^amount (\d+)\r?$", plain, re.MULTILINE)
    assert sorted(map(int, printed)) == sorted(100 // n for n in range(1, 51))
    assert "worker stopped" in plain
    assert "shop: 50 events done" in plain
    assert terminal.text.rindex("\x1b[?25h") > terminal.text.rindex("\x1b[?25l"), "the cursor is visible again"


async def test_no_live_shows_plain_logs(shop: Folder, terminals: list[Terminal]) -> None:
    terminal = Terminal(shop, "run", "shop:app", "--no-live")
    terminals.append(terminal)
    await terminal.shows("worker started")
    assert await terminal.ends() == 0
    assert "coordinator" not in terminal.text


async def test_no_color_is_respected(shop: Folder, terminals: list[Terminal]) -> None:
    terminal = Terminal(shop, "run", "shop:app", NO_COLOR="1")
    terminals.append(terminal)
    await terminal.shows("coordinator")
    await terminal.ends()
    assert not re.search(r"\x1b\[[0-9;]*3[0-7]m", terminal.text)


async def test_a_failing_handler_leaves_the_terminal_with_its_error(shop: Folder, terminals: list[Terminal]) -> None:
    terminal = Terminal(shop, "run", "shop:app")
    terminals.append(terminal)
    await terminal.shows("coordinator")
    shop.run("send", "shop:orders", order(1, 0))
    await wait_until(lambda: terminal.text and terminal.process.poll() == 3, timeout=30)
    assert terminal.text.count("Traceback") == 1
    assert terminal.text.rstrip().rpartition("runnel: ")[2].startswith("processor 'printer': event orders/")
    assert "\x1b[?25h" in terminal.text


async def test_several_workers_show_plain_logs(shop: Folder, terminals: list[Terminal]) -> None:
    terminal = Terminal(shop, "run", "shop:app", "--workers", "2")
    terminals.append(terminal)
    await terminal.shows("[1] worker started")
    await terminal.shows("[2] worker started")
    assert await terminal.ends() == 0
    assert "coordinator" not in terminal.text


async def test_where_the_event_loop_is_blocked_is_written_meanwhile(shop: Folder, terminals: list[Terminal]) -> None:
    blocks = "        import time\n        while True:\n            time.sleep(60)  # here\n"
    shop.write("shop.py", APP.replace("        print(", f"{blocks}        print("))
    terminal = Terminal(shop, "run", "shop:app")
    terminals.append(terminal)
    await terminal.shows("coordinator")
    shop.run("send", "shop:orders", order(1))
    await terminal.shows("the event loop is blocked")
    await terminal.shows("time.sleep(60)  # here")
    assert "typer" not in terminal.text, "the command's own frames say nothing"
    written = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.text).replace("\r\n", "\n")
    assert re.search(r"^\d\d:\d\d:\d\d warning  the event loop is blocked$", written.replace("\r", "\n"), re.MULTILINE)

    await wait_until(lambda: _ended_by_another_signal(terminal), timeout=30)
    assert "ended at once: a handler blocks the event loop" in terminal.text
    assert terminal.text.rindex("\x1b[?25h") > terminal.text.rindex("\x1b[?25l"), "the cursor is visible again"


def _ended_by_another_signal(terminal: Terminal) -> bool:
    terminal.process.send_signal(signal.SIGINT)
    return terminal.process.poll() is not None


async def test_a_terminal_that_is_closed_stops_the_worker_in_order(shop: Folder, terminals: list[Terminal]) -> None:
    terminal = Terminal(shop, "run", "shop:app")
    terminals.append(terminal)
    await terminal.shows("coordinator")
    terminal.hang_up()
    assert terminal.process.wait(30) == 0
    assert lag_and_owned(shop) == (0, 0)


async def test_top_ends_quietly_when_its_terminal_is_closed(shop: Folder, terminals: list[Terminal]) -> None:
    terminal = Terminal(shop, "top", "shop:app")
    terminals.append(terminal)
    await terminal.shows("no worker runs")
    assert "Traceback" not in terminal.text
    terminal.hang_up()
    assert terminal.process.wait(10) in (0, -signal.SIGHUP)


async def test_top_on_a_dumb_terminal_prints_once(shop: Folder, terminals: list[Terminal]) -> None:
    terminal = Terminal(shop, "top", "shop:app", TERM="dumb")
    terminals.append(terminal)
    await terminal.shows("no worker runs")
    assert terminal.process.wait(10) == 0
    assert "\x1b[?1049h" not in terminal.text


def test_top_once_into_a_pipe_that_is_closed_ends_quietly(shop: Folder) -> None:
    command = f"{shlex.join(shop.command('top', 'shop:app', '--once'))} | true"
    done = subprocess.run(["bash", "-c", command], cwd=shop.path, env=shop.environment(), capture_output=True, text=True)
    assert done.stderr == ""


def lag_and_owned(shop: Folder) -> tuple[int, int]:
    [found] = json.loads(shop.run("lag", "shop:app", "--json").stdout)["processors"]
    return found["lag"], found["owned"]


async def test_what_was_done_since_the_last_picture_counts(shop: Folder, terminals: list[Terminal]) -> None:
    for amount in (1, 1, 1, 0):
        shop.run("send", "shop:orders", order(1, amount), "--key", "one")
    terminal = Terminal(shop, "run", "shop:app")
    terminals.append(terminal)
    await wait_until(lambda: terminal.text and terminal.process.poll() == 3, timeout=30)
    assert "shop: 3 events done" in terminal.text


async def test_a_worker_that_never_ran_has_no_events_done(shop: Folder, terminals: list[Terminal]) -> None:
    terminal = Terminal(shop, "run", "shop:app", "--redis-url", f"redis://127.0.0.1:{free_port()}")
    terminals.append(terminal)
    await wait_until(lambda: terminal.text and terminal.process.poll() == 4, timeout=30)
    assert "cannot be reached" in terminal.text
    assert "shop: 0 events done" not in terminal.text
