"""The live view of a worker in the terminal: a picture of its tree of actors, drawn anew some times a second.

It takes snapshots in the worker's event loop, which is cheap, and draws in a thread: a slow terminal holds up nothing.
While a handler blocks the loop there are no new pictures, but what is logged is written all the same: it says where.
"""

import asyncio
import sys
import threading
from contextlib import suppress
from types import TracebackType

from attrs import define, field
from rich.console import Console
from rich.live import Live

from runnel.actors import ActorSnapshot
from runnel.signals import write_first
from runnel.store.client import without_credentials
from runnel.view.meter import Meter
from runnel.view.output import Output, Written
from runnel.view.tree import Heading, view
from runnel.worker import Worker

INTERVAL = 0.25
"""Seconds between two pictures."""

OVERDUE = 2.0
"""Seconds without a picture after which another thread writes out what waits to be."""

SHOW_CURSOR = b"\x1b[?25h\r\n"


@define(eq=False)
class LiveView:
    """Shows a worker while the `async with` lasts; what is printed and logged meanwhile appears above."""

    worker: Worker
    console: Console = field(factory=lambda: Console(file=sys.stdout))  # the real one, which is replaced meanwhile
    _meter: Meter = field(factory=Meter)
    _began: float = 0.0
    _outputs: list[Output] = field(factory=list)
    _drawing: "asyncio.Task[None] | None" = None
    _lock: threading.Lock = field(factory=threading.Lock)  # two threads must not draw at once
    _drawn_at: float = 0.0
    _left: threading.Event = field(factory=threading.Event)
    _standby: threading.Thread | None = None
    _live: Live = field(init=False)

    async def __aenter__(self) -> "LiveView":
        self._began = self.worker.app.clock.monotonic()
        self.worker.on_end(self._meter.ended)
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
            write_first(SHOW_CURSOR)
        self._redirect()
        self._drawing = asyncio.create_task(self._draw_on(), name="live view")
        self._drawn_at = self._began
        self._standby = threading.Thread(target=self._stand_by, name="runnel-live-view", daemon=True)
        self._standby.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._drawing is not None
        assert self._standby is not None
        self._left.set()
        self._drawing.cancel()
        with suppress(asyncio.CancelledError):
            await self._drawing
        await asyncio.to_thread(self._standby.join)
        with suppress(OSError):  # the terminal is gone, which may be why the worker stops
            self._restore()
            self._live.stop()
            if self.worker.snapshot() is not None:  # or it never came to run
                done = f"{self._meter.done:,} {'event' if self._meter.done == 1 else 'events'} done"
                self.console.print(f"{self.worker.app.name}: {done}", highlight=False)
        write_first(b"")

    async def _draw_on(self) -> None:
        clock = self.worker.app.clock
        shown: tuple[ActorSnapshot | None, int] | None = None
        while True:
            now = clock.monotonic()
            tree = self.worker.snapshot()
            if tree is not None:
                self._meter.update(tree, now)
            second = int(now - self._began)
            if (tree, second) != shown or any(output.pending for output in self._outputs):
                shown = (tree, second)
                await self._in_thread(tree, now - self._began)
            await clock.sleep(INTERVAL)

    async def _in_thread(self, tree: ActorSnapshot | None, elapsed: float) -> None:
        drawing = asyncio.ensure_future(asyncio.to_thread(self._draw, tree, elapsed))
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

    def _draw(self, tree: ActorSnapshot | None, elapsed: float) -> None:
        with self._lock, suppress(OSError):  # the terminal is gone: the worker is about to get SIGHUP
            self._drawn_at = self.worker.app.clock.monotonic()
            self._write_pending()
            self._show(tree, elapsed)

    def _write_pending(self) -> None:
        for output in self._outputs:
            self._write(output.take())

    def _show(self, tree: ActorSnapshot | None, elapsed: float) -> None:
        heading = Heading(
            app=self.worker.app.name,
            server=without_credentials(self.worker.app.settings.redis_url),
            worker=self.worker.id,
            done=self._meter.done,
            rate=self._meter.rate,
            elapsed=elapsed,
        )
        size = self.console.size
        self._live.update(view(heading, tree, size.width, size.height), refresh=True)

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
