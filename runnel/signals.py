"""SIGINT, SIGTERM and, in a worker, SIGHUP, from the first moment of a command to its last.

Python's own ways will not do for a worker: a KeyboardInterrupt arises in whatever runs just then, an import or a finaliser,
which may swallow it or show it as a traceback; SIGTERM kills. So at first either ends the process by a handler that raises
nothing; then the worker's event loop gets them; when the worker has ended, they end the process with the worker's code.
A loop that a handler blocks gets nothing: then the second signal ends the process here.

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

_SAID = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}

BLOCKED = 1.0
"""Seconds for which a signal may be on its way to the event loop; another one that comes later finds the loop blocked."""

_code: int | None = None
_before_words = b""
_before_end: Callable[[], object] | None = None
_prefix = "runnel: "


def end_the_process() -> None:
    """From now on a signal ends the process at once: with 130 or 143 and one line, or in silence with what `end_with` says."""
    for number in STOPPING:
        signal.signal(number, _end)
    atexit.register(_ignore)  # first registered, last called: what is left then is the interpreter's own end


def end_with(code: int) -> None:
    """A worker runs, or has ended: when its event loop does not get the signals any more, they end the process with this."""
    global _code
    _code = code


def one_of_several(number: int) -> None:
    """From now on the process's last line begins with its number, as its log's lines do."""
    global _prefix
    _prefix = f"runnel: [{number}] "


def prefix() -> str:
    """How the process's last line begins."""
    return _prefix


def write_first(data: bytes, restore: Callable[[], object] | None = None) -> None:
    """What to do to the terminal when a signal ends the process at once: what to write, and how to leave it as it was found."""
    global _before_words, _before_end
    _before_words, _before_end = data, restore


def interrupt() -> None:
    """Python's own ways again, for a command that is no worker: asyncio lets Ctrl-C cancel what is under way."""
    if signal.getsignal(signal.SIGINT) is _end:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


class Loop(Protocol):
    """What is needed of an event loop."""

    def call_soon_threadsafe(self, callback: Callable[[], object]) -> object:
        """Call back in the loop, and wake it up."""

    def time(self) -> float:
        """The loop's own clock, in seconds; it goes on while the loop is blocked."""


class Received:
    """While the `with` lasts, each signal is a call in the event loop; then they mean what they meant before.

    SIGHUP, of a terminal that is closed, is one of them unless it is ignored, as `nohup` does. It never counts as a second
    signal: a terminal's end may send it twice, by the shell and by the kernel.

    A signal that comes while an earlier one has been on its way for more than `BLOCKED` seconds ends the process at once.
    Signals in quick succession do not: a process group and a parent may each send one.

    Not by `loop.add_signal_handler`: what that leaves behind when the loop is closed is Python's own ways.
    """

    def __init__(self, loop: Loop, callback: Callable[[], object]) -> None:
        self._loop = loop
        self._callback = callback
        self._before: dict[signal.Signals, Any] = {}
        self._any = False
        self._under_way_since: float | None = None

    def __enter__(self) -> None:
        hangup = () if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else (signal.SIGHUP,)
        for number in (*STOPPING, *hangup):
            self._before[number] = signal.signal(number, self._receive)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGHUP and self._any:
            return
        self._any = True
        now = self._loop.time()
        if self._under_way_since is None:
            self._under_way_since = now
        elif now - self._under_way_since > BLOCKED:
            _end_blocked(number)
        self._loop.call_soon_threadsafe(self._deliver)

    def _deliver(self) -> None:
        self._under_way_since = None
        self._callback()


def _end_blocked(number: int) -> None:
    """Not by way of what Python flushes or closes: the blocked handler may hold any lock."""
    said = f"{_prefix}ended at once: a handler blocks the event loop\n"
    if _before_end is not None:
        _before_end()
    for file, data in ((1, _before_words), (2, said.encode())):
        try:
            os.write(file, data)
        except OSError:
            pass  # nobody reads it any more
    os._exit(128 + number)


def _end(number: int, frame: FrameType | None) -> None:
    if _before_end is not None:
        _before_end()
    if _code is None:
        os.write(2, f"{_prefix}{_SAID[signal.Signals(number)]}\n".encode())
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:
            pass  # it was being written to just now, or nobody reads it any more
    os._exit(128 + number if _code is None else _code)


def _ignore() -> None:
    for number in STOPPING:
        signal.signal(number, signal.SIG_IGN)
