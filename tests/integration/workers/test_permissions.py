"""A user of the server's ACL with no more than docs/guarantees.md asks for."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from runnel.errors import StoreRefused
from runnel.operations.status import read_status
from tests.integration.faults.harness import World
from tests.integration.workers.crew import crew_of
from tests.servers import KINDS, Kind, Server

GUARANTEES = Path(__file__).parents[3] / "docs" / "guarantees.md"


def documented() -> list[str]:
    """The rules that the document names, for the app `shop`."""
    text = " ".join(GUARANTEES.read_text().split())
    found = re.search(r"\*\*Permissions\.\*\*.*?`(\+@[^`]*)`", text)
    assert found is not None
    return ["~{shop}*", "~{shop:*", *found[1].split()]


def allow(server: Server, rules: list[str]) -> str:
    with server.client() as client:
        run: Callable[..., object] = client.execute_command
        run("ACL", "SETUSER", "app", "reset", "on", ">secret", *rules)
    return server.url.replace("redis://", "redis://app:secret@")


@pytest.mark.parametrize("kind", KINDS)
async def test_the_documented_permissions_suffice(
    kind: Kind, own_server: Callable[..., Server], make_world: Callable[..., World]
) -> None:
    server = own_server(kind, tcp=True)
    url = allow(server, documented())
    world = make_world(server, url=url, lock_expiry=1.0)
    async with crew_of(world) as shop:
        await shop.join("a")
        await shop.join("b")
        await shop.settled()
        await world.send(range(20), range(5))
        await world.all_done()
        assert (await read_status(world.app)).lag == 0


async def test_one_that_is_missing_is_named(own_server: Callable[..., Server], make_world: Callable[..., World]) -> None:
    server = own_server(tcp=True)
    url = allow(server, [*documented(), "-info"])
    world = make_world(server, url=url)
    with pytest.raises(StoreRefused, match="permit"):
        await world.app.open()
