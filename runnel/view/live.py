"""The view of `runnel run`: the app's pages below what the worker prints and logs, drawn in the worker's own process.

What is shown is put together in the event loop, about once a second, and drawn in a thread: a slow terminal holds up nothing.
While a handler blocks the loop there are no new pictures, but what is logged is written all the same: it says where.
"""

import asyncio
import sys
import threading
from contextlib import suppress
from types import TracebackType
from typing import Any

from attrs import define, field
from rich.console import Console, RenderableType
from rich.live import Live

from runnel.clock import io_timeout
from runnel.signals import write_first
from runnel.telemetry.collect import Collector
from runnel.view.actions import carry_out
from runnel.view.keyboard import Keyboard
from runnel.view.meter import Meter
from runnel.view.model import Model
from runnel.view.output import Output, Written, terminal
from runnel.view.pages.page import Row
from runnel.view.picture import safely
from runnel.view.screen import Act, Quit, Screen
from runnel.view.watch import Watch, cancelled
from runnel.worker import Worker

INTERVAL = 0.25
"""Seconds within which what is printed appears."""

OVERDUE = 2.0
"""Seconds without a picture after which another thread writes out what waits to be."""

SHOW_CURSOR = b"\x1b[?25h\r\n"


@define(eq=False)
class LiveView:
    """Shows a worker's app while the `async with` lasts; what is printed and logged meanwhile appears above."""

    worker: Worker
    console: Console = field(factory=terminal)  # the real one, which is replaced meanwhile
    screen: Screen = field(factory=lambda: Screen(stops="stop this worker, in order"))
    model: Model = field(factory=Model)
    _meter: Meter = field(factory=Meter)
    _collector: Collector = field(init=False)
    _reported_at: float = float("-inf")
    _news: asyncio.Event = field(factory=asyncio.Event)
    _rows: list[Row] = field(factory=list)
    _keyboard: Keyboard = field(init=False)
    _outputs: list[Output] = field(factory=list)
    _tasks: "set[asyncio.Task[None]]" = field(factory=set)
    _lock: threading.Lock = field(factory=threading.Lock)  # two threads must not draw at once
    _drawn_at: float = 0.0
    _left: threading.Event = field(factory=threading.Event)
    _standby: threading.Thread | None = None
    _live: Live = field(init=False)

    async def __aenter__(self) -> "LiveView":
        self._drawn_at = self.worker.app.clock.monotonic()
        self.worker.on_end(self._meter.ended)
        self._collector = self.worker.collector()
        self._keyboard = Keyboard(self._press)
        await self._keyboard.__aenter__()
        self._live = Live(
            console=self.console,
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
            vertical_overflow="crop",
        )
        self._live.start()
        if self.console.is_terminal:
            write_first(SHOW_CURSOR, self._keyboard.restore)
        self._redirect()
        app = self.worker.app
        watch = Watch(app, self.model, self.screen, self._news.set, before=lambda: self.worker.snapshot() is not None)
        self._begin(self._draw_on(), "live view")
        self._begin(watch.look_on(), "watch")
        self._standby = threading.Thread(target=self._stand_by, name="runnel-live-view", daemon=True)
        self._standby.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._standby is not None
        self._left.set()
        for task in [*self._tasks]:
            await cancelled(task)
        await asyncio.to_thread(self._standby.join)
        with suppress(OSError):  # the terminal is gone, which may be why the worker stops
            self._restore()
            self._live.stop()
            if self.worker.snapshot() is not None:  # or it never came to run
                done = f"{self._meter.done:,} {'event' if self._meter.done == 1 else 'events'} done"
                self.console.print(f"{self.worker.app.name}: {done}", highlight=False)
        self._keyboard.close()
        write_first(b"")

    def _begin(self, work: Any, name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # ── what is shown ──

    async def _draw_on(self) -> None:
        while True:
            self._measure(self.worker.app.clock.monotonic())
            is_new = self._news.is_set()
            self._news.clear()
            if is_new or any(output.pending for output in self._outputs):
                await self._in_thread(self._put_together())
            with suppress(TimeoutError):
                async with io_timeout(INTERVAL):
                    await self._news.wait()

    def _measure(self, now: float) -> None:
        tree = self.worker.snapshot()
        if tree is None:
            return
        self._meter.update(tree, now)
        if self.screen.is_frozen or now - self._reported_at < self.screen.seconds:
            return
        self._reported_at = now
        said = self.model.report(self.worker.id)
        report = self._collector.report(tree, now, lag=0.0 if said is None else said.loop_lag, draining=self.worker.stopping)
        self.model.report_freshly(report)
        self._news.set()

    def _put_together(self) -> RenderableType:
        size = self.console.size
        self._rows, drawn = safely(self.screen, self.model, size.width, max(8, size.height - 1))
        return drawn

    # ── keys ──

    def _press(self, key: str) -> None:
        effect = self.screen.press(key, self._rows, max(1, self.console.size.height - 7))
        if isinstance(effect, Quit):
            self.worker.stop()
        elif isinstance(effect, Act):
            self._begin(self._act(effect), "act")
        self._news.set()

    async def _act(self, act: Act) -> None:
        await carry_out(self.worker.app, act, self.screen)
        self._news.set()

    # ── drawing ──

    async def _in_thread(self, view: RenderableType) -> None:
        drawing = asyncio.ensure_future(asyncio.to_thread(self._draw, view))
        try:
            await asyncio.shield(drawing)
        except asyncio.CancelledError:
            await drawing  # two threads must not draw at once
            raise

    def _stand_by(self) -> None:
        """In a thread of its own: a blocked loop draws nothing, nor does its executor when all of its threads are busy."""
        clock = self.worker.app.clock
        while not self._left.wait(INTERVAL):
            if clock.monotonic() - self._drawn_at >= OVERDUE and any(output.pending for output in self._outputs):
                with self._lock, suppress(OSError):
                    self._write_pending()

    def _draw(self, view: RenderableType) -> None:
        with self._lock, suppress(OSError):  # the terminal is gone: the worker is about to get SIGHUP
            self._drawn_at = self.worker.app.clock.monotonic()
            self._write_pending()
            self._live.update(view, refresh=True)

    def _write_pending(self) -> None:
        for output in self._outputs:
            self._write(output.take())

    def _write(self, text: str) -> None:
        if text:
            self.console.print(Written(text), end="", crop=False, no_wrap=True)

    def _redirect(self) -> None:
        for name in ("stdout", "stderr"):
            replaced = getattr(sys, name)
            if replaced.isatty():
                output = Output(replaced)
                self._outputs.append(output)
                setattr(sys, name, output)

    def _restore(self) -> None:
        for output in self._outputs:
            name = "stdout" if sys.stdout is output else "stderr"
            setattr(sys, name, output.replaced)
        for output in self._outputs:
            self._write(output.take(all_of_it=True))
