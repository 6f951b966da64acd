"""Running `runnel` as a real process, in a folder that holds a user's modules."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support import wait_until

REPOSITORY = Path(__file__).parent.parent.parent

APP = '''
from datetime import datetime
from runnel import App, Record

app = App("shop")

class Order(Record):
    order_id: int
    created_at: datetime
    amount: int

orders = app.stream("orders", record=Order, partition_by="order_id", partition_count=4)

@app.processor(orders)
async def printer(events):
    async for order in events.records():
        print("amount", 100 // order.amount, flush=True)
'''


class Folder:
    """A user's folder, and the server that its app talks to."""

    def __init__(self, path: Path, url: str) -> None:
        self.path = path
        self.url = url
        self.write("shop.py", APP)

    def write(self, name: str, text: str) -> Path:
        (self.path / name).write_text(text)
        return self.path / name

    def orders(self, name: str, amounts: list[object]) -> str:
        """A file of orders; what is not a number is a line of its own."""
        lines = [order(i, amount) if isinstance(amount, int) else str(amount) for i, amount in enumerate(amounts)]
        return str(self.write(name, "".join(line + "\n" for line in lines)))

    def run(self, *words: str, stdin: str = "") -> "subprocess.CompletedProcess[str]":
        """Run a command to its end."""
        return subprocess.run(
            self.command(*words),
            cwd=self.path,
            env=self.environment(),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
        )

    @contextmanager
    def started(self, *words: str) -> "Iterator[Running]":
        """A command that goes on until the test ends it; killed at the end if it has not."""
        running = Running(self, self.command(*words), self.environment())
        try:
            yield running
        finally:
            running.kill()

    def piping(self, *words: str) -> "subprocess.Popen[str]":
        """A command whose standard input the test writes."""
        pipe = subprocess.PIPE
        return subprocess.Popen(
            self.command(*words), cwd=self.path, env=self.environment(), stdin=pipe, stderr=pipe, text=True
        )

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "runnel", *words]

    def environment(self) -> dict[str, str]:
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("RUNNEL_", "COVERAGE"))}
        return environment | {"RUNNEL_REDIS_URL": self.url, "PYTHONPATH": str(REPOSITORY), "PYTHONDONTWRITEBYTECODE": "1"}


class Running:
    """A command that is running; its output goes to files."""

    def __init__(self, folder: Folder, command: list[str], environment: dict[str, str]) -> None:
        self._out, self._err = folder.path / "stdout", folder.path / "stderr"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                command,
                cwd=folder.path,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )

    @property
    def stdout(self) -> str:
        return self._out.read_text()

    @property
    def stderr(self) -> str:
        return self._err.read_text()

    async def says(self, text: str, times: int = 1) -> None:
        """Wait until it has written this."""
        try:
            await wait_until(lambda: (self.stdout + self.stderr).count(text) >= times, timeout=30)
        except AssertionError:
            raise AssertionError(f"no {text!r} in:\n{self.stdout}{self.stderr}") from None

    async def ends(self, number: signal.Signals | None = None) -> int:
        """Send a signal, if one is given, and wait for its end."""
        if number is not None:
            self.process.send_signal(number)
        await wait_until(lambda: self.process.poll() is not None, timeout=30, what=f"its end:\n{self.stderr}")
        return self.process.wait()

    def kill(self) -> None:
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()


def order(number: int, amount: object = 1) -> str:
    return f'{{"order_id": {number}, "created_at": "2020-07-21T22:09:37Z", "amount": {amount}}}'
