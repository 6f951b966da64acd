"""Runs that wait most of their time: those of a module go on side by side, ahead of the tests that ask what came of them."""

import asyncio
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

WIDTH = 4
"""How many runs go on at once."""

Run = Callable[[Path], Awaitable[Any]]


@pytest.fixture(scope="module")
def runs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future[Any]]]:
    """The `run` of each test of this module that is to be run, by the test's id; each has a thread and a loop."""
    folder = tmp_path_factory.mktemp("chaos")

    def go(run: Run) -> Any:
        async def to_its_end() -> Any:
            return await run(Path(tempfile.mkdtemp(dir=folder)))  # pytest's own way is not for several threads

        return asyncio.run(to_its_end())

    asked: dict[str, Any] = {
        item.nodeid: item.callspec.params["run"]
        for item in request.session.items
        if isinstance(item, pytest.Function) and item.module is request.module and "outcome" in item.fixturenames
    }
    with ThreadPoolExecutor(WIDTH) as pool:
        yield {test: pool.submit(go, run) for test, run in asked.items()}
        pool.shutdown(cancel_futures=True)


@pytest.fixture
def outcome(request: pytest.FixtureRequest, run: Run, runs: dict[str, Future[Any]]) -> Any:
    """What came of this test's run."""
    return runs[request.node.nodeid].result()
