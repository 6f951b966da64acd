"""A shop whose accounts may be asked, as one process has it: for tests of asking, telling and looking."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, NoReturn

from attrs import frozen

from runnel import Actor, App, Record, Stream, handles
from tests.integration.actors.support import working
from tests.servers import Server


class Paid(Record):
    """An event."""

    key: str
    amount: int = 1


class Balance(Record):
    total: int = 0
    seen: list[int] = []  # noqa: RUF012 - each copy is its own


class Total(Record):
    """Ask: what is the total?"""


class History(Record):
    """Ask: all amounts, and when the first came."""


class Wait(Record):
    """Ask: until the test says so."""


class Fail(Record):
    """Ask: to change the state, and fail."""

    how: str


class Described(Record):
    amounts: list[int]
    at: datetime


class Overdrawn(Exception):
    """An error of the user's own."""


class Picky(Exception):
    """It cannot be made of its text."""

    def __init__(self, code: int, why: str) -> None:
        super().__init__(f"{why} ({code})")


@frozen
class Shop:
    """An app with actors, as one process has it; the gate is what `Wait` waits for."""

    app: App
    paid: Stream[Paid]
    account: type[Actor[Paid, Balance]]
    gate: asyncio.Event
    handled: list[str]


def shop(server: Server, name: str = "shop", *, partitions: int = 2, **options: Any) -> Shop:
    app = App(name, redis_url=server.url, default_lock_expiry=1.0)
    paid = app.stream("paid", record=Paid, partition_by="key", partition_count=partitions)
    gate, handled = asyncio.Event(), list[str]()

    @app.actor(paid, **options)
    class Account(Actor[Paid, Balance]):
        async def receive(self, event: Paid) -> int:
            self.state.total += event.amount
            self.state.seen.append(event.amount)
            return self.state.total

        @handles(Total)
        async def total(self, question: Total) -> int:
            handled.append(self.key)
            return self.state.total

        @handles(History)
        def history(self, question: History) -> Described:  # a thread's
            return Described(amounts=self.state.seen, at=datetime(2026, 1, 2, tzinfo=UTC))

        @handles(Wait)
        async def wait(self, question: Wait) -> str:
            handled.append("wait")
            await gate.wait()
            return "done"

        @handles(Fail)
        async def fail(self, question: Fail) -> None:
            self.state.total = -1
            self.remind("never", after=0)
            fails(question.how)

        async def on_reminder(self, name: str) -> None:
            handled.append(name)

    return Shop(app, paid, Account, gate, handled)


def fails(how: str) -> NoReturn:
    if how == "unknown":
        raise type("Local", (Exception,), {"__module__": "nobody.has.it"})("lost")
    raise {
        "own": Overdrawn("by 3.00"),
        "builtin": ValueError("no"),
        "picky": Picky(7, "odd"),
        "exit": SystemExit(3),
    }[how]


@asynccontextmanager
async def open_shop(server: Server, **options: Any) -> AsyncIterator[Shop]:
    """With a worker in this process."""
    found = shop(server, **options)
    async with working(found.app):
        yield found
        found.gate.set()
