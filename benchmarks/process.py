"""Roles in fresh processes, so that no figure depends on what was measured before.

`fresh(role)` runs a role and returns its figures, `background(role)` runs one beside others. The process itself is
`python -m benchmarks.process ROLE OPTIONS`: it prints "ready" when it waits for events, and at its end figures as JSON.
"""

import importlib
import json
import subprocess
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

Figures = dict[str, float]
Role = Callable[..., Coroutine[Any, Any, Figures]]

TIMEOUT = 300
"""Seconds that a role may take."""


class Process:
    """A role that runs."""

    def __init__(self, role: str, options: dict[str, Any]) -> None:
        self._role = role
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.process", role, json.dumps(options)], stdout=subprocess.PIPE, text=True
        )

    def wait_ready(self) -> None:
        """Wait until it says that it waits for events."""
        assert self.process.stdout is not None
        if self.process.stdout.readline().strip() != "ready":
            raise RuntimeError(f"{self._role} did not get ready")

    def figures(self) -> Figures:
        """Wait for its end."""
        output, _ = self.process.communicate(timeout=TIMEOUT)
        if self.process.returncode:
            raise RuntimeError(f"{self._role} failed with exit code {self.process.returncode}")
        figures: Figures = json.loads(output.splitlines()[-1])
        return figures


@contextmanager
def background(role: str, **options: Any) -> Iterator[Process]:
    """Run a role (`module.function`) beside others; it is killed if it has not ended by itself."""
    process = Process(role, options)
    try:
        yield process
    finally:
        process.process.kill()
        process.process.communicate()


def fresh(role: str, **options: Any) -> Figures:
    """Run a role to its end."""
    with background(role, **options) as process:
        return process.figures()


def say_ready() -> None:
    """Of a role: it waits for events now."""
    print("ready", flush=True)


def main() -> None:
    """Run the role that the command line names."""
    import uvloop

    module, _, function = sys.argv[1].partition(".")
    role: Role = getattr(importlib.import_module(f"benchmarks.{module}"), function)
    figures = uvloop.run(role(**json.loads(sys.argv[2])))
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
