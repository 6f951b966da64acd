"""What the tests of the embedded server see and do from outside: its processes, and users that are processes."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from runnel.store import guardian
from runnel.store.embedded import EmbeddedServer, start_embedded

ROOT = Path(__file__).parents[2]


def alive(process: int) -> bool:
    """Whether a process runs; one that waits to be reaped does not."""
    return _ps(process, "stat")[:1] not in ("", "Z")


def parent(process: int) -> int:
    return int(_ps(process, "ppid"))


def _ps(process: int, column: str) -> str:
    command = ["ps", "-o", f"{column}=", "-p", str(process)]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


@dataclass
class User:
    """A process that uses the server."""

    process: subprocess.Popen[str]
    server: int = 0
    child: int = 0

    def await_server(self) -> None:
        assert self.process.stdout is not None
        words = [int(word) for word in self.process.stdout.readline().split()]
        assert words, "the user has no server"
        self.server, self.child = (*words, 0)[:2]

    def end(self, *, kill: bool = False) -> None:
        """Let it go politely, or kill it and its child."""
        if kill:
            self.process.kill()
        if kill and self.child and alive(self.child):
            os.kill(self.child, signal.SIGKILL)  # it has our pipe
        self.process.communicate()


@dataclass
class World:
    """One embedded folder, its users and its processes."""

    folder: Path
    used: list[EmbeddedServer] = field(default_factory=list)
    users: list[User] = field(default_factory=list)
    seen: set[int] = field(default_factory=set)

    def use(self, folder: Path | None = None, timeout: float = 20.0) -> EmbeddedServer:
        server = start_embedded(self.folder if folder is None else folder, timeout)
        self.used.append(server)
        self.seen |= {self.server, self.guardian}
        return server

    def user(self, *words: str) -> User:
        """Start a process that uses the server, in a process group of its own."""
        command = [sys.executable, "-m", "tests.integration.embedded_user", str(self.folder), *words]
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT, start_new_session=True
        )
        self.users.append(User(process))
        return self.users[-1]

    @property
    def server(self) -> int:
        """The process id of the last server."""
        return int((self.folder / guardian.SERVER).read_text())

    @property
    def guardian(self) -> int:
        return parent(self.server)

    @property
    def state(self) -> str:
        with (self.folder / guardian.GUARDIAN).open("rb") as lock:
            return guardian.read_status(lock.fileno()).state

    @property
    def log(self) -> str:
        return (self.folder / guardian.LOG).read_text()

    def restarted(self, old: int) -> bool:
        """Whether another server than `old` runs and answers."""
        try:
            self.seen.add(self.server)
            return self.state == "ready" and self.server != old and alive(self.server) and not alive(old)
        except (OSError, ValueError):
            return False

    def processes(self) -> list[str]:
        """The guardians and servers of this folder that run."""
        lines = subprocess.run(
            ["ps", "-ww", "-eo", "pid=,stat=,command="], capture_output=True, text=True, check=True
        ).stdout
        marks = [str(self.folder), *(str(server.socket) for server in self.used)]
        found = [line for line in lines.splitlines() if line.split()[1][0] != "Z"]
        return [line for line in found if any(mark in line for mark in marks) and "embedded_user" not in line]

    def servers(self) -> list[str]:
        return [line for line in self.processes() if "guardian.py" not in line]

    @contextmanager
    def client(self) -> Iterator[Any]:
        """A client of the server that is in use now, which does not try again where the server is not ready."""
        path = str(self.used[-1].socket)
        with redis.Redis(unix_socket_path=path, decode_responses=True, retry=Retry(NoBackoff(), 0)) as client:
            yield client
