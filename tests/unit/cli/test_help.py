"""`runnel --help` answers at once: it imports next to nothing."""

import ast
import re
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

import runnel
from runnel.cli import app

HEAVY = ["redis", "cattrs", "orjson", "rich", "attrs", "asyncio", "runnel.app", "runnel.worker", "runnel.records"]


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from runnel.cli import main; code = main(['--help']);"
        f"print([name for name in {HEAVY!r} if name in sys.modules], code, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stderr == "[] 0\n"
    assert "130" in done.stdout
    assert "a lag above its limit" in done.stdout
    assert "processor" in done.stdout


def test_help_takes_little_longer_than_importing_typer() -> None:
    """In absolute terms it is to take 0.3 s on a machine where Python starts in 0.02 s."""
    commands = {"help": ["-m", "runnel", "--help"], "typer": ["-c", "import typer"], "nothing": ["-c", "pass"]}
    times: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(7):
        for name, words in commands.items():
            times[name].append(seconds([sys.executable, *words]))
    median = {name: statistics.median(taken) for name, taken in times.items()}
    assert median["help"] < 2.5 * median["typer"]
    assert median["help"] < 15 * median["nothing"]


def seconds(command: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, capture_output=True, check=True, timeout=60)
    return time.perf_counter() - began


def test_every_name_of_the_package_is_there_and_in_its_stub() -> None:
    stub = ast.parse(Path(runnel.__file__).with_suffix(".pyi").read_text())
    homes = {
        name.name: node.module for node in stub.body if isinstance(node, ast.ImportFrom) for name in node.names
    }
    assert homes == vars(runnel)["_HOMES"]
    for name in runnel.__all__:
        assert getattr(runnel, name) is not None


def commands(group: Any, *words: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, *words, name)
        else:
            yield (*words, name), command


COMMANDS = dict(commands(typer.main.get_command(app)))


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_commands_help_says_what_it_does_and_has_an_example(words: tuple[str, ...]) -> None:
    command = COMMANDS[words]
    assert command.help
    shown = [line.strip() for line in (command.epilog or "").splitlines()]
    assert "Example:" in shown
    examples = [line for line in shown if f"runnel {' '.join(words)} " in line]
    assert examples
    assert len(examples) == len(shown) - 2
    for line in examples:  # its options are ones that there are
        options = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
        said = shlex.split(line.partition(f"runnel {' '.join(words)} ")[2].partition(" | ")[0])
        assert {word for word in said if re.match("--?[a-z]", word)} <= options
