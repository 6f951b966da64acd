"""The bank that faults come over: a server, workers, and a teller who sends transfers, each behind a proxy of its own."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import orjson
import redis
from attrs import define, evolve, field

from runnel import App
from runnel.store.keys import PartitionKeys
from tests.chaos.bank.app import CREDIT, DEBIT, Plan, Tally, Transfer, declare_streams
from tests.chaos.bank.audit import Audit, Due
from tests.chaos.pair import Pair
from tests.chaos.site import Site, Worker
from tests.integration.faults.harness import Process, as_numbers
from tests.proxy import Proxy
from tests.support import wait_until

PAGE = 5_000
"""Entries of a log that are read at a time."""


@define(eq=False)
class Bank(Site):
    """Everything of one run.

    Attributes:
        sent: The numbers of the transfers that `send` returned for; of the present server, after a failover.
    """

    plan: Plan
    app: App
    stream: Any
    sent: list[int] = field(factory=list)

    def start(self, name: str, url: str, **changes: Any) -> Process:
        plan = evolve(self.plan, worker=name, url=url, **changes)
        return Process.start(name, Path(plan.folder), "tests.chaos.bank.worker", plan.to_json())

    def owners(self) -> list[Worker]:
        try:
            found = [slot.get("owner", "") for _, _, slot in self.slots()]
        except redis.ConnectionError:  # it is down, or its clients are being killed
            return []
        return [worker for worker in self.staff() if any(f"-{worker[0].pid}-" in owner for owner in found)]

    def slots(self) -> Iterator[tuple[PartitionKeys, str, dict[str, str]]]:
        """Each partition, its processor, and who owns it and how far it came."""
        with self.pair.primary.client() as client:
            for keys, processor in self.partitions():
                yield keys, processor, client.hgetall(keys.slot(processor).decode())

    def partitions(self) -> list[tuple[PartitionKeys, str]]:
        """Those of both streams, each with its processor."""
        numbers = range(self.plan.partition_count)
        return [(keys(stream, n), name) for stream, name in (("transfers", DEBIT), ("deposits", CREDIT)) for n in numbers]

    async def promote(self) -> None:
        await super().promote()
        self.sent.clear()  # some of them may be lost

    async def send(self, transfers: Iterable[Transfer], ids: Iterable[str] | None = None) -> None:
        """Send transfers. What `send` raises for is not noted as sent: nobody knows."""
        transfers, server = list(transfers), self.pair.primary
        await self.stream.send(*transfers, stream_ids=ids)
        if self.pair.primary is server:
            self.sent += [transfer.number for transfer in transfers]

    def let_go(self) -> None:
        """Let the debit that holds go on."""
        self.plan.go.touch()

    # ── how far it is ──

    async def done(self) -> int:
        """How many transfers are debited, as far as the committed cursors tell; 0 if nobody can say."""
        return await asyncio.to_thread(self._done)

    def _done(self) -> int:
        try:
            return sum(int(slot.get("count", 0)) for _, processor, slot in self.slots() if processor == DEBIT)
        except redis.ConnectionError:
            return 0

    async def settled(self, timeout: float = 60.0) -> None:
        """Wait until all transfers are debited, all that this emitted is delivered, and all that is credited."""
        await wait_until(lambda: asyncio.to_thread(self._is_settled), timeout, what="all is committed and delivered")

    def _is_settled(self) -> bool:
        """In this order: of what was found to be over, nothing comes any more."""
        with self.pair.primary.client() as client:
            for keys, processor in self.partitions():
                last: Any = client.xrevrange(keys.log.decode(), count=1)
                cursor = client.hget(keys.cursors.decode(), processor) or "0-0"
                if (last and as_numbers(last[0][0]) > as_numbers(cursor)) or client.xlen(keys.outbox(processor).decode()):
                    return False
        return True

    # ── the books ──

    def violations(self, accounts: int) -> tuple[int, list[str]]:
        """How many transfers there are, and what is wrong with the books. Everything is settled, and nobody at work."""
        audit = Audit(accounts=accounts)
        with self.pair.primary.client() as client:
            for n in range(self.plan.partition_count):
                for entry in _entries(client, keys("transfers", n).log):
                    audit.transfer(n, entry["number"], entry["source"], entry["target"], entry["pence"])
            for n in range(self.plan.partition_count):
                for entry in _entries(client, keys("deposits", n).log):
                    due = Due(entry["source"], entry["account"], entry["pence"], entry["sequence"])
                    audit.deposit(n, entry["number"], due)
            found = {DEBIT: dict[int, Tally](), CREDIT: dict[int, Tally]()}
            left = dict.fromkeys(("events in outboxes", "marks", "parked events", "dead letters"), 0)
            for key, processor in self.partitions():
                states = client.hgetall(key.state(processor).decode())
                found[processor] |= {int(account): Tally(**orjson.loads(state)) for account, state in states.items()}
                left["events in outboxes"] += client.xlen(key.outbox(processor).decode())
                left["marks"] += client.scard(key.done(processor).decode())
                left["parked events"] += client.xlen(key.parked(processor).decode())
                left["dead letters"] += client.xlen(key.dead(processor).decode())
        return audit.transfers, audit.violations(self.sent, found[DEBIT], found[CREDIT], left)

    def close(self) -> None:
        for _, process in self.workers:
            if process.running:
                process.popen.kill()
            process.popen.wait()


def keys(stream: str, number: int) -> PartitionKeys:
    return PartitionKeys("bank", stream, number)


def _entries(client: redis.Redis, log: bytes) -> Iterator[dict[str, Any]]:
    after = "-"
    while page := cast("list[tuple[str, dict[str, str]]]", client.xrange(log.decode(), after, count=PAGE)):
        for _, fields in page:
            yield orjson.loads(fields["data"])
        after = f"({page[-1][0]}"


@asynccontextmanager
async def opened(folder: Path, *, replica: bool = False, durable: bool = True, **options: Any) -> AsyncIterator[Bank]:
    """A bank with a server and a teller, and no workers yet. Nothing of it is left afterwards but the files in `folder`."""
    pair = await Pair.start(replica=replica, durable=durable)
    gates = {"sender": await Proxy(pair.primary.url).__aenter__()}
    plan = Plan(url=gates["sender"].url, folder=str(folder), **options)
    app, transfers, _ = declare_streams(plan)
    bank = Bank(pair, gates, [], plan, app, transfers)
    try:
        yield bank
    finally:
        await app.close()
        bank.close()
        for gate in gates.values():
            await gate.__aexit__(None, None, None)
        pair.close()
