"""Servers and workers that faults come over. Each worker and the sender reach the server through proxies of their own."""

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from signal import Signals
from typing import Any

from attrs import define, field

from tests.chaos.pair import Pair
from tests.chaos.record import FOR_EVER, Life, Span
from tests.chaos.timeline import LEASE
from tests.integration.faults.harness import Process
from tests.proxy import Proxy
from tests.support import wait_until

Worker = tuple[Life, Process]


def look_at(workers: list[Worker]) -> None:
    """Note who is ready, and who has ended."""
    now = time.monotonic()
    for life, process in workers:
        if life.ready == FOR_EVER and "worker started" in process.log:
            life.ready = now
        if life.exit_code is None and not process.running:
            life.ended, life.exit_code = now, process.popen.returncode


@define(eq=False)
class Site(ABC):
    """What faults need to know of, and can do to.

    Attributes:
        gates: Who reaches the server through which proxy: workers by their names, and "sender".
        workers: Those there have been, in the order in which they came.
        unrest: When the server was out of reach for somebody, or was about to be.
    """

    pair: Pair
    gates: dict[str, Proxy]
    workers: list[Worker]
    unrest: list[Span] = field(factory=list, kw_only=True)
    one_server_fault: asyncio.Lock = field(factory=asyncio.Lock, kw_only=True)

    @abstractmethod
    def start(self, name: str, url: str, **changes: Any) -> Process:
        """Start a worker process, which reaches the server at `url`, with changes to its plan."""

    @abstractmethod
    def owners(self) -> list[Worker]:
        """The workers that run and own a partition, as far as is known."""

    # ── workers ──

    async def hire(self, **changes: Any) -> Worker:
        """Start a worker, with changes to its plan; the next name is its own."""
        gate = await Proxy(self.pair.primary.url).__aenter__()
        gate.target, gate.refuse = self.pair.primary.url, self.gates["sender"].refuse  # a failover may have come meanwhile
        name = f"w{len(self.workers) + 1}"
        self.gates[name] = gate
        process = self.start(name, gate.url, **changes)
        flawed, doomed = bool({"slow", "crash"} & set(changes)), "crash" in changes and "signal" not in changes
        worker = Life(name=name, pid=process.popen.pid, flawed=flawed, doomed=doomed), process
        self.workers.append(worker)
        return worker

    async def ready(self, worker: Worker) -> None:
        """Wait until a worker has started."""
        life, process = worker

        def has_started() -> bool:
            look_at([worker])
            return life.ready < FOR_EVER or not process.running

        await wait_until(has_started, 60, f"{life.name} has started")

    def staff(self) -> list[Worker]:
        """The workers that run, in the order in which they came. Those that are stopped run, too."""
        look_at(self.workers)
        return [worker for worker in self.workers if worker[0].exit_code is None]

    async def at_least(self, count: int) -> None:
        """Start workers until so many run that are to stay, as a service manager does."""
        while sum(not (life.dismissed or life.doomed) for life, _ in self.staff()) < count:
            await self.hire()

    def kill(self, worker: Worker) -> None:
        life, process = worker
        life.doomed = True
        process.signal(Signals.SIGKILL)

    def dismiss(self, worker: Worker) -> None:
        """Have it leave in order."""
        life, process = worker
        if not life.dismissed:  # a second signal would have it leave at once
            life.dismissed = True
            process.signal(Signals.SIGTERM)

    async def go_home(self) -> None:
        """Everybody leaves in order."""
        for worker in self.staff():
            self.dismiss(worker)
        await wait_until(lambda: not self.staff(), 20, what="all workers have left")

    @contextmanager
    def stopped(self, worker: Worker) -> Iterator[None]:
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

    async def promote(self) -> None:
        """After replication was cut: everybody finds the replica in place of the primary, which is killed."""
        with self.out_of_reach():
            await asyncio.to_thread(self.pair.swap)

    @contextmanager
    def out_of_reach(self) -> Iterator[None]:
        """Nobody reaches a server; then everybody finds the one that is the primary by then."""
        for gate in self.gates.values():
            gate.refuse = True
            gate.cut()
        yield
        for gate in self.gates.values():
            gate.target = self.pair.primary.url
        for gate in self.gates.values():
            gate.refuse = False

    async def replace_replica(self) -> None:
        """The old primary comes back, as the replica of the new one."""
        assert self.pair.replica is not None
        await asyncio.to_thread(self.pair.replica.start)
        self.pair.follow()
