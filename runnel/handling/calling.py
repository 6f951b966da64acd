"""Calling a function of the user's that may be `def` or `async def`: the one in a thread, the other in the event loop."""

import inspect
from collections.abc import Callable
from typing import Any

from runnel.handling.crossing import Crossing


async def call(function: Callable[[], Any], name: str) -> Any:
    """Call it and wait for its end; gives what it returns, and raises what it raises.

    Cancelling this cancels an `async def`. A thread cannot be cancelled: it goes on to its end, and nobody waits for it.
    """
    try:
        result = function() if inspect.iscoroutinefunction(function) else await _in_thread(function, name)
        return await result if inspect.isawaitable(result) else result
    except (SystemExit, KeyboardInterrupt) as error:  # which would end the whole process, and in a thread end only that
        raise RuntimeError(f"{name} raised {type(error).__name__}") from error


async def call_here(function: Callable[[], Any]) -> None:
    """Call it in the event loop, whichever it is."""
    result = function()
    if inspect.isawaitable(result):
        await result


async def _in_thread(function: Callable[[], Any], name: str) -> Any:
    results: list[Any] = []
    crossing = Crossing()
    crossing.start(lambda: results.append(function()), name)
    await crossing.serve()
    return results[0]
