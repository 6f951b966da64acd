"""`runnel top`: the view of an app on a terminal of its own, from anywhere. It needs no worker, and runs none."""

import asyncio
import os
import signal
import sys
from contextlib import suppress

from attrs import define, field
from rich.console import Console
from rich.live import Live

from runnel.app import App
from runnel.operations.overview import as_json, read_overview
from runnel.view.actions import carry_out
from runnel.view.keyboard import Keyboard
from runnel.view.model import Model
from runnel.view.output import terminal
from runnel.view.pages.page import Row
from runnel.view.picture import safely, static
from runnel.view.screen import Act, Quit, Screen
from runnel.view.watch import Watch, cancelled


@define(eq=False)
class Top:
    """Of one app, until somebody quits."""

    app: App
    console: Console = field(factory=terminal)
    screen: Screen = field(factory=Screen)
    model: Model = field(factory=Model)
    _news: asyncio.Event = field(factory=asyncio.Event)
    _rows: list[Row] = field(factory=list)
    _acts: "set[asyncio.Task[None]]" = field(factory=set)
    _ends: bool = False
    _keyboard: Keyboard = field(init=False)
    _live: Live | None = None

    def __attrs_post_init__(self) -> None:
        self._keyboard = Keyboard(self._press)

    async def run(self) -> None:
        """Show it.

        Raises:
            ConfigurationError: The app does not fit what is on the server.
        """
        loop = asyncio.get_running_loop()
        watch = asyncio.create_task(Watch(self.app, self.model, self.screen, self._news.set).look_on(), name="watch")
        watch.add_done_callback(lambda _: self._news.set())
        loop.add_signal_handler(signal.SIGWINCH, self._news.set)
        loop.add_signal_handler(signal.SIGTSTP, self._stop_for_a_while)
        live = Live(console=self.console, screen=True, auto_refresh=False, redirect_stdout=False, redirect_stderr=False)
        try:
            with suppress(OSError), live:  # the terminal may be gone
                self._live = live
                async with self._keyboard:
                    while not (self._ends or watch.done()):
                        self._draw(live)
                        await self._news.wait()
                        self._news.clear()
        finally:
            for number in (signal.SIGWINCH, signal.SIGTSTP):
                loop.remove_signal_handler(number)
            for task in (watch, *self._acts):
                await cancelled(task)
            await self.app.close()

    def _stop_for_a_while(self) -> None:
        """Ctrl-Z: the shell gets its screen back, until `fg`."""
        assert self._live is not None
        self._keyboard.close()
        self._live.stop()
        os.kill(os.getpid(), signal.SIGSTOP)  # what follows runs when somebody lets it go on
        self._live.start()
        self._keyboard.open()
        self._news.set()

    def _draw(self, live: Live) -> None:
        width, height = self.console.size
        self._rows, drawn = safely(self.screen, self.model, width, height)
        live.update(drawn, refresh=True)

    def _press(self, key: str) -> None:
        effect = self.screen.press(key, self._rows, max(1, self.console.size.height - 6))
        if isinstance(effect, Quit):
            self._ends = True
        elif isinstance(effect, Act):
            self._begin(effect)
        self._news.set()

    def _begin(self, act: Act) -> None:
        async def act_on() -> None:
            await carry_out(self.app, act, self.screen)
            self._news.set()

        task = asyncio.create_task(act_on(), name="act")
        self._acts.add(task)
        task.add_done_callback(self._acts.discard)


async def once(app: App, *, json: bool) -> None:
    """Print everything once, as tables, or as JSON.

    Raises:
        ConfigurationError: The app does not fit what is on the server.
        StoreError: The server cannot be reached, or refuses.
    """
    link = (await app.open()).link()
    try:
        overview = await read_overview(app, link)
    finally:
        await link.close()
        await app.close()
    if json:
        print(as_json(overview))
        return
    model = Model()
    model.update(overview, app.clock.monotonic())
    Console(highlight=False, width=None if sys.stdout.isatty() else 10_000).print(static(model))
