"""The world that faults come over: servers, workers, a sender, each of these two behind a proxy of its own, and a ledger.

It can do to them what faults need, and hands over a `Record` of what happened at the end.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import redis
from attrs import define, field

from tests.chaos.pair import Pair
from tests.chaos.record import Entry, Era, Record, Sent
from tests.chaos.site import Site, Worker, look_at
from tests.chaos.timeline import LEASE
from tests.chaos.watch import Watch
from tests.integration.faults import harness
from tests.integration.faults.harness import Process, as_numbers
from tests.integration.faults.ledger import Order
from tests.integration.faults.shop import Sale
from tests.proxy import Proxy
from tests.support import wait_until

PREFETCH = 16
WORK = 0.01
"""Seconds that each event takes, so that some are in flight whenever a fault comes."""

CALM = dict[str, Any](fail_points=False, lock_expiry=LEASE, prefetch_count=PREFETCH, work=WORK, max_crashes=10**6)
"""What workers do whom no fault has been planned for."""

STYLES = ("records", "take", "plain", "events")
"""How the first worker, the second, the third and so on iterate over events."""


@define(eq=False)
class World(Site):
    """Everything of one run of the shop of the fault tests."""

    shop: harness.World
    watch: Watch
    eras: list[Era]
    sent: dict[Order, Sent] = field(factory=dict)
    _nonces: set[str] = field(factory=set)

    def start(self, name: str, url: str, **changes: Any) -> Process:
        style = STYLES[len(self.workers) % len(STYLES)]
        return self.shop.start(name, **{**CALM, "style": style, "url": url, **changes})

    def owners(self) -> list[Worker]:
        return [worker for worker in self.staff() if any(map(worker[0].owns, self.watch.present()))]

    # ── eras ──

    @property
    def era(self) -> Era:
        return self.eras[-1]

    async def promote(self) -> None:
        self.era.ended = time.monotonic()
        with self.out_of_reach():
            await wait_until(lambda: asyncio.to_thread(self._note_era), what="the era is noted")
            await asyncio.to_thread(self.pair.swap)
            self.shop.server = self.pair.primary
            self.eras.append(self._next_era())

    def _next_era(self) -> Era:
        return Era(
            number=self.era.number + 1,
            began=time.monotonic(),
            cursors=self.shop.cursors(),
            older={line.token.partition("/")[2] for line in self.shop.ledger.lines()}
            | {sample.nonce for sample in self.watch.samples if sample.nonce}
            | self._nonces,
        )

    def _note_era(self) -> bool:
        try:
            self.era.logs = self._logs()
            self._nonces |= {self.shop.slot(n).get("nonce", "") for n in range(self.shop.plan.partition_count)} - {""}
        except redis.ConnectionError:  # a fault that kills clients may strike this one
            return False
        return True

    def _logs(self) -> dict[int, list[Entry]]:
        logs: dict[int, list[Entry]] = {n: [] for n in range(self.shop.plan.partition_count)}
        for order, place in self.shop.log():
            _, partition, entry = place.split("/")
            logs[int(partition)].append(Entry(order, entry))
        return logs

    # ── events ──

    async def send(self, orders: Iterable[Order], ids: Iterable[str] | None = None) -> None:
        """Send events. What `send` raises for is not noted as sent: nobody knows."""
        orders, era = list(orders), self.era.number
        sales = [Sale(key=order.key, number=order.number) for order in orders]
        places = await self.shop.stream.send(*sales, stream_ids=ids)
        self.sent.update({order: Sent(place, era) for order, place in zip(orders, places, strict=True)})

    async def settled(self, timeout: float = 30.0) -> None:
        """Wait until every partition's cursor is at the end of its log."""
        await wait_until(lambda: asyncio.to_thread(self._all_committed), timeout, what="all is committed")

    def _all_committed(self) -> bool:
        cursors = self.shop.cursors()
        with self.shop.server.client() as client:
            for n, cursor in cursors.items():
                last: Any = client.xrevrange(self.shop.keys(n).log.decode(), count=1)
                if last and as_numbers(last[0][0]) > as_numbers(cursor):
                    return False
        return True

    def record(self) -> Record:
        """What happened until now."""
        look_at(self.workers)
        self.era.logs = self._logs()
        return Record(
            lease=LEASE,
            prefetch=PREFETCH,
            sent=self.sent,
            lines=self.shop.ledger.lines(),
            eras=self.eras,
            samples=self.watch.samples,
            lives=[life for life, _ in self.workers],
            unrest=self.unrest,
            over=time.monotonic(),
        )


@asynccontextmanager
async def opened(folder: Path, *, replica: bool = False, **options: Any) -> AsyncIterator[World]:
    """A world with servers and a sender, and no workers yet. Nothing of it is left afterwards but the files in `folder`."""
    pair = await Pair.start(replica=replica)
    gates = {"sender": await Proxy(pair.primary.url).__aenter__()}
    shop = harness.World.of(pair.primary, folder, url=gates["sender"].url, **options)
    eras, workers = [Era(number=0, began=time.monotonic())], list[Worker]()
    keys = [shop.keys(n) for n in range(shop.plan.partition_count)]
    watch = Watch(keys, lambda: (eras[-1], shop.server.url), workers)
    watching = asyncio.create_task(watch.run())
    try:
        yield World(pair, gates, workers, shop, watch, eras)
    finally:
        watch.over = True
        await watching
        await shop.app.close()
        shop.close()
        for gate in gates.values():
            await gate.__aexit__(None, None, None)
        pair.close()
