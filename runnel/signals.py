"""SIGINT and SIGTERM, from the first moment of a command to its last.

Python's own ways will not do for a worker: a KeyboardInterrupt arises in whatever runs just then, an import or a finaliser,
which may swallow it or show it as a traceback; SIGTERM kills. So at first either ends the process by a handler that raises
nothing; then the worker's event loop gets them; when the worker has ended, they end the process with the worker's code.

This is what a command imports first, so it imports next to nothing.
"""

import atexit
import os
import signal
import sys
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Protocol

STOPPING = (signal.SIGINT, signal.SIGTERM)

_SAID = {signal.SIGINT: b"runnel: interrupted\n", signal.SIGTERM: b"runnel: terminated\n"}

_code: int | None = None


def end_the_process() -> None:
    """From now on a signal ends the process at once: with 130 or 143 and one line, or in silence with what `end_with` says."""
    for number in STOPPING:
        signal.signal(number, _end)
    atexit.register(_ignore)  # first registered, last called: what is left then is the interpreter's own end


def end_with(code: int) -> None:
    """A worker runs, or has ended: when its event loop does not get the signals any more, they end the process with this."""
    global _code
    _code = code


def interrupt() -> None:
    """Python's own ways again, for a command that is no worker: asyncio lets Ctrl-C cancel what is under way."""
    if signal.getsignal(signal.SIGINT) is _end:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


class Loop(Protocol):
    """What is needed of an event loop."""

    def call_soon_threadsafe(self, callback: Callable[[], object]) -> object:
        """Call back in the loop, and wake it up."""


class Received:
    """While the `with` lasts, each signal is a call in the event loop; then they mean what they meant before.

    Not by `loop.add_signal_handler`: what that leaves behind when the loop is closed is Python's own ways.
    """

    def __init__(self, loop: Loop, callback: Callable[[], object]) -> None:
        self._loop = loop
        self._callback = callback
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> None:
        for number in STOPPING:
            self._before[number] = signal.signal(number, self._receive)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self._loop.call_soon_threadsafe(self._callback)


def _end(number: int, frame: FrameType | None) -> None:
    if _code is None:
        os.write(2, _SAID[signal.Signals(number)])
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:
            pass  # it was being written to just now, or nobody reads it any more
    os._exit(128 + number if _code is None else _code)


def _ignore() -> None:
    for number in STOPPING:
        signal.signal(number, signal.SIG_IGN)
