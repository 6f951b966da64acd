"""The documents keep their word: every block of Python runs, every command of the README exists.

The blocks of a file share one namespace, in their order, and a server. A function called `test_...` in a block is
run behind it, as a test. A block that begins with ```python no-run is not run.
"""

import ast
import inspect
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from attrs import frozen

from runnel.cli import app as commands
from tests.servers import Server

ROOT = Path(__file__).parent.parent.parent
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@frozen
class Block:
    """A fenced block of a document."""

    path: Path
    line: int
    kind: str
    text: str


def blocks(path: Path) -> Iterator[Block]:
    text = path.read_text()
    for found in re.finditer(r"^```(\w[^\n]*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        yield Block(path, text.count("\n", 0, found.start(2)), found[1].strip(), found[2])


async def run(block: Block, namespace: dict[str, Any]) -> None:
    source = "\n" * block.line + block.text  # so that a traceback names the document's line
    code = compile(source, str(block.path), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    result = eval(code, namespace)
    if inspect.iscoroutine(result):
        await result


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
async def test_every_python_block_runs(
    path: Path, own_server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server: Server = own_server()
    monkeypatch.setenv("RUNNEL_REDIS_URL", server.url)
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, Any] = {"__name__": path.stem}
    for block in blocks(path):
        if block.kind == "python":
            await run(block, namespace)
            for test in [name for name in namespace if name.startswith("test_")]:
                await namespace.pop(test)()
            if "app" in namespace:  # an app that names its own server uses ours all the same
                namespace["app"].override(redis_url=server.url)
    if "app" in namespace:
        await namespace["app"].close()


def test_the_first_example_is_the_one_of_the_readme() -> None:
    first = next(block for block in blocks(ROOT / "README.md") if block.kind == "python")
    assert first.text == (ROOT / "examples" / "orders.py").read_text()


def lines(path: Path) -> Iterator[str]:
    """The command lines of a document that call runnel, from `runnel` on."""
    for block in blocks(path):
        if block.kind in ("sh", "console"):
            for found in re.finditer(r"(?:^|[ /])(runnel .*)$", block.text, re.MULTILINE):
                if not found[1].startswith("runnel: "):
                    yield found[1]


@pytest.mark.parametrize("line", [line for path in DOCUMENTS for line in lines(path)])
def test_every_command_is_one_that_there_is(line: str) -> None:
    words = shlex.split(line, comments=True)[1:]
    command = typer.main.get_command(commands)
    context = command.make_context("runnel", words, resilient_parsing=False)
    while hasattr(command, "resolve_command") and context.args + context._protected_args:
        name, command, rest = command.resolve_command(context, [*context._protected_args, *context.args])
        context = command.make_context(name, rest, parent=context)


def test_the_readme_has_its_two_commands() -> None:
    text = (ROOT / "README.md").read_text()
    assert "&& .venv/bin/runnel run examples.shop:app\n" in text
    assert "&& .venv/bin/pytest -q\n" in text
