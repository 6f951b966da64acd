"""Calling commands within the test's process: a tenth of the time of a process of their own.

For commands that are no worker, and end by themselves; how a process ends is for tests with real ones (commands.py).
"""

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen

from runnel.cli import main

LOGGERS = ("", "runnel", "asyncio")


@frozen
class Done:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it printed."""
        return json.loads(self.out)

    def refused(self, code: int, *parts: str) -> None:
        """See that it ended with this code, and one line that says why."""
        assert (self.code, self.err.count("\n")) == (code, 1), self.err or self.out
        assert self.err.startswith("runnel: ")
        for part in parts:
            assert part in self.err


class Caller:
    """A user's folder, in which commands are called."""

    def __init__(self, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.path = path
        self._capsys = capsys
        self._modules: set[str] = set()

    def write(self, module: str, text: str) -> None:
        """A module of the user's; written again it is imported again."""
        (self.path / f"{module}.py").write_text(text)
        self._modules.add(module)
        sys.modules.pop(module, None)

    def __call__(self, *words: str) -> Done:
        self._capsys.readouterr()
        with _own_logging():
            code = main(words)
        captured = self._capsys.readouterr()
        return Done(code, captured.out, captured.err)

    def done(self, *words: str) -> Done:
        """Call one that is to succeed."""
        done = self(*words)
        assert (done.code, done.err) == (0, ""), done.err
        return done

    def forget(self) -> None:
        """Leave no module behind for the next test."""
        for module in self._modules:
            sys.modules.pop(module, None)
        sys.path[:] = [each for each in sys.path if each != str(self.path)]


@contextmanager
def _own_logging() -> Iterator[None]:
    """A command configures logging for its process; the test's stays as it was."""
    before = {name: (list((log := logging.getLogger(name)).handlers), log.level, log.propagate) for name in LOGGERS}
    try:
        yield
    finally:
        for name, (handlers, level, propagate) in before.items():
            log = logging.getLogger(name)
            log.handlers[:], log.propagate = handlers, propagate
            log.setLevel(level)
