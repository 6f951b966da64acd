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
    """Run `runnel ARGUMENTS` until SIGINT, SIGTERM or SIGHUP; answers 0, or the exit code of a last child that ended otherwise.

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
        if number == signal.SIGHUP and ended.is_set():
            return  # a terminal that is closed may send it twice
        child.stop()
        ended.set()

    hangup = () if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else (signal.SIGHUP,)
    for number in (signal.SIGINT, signal.SIGTERM, *hangup):
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
    return child.last_code()


class _Child:
    """The command in a process of its own, of the same process group: it may need the terminal.

    Ctrl-C goes to the whole group, and a second signal would end a worker at once. So SIGINT, and likewise SIGHUP, is blocked
    in the child, and all that it is told is SIGTERM.
    """

    def __init__(self, arguments: Sequence[str]) -> None:
        self.process: subprocess.Popen[bytes] | None = None
        self._command = [sys.executable, "-m", "runnel", *arguments]
        self._noted = False
        self._told = False

    def start(self) -> None:
        self._noted = self._told = False
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGHUP})  # which the child inherits
        try:
            self.process = subprocess.Popen(self._command)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def stop(self) -> None:
        """Tell it to stop in order, or, the second time, at once."""
        if self.process is not None and self.process.poll() is None:
            self._told = True
            self.process.terminate()

    def end(self) -> None:
        """Stop it in order: its events under way finish, its partitions are given back."""
        self.stop()
        if self.process is not None:
            self.process.wait()

    def last_code(self) -> int:
        """Wait for its end; answers its exit code as a shell would. To end because it was told to is to end in order."""
        if self.process is None:
            return 0
        if not self._told:
            self.stop()  # the signal came while it was being started
        code = self.process.wait()
        code = 128 - code if code < 0 else code
        return 0 if self._told and code == 128 + signal.SIGTERM else code

    def has_just_ended(self) -> bool:
        if self._noted or self.process is None or self.process.poll() is None:
            return False
        self._noted = True
        return True


def _say(text: str) -> None:
    print(f"runnel: {text}", file=sys.stderr, flush=True)
