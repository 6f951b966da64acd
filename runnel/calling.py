"""Calling a function of the user's that may be `def` or `async def`: the one in a thread, the other in the event loop."""

import asyncio
import contextvars
import inspect
import threading
from collections.abc import Callable
from typing import Any


async def call(function: Callable[[], Any], name: str) -> None:
    """Call it and wait for its end; raises what it raises.

    Cancelling this cancels an `async def`. A thread cannot be cancelled: it goes on to its end, and nobody waits for it.
    """
    result = function() if inspect.iscoroutinefunction(function) else await _in_thread(function, name)
    if inspect.isawaitable(result):
        await result


async def call_here(function: Callable[[], Any]) -> None:
    """Call it in the event loop, whichever it is."""
    result = function()
    if inspect.isawaitable(result):
        await result


async def _in_thread(function: Callable[[], Any], name: str) -> Any:
    """In a thread of its own. Not of a pool: the interpreter would wait, at its end, for one that does not end."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[Any] = loop.create_future()

    def end(result: Any, error: BaseException | None) -> None:
        if ended.done():
            return  # cancelled
        if error is None:
            ended.set_result(result)
        elif isinstance(error, Exception) and not isinstance(error, StopIteration):
            ended.set_exception(error)
        else:  # which no future takes, or would end the loop
            ended.set_exception(RuntimeError(f"{name} raised {type(error).__name__}"))

    def live() -> None:
        result, error = None, None
        try:
            result = function()
        except BaseException as raised:
            error = raised
        try:
            loop.call_soon_threadsafe(end, result, error)
        except RuntimeError:
            pass  # the loop is closed: nobody waits

    context = contextvars.copy_context()
    threading.Thread(target=context.run, args=(live,), name=f"runnel-{name}", daemon=True).start()
    return await ended
