"""The server that is measured on: an embedded one of its own, in a folder that is thrown away, or the one of a URL."""

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import redis
from attrs import frozen

from runnel import ConfigurationError
from runnel.store.embedded import start_embedded


@frozen(kw_only=True)
class Server:
    """A server for benchmarks.

    Attributes:
        url: For Runnel.
        raw_url: The same server for redis-py.
        client: For the benchmarks' own errands between measurements.
    """

    url: str
    raw_url: str
    client: Any

    def flush(self) -> None:
        """Begin anew: nothing in the database, nothing still to be done in the background."""
        self.client.flushdb()
        self.settle()

    def settle(self) -> None:
        """Wait until the server does nothing in the background (a rewrite of its append-only file)."""
        while True:
            about = self.client.info("persistence")
            if not (
                about["aof_rewrite_in_progress"] or about["aof_rewrite_scheduled"] or about["rdb_bgsave_in_progress"]
            ):
                return
            time.sleep(0.05)

    def describe(self) -> str:
        """What it is, and what it keeps on disk."""
        about = self.client.info()
        name = about.get("server_name", "redis").capitalize()
        version = about.get(f"{name.lower()}_version", about["redis_version"])
        config = self.client.config_get("appendonly", "appendfsync", "save")
        kept = f"appendonly {config['appendonly']}, appendfsync {config['appendfsync']}, save {config['save']!r}"
        return f"{name} {version} at {self.raw_url.split('://')[0]}://, {kept}"


@contextmanager
def embedded_server() -> Iterator[Server]:
    """A server of the machine's own, with the persistence that `embedded://` always has."""
    with tempfile.TemporaryDirectory(prefix="runnel-bench-", ignore_cleanup_errors=True) as folder:
        path = Path(folder) / "server"
        use = start_embedded(path)
        try:
            raw_url = f"unix://{use.socket}"
            yield Server(url=f"embedded://{quote(str(path))}", raw_url=raw_url, client=_client(raw_url))
        finally:
            use.close()
            _await_end(use.socket)


@contextmanager
def server_at(url: str) -> Iterator[Server]:
    """The server of a URL. Its database is emptied again and again, and must therefore be empty.

    Raises:
        ConfigurationError: It is not.
    """
    client = _client(url)
    if client.dbsize():
        raise ConfigurationError(f"the database of {url} is not empty, and benchmarks flush it: name another")
    yield Server(url=url, raw_url=url, client=client)
    client.flushdb()


def _client(url: str) -> Any:
    return redis.Redis.from_url(url, decode_responses=True)


def _await_end(socket: Path) -> None:
    deadline = time.monotonic() + 10
    while socket.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
