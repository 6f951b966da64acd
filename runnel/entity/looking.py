"""Looking at what actors remember: many who look at once share an exchange, and one connection.

There is no task here: whoever gets the turn asks the server for all who wait. What is answered was asked for after each of
them had begun to wait, so nobody is told what was true before.
"""

import asyncio
from collections.abc import Sequence
from itertools import islice

from attrs import define, field

from runnel.clock import Clock, io_timeout
from runnel.errors import StoreError, StoreUnavailable
from runnel.store.link import Link
from runnel.store.script import Command

MOST = 500
"""Who looks in one exchange: its answers are in memory together, and the event loop waits for their parsing."""

RETRY = 0.05
"""Seconds until a server that is away is asked again."""


@define(eq=False)
class _Look:
    """One who waits for a field of a hash."""

    where: bytes
    key: bytes
    is_answered: bool = False
    found: bytes | StoreError | None = None


@define(eq=False)
class Looker:
    """Looks for one event loop.

    Args:
        link: A connection of its own.
        clock: The app's.
    """

    link: Link
    clock: Clock
    _waiting: dict[_Look, None] = field(factory=dict)
    _turn: asyncio.Lock = field(factory=asyncio.Lock)

    async def look(self, where: bytes, key: bytes, timeout: float) -> bytes | None:
        """A field of a hash; None: there is none. A server that is away for a while makes it late.

        Raises:
            StoreUnavailable: The server could not be reached for `timeout` seconds.
            StoreRefused: It refuses.
        """
        give_up = self.clock.monotonic() + timeout
        while True:
            found = await self._found(_Look(where, key), give_up)
            if not isinstance(found, StoreError):
                return found
            if not isinstance(found, StoreUnavailable) or self.clock.monotonic() + RETRY > give_up:
                raise found
            await self.clock.sleep(RETRY)

    async def _found(self, look: _Look, give_up: float) -> bytes | StoreError | None:
        self._waiting[look] = None
        try:
            async with io_timeout(give_up - self.clock.monotonic()), self._turn:
                while not look.is_answered:
                    await self._ask()
        except TimeoutError:
            return StoreUnavailable("the server did not answer in time")
        finally:
            self._waiting.pop(look, None)
        return look.found

    async def _ask(self) -> None:
        """Ask for those who have waited longest."""
        looks = [*islice(self._waiting, MOST)]
        hgets = [Command((b"HGET", look.where, look.key), _as_it_is) for look in looks]
        try:
            answers = await self.link.run(hgets)
        except StoreUnavailable as error:
            self._answer(looks, [error] * len(looks))  # all hear of it now, and need not find it out one by one
        else:
            self._answer(looks, answers)

    def _answer(self, looks: Sequence[_Look], answers: Sequence[bytes | StoreError | None]) -> None:
        for look, answer in zip(looks, answers, strict=True):
            look.found, look.is_answered = answer, True
            self._waiting.pop(look, None)  # not to be asked for again, though it has not gone on yet


def _as_it_is(reply: bytes | None) -> bytes | None:
    return reply
