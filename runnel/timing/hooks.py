"""What an app has its workers call once, at their start and at their end."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from runnel.clock import io_timeout
from runnel.errors import StartFailed
from runnel.handling.calling import call_here
from runnel.timing.background import Background

log = logging.getLogger(__name__)


@asynccontextmanager
async def hooked(app: Background) -> AsyncIterator[None]:
    """Call the `on_start` functions, in order, and in the end the `on_stop` functions, the last declared first.

    Each of the latter may take `default_grace_period`.

    Raises:
        StartFailed: One of the first failed; nothing else is called then.
    """
    for function in app.starting:
        try:
            await call_here(function)
        except Exception as error:
            raise StartFailed(f"on_start: {_name(function)} failed: {type(error).__name__}: {error}") from error
    try:
        yield
    finally:
        for function in reversed(app.stopping):
            try:
                async with io_timeout(app.settings.default_grace_period):
                    await call_here(function)
            except Exception:
                log.exception("an on_stop function failed", extra={"function": _name(function)})


def _name(function: object) -> str:
    return getattr(function, "__name__", repr(function))
