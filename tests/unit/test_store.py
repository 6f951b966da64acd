"""The way to a server: what is shown of its URL, and the embedded one that nobody wants any more."""

import asyncio
import re
import threading
from pathlib import Path

import pytest

from runnel import ConfigurationError
from runnel.clock import SystemClock
from runnel.store import client
from runnel.store.client import Store, without_credentials
from tests.support import wait_until


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://user:secret@host:6379/1?password=secret", "redis://host:6379/1"),
        ("unix:///run/redis.sock?password=secret", "unix:///run/redis.sock"),
        ("unix://user:secret@/run/redis.sock", "unix:///run/redis.sock"),
        ("embedded://", "embedded://"),
        ("embedded://data/shop", "embedded://data/shop"),
        ("embedded:///var/lib/shop", "embedded:///var/lib/shop"),
    ],
)
def test_a_url_is_shown_without_what_is_secret(url: str, shown: str) -> None:
    assert without_credentials(url) == shown


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("redis://me:secret@host:6399/abc", "redis_url 'redis://host:6399/abc': 'abc' is no number of a database: write redis://"),
        ("rediss://host/1x?password=secret", "'1x' is no number of a database: write rediss://HOST:PORT/0"),
        ("redis://host:6399/1?foo=secret", "'redis://host:6399/1' is not a URL of a Redis server: it has no option 'foo'"),
        ("unix:///run/redis.sock?foo=1", "it has no option 'foo'"),
    ],
)
async def test_a_url_that_says_what_there_is_not_is_refused(url: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(said)) as caught:
        _ = Store(url, SystemClock()).redis
    assert "secret" not in str(caught.value)


async def test_urls_that_say_which_database_are_taken() -> None:
    for url in ("redis://host", "redis://host/", "redis://host/2", "redis://host/x?db=2", "unix:///run/redis.sock?db=2"):
        store = Store(url, SystemClock())
        assert store.redis.connection_pool.connection_kwargs.get("db", 0) == (2 if "2" in url else 0)
        await store.close()


class FakeServer:
    """Stands in for an embedded server, and for the function that starts it, which blocks until it may return."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.may_start = threading.Event()
        self.closed = threading.Event()

    def start(self, path: Path, wanted: object) -> "FakeServer":
        self.asked.set()
        assert self.may_start.wait(10)
        return self

    def close(self) -> None:
        self.closed.set()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> FakeServer:
    fake = FakeServer()
    monkeypatch.setattr(client, "start_embedded", fake.start)
    return fake


@pytest.mark.parametrize("starts_first", [False, True], ids=["before it has started", "when it has just started"])
async def test_a_server_that_nobody_waits_for_any_more_is_let_go(server: FakeServer, starts_first: bool) -> None:
    starting = client._Starting(Path("x"))
    waiting = asyncio.create_task(starting.server())
    await wait_until(server.asked.is_set)
    if starts_first:
        server.may_start.set()
        while starting._server is None:
            pass  # the event loop must not turn: it is not to hear of it before it cancels
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    server.may_start.set()
    await wait_until(server.closed.is_set)
