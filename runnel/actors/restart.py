"""One restart under way: takes children down in reverse order, waits out the backoff, starts them in order."""

import asyncio
from collections.abc import Iterable
from typing import Protocol

from runnel.clock import Clock


class Restartable(Protocol):
    """What a restart needs of an actor."""

    @property
    def serial(self) -> int:
        """Its place in the order of spawning."""

    def doom(self) -> None:
        """Its incarnation is going to be taken down: failures of it do not count any more."""

    async def tear_down(self, error: Exception) -> None:
        """Clear its incarnation away; nothing if it is stopping."""

    def start(self) -> None:
        """Begin a fresh incarnation; nothing if it is stopping."""

    def request_stop(self, deadline: float) -> None: ...


class Restart:
    """A set of actors that are restarted together; it can grow until they are started."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._members: set[Restartable] = set()
        self._standing: list[Restartable] = []
        self._error: Exception = RuntimeError("nothing failed")
        self._due = 0.0
        self._abandoned = False
        self._pausing: asyncio.Future[None] | None = None

    def enlarge(self, actors: Iterable[Restartable], error: Exception, due: float) -> None:
        """Restart these as well, because of `error`, and nobody before `due`."""
        for actor in actors:
            if actor not in self._members:
                actor.doom()
                self._members.add(actor)
                self._standing.append(actor)
        self._standing.sort(key=lambda actor: actor.serial)
        self._error = error
        self._due = max(self._due, due)
        self._wake()

    def abandon(self) -> None:
        """Start nobody any more: the parent stops them all."""
        self._abandoned = True
        self._wake()

    async def run(self) -> None:
        try:
            await self._take_down_and_pause()
        except asyncio.CancelledError:
            for actor in self._members:  # or they would stay down for ever
                actor.request_stop(self._clock.monotonic())
            raise
        if not self._abandoned:
            for actor in sorted(self._members, key=lambda actor: actor.serial):
                actor.start()

    async def _take_down_and_pause(self) -> None:
        while not self._abandoned:
            if self._standing:
                await self._standing.pop().tear_down(self._error)
            elif self._clock.monotonic() < self._due:
                await self._pause()
            else:
                return

    async def _pause(self) -> None:
        self._pausing = asyncio.get_running_loop().create_future()
        timer = self._clock.call_later(self._due - self._clock.monotonic(), self._wake)
        try:
            await self._pausing
        finally:
            timer.cancel()
            self._pausing = None

    def _wake(self) -> None:
        if self._pausing is not None and not self._pausing.done():
            self._pausing.set_result(None)
