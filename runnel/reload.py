"""`--reload`: runs the command in a child, and starts it anew when a .py file below the current folder changes.

A child that ended by itself (a syntax error, a handler that failed) has said why; the next change starts it again.
"""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from types import FrameType

from runnel.errors import ConfigurationError

POLL_MS = 200


def keep_restarting(arguments: Sequence[str]) -> int:
    """Run `runnel ARGUMENTS` until SIGINT or SIGTERM; answers the exit code of the last child.

    Raises:
        ConfigurationError: watchfiles is not installed.
    """
    try:
        from watchfiles import PythonFilter, watch
    except ImportError:
        raise ConfigurationError("--reload needs watchfiles: pip install 'runnel[reload]'") from None
    child = _Child(arguments)
    ended = threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:
        # A terminal sends Ctrl-C to the child as well; a second signal would end it at once.
        if number != signal.SIGINT or not sys.stdin.isatty():
            child.signal(number)
        ended.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    # The first round, without changes, comes when the files are being watched: none is missed after the start.
    for changes in watch(".", watch_filter=PythonFilter(), stop_event=ended, rust_timeout=POLL_MS, yield_on_timeout=True):
        if changes:
            names = sorted({os.path.relpath(path) for _, path in changes})
            child.end()  # first: it may have a live view on the screen
            _say(f"{', '.join(names[:3])}{', ...' if len(names) > 3 else ''} changed: starting anew")
            child.start()
        elif child.process is None:
            child.start()
        elif child.has_just_ended():
            _say("waiting for a change")
    return child.wait()


class _Child:
    def __init__(self, arguments: Sequence[str]) -> None:
        self.process: subprocess.Popen[bytes] | None = None
        self._command = [sys.executable, "-m", "runnel", *arguments]
        self._noted = False

    def start(self) -> None:
        self._noted = False
        self.process = subprocess.Popen(self._command)

    def signal(self, number: int) -> None:
        if self.process is not None:
            self.process.send_signal(number)

    def end(self) -> None:
        """Stop it in order: its events under way finish, its partitions are given back."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait()

    def wait(self) -> int:
        return 0 if self.process is None else self.process.wait()

    def has_just_ended(self) -> bool:
        if self._noted or self.process is None or self.process.poll() is None:
            return False
        self._noted = True
        return True


def _say(text: str) -> None:
    print(f"runnel: {text}", file=sys.stderr, flush=True)
