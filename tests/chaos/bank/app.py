"""The app that the bank's workers run: transfers are debited by actors of one type, which emit deposits to those of another.

What a worker does beside is said by a `Plan`, which travels to its process as JSON.
"""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zlib import crc32

from attrs import asdict, frozen

from runnel import Actor, App, Record, Retry
from tests.chaos.timeline import LEASE

DEBIT, CREDIT = "Debit", "Credit"
"""The names of the processors."""


class Transfer(Record):
    """What is sent."""

    number: int
    source: int
    target: int
    pence: int


class Deposit(Record):
    """What the debit of a transfer emits. `sequence`: which debit of its source it is, as that one's state had it."""

    number: int
    source: int
    account: int
    pence: int
    sequence: int


class Tally(Record):
    """What an account remembers of its debits, or its credits. The digest tells which they were, and in which order."""

    count: int = 0
    pence: int = 0
    digest: int = 0

    def take(self, number: int, pence: int) -> None:
        """One more."""
        self.count += 1
        self.pence += pence
        self.digest = crc32(b"%d %d" % (number, pence), self.digest)


@frozen(kw_only=True)
class Plan:
    """What a worker does, and what goes wrong in it."""

    url: str
    folder: str
    worker: str = "teller"
    partition_count: int = 4
    key_concurrency: int = 32
    max_active: int = 64
    """Fewer than there are accounts, so that many are passivated and activated again."""
    lock_expiry: float = LEASE
    failing: int = 97
    """Every so many transfers the first try fails, when it has changed the state and emitted something."""
    slow: int = 11
    """Every so many transfers take a millisecond, so that others overtake them."""
    hold: int = -1
    """The number of the transfer whose debit waits for the file `go`."""
    without: str = ""
    """The guard that is taken out (see `tests.guards`)."""
    fail_points: bool = False
    crash: str = ""
    """The fail point (see `tests.integration.faults.crashes`) at which the process gets `signal`, passing it the n-th time."""
    nth: int = 1
    signal: str = "SIGKILL"

    @property
    def go(self) -> Path:
        """While this file is missing, the debit that is to hold does."""
        return Path(self.folder) / "go"

    @property
    def holds(self) -> Path:
        """Once this file is there, it does."""
        return Path(self.folder) / "holds"

    @classmethod
    def from_json(cls, text: str) -> "Plan":
        return cls(**json.loads(text))

    def to_json(self) -> str:
        return json.dumps(asdict(self))


def declare_streams(plan: Plan) -> tuple[App, Any, Any]:
    """The app, the stream of transfers, and that of deposits. No log is ever trimmed: they are the ledger."""
    app = App("bank", redis_url=plan.url, send_timeout=20, default_partition_size=10**8)
    count = plan.partition_count
    transfers = app.stream("transfers", record=Transfer, partition_by="source", partition_count=count)
    return app, transfers, app.stream("deposits", record=Deposit, partition_by="account", partition_count=count)


async def hold(plan: Plan) -> None:
    """Wait until it is let go."""
    plan.holds.touch()
    while not plan.go.exists():  # noqa: ASYNC110 - another process makes it
        await asyncio.sleep(0.005)


def declare(plan: Plan, crash: Callable[[str], None] = lambda _: None) -> App:
    """The app with its actors."""
    app, transfers, deposits = declare_streams(plan)
    options: Any = {
        "key_concurrency": plan.key_concurrency,
        "max_active": plan.max_active,
        "retry": Retry(attempts=5, backoff=0.001),
        "lock_expiry": plan.lock_expiry,
        "max_crashes": 10**6,
    }

    @app.actor(transfers, name=DEBIT, **options)
    class Debit(Actor[Transfer, Tally]):
        async def receive(self, transfer: Transfer) -> None:
            crash("handler")
            number, pence = transfer.number, transfer.pence
            if number % plan.slow == 0:
                await asyncio.sleep(0.001)
            if number == plan.hold:
                await hold(plan)
            self.state.take(number, pence)
            sequence, to = self.state.count, transfer.target
            self.emit(deposits, Deposit(number=number, source=transfer.source, account=to, pence=pence, sequence=sequence))
            if number % plan.failing == 0 and self.attempt == 1:
                raise ValueError("no change")

    @app.actor(deposits, name=CREDIT, **options)
    class Credit(Actor[Deposit, Tally]):
        async def receive(self, deposit: Deposit) -> None:
            self.state.take(deposit.number, deposit.pence)
            if deposit.number % plan.failing == 1 and self.attempt == 1:
                raise ValueError("no change")

    return app
