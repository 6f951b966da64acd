"""What the fault tests see and do from outside: worker processes, the ledger, and what the server holds."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import redis
from attrs import define, evolve, field

from runnel import App
from runnel.store.keys import PartitionKeys
from runnel.worker import Worker
from tests.integration.faults.ledger import Ledger, Order, lost, out_of_order
from tests.integration.faults.shop import Plan, Sale, declare, declare_stream, make_app
from tests.servers import Server
from tests.support import wait_until

ROOT = Path(__file__).parents[3]


@define(eq=False)
class Process:
    """A worker process."""

    name: str
    log_path: Path
    popen: "subprocess.Popen[bytes]"

    @classmethod
    def start(cls, name: str, folder: Path, module: str, *words: str) -> "Process":
        """Run a module, which logs to a file in the folder."""
        path = folder / f"{name}.log"
        with path.open("ab") as log:
            popen = subprocess.Popen(
                [sys.executable, "-m", module, *words], cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        return cls(name, path, popen)

    @property
    def log(self) -> str:
        return self.log_path.read_text()

    @property
    def running(self) -> bool:
        return self.popen.poll() is None

    @property
    def stopped(self) -> bool:
        """Whether it was stopped by a signal (SIGSTOP)."""
        try:  # asked again and again, in a loop that is also the proxies': `ps` would take its time each time
            return os.waitid(os.P_PID, self.popen.pid, os.WSTOPPED | os.WNOHANG | os.WNOWAIT) is not None
        except ChildProcessError:
            return False  # it has ended

    def signal(self, number: signal.Signals) -> None:
        self.popen.send_signal(number)

    async def ended(self, timeout: float = 20.0) -> int:
        """Its exit code: negative for the signal that killed it."""
        try:
            await wait_until(lambda: not self.running, timeout)
        except AssertionError as error:
            raise AssertionError(f"worker {self.name} does not end; it says:\n{self.log[-4000:]}") from error
        return self.popen.returncode


@define(eq=False)
class World:
    """One server, one app, its ledger, and its workers."""

    plan: Plan
    server: Server
    app: App
    stream: Any
    ledger: Ledger
    sent: dict[Order, str] = field(factory=dict)
    processes: list[Process] = field(factory=list)

    @classmethod
    def of(cls, server: Server, folder: Path, **options: Any) -> "World":
        plan = Plan(**{"url": server.url, "folder": str(folder), **options})
        app = make_app(plan)
        return cls(plan, server, app, declare_stream(app, plan), Ledger(plan.ledger))

    def start(self, name: str, **changes: Any) -> Process:
        """Start a worker process."""
        plan = evolve(self.plan, worker=name, **changes)
        process = Process.start(name, Path(plan.folder), "tests.integration.faults.worker", plan.to_json())
        self.processes.append(process)
        return process

    @asynccontextmanager
    async def worker(self, name: str = "first", *, app: App | None = None, **changes: Any) -> AsyncIterator[Worker]:
        """A worker in this process and loop; it stops in order at the end."""
        app = app or declare(evolve(self.plan, worker=name, **changes))
        worker = Worker(app)
        running = asyncio.create_task(worker.run())
        await wait_until(lambda: worker.snapshot() is not None or running.done())
        try:
            yield worker
        finally:
            worker.stop()
            try:
                await running
            finally:
                await app.close()

    async def send(self, keys: Iterable[int], numbers: Iterable[int]) -> None:
        """Send the events of these numbers for each key."""
        orders = [Order(key, number) for number in numbers for key in keys]
        ids = await self.stream.send(*(Sale(key=order.key, number=order.number) for order in orders))
        self.sent.update(zip(orders, ids, strict=True))

    def let_go(self) -> None:
        """Let handlers that hold go on."""
        self.plan.go.touch()

    def close(self) -> None:
        for process in self.processes:
            if process.running:
                process.popen.kill()
            process.popen.wait()
        self.ledger.close()

    # ── what the server holds ──

    def keys(self, partition: int) -> PartitionKeys:
        return PartitionKeys(self.plan.app, "sales", partition)

    def cursors(self) -> dict[int, str]:
        """The committed cursor of each partition."""
        with self.server.client() as client:
            return {
                n: client.hget(self.keys(n).cursors.decode(), "till") or "0-0" for n in range(self.plan.partition_count)
            }

    def slot(self, partition: int) -> dict[str, str]:
        with self.server.client() as client:
            found: dict[str, str] = client.hgetall(self.keys(partition).slot("till").decode())
            return found

    def dead(self, partition: int = 0) -> list[dict[str, str]]:
        """The dead letters of a partition."""
        with self.server.client() as client:
            return [fields for _, fields in client.xrange(self.keys(partition).dead("till").decode())]

    def parked(self, partition: int = 0) -> list[dict[str, str]]:
        """The parked events of a partition."""
        with self.server.client() as client:
            return [fields for _, fields in client.xrange(self.keys(partition).parked("till").decode())]

    def raw_log(self, partition: int = 0) -> list[tuple[str, dict[str, str]]]:
        """The entries of a partition as they lie there."""
        with self.server.client() as client:
            return list(client.xrange(self.keys(partition).log.decode()))

    def ids(self, stream: str) -> list[str]:
        """The ids of a stream's entries."""
        with self.server.client() as client:
            return [entry for entry, _ in client.xrange(stream)]

    def mend(self, number: int, stream: str) -> None:
        """Put an event that decodes in the place of every one of a stream that does not (Redis has no such command)."""
        with self.server.client() as client:
            entries = client.xrange(stream)
            client.delete(stream)
            for entry, fields in entries:
                sound = f'{{"key": {fields["~key"]}, "number": {number}, "ballast": ""}}'
                client.xadd(stream, fields if "number" in fields["data"] else fields | {"data": sound}, id=entry)

    def partition_of(self, key: int) -> int:
        """Where a key's events lie."""
        return int(self.stream.hash(key))

    def free(self) -> int:
        """How many partitions nobody owns."""
        return sum(not self.slot(n).get("owner") for n in range(self.plan.partition_count))

    def is_owner(self, process: Process) -> bool:
        """Whether the process owns every partition."""
        owners = [self.slot(n).get("owner", "") for n in range(self.plan.partition_count)]
        return all(f"-{process.popen.pid}-" in owner for owner in owners)

    def partitions(self) -> set[int]:
        """The partitions that hold events sent."""
        return {int(place.split("/")[1]) for place in self.sent.values()}

    def log(self) -> list[tuple[Order, str]]:
        """Every event in the logs, and its place."""
        found = []
        with self.server.client() as client:
            for n in range(self.plan.partition_count):
                for entry, fields in client.xrange(self.keys(n).log.decode()):
                    sale = self.stream.deserialize({name.encode(): value.encode() for name, value in fields.items()})
                    found.append((Order(sale.key, sale.number), f"sales/{n}/{entry}"))
        return found

    def uncommitted(self) -> set[Order]:
        """The events sent that are above their partition's cursor."""
        cursors = self.cursors()
        return {order for order, place in self.sent.items() if not is_done(place, cursors)}

    def all_committed(self) -> bool:
        try:
            return not self.uncommitted()
        except redis.RedisError:
            return False

    async def all_done(self, timeout: float = 20.0) -> None:
        """Wait until every event sent is committed; tell what went wrong if it does not come to that."""
        try:
            await wait_until(self.all_committed, timeout, what="all is committed")
        except AssertionError as error:
            logs = "\n".join(f"── {p.name}, {p.popen.poll()}\n{p.log[-3000:]}" for p in self.processes)
            raise AssertionError(f"{error}: left {sorted(self.uncommitted())[:10]}\n{logs}") from None

    def check(self) -> None:
        """Nothing lost, and per key in order."""
        assert not lost(self.sent, self.ledger.finished())
        assert not out_of_order(self.ledger.begun())


def is_done(place: str, cursors: dict[int, str]) -> bool:
    _, partition, entry = place.split("/")
    return as_numbers(entry) <= as_numbers(cursors[int(partition)])


def as_numbers(entry: str) -> tuple[int, int]:
    milliseconds, _, number = entry.partition("-")
    return int(milliseconds), int(number)
