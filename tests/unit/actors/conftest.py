"""Fixtures of the kernel's tests: a clock that stands still, a system on it, and a check that no task is left."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from runnel.actors import ActorSystem
from runnel.clock import ManualClock
from tests.unit.actors.support import Story


@pytest.fixture(autouse=True)
async def no_task_is_left() -> AsyncIterator[None]:
    yield
    assert {task.get_name() for task in asyncio.all_tasks() if task is not asyncio.current_task()} == set()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def story() -> Story:
    return Story()


@pytest.fixture
async def system(clock: ManualClock, no_task_is_left: None) -> AsyncIterator[ActorSystem]:
    system = ActorSystem("demo", clock)
    yield system
    await system.stop(grace=0)
