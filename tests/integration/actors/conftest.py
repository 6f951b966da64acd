"""Fixtures of the tests of actors."""

from typing import Any

import pytest

from runnel.errors import StoreUnavailable
from runnel.store.link import Link


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Command → how often it fails from now on, as if the server were away."""
    command, failures = Link.command, dict[str, int]()

    async def unreliable(self: Link, *args: Any, **options: Any) -> Any:
        if failures.get(args[0]):
            failures[args[0]] -= 1
            raise StoreUnavailable("away")
        return await command(self, *args, **options)

    monkeypatch.setattr(Link, "command", unreliable)
    return failures
