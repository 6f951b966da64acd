"""Fixtures of the tests of several workers."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from tests.integration.faults.conftest import make_world
from tests.integration.faults.harness import World
from tests.integration.workers.crew import Crew, crew_of
from tests.servers import Server

__all__ = ["make_world"]

FOR_EVER = 600.0
"""A lease that does not end within a test: whoever takes over before has not waited for it."""


@pytest.fixture
async def crew(make_world: Callable[..., World], valkey: Server) -> AsyncIterator[Callable[..., Any]]:
    """Makes the workers of a world: `await crew(partition_count=8)`."""
    async with AsyncExitStack() as stack:

        async def make(**options: Any) -> Crew:
            return await stack.enter_async_context(
                crew_of(make_world(valkey, **{"partition_count": 16, "lock_expiry": FOR_EVER, **options}))
            )

        yield make
