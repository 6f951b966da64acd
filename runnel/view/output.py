"""What user code prints and what is logged while the live view is on: kept, and written above the view at once.

Drawing the view anew for every line would cost a worker more than its events do.
"""

import io
import os
import sys
import threading
from collections.abc import Iterable

from rich.console import Console, ConsoleOptions
from rich.segment import Segment


def terminal() -> Console:
    """The real one, whatever `sys.stdout` becomes. It is as wide as it is: COLUMNS, where a shell exports it, gets old."""
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    return Console(file=sys.stdout, _environ=environment)


class Output(io.TextIOBase):
    """Stands in for `sys.stdout` or `sys.stderr`. Threads may write to it."""

    def __init__(self, replaced: io.TextIOBase) -> None:
        self.replaced = replaced
        self._lock = threading.Lock()
        self._parts: list[str] = []

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self.replaced.encoding

    def isatty(self) -> bool:
        return self.replaced.isatty()

    def fileno(self) -> int:
        return self.replaced.fileno()

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        with self._lock:
            self._parts.append(text)
        return len(text)

    @property
    def pending(self) -> bool:
        """Whether something waits to be taken."""
        return bool(self._parts)

    def take(self, *, all_of_it: bool = False) -> str:
        """The whole lines written since the last time; with `all_of_it` an unfinished one, too."""
        with self._lock:
            if not self._parts:
                return ""
            text = "".join(self._parts)
            end = len(text) if all_of_it else text.rfind("\n") + 1
            self._parts = [text[end:]] if end < len(text) else []
            return text[:end]


class Written:
    """Text to be written as it is: rich neither wraps nor styles it."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterable[Segment]:
        yield Segment(self._text)
