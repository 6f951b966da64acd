"""A worker that tests take partitions from, in this process or as one of its own:

    python -m tests.integration.actors.bank URL FOLDER NAME

It notes in a file what it begins, and holds in events that say so until there is a file `go`.
"""

import os
import subprocess
import sys
from pathlib import Path

from attrs import frozen

from runnel import Actor, App, Record, Stream, Worker
from tests.integration.actors.support import Step
from tests.servers import Server
from tests.support import wait_until

ROOT = Path(__file__).parents[3]


class Account(Record):
    """What an actor remembers: the numbers of its events."""

    seen: list[str] = []  # noqa: RUF012


@frozen
class Bank:
    """An app with actors, on one server, and the folder that its workers share."""

    app: App
    stream: Stream[Step]
    folder: Path

    def begun(self, name: str) -> list[str]:
        """What a worker has begun, as "key number" or "key reminder"."""
        notes = self.folder / name
        return notes.read_text().splitlines() if notes.exists() else []

    def let_go(self) -> None:
        """Let handlers that hold go on."""
        (self.folder / "go").touch()

    def start(self, server: Server, name: str) -> "subprocess.Popen[bytes]":
        """Start a worker process; its log is in the folder."""
        with (self.folder / f"{name}.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "tests.integration.actors.bank", server.url, str(self.folder), name],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )


def bank(url: str, folder: Path, name: str = "second", *, partition_count: int = 1) -> Bank:
    """The app of one worker, by whose name its notes are called."""
    app = App("shop", redis_url=url, default_lock_expiry=1.0)
    stream = app.stream("steps", record=Step, partition_by="key", partition_count=partition_count)
    notes = os.open(folder / name, os.O_CREAT | os.O_APPEND | os.O_WRONLY)

    async def begin(what: str, do: str = "") -> None:
        os.write(notes, f"{what}\n".encode())
        if do == "hold":
            await wait_until((folder / "go").exists, timeout=60)

    @app.actor(stream, key_concurrency=8)
    class Teller(Actor[Step, Account]):
        async def receive(self, step: Step) -> None:
            self.state.seen.append(str(step.number))
            if step.do == "remind":
                self.remind("reminder", after=0.2)
            await begin(f"{step.key} {step.number}", step.do)

        async def on_reminder(self, name: str) -> None:
            self.state.seen.append(name)
            await begin(f"{self.key} {name}")

    return Bank(app, stream, folder)


def main() -> None:
    url, folder, name = sys.argv[1:]
    Worker(bank(url, Path(folder), name).app).start()


if __name__ == "__main__":
    main()
