"""The server behind a URL: what it is, whether it is fit, and connections to it.

A `Store` belongs to one event loop. It gives each actor that talks to the server a `Link` of its own, and users the
plain `redis.asyncio` client.
"""

import asyncio
import contextlib
import logging
import re
import threading
import weakref
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import redis.exceptions as redis_errors
from redis.asyncio import Redis as Redis  # for the type of app.redis: no other module imports redis
from redis.asyncio.connection import ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.connection import ConnectionPool as BlockingPool
from redis.maint_notifications import MaintNotificationsConfig
from redis.retry import Retry as BlockingRetry

from runnel.clock import Clock, io_timeout
from runnel.errors import ConfigurationError
from runnel.store import guardian
from runnel.store.blocking import BlockingLink
from runnel.store.embedded import EmbeddedServer, GivenUp, embedded_path, start_embedded
from runnel.store.link import IO_TIMEOUT, Link, store_error

log = logging.getLogger(__name__)

OLDEST_SERVER = (7, 0)


class Store:
    """Connections to the server of `url`, for the running event loop.

    They are closed by `close`, or else when `asyncio.run` ends the loop.
    """

    def __init__(self, url: str, clock: Clock) -> None:
        self._url = url
        self._clock = clock
        self._embedded: EmbeddedServer | None = None
        self._links: weakref.WeakSet[Link] = weakref.WeakSet()
        self._redis: Redis | None = None
        self._opening = asyncio.Lock()
        self._is_fit = False
        self._closer: AsyncGenerator[None, None] | None = None

    @property
    def where(self) -> str:
        """The server, as errors name it: without user name and password."""
        return without_credentials(self._url)

    @property
    def redis(self) -> Redis:
        """The plain client, for users' own commands; retries are off, replies are RESP3's.

        When the store is not open this does not check the server, and blocks while an embedded one starts.

        Raises:
            ConfigurationError: The URL is wrong.
        """
        if self._redis is None:
            if self._is_embedded and self._embedded is None:
                self._embedded = start_embedded(embedded_path(self._url))
            self._redis = self._client()
            self._close_with_the_loop()
        return self._redis

    async def open(self) -> None:
        """Start the embedded server if the URL asks for it, and check that the server is fit. Harmless when open.

        Raises:
            ConfigurationError: The URL is wrong, or the server too old, or it evicts keys.
            StoreUnavailable: It cannot be reached.
            StoreRefused: It refuses the password, or a command.
        """
        async with self._opening:
            if self._is_fit:
                return
            if self._is_embedded and self._embedded is None:
                self._embedded = await _Starting(embedded_path(self._url)).server()
            try:
                await self._check(self.redis)
            except BaseException:
                await self.close()
                raise
            self._is_fit = True

    async def close(self) -> None:
        """Close all connections, and let go of the embedded server. Harmless when closed."""
        for link in list(self._links):
            await link.close()
        if self._redis is not None:
            await self._redis.aclose()
            self._redis = None
        if self._embedded is not None:
            self._embedded.close()
            self._embedded = None
        self._is_fit = False

    def link(self) -> Link:
        """A new connection of the caller's own; the store must be open."""
        link = Link(self.redis.connection_pool.make_connection(), self._clock, self.where)  # type: ignore[no-untyped-call]
        self._links.add(link)
        return link

    def blocking_link(self, timeout: float) -> BlockingLink:
        """A new connection for a thread, whose exchanges may take `timeout` seconds; the store must be open."""
        pool = BlockingPool.from_url(self._server_url(), **_options(BlockingRetry(NoBackoff(), 0), timeout))
        return BlockingLink(pool.make_connection(), self.where)

    async def command(self, *args: Any) -> Any:
        """One command over a pooled connection, with errors of ours; never sent twice."""
        try:
            async with io_timeout(IO_TIMEOUT):
                return await self.redis.execute_command(*args)  # type: ignore[no-untyped-call]
        except (redis_errors.RedisError, OSError) as error:
            raise store_error(error, self.where) from error

    @property
    def _is_embedded(self) -> bool:
        return self._url.startswith("embedded:")

    def _server_url(self) -> str:
        return self._url if self._embedded is None else f"unix://{self._embedded.socket}"

    def _client(self) -> Redis:
        url = self._server_url()
        check_scheme(url)
        _check_database(url)
        try:
            # No timeout: a link bounds its exchanges itself, and redis-py's way costs a task each.
            pool = ConnectionPool.from_url(url, **_options(Retry(NoBackoff(), 0), None))
            pool.make_connection()  # type: ignore[no-untyped-call]  # only here do options in the URL meet what there is
        except (ValueError, TypeError) as error:
            unknown = re.search(r"unexpected keyword argument '(\w+)'", str(error))
            said = f"it has no option {unknown[1]!r}" if unknown else error
            raise ConfigurationError(f"redis_url {self.where!r} is not a URL of a Redis server: {said}") from error
        return Redis.from_pool(pool)

    async def _check(self, client: Redis) -> None:
        try:
            async with io_timeout(IO_TIMEOUT):
                about: dict[str, Any] = await client.info("server", "memory", "persistence")
        except (redis_errors.RedisError, OSError) as error:
            raise store_error(error, self.where) from error
        version = about.get("redis_version", "0")
        if tuple(int(part) for part in version.split(".")[:2]) < OLDEST_SERVER:
            raise ConfigurationError(f"{self.where} runs Redis {version}: Runnel needs 7.0 or newer, or any Valkey")
        policy = about.get("maxmemory_policy", "noeviction")
        if policy != "noeviction":
            raise ConfigurationError(
                f"{self.where} evicts keys when its memory is full (maxmemory-policy {policy}): events would be lost. "
                "Set maxmemory-policy to noeviction"
            )
        if not about.get("aof_enabled") and not await self._saves(client):
            log.warning(
                "the server keeps nothing on disk: a restart of it loses all events", extra={"server": self.where}
            )

    async def _saves(self, client: Redis) -> bool:
        try:
            found: dict[Any, Any] = await client.config_get("save")
            return any(found.values())
        except (redis_errors.RedisError, OSError):
            return True  # managed servers often forbid CONFIG; then there is nothing to say

    def _close_with_the_loop(self) -> None:
        # asyncio.run closes the loop's asynchronous generators before the loop: the only moment at which connections
        # of a loop that nobody closed by hand can still be closed in order.
        async def closer() -> AsyncGenerator[None, None]:
            try:
                yield
            finally:
                await self.close()

        self._closer = closer()
        with contextlib.suppress(StopIteration):
            self._closer.__anext__().__await__().__next__()  # it yields without awaiting anything


def _options(retry: Any, timeout: float | None) -> dict[str, Any]:
    """What both kinds of connection have in common. No retries: redis-py would resend writes that may have taken effect."""
    return {
        "protocol": 3,
        "legacy_responses": False,
        "socket_timeout": timeout,
        "socket_connect_timeout": 5,
        "retry": retry,
        "maint_notifications_config": MaintNotificationsConfig(enabled=False),
    }


class _Starting:
    """The start of an embedded server, in a thread. Whoever waits may be cancelled: then nothing stays in use.

    The thread cannot be cancelled, and it may be done before the event loop hears of it. So one lock decides who has the
    server: the waiter, or nobody.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._wanted = True
        self._server: EmbeddedServer | None = None

    async def server(self) -> EmbeddedServer:
        """Wait for it."""
        try:
            return await asyncio.to_thread(self._start)
        except asyncio.CancelledError:
            self._give_up()
            raise

    def _start(self) -> EmbeddedServer:
        server = start_embedded(self._path, wanted=lambda: self._wanted)
        with self._lock:
            if self._wanted:
                self._server = server
                return server
        server.close()
        raise GivenUp

    def _give_up(self) -> None:
        with self._lock:
            self._wanted = False
        if self._server is not None:
            self._server.close()


def check_scheme(url: str) -> None:
    """Refuse what is not, or not yet, a way to a server.

    Raises:
        ConfigurationError: It says which schemes there are.
    """
    scheme = urlsplit(url).scheme
    if scheme in ("redis+sentinel", "redis+cluster"):
        raise ConfigurationError(
            f"redis_url: {scheme}:// is not supported yet; use redis://, rediss://, unix:// or embedded://"
        )
    if scheme not in ("redis", "rediss", "unix"):
        raise ConfigurationError(
            f"redis_url {without_credentials(url)!r} must begin with redis://, rediss://, unix:// or embedded://"
        )


def _check_database(url: str) -> None:
    """Refuse a database that is no number: redis-py would take the first one."""
    parts = urlsplit(url)
    found = unquote(parts.path).replace("/", "")
    if parts.scheme == "unix" or not found or "db" in parse_qs(parts.query):
        return
    if not (found.isascii() and found.isdigit()):
        raise ConfigurationError(
            f"redis_url {without_credentials(url)!r}: {found!r} is no number of a database: write {parts.scheme}://HOST:PORT/0"
        )


def check_is_there(url: str) -> None:
    """Refuse an embedded server's folder that was never used, for who only wants to look: nothing is started or made.

    In the wrong folder an empty server would look as one that is caught up.

    Raises:
        ConfigurationError: There is no such folder, or no server was ever started there; or the URL is wrong.
    """
    if not url.startswith("embedded:"):
        return
    folder = embedded_path(url).absolute()
    if not any((folder / name).exists() for name in (guardian.USERS, "appendonlydir")):
        raise ConfigurationError(
            f"there is no data of an embedded server in {folder}: nothing was ever sent or run with it. "
            "A path that does not begin with / goes from the current folder"
        )


def without_credentials(url: str) -> str:
    """The URL as it may be shown: user name, password and query (which may hold one) left out."""
    parts = urlsplit(url)
    shown = parts._replace(netloc=parts.netloc.rpartition("@")[2], query="").geturl()
    return shown if "://" in shown else shown.replace(":", "://", 1)  # urllib drops the slashes before an empty host
