"""Keys of a terminal: read byte by byte as they are pressed, without their echo. What the terminal sends is decoded here.

A terminal that is none, or belongs to a job in the background, gives no keys; nothing is changed about it then.
"""

import asyncio
import os
import signal
import sys
import termios
import tty
from collections.abc import Callable
from typing import Any

from attrs import define, field

NAMES = {
    "\x1b[A": "up",
    "\x1b[B": "down",
    "\x1b[C": "right",
    "\x1b[D": "left",
    "\x1bOA": "up",
    "\x1bOB": "down",
    "\x1bOC": "right",
    "\x1bOD": "left",
    "\x1b[H": "home",
    "\x1b[F": "end",
    "\x1b[1~": "home",
    "\x1b[4~": "end",
    "\x1b[5~": "pgup",
    "\x1b[6~": "pgdn",
    "\x1b[Z": "backtab",
    "\x1b": "esc",
    "\t": "tab",
    "\r": "enter",
    "\n": "enter",
    "\x7f": "backspace",
    "\x08": "backspace",
}
"""What terminals send for keys that have names."""


def decoded(text: str) -> list[str]:
    """The keys in what a terminal sent at once; sequences that are not known are left out."""
    keys = []
    while text:
        for length in (4, 3, 1):
            if text[:length] in NAMES and not (length == 1 and text[0] == "\x1b" and text[1:2] in ("[", "O")):
                keys.append(NAMES[text[:length]])
                break
        else:
            length = _length(text)
            if length == 1 and text[0].isprintable():
                keys.append(text[0])
        text = text[length:]
    return keys


def _length(text: str) -> int:
    """Of the first key, which has no name: of a sequence, up to the letter that ends it."""
    if text[0] != "\x1b":
        return 1
    end = next((at for at in range(2, len(text)) if "@" <= text[at] <= "~"), len(text) - 1)
    return end + 1


@define(eq=False)
class Keyboard:
    """While the `async with` lasts, calls back with each key, in the event loop.

    Args:
        press: Called with each key.
        stream: The terminal.
    """

    press: Callable[[str], object]
    stream: Any = field(factory=lambda: sys.stdin)
    _saved: list[Any] | None = None
    _fd: int = -1

    async def __aenter__(self) -> "Keyboard":
        self.open()
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.close()

    def open(self) -> None:
        """Read keys from now on, while this process is in the foreground of its terminal.

        `fg` sends SIGCONT: the process was stopped by Ctrl-Z, or ran in the background, and the shell has set the terminal
        as it likes it.
        """
        if self._is_terminal():
            asyncio.get_running_loop().add_signal_handler(signal.SIGCONT, self.open)
        if self._can_be_read():
            if self._saved is None:
                self._saved = termios.tcgetattr(self._fd)
            tty.setcbreak(self._fd, termios.TCSADRAIN)
            asyncio.get_running_loop().add_reader(self._fd, self._read)

    def close(self) -> None:
        """Leave the terminal as it was; harmless when called again."""
        if self._is_terminal():
            asyncio.get_running_loop().remove_signal_handler(signal.SIGCONT)
        if self._saved is not None:
            asyncio.get_running_loop().remove_reader(self._fd)
            self.restore()

    def restore(self) -> None:
        """Leave the terminal as it was, but read on: for the end of the process, at which no loop can be asked."""
        saved, self._saved = self._saved, None
        try:
            if saved is not None:
                termios.tcsetattr(self._fd, termios.TCSANOW, saved)
        except (termios.error, OSError):
            pass  # the terminal is gone

    def _is_terminal(self) -> bool:
        try:
            self._fd = self.stream.fileno()
            return os.isatty(self._fd)
        except (OSError, ValueError, AttributeError):
            return False

    def _can_be_read(self) -> bool:
        try:
            return self._is_terminal() and os.getpgrp() == os.tcgetpgrp(self._fd)
        except (OSError, ValueError, AttributeError):
            return False

    def _read(self) -> None:
        if not self._can_be_read():  # in the background a read stops the whole process; `fg` sends SIGCONT
            asyncio.get_running_loop().remove_reader(self._fd)
            return
        try:
            data = os.read(self._fd, 1024)
        except OSError:
            data = b""
        if not data:
            self.close()  # hung up
            return
        for key in decoded(data.decode(errors="ignore")):
            self.press(key)
