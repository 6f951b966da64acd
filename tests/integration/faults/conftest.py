"""Fixtures of the fault tests."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.integration.faults.harness import World
from tests.servers import Server


@pytest.fixture
async def make_world(tmp_path: Path) -> AsyncIterator[Callable[..., World]]:
    """Makes the world of a test, on a server; none of its processes outlives the test."""
    worlds: list[World] = []

    def make(server: Server, folder: Path = tmp_path, **options: Any) -> World:
        worlds.append(World.of(server, folder, **options))
        return worlds[-1]

    yield make
    for world in worlds:
        await world.app.close()
        world.close()


@pytest.fixture
def shop(make_world: Callable[..., World], valkey: Server) -> Callable[..., World]:
    """Makes a world on the shared server: `shop(style="take", hold=3)`."""
    return lambda **options: make_world(valkey, **options)
