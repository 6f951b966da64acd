"""Calls of operators: all of them answered, or the first refusal raised."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from runnel.app import App
from runnel.errors import StoreError
from runnel.store.client import Store
from runnel.store.link import Link
from runnel.store.script import Call, Command

T = TypeVar("T")

AT_ONCE = 100
"""Calls in one exchange, so that an app of thousands of partitions does not hold up its server."""


async def run_all(link: Link, calls: Sequence[Call[T]] | Sequence[Command[T]], *, patience: float = 0.0) -> list[T]:
    """The answers to all of them, in their order.

    Raises:
        StoreError: The server cannot be reached, or refuses one; others may have taken effect.
    """
    found: list[T] = []
    for at in range(0, len(calls), AT_ONCE):
        answers: list[Any] = await link.run(calls[at : at + AT_ONCE], patience=patience)
        for answer in answers:
            if isinstance(answer, StoreError):
                raise answer
            found.append(answer)
    return found


def plain(reply: Any) -> Any:
    """The reply of a command as it is."""
    return reply


@asynccontextmanager
async def linked(app: App) -> AsyncIterator[tuple[Store, Link]]:
    """The app's store, opened, and a connection for a while."""
    store = await app.open()
    link = store.link()
    try:
        yield store, link
    finally:
        await link.close()


async def server_time(store: Store) -> float:
    """The server's clock, in seconds since the epoch."""
    seconds, micros = await store.command("TIME")
    return int(seconds) + int(micros) / 1e6
