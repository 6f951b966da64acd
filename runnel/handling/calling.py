"""Calling a function of the user's that may be `def` or `async def`: the one in a thread, the other in the event loop."""

import asyncio
import inspect
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any

from runnel.errors import RunnelError
from runnel.handling.crossing import Crossing


async def call(function: Callable[[], Any], name: str, begun: Callable[["Future[None]"], object] = lambda _: None) -> Any:
    """Call it and wait for its end; gives what it returns, and raises what it raises.

    Cancelling this cancels an `async def`. A thread cannot be cancelled: it goes on to its end, and nobody waits for it,
    unless they were told of it (`begun`) by something that is done when it has ended.
    """
    try:
        result = function() if inspect.iscoroutinefunction(function) else await _in_thread(function, name, begun)
        return await result if inspect.isawaitable(result) else result
    except (SystemExit, KeyboardInterrupt) as error:  # which would end the whole process, and in a thread end only that
        raise RuntimeError(f"{name} raised {type(error).__name__}") from error


async def whole(work: Coroutine[Any, Any, None]) -> None:
    """Do it, in a task of its own that nobody but the kernel may cancel: code of users that does would be missed by nobody.

    Raises:
        RunnelError: It was cancelled.
    """
    try:
        await work
    except asyncio.CancelledError as error:
        raise RunnelError("a task in which handlers run was cancelled") from error


async def call_here(function: Callable[[], Any]) -> None:
    """Call it in the event loop, whichever it is."""
    result = function()
    if inspect.isawaitable(result):
        await result


async def _in_thread(function: Callable[[], Any], name: str, begun: Callable[["Future[None]"], object]) -> Any:
    results: list[Any] = []
    crossing = Crossing()
    crossing.start(lambda: results.append(function()), name)
    begun(crossing.ended)
    await crossing.serve()
    return results[0]
