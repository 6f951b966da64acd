"""Small things that many tests need."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable


async def wait_until(
    condition: Callable[[], object] | Callable[[], Awaitable[object]], timeout: float = 10.0, what: str = ""
) -> None:
    """Wait until the condition, which may be a coroutine function, is true.

    Raises:
        AssertionError: it is not within `timeout` seconds; the message is `what`.
    """
    deadline = time.monotonic() + timeout
    while True:
        result = condition()
        if inspect.isawaitable(result):
            result = await result
        if result:
            return
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout} s: {what or condition}")
        await asyncio.sleep(0.005)
