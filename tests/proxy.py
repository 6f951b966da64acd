"""A proxy between a client and a server, which breaks connections on purpose, for fault tests.

    async with Proxy(server.url) as proxy:
        app = App("shop", redis_url=proxy.url)
        proxy.lose_next_reply(lambda request: b"EVALSHA" in request)

Listens on the same kind of address as its target (a free port of 127.0.0.1, or a unix socket in a temporary folder).
It may be turned to another server at any time: `proxy.target = other.url`, then `proxy.cut()`.

All controls act at once, on connections that are open as well as on new ones.
"""

import asyncio
import shutil
import tempfile
from asyncio import StreamReader, StreamWriter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Literal, Self
from urllib.parse import urlsplit

Direction = Literal["requests", "replies"]

_CHUNK = 65_536
# A match may lie across the border of two chunks: this much of the last one is looked at again.
_OVERLAP = 4_096


@dataclass(eq=False)
class _Connection:
    client: StreamWriter
    server: StreamWriter
    lose_reply: bool = False
    held: bool = False
    tail: bytes = b""

    def close(self) -> None:
        """Break it off: what is on the way is lost."""
        for writer in (self.client, self.server):
            writer.transport.abort()


@dataclass(eq=False)
class Proxy:
    """Forwards to `target` (a `redis://` or `unix://` URL)."""

    target: str
    refuse: bool = False
    """New connections are accepted and closed at once; set it at any time."""
    lost: int = 0
    """How many replies were swallowed."""
    late: int = 0
    """How many requests are kept back, or arrived late."""
    late_replies: list[bytes] = field(default_factory=list)
    """What the server answered those that arrived late: no client heard it."""
    _delays: dict[Direction, float] = field(default_factory=lambda: {"requests": 0.0, "replies": 0.0})
    _holes: dict[Direction, bool] = field(default_factory=lambda: {"requests": False, "replies": False})
    _clear: dict[Direction, asyncio.Event] = field(default_factory=dict)
    _losing: Callable[[bytes], bool] | None = None
    _keeping: Callable[[bytes], bool] | None = None
    _let_go: asyncio.Event = field(default_factory=asyncio.Event)
    _connections: set[_Connection] = field(default_factory=set)
    _tasks: set["asyncio.Task[None]"] = field(default_factory=set)

    def __post_init__(self) -> None:
        for way in self._ways(None):
            self._clear[way] = asyncio.Event()
            self._clear[way].set()

    async def __aenter__(self) -> Self:
        where = urlsplit(self.target)
        self._folder = Path(tempfile.mkdtemp(prefix="runnel-proxy-"))
        if where.scheme == "unix":
            path = self._folder / "proxy.sock"
            self._server = await asyncio.start_unix_server(self._accept, path)
            self.url = f"unix://{path}"
        else:
            self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
            self.url = f"redis://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        self.cut()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def connections(self) -> int:
        """How many are open now."""
        return len(self._connections)

    def cut(self) -> None:
        """Drop all connections; new ones are accepted."""
        for connection in list(self._connections):
            connection.close()

    def lose_next_reply(self, match: Callable[[bytes], bool]) -> None:
        """Forward the next request that matches, swallow what the server answers, and drop the connection.

        So the server has done it and the client does not know. `match` sees the bytes of requests in pieces as they
        arrive, with the end of the piece before.
        """
        self._losing = match
        for connection in self._connections:
            connection.tail = b""  # what passed before is not the next

    def keep_next_request(self, match: Callable[[bytes], bool]) -> None:
        """Keep back the next request that matches, and drop its client's connection: a copy that arrives late.

        It arrives, over its own connection to the server, when `let_go` is called. `match` is as in `lose_next_reply`.
        """
        self._keeping = match
        self._let_go.clear()
        for connection in self._connections:
            connection.tail = b""

    def let_go(self) -> None:
        """Send on what `keep_next_request` keeps back."""
        self._let_go.set()

    def stall(self, on: bool = True, direction: Direction | None = None) -> None:
        """Keep all data back, each way or one way, as TCP does while the network is away; it arrives afterwards."""
        for each in self._ways(direction):
            self._clear[each].clear() if on else self._clear[each].set()

    def delay(self, seconds: float, direction: Direction | None = None) -> None:
        """Hold back every piece of data by so much, each way or one way; 0 ends it."""
        for each in self._ways(direction):
            self._delays[each] = seconds

    def blackhole(self, on: bool = True, direction: Direction | None = None) -> None:
        """Swallow all data, each way or one way, on connections that stay open."""
        for each in self._ways(direction):
            self._holes[each] = on

    @staticmethod
    def _ways(direction: Direction | None) -> tuple[Direction, ...]:
        return ("requests", "replies") if direction is None else (direction,)

    async def _accept(self, reader: StreamReader, writer: StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            if not self.refuse:
                await self._serve(reader, writer)
        except (OSError, asyncio.CancelledError):
            pass  # the target is down, or the proxy closes; asyncio logs what a connection's task raises
        finally:
            writer.transport.abort()
            self._tasks.discard(task)

    async def _serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        server_reader, server_writer = await self._connect()
        connection = _Connection(writer, server_writer)
        self._connections.add(connection)
        ways = [
            asyncio.create_task(self._forward(connection, "requests", reader, server_writer)),
            asyncio.create_task(self._forward(connection, "replies", server_reader, writer)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            if connection.held:
                await asyncio.wait(ways)
        finally:
            self._connections.discard(connection)
            connection.close()
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)

    async def _connect(self) -> tuple[StreamReader, StreamWriter]:
        where = urlsplit(self.target)
        if where.scheme == "unix":
            return await asyncio.open_unix_connection(where.path)
        return await asyncio.open_connection(where.hostname, where.port)

    async def _forward(
        self, connection: _Connection, direction: Direction, source: StreamReader, target: StreamWriter
    ) -> None:
        """One way of one connection; returns when either end has closed it."""
        while data := await source.read(_CHUNK):
            if self._delays[direction]:
                await asyncio.sleep(self._delays[direction])
            await self._clear[direction].wait()
            if direction == "requests":
                await self._look_at(connection, data)
            elif connection.held:
                self.late_replies.append(data)
                return
            elif connection.lose_reply:
                self.lost += 1
                return
            if not self._holes[direction]:
                target.write(data)
                await target.drain()

    async def _look_at(self, connection: _Connection, data: bytes) -> None:
        seen = connection.tail + data
        connection.tail = seen[-_OVERLAP:]
        if self._losing is not None and self._losing(seen):
            self._losing = None
            connection.lose_reply = True
        if self._keeping is not None and self._keeping(seen):
            self._keeping = None
            connection.held = True
            connection.client.transport.abort()
            self.late += 1
            await self._let_go.wait()
