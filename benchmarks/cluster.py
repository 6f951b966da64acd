"""What is measured of several workers: pauses when they come, go and die; many partitions; what a second one brings.

These are seconds and shares of a core, not ratios to a raw loop: nothing raw hands partitions over.
"""

import os
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

from attrs import frozen

from benchmarks.measurements import Size
from benchmarks.process import Process, background, fresh
from benchmarks.result import Goal, Result
from benchmarks.server import Server

PARTITIONS, RATE = 16, 1_600
"""An event each 10 ms in every partition: pauses are known to that."""

MANY, WORKERS = 1_000, 8


@frozen
class Handled:
    """An event, as a worker noted it."""

    at: float
    number: int
    worker: str


def handovers(server: Server, size: Size) -> Iterable[Result]:
    """A third worker joins two, and one leaves; then one of two is killed. How long does each partition that moves pause?"""
    joins: list[float] = []
    leaves: list[float] = []
    kills: list[float] = []
    repeats: list[float] = []
    for _ in range(size.runs):
        server.flush()
        with TemporaryDirectory() as folder, ExitStack() as stack:

            def start(name: str, folder: str = folder, stack: ExitStack = stack) -> Process:
                path = str(Path(folder) / name)
                worker = stack.enter_context(background("crew.work", url=server.url, notes=path, partitions=PARTITIONS))
                worker.wait_ready()
                return worker

            first, second = start("a"), start("b")
            _await_owners(server, PARTITIONS, 2)
            sender = stack.enter_context(background("crew.send", url=server.url, seconds=14, rate=RATE))
            sender.wait_ready()
            time.sleep(1)
            third = start("c")
            _await_owners(server, PARTITIONS, 3)
            time.sleep(1)
            second.process.terminate()
            second.process.wait()
            time.sleep(1)
            polite = time.time()
            first.process.kill()
            sender.figures()
            time.sleep(0.5)
            third.process.terminate()
            third.figures()
            lines = _notes(Path(folder))
        joins += _pauses(lines, to="c", until=polite, origin="ab")
        leaves += _pauses(lines, origin="b", until=polite)
        kills += _pauses(lines, origin="a", since=polite)
        repeats.append(_repeats(lines, until=polite))
    yield Result(name="a worker joins: pause of a partition that moves", unit="ms", ours=joins, goal=Goal(200, True))
    yield Result(name="a worker leaves: pause of a partition that moves", unit="ms", ours=leaves, goal=Goal(200, True))
    yield Result(name="  events handled twice in all that", unit="events", ours=repeats, goal=Goal(0, True))
    yield Result(name="kill -9 of one of two: pause of its partitions", unit="ms", ours=kills, goal=Goal(6_000, True))


def many_partitions(server: Server, size: Size) -> Iterable[Result]:
    """1,000 partitions, 8 workers: how soon the eighth has its share, and what it costs to keep them."""
    server.flush()
    with TemporaryDirectory() as folder, ExitStack() as stack:
        workers = []
        for n in range(WORKERS):
            notes = str(Path(folder) / str(n))
            worker = stack.enter_context(background("crew.work", url=server.url, notes=notes, partitions=MANY))
            worker.wait_ready()
            began = time.perf_counter()
            workers.append(worker)
            _await_owners(server, MANY, n + 1)
            settled = time.perf_counter() - began
        time.sleep(2)
        before = [_cpu(worker.process.pid) for worker in workers]
        time.sleep(size.idle_seconds)
        used = [
            100 * (_cpu(worker.process.pid) - then) / size.idle_seconds
            for worker, then in zip(workers, before, strict=True)
        ]
        for worker in workers:
            worker.process.terminate()
        for worker in workers:
            worker.figures()
    yield Result(name=f"{MANY:,} partitions: the {WORKERS}th worker settles", unit="s", ours=[settled], goal=Goal(3, True))
    yield Result(name="  each worker, idle", unit="% of a core", ours=used, goal=Goal(3, True))


def scaling(server: Server, size: Size) -> Iterable[Result]:
    """A handler that uses the processor: two worker processes against one."""
    total = max(2_000, size.backlog // 25)

    def run(workers: int) -> float:
        server.flush()
        fresh("crew.fill", url=server.url, events=total + 1_000)
        began = time.time_ns()
        with ExitStack() as stack:
            burning = [
                stack.enter_context(background("crew.burn", url=server.url, microseconds=400, total=total))
                for _ in range(workers)
            ]
            for worker in burning:
                worker.figures()
        return 1e9 * total / (int(server.client.get("all")) - began)

    pairs = [(run(1), run(2)) for _ in range(size.runs)]
    yield Result(
        name="two workers against one, handler of 0.4 ms CPU",
        unit="events/s",
        raw=[one for one, _ in pairs],
        ours=[two for _, two in pairs],
        goal=Goal(1.6),
    )


# ── looking at it from outside ──


def _await_owners(server: Server, partitions: int, workers: int) -> None:
    """Wait until so many workers own all partitions, to within one."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        pipe = server.client.pipeline(transaction=False)
        for n in range(partitions):
            pipe.hget(f"{{crew:works:{n}}}:proc:processor", "owner")
        owners = pipe.execute()
        counts = [owners.count(owner) for owner in set(owners) - {None, ""}]
        if len(counts) == workers and sum(counts) == partitions and max(counts) - min(counts) <= 1:
            return
        time.sleep(0.01)
    raise RuntimeError(f"{partitions} partitions are not spread over {workers} workers")


def _notes(folder: Path) -> dict[int, list[Handled]]:
    """What was handled in each partition, in order of time."""
    found: dict[int, list[Handled]] = {}
    for path in folder.iterdir():
        for line in path.read_text().splitlines():
            partition, number, at = map(int, line.split())
            found.setdefault(partition, []).append(Handled(at / 1e9, number, path.name))
    for handled in found.values():
        handled.sort(key=lambda event: event.at)
    return found


def _pauses(
    lines: dict[int, list[Handled]], origin: str, to: str = "abc", since: float = 0.0, until: float = 1e12
) -> list[float]:
    """Milliseconds between the last event of one worker and the first of the next, for partitions that moved."""
    return [
        1000 * (new.at - old.at)
        for old, new in _moves(lines)
        if old.worker in origin and new.worker in to and new.worker != old.worker and since <= new.at and old.at <= until
        if since or new.at <= until
    ]


def _moves(lines: dict[int, list[Handled]]) -> Iterator[tuple[Handled, Handled]]:
    for handled in lines.values():
        yield from ((old, new) for old, new in pairwise(handled) if old.worker != new.worker)


def _repeats(lines: dict[int, list[Handled]], until: float) -> float:
    events = [(n, event.number) for n, handled in lines.items() for event in handled if event.at <= until]
    return float(len(events) - len(set(events)))


def _cpu(pid: int) -> float:
    """Seconds of processor time that a process has used (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
