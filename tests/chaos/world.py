"""The world that faults come over: servers, workers, a sender, each of these two behind a proxy of its own, and a ledger.

It can do to them what faults need, and hands over a `Record` of what happened at the end.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from signal import Signals
from typing import Any

import redis
from attrs import define, field

from tests.chaos.pair import Pair
from tests.chaos.record import FOR_EVER, Entry, Era, Life, Record, Sent, Span
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
class World:
    """Everything of one run.

    Attributes:
        gates: Who reaches the server through which proxy: workers by their names, and "sender".
        unrest: When the server was out of reach for somebody, or was about to be.
    """

    shop: harness.World
    pair: Pair
    gates: dict[str, Proxy]
    watch: Watch
    eras: list[Era]
    workers: list[tuple[Life, Process]]
    sent: dict[Order, Sent] = field(factory=dict)
    unrest: list[Span] = field(factory=list)
    one_server_fault: asyncio.Lock = field(factory=asyncio.Lock)
    _nonces: set[str] = field(factory=set)

    # ── workers ──

    async def hire(self, **changes: Any) -> tuple[Life, Process]:
        """Start a worker, with changes to its plan; the next name is its own."""
        gate = await Proxy(self.pair.primary.url).__aenter__()
        gate.target, gate.refuse = self.pair.primary.url, self.gates["sender"].refuse  # a failover may have come meanwhile
        name = f"w{len(self.workers) + 1}"
        self.gates[name] = gate
        style = STYLES[len(self.workers) % len(STYLES)]
        process = self.shop.start(name, **{**CALM, "style": style, "url": gate.url, **changes})
        flawed, doomed = bool({"slow", "crash"} & set(changes)), "crash" in changes and "signal" not in changes
        worker = Life(name=name, pid=process.popen.pid, flawed=flawed, doomed=doomed), process
        self.workers.append(worker)
        return worker

    async def ready(self, worker: tuple[Life, Process]) -> None:
        """Wait until a worker has started."""
        life, process = worker
        await wait_until(lambda: life.ready < FOR_EVER or not process.running, 20, f"{life.name} has started")

    def owners(self) -> list[tuple[Life, Process]]:
        """The workers that run and own a partition, as far as is known."""
        return [worker for worker in self.staff() if any(map(worker[0].owns, self.watch.present()))]

    def staff(self) -> list[tuple[Life, Process]]:
        """The workers that run, in the order in which they came. Those that are stopped run, too."""
        self.watch.look_at_workers()
        return [worker for worker in self.workers if worker[0].exit_code is None]

    async def at_least(self, count: int) -> None:
        """Start workers until so many run that are to stay, as a service manager does."""
        while sum(not (life.dismissed or life.doomed) for life, _ in self.staff()) < count:
            await self.hire()

    def kill(self, worker: tuple[Life, Process]) -> None:
        life, process = worker
        life.doomed = True
        process.signal(Signals.SIGKILL)

    def dismiss(self, worker: tuple[Life, Process]) -> None:
        """Have it leave in order."""
        life, process = worker
        if not life.dismissed:  # a second signal would have it leave at once
            life.dismissed = True
            process.signal(Signals.SIGTERM)

    @contextmanager
    def stopped(self, worker: tuple[Life, Process]) -> Iterator[None]:
        """SIGSTOP now, SIGCONT at the end."""
        life, process = worker
        begin = time.monotonic()
        life.stopped.append((begin, FOR_EVER))
        at = len(life.stopped) - 1
        process.signal(Signals.SIGSTOP)
        try:
            yield
        finally:
            process.signal(Signals.SIGCONT)
            life.stopped[at] = (begin, time.monotonic())

    # ── servers ──

    @contextmanager
    def disturbed(self) -> Iterator[None]:
        """A time in which takeovers may take longer: it lasts until connections that hang have been given up."""
        begin = time.monotonic()
        self.unrest.append((begin, FOR_EVER))
        at = len(self.unrest) - 1
        try:
            yield
        finally:
            self.unrest[at] = (begin, time.monotonic() + LEASE)

    @property
    def era(self) -> Era:
        return self.eras[-1]

    async def promote(self) -> None:
        """After replication was cut: everybody finds the replica in place of the primary, which is killed."""
        self.era.ended = time.monotonic()
        for gate in self.gates.values():
            gate.refuse = True
            gate.cut()
        await wait_until(lambda: asyncio.to_thread(self._note_era), what="the era is noted")
        await asyncio.to_thread(self.pair.swap)
        self.shop.server = self.pair.primary
        for gate in self.gates.values():
            gate.target = self.pair.primary.url
        self.eras.append(
            Era(
                number=self.era.number + 1,
                began=time.monotonic(),
                cursors=self.shop.cursors(),
                older={line.token.partition("/")[2] for line in self.shop.ledger.lines()}
                | {sample.nonce for sample in self.watch.samples if sample.nonce}
                | self._nonces,
            )
        )
        for gate in self.gates.values():
            gate.refuse = False

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

    async def replace_replica(self) -> None:
        """The old primary comes back, as the replica of the new one."""
        assert self.pair.replica is not None
        await asyncio.to_thread(self.pair.replica.start)
        self.pair.follow()

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
        self.watch.look_at_workers()
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
    eras, workers = [Era(number=0, began=time.monotonic())], list[tuple[Life, Process]]()
    keys = [shop.keys(n) for n in range(shop.plan.partition_count)]
    watch = Watch(keys, lambda: (eras[-1], shop.server.url), workers)
    watching = asyncio.create_task(watch.run())
    try:
        yield World(shop, pair, gates, watch, eras, workers)
    finally:
        watch.over = True
        await watching
        await shop.app.close()
        shop.close()
        for gate in gates.values():
            await gate.__aexit__(None, None, None)
        pair.close()
