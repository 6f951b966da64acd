"""Fixtures of the tests against real servers."""

import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.integration.embedded_world import World, alive
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
