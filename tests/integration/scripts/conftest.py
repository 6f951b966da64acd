"""A partition on each kind of server, and on a cluster node."""

from collections.abc import AsyncIterator

import pytest

from runnel.clock import SystemClock
from runnel.store.client import Store
from tests.conftest import Pool
from tests.integration.scripts.bench import Bench
from tests.servers import Server


@pytest.fixture(params=["valkey", "redis7", "cluster"])
def any_server(request: pytest.FixtureRequest, servers: Pool) -> Server:
    """Every kind of server; the cluster node refuses keys of other slots, declared or not."""
    if request.param == "cluster":
        return servers.get("valkey", cluster=True)
    return servers.get(request.param)


@pytest.fixture
async def bench(any_server: Server) -> AsyncIterator[Bench]:
    """A partition without any key, on every kind of server, which knows no script yet."""
    store = Store(any_server.url, SystemClock())
    await store.open()
    with any_server.client() as client:
        yield Bench(store.link(), client)
    await store.close()
