"""The way of an app from a running event loop to the server: one session a loop, its streams' options checked once."""

import asyncio
import weakref
from collections.abc import Mapping
from typing import Any, Self

import orjson
from attrs import define, evolve, field

from runnel.clock import Clock, DueTimes, io_timeout
from runnel.entity.asking import Asker
from runnel.entity.looking import Looker
from runnel.errors import ConfigurationError, StoreUnavailable
from runnel.producer import Producer
from runnel.settings import Settings
from runnel.store.client import Redis, Store
from runnel.store.keys import AppKeys
from runnel.stream import Stream
from runnel.timing.delayed import Delayer


@define(eq=False)
class _Session:
    """What an app has open in one event loop."""

    store: Store
    producer: Producer | None = None
    delayer: Delayer | None = None
    asker: Asker | None = None
    looker: Looker | None = None
    checked: set[tuple[str, int, str]] = field(factory=set)
    """The options with which streams were checked: clones of one name may differ in them."""
    checking: asyncio.Lock = field(factory=asyncio.Lock)
    """Sends that come while a stream is checked for the first time wait in their order."""


class Connected:
    """The part of an `App` that reaches the server.

    Args:
        name: The app's.
        settings: Where the server is, and how long to wait for it.
        clock: The app's.
    """

    def __init__(self, name: str, settings: Settings, clock: Clock) -> None:
        self._name = name
        self.settings = settings
        self.clock = clock
        self.due_times = DueTimes()
        self._sessions: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Session] = weakref.WeakKeyDictionary()

    @property
    def name(self) -> str:
        """Its name, part of every key."""
        return self._name

    def override(self, **settings: Any) -> None:
        """Change settings, as the command line does, before the app is first used."""
        self.settings = evolve(self.settings, **settings)

    @property
    def redis(self) -> Redis:
        """The `redis.asyncio` client of the running event loop, for your own commands.

        Raises:
            ConfigurationError: `redis_url` is not a URL of a server.
        """
        return self._session().store.redis

    @property
    def keys(self) -> AppKeys:
        """The app's keys in Redis."""
        return AppKeys(self.name)

    @property
    def send_timeout(self) -> float:
        """How long `send` waits, in seconds."""
        return self.settings.send_timeout

    async def open(self) -> Store:
        """Connect the running event loop to the server and check that it is fit; harmless when it is already.

        `send` and the worker do it themselves.

        Raises:
            ConfigurationError: The URL is wrong, or the server is too old, or it evicts keys.
            StoreError: The server cannot be reached, or refuses.
        """
        store = self._session().store
        await store.open()
        return store

    @property
    def unchecked_store(self) -> Store:
        """The running event loop's store, whether its server is fit or not: for who finds that out."""
        return self._session().store

    async def close(self) -> None:
        """Close what the running event loop has open; otherwise it is closed when the loop ends."""
        if (session := self._sessions.pop(asyncio.get_running_loop(), None)) is not None:
            if session.asker is not None:
                session.asker.close()
            await session.store.close()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    async def producer_for(self, stream: Stream[Any]) -> Producer:
        """The running loop's producer, once the stream's options are checked against what the server remembers.

        Raises:
            ConfigurationError: The stream was made with other options.
            StoreError: The server cannot be reached, or refuses.
        """
        session = self._session()
        options = (stream.name, stream.partition_count, stream.hasher_name)
        if options not in session.checked:
            await self.open()  # not within the time-out: an embedded server that starts takes its time
            try:
                async with io_timeout(self.send_timeout), session.checking:
                    if options not in session.checked:
                        await self.check_stream(stream)
                        session.checked.add(options)
            except TimeoutError:
                raise StoreUnavailable(
                    f"{session.store.where} did not answer within {self.send_timeout:g} s"
                ) from None
        if session.producer is None:
            session.producer = Producer(session.store.link(), self.clock)
        return session.producer

    async def delayer_for(self, stream: Stream[Any]) -> Delayer:
        """What puts events aside in the running loop, once the stream's options are checked.

        Raises:
            ConfigurationError, StoreError: As `producer_for`.
        """
        await self.producer_for(stream)
        session = self._session()
        if session.delayer is None:
            session.delayer = Delayer(session.store.link(), self.clock, self.keys, self.due_times)
        return session.delayer

    async def asker_for(self, stream: Stream[Any]) -> Asker:
        """What asks actors in the running loop, once the stream's options are checked.

        Raises:
            ConfigurationError, StoreError: As `producer_for`.
        """
        producer = await self.producer_for(stream)
        session = self._session()
        if session.asker is None:
            store = session.store
            session.asker = Asker(producer, store.link(), store.link(), self.clock)
        return session.asker

    def sent(self) -> Mapping[str, int]:
        """By stream: how many events the running loop has sent, for monitoring."""
        producer = self._session().producer
        return {} if producer is None else producer.sent()

    async def looker(self) -> Looker:
        """What looks at states in the running loop.

        Raises:
            ConfigurationError, StoreError: As `open`.
        """
        store = await self.open()
        session = self._session()
        if session.looker is None:
            session.looker = Looker(store.link(), self.clock)
        return session.looker

    async def check_stream(self, stream: Stream[Any]) -> None:
        """Note the options that decide where events lie, or compare them with those noted.

        Raises:
            ConfigurationError: They differ: keys would go to other partitions than before.
        """
        if not await self.compare_stream(stream):
            # Asked first: a full server refuses HSETNX, and a worker must be able to start and make room.
            store = await self.open()
            await store.command("HSETNX", self.keys.streams, stream.name, orjson.dumps(stream.fixed_options))
            await self.compare_stream(stream)

    async def compare_stream(self, stream: Stream[Any]) -> bool:
        """Compare the options that decide where events lie with those noted, if any are; changes nothing.

        Returns:
            Whether any are noted.

        Raises:
            ConfigurationError: They differ: keys would go to other partitions than before.
        """
        store = await self.open()
        known = await store.command("HGET", self.keys.streams, stream.name)
        noted = {} if known is None else orjson.loads(known)
        for name, value in stream.fixed_options.items():
            if noted and noted.get(name) != value:
                raise ConfigurationError(
                    f"stream {stream.name!r} of app {self.name!r} was made with {name} {noted.get(name)}, not {value}: "
                    f"keep it at {noted.get(name)}, or use another stream"
                )
        return bool(noted)

    def _session(self) -> _Session:
        loop = asyncio.get_running_loop()
        session = self._sessions.get(loop)
        if session is None:
            session = self._sessions[loop] = _Session(Store(self.settings.redis_url, self.clock))
        return session
