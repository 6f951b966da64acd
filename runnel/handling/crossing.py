"""Between the event loop and a function of the user's that runs in a thread: the thread asks, the event loop answers.

What the function asks for is done in the task that waits for it. The thread itself touches nothing of Runnel's that lives in
the event loop. A thread cannot be interrupted: when that task is cancelled the thread is left to itself. It is told so as
soon as it asks for anything, and then it gets nothing any more.
"""

import asyncio
import contextvars
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, TypeVar

from runnel.errors import LeaseLost
from runnel.handling.position import Position

T = TypeVar("T")

Request = Callable[[], Awaitable[Any]]


class Crossing:
    """Of one call of a function; made in the event loop."""

    def __init__(self) -> None:
        self.over = False
        """Whether nobody waits for the function any more. What it does from then on counts for nothing."""
        self.ended: Future[None] = Future()
        """Done when the thread has left the function."""
        self.ended.set_running_or_notify_cancel()  # so that nobody's cancellation makes it look ended
        self._loop = asyncio.get_running_loop()
        self._asked: asyncio.Future[Request | None] = self._loop.create_future()
        self._answers: SimpleQueue[tuple[Any, Exception | None]] = SimpleQueue()
        self._error: BaseException | None = None

    # ── in the thread ──

    def ask(self, request: Callable[[], Awaitable[T]]) -> T:
        """Have something done in the event loop, and wait for what comes of it.

        Raises:
            LeaseLost: Nobody waits for the function any more.
        """
        if self.over or not self.call(self._take, request):
            raise lost()
        answer, error = self._answers.get()
        if error is not None:
            raise error
        found: T = answer
        return found

    def call(self, callback: Callable[..., object], *args: object) -> bool:
        """Have something called in the event loop, soon. False when that is closed."""
        try:
            self._loop.call_soon_threadsafe(callback, *args)
        except RuntimeError:
            return False
        return True

    def _live(self, function: Callable[[], object]) -> None:
        try:
            function()
        except BaseException as error:
            self._error = error
        self.ended.set_result(None)
        self.call(self._take, None)

    # ── in the event loop ──

    def start(self, function: Callable[[], object], name: str) -> None:
        """Call a function in a thread of its own."""
        context = contextvars.copy_context()
        # Not of a pool: those have the interpreter wait, at its end, for a thread that does not end.
        threading.Thread(target=context.run, args=(self._live, function), name=name, daemon=True).start()

    async def serve(self) -> None:
        """Do what the function asks for until it ends; raises what it raises.

        Cancelled, it does not wait for the thread: see `ended`.
        """
        try:
            while (request := await self._asked) is not None:
                self._asked = self._loop.create_future()
                await self._answer(request)
        finally:
            self.over = True
            self._answers.put((None, lost()))  # it may be waiting for an answer that does not come any more
        if self._error is not None:
            raise self._error

    async def _answer(self, request: Request) -> None:
        try:
            self._answers.put((await request(), None))
        except Exception as error:
            self._answers.put((None, error))

    def _take(self, request: Request | None) -> None:
        if not self._asked.done():  # cancelled: nobody waits
            self._asked.set_result(request)


def lost() -> LeaseLost:
    """What a function gets that nobody waits for any more."""
    return LeaseLost("this function's call is over: its partition was given up, or taken away, while it ran")


async def wait_for(thread: "Future[None]", position: Position) -> bool:
    """Wait for the thread of an earlier call. False as soon as the partition is to be let go."""
    loop = asyncio.get_running_loop()
    over: asyncio.Future[None] = loop.create_future()

    def wake() -> None:
        if not over.done():
            over.set_result(None)

    def wake_from_afar(_: "Future[None]") -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(wake)

    thread.add_done_callback(wake_from_afar)
    position.on_closing.append(wake)
    try:
        if not position.closing:
            await over
    finally:
        position.on_closing.remove(wake)
    return not position.closing
