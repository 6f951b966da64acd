"""Fixtures of the tests against real servers."""

import os
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.integration.calling import Caller
from tests.integration.commands import APP
from tests.integration.embedded_world import World, alive
from tests.servers import Server
from tests.support import wait_until


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """A folder without a server; no process of it is left after the test."""
    world = World(tmp_path / "data")
    yield world
    for process in filter(alive, world.seen):
        os.kill(process, signal.SIGCONT)  # where a test failed while it held one
    for server in world.used:
        server.close()
    for user in world.users:
        user.end(kill=True)
    await wait_until(lambda: not world.processes(), what="no process left")
    assert not any(alive(process) for process in world.seen)


@pytest.fixture
def call(
    tmp_path: Path, valkey: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Caller]:
    """Calls commands in a folder with the module `shop`, whose app talks to a clean Valkey."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RUNNEL_REDIS_URL", valkey.url)
    caller = Caller(tmp_path, capsys)
    caller.write("shop", APP)
    yield caller
    caller.forget()
