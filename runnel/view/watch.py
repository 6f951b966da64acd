"""Keeps a model of an app up to date: reads how it stands, now and then, and says what keeps it from that."""

import asyncio
from collections.abc import Callable

from attrs import define

from runnel.app import App
from runnel.errors import StoreError
from runnel.operations.overview import read_overview
from runnel.store.link import Link
from runnel.view.model import Model
from runnel.view.screen import Screen


@define(eq=False)
class Watch:
    """Of one app.

    Args:
        app: Which app.
        model: What is known of it.
        screen: Says how often to look, and whether at all.
        news: Called when there is something new to show.
        before: Called before each look; False: it is too early.
    """

    app: App
    model: Model
    screen: Screen
    news: Callable[[], object]
    before: Callable[[], bool] = lambda: True
    _link: Link | None = None

    async def look_on(self) -> None:
        """Look again and again, until cancelled.

        Raises:
            ConfigurationError: The app does not fit what is on the server.
        """
        clock = self.app.clock
        try:
            while True:
                if self.before() and not self.screen.is_frozen:
                    await self.look()
                    self.news()
                until = clock.monotonic() + self.screen.seconds
                while (left := until - clock.monotonic()) > 0:
                    await clock.sleep(min(left, 0.25))  # the interval may have become shorter meanwhile
                    until = min(until, clock.monotonic() + self.screen.seconds)
        finally:
            if self._link is not None:
                await self._link.close()

    async def look(self) -> None:
        """Look once; where the server cannot be reached the model says so.

        Raises:
            ConfigurationError: The app does not fit what is on the server.
        """
        try:
            if self._link is None:
                self._link = (await self.app.open()).link()
            overview = await read_overview(self.app, self._link)
        except StoreError as error:
            if self.model.problem is None:
                self.screen.notice = ""  # what was done before is in the way of that
            self.model.problem = str(error)
        else:
            self.model.update(overview, self.app.clock.monotonic())


async def cancelled(task: "asyncio.Task[None]") -> None:
    """End a task that looks on."""
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        pass
