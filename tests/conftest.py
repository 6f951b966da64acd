"""Fixtures that all tests share: real servers, one process a kind and run, cleaned before each test."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.servers import KINDS, Kind, Server, binary


class Pool:
    """The servers of this test run, each started when a test first asks for it."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._servers: dict[tuple[Kind, bool], Server] = {}

    def get(self, kind: Kind, *, cluster: bool = False) -> Server:
        if binary(kind) is None:
            pytest.skip(f"{kind} is not installed")
        server = self._servers.get((kind, cluster))
        if server is None:
            server = self._servers[kind, cluster] = self._stack.enter_context(Server(kind, cluster=cluster))
        if not server.running:
            server.start()
        server.clean()
        return server


@pytest.fixture(scope="session")
def servers() -> Iterator[Pool]:
    with ExitStack() as stack:
        yield Pool(stack)


@pytest.fixture(params=KINDS)
def server(request: pytest.FixtureRequest, servers: Pool) -> Server:
    """A clean server, of every kind in turn. Not to be killed: other tests use the process too."""
    return servers.get(request.param)


@pytest.fixture
def valkey(servers: Pool) -> Server:
    """A clean Valkey, for tests where the kind of server does not matter."""
    return servers.get("valkey")


@pytest.fixture
def cluster_node(servers: Pool) -> Server:
    """One cluster node that owns all slots: it refuses undeclared keys and keys of different slots."""
    return servers.get("valkey", cluster=True)


@pytest.fixture
def own_server() -> Iterator[Callable[..., Server]]:
    """Makes servers, running and durable, that the test may kill and restart: `own_server(kind="redis7", tcp=True)`."""
    with ExitStack() as stack:

        def make(kind: Kind = "valkey", *, durable: bool = True, **options: Any) -> Server:
            if binary(kind) is None:
                pytest.skip(f"{kind} is not installed")
            return stack.enter_context(Server(kind, durable=durable, **options))

        yield make
