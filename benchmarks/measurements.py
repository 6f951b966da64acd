"""What is measured: one function a subject. Raw and ours take turns, so that both see the same moods of the machine."""

from collections.abc import Callable, Iterable
from typing import Any

from attrs import evolve, frozen

from benchmarks.process import Figures, background, fresh
from benchmarks.result import Goal, Result
from benchmarks.server import Server

PREFETCH = 256
"""XREAD's COUNT in Runnel's reader."""


@frozen(kw_only=True)
class Size:
    """How much is measured."""

    runs: int
    backlog: int
    long_backlog: int
    sent: int
    paced: int
    rate: float
    idle_seconds: float
    late: int
    late_seconds: float


FULL = Size(
    runs=5,
    backlog=500_000,
    long_backlog=1_000_000,
    sent=200_000,
    paced=2_500,
    rate=500,
    idle_seconds=10,
    late=100_000,
    late_seconds=60,
)
QUICK = evolve(
    FULL, runs=2, backlog=100_000, long_backlog=200_000, sent=50_000, paced=750, idle_seconds=3, late=20_000, late_seconds=12
)
TINY = evolve(
    FULL, runs=1, backlog=2_000, long_backlog=2_000, sent=2_000, paced=50, idle_seconds=0.2, late=300, late_seconds=1
)

Measurement = Callable[[Server, Size], Iterable[Result]]


def _fill(server: Server, events: int, **options: Any) -> None:
    server.flush()
    fresh("product.fill", url=server.url, events=events, **options)
    fresh("raw.fill", url=server.raw_url, events=events, **options)
    server.settle()


def alternate(runs: int, roles: dict[str, Callable[[int], Figures]]) -> dict[str, list[Figures]]:
    """All roles in turn, so many times; the figures of each."""
    figures: dict[str, list[Figures]] = {name: [] for name in roles}
    for run in range(runs):
        for name, role in roles.items():
            figures[name].append(role(run))
    return figures


def each(figures: list[Figures], name: str) -> list[float]:
    """One figure of each run."""
    return [run[name] for run in figures]


def _rates(name: str, raw: list[Figures], ours: list[Figures], goal: Goal | None = None) -> Result:
    return Result(
        name=name,
        unit="events/s",
        raw=each(raw, "rate"),
        ours=each(ours, "rate"),
        cpu=[mine["cpu"] / least["cpu"] for mine, least in zip(ours, raw, strict=True)],
        goal=goal,
    )


def processing(server: Server, size: Size) -> Iterable[Result]:
    """A backlog in one process, record by record and in batches, and what the raw loop itself depends on."""
    events = size.backlog
    _fill(server, events)

    def raw(count: int, log: str = "plain") -> Callable[[int], Figures]:
        return lambda run: fresh("raw.read", url=server.raw_url, events=events, count=count, log=log)

    found = alternate(
        size.runs,
        {
            "raw": raw(PREFETCH),
            "records": lambda run: fresh("product.records", url=server.url, events=events, run=run),
            "take": lambda run: fresh("product.take", url=server.url, events=events, run=run, size=100),
            "raw with ~key": raw(PREFETCH, "runnel"),
            "raw 100": raw(100),
            "raw 500": raw(500),
        },
    )
    base = found["raw"]
    yield _rates("process records()", base, found["records"], Goal(0.65))
    yield _rates("process take(100)", base, found["take"], Goal(0.75))
    yield _rates("  raw loop over Runnel's entries", base, found["raw with ~key"])
    yield _rates("  raw loop, COUNT 100", base, found["raw 100"])
    yield _rates("  raw loop, COUNT 500", base, found["raw 500"])


def memory(server: Server, size: Size) -> Iterable[Result]:
    """The most memory that a worker had resident while it processed a long backlog."""
    server.flush()
    fresh("product.fill", url=server.url, events=size.long_backlog)
    figures = fresh("product.records", url=server.url, events=size.long_backlog, run=0)
    yield Result(
        name=f"peak memory, backlog of {size.long_backlog:,}",
        unit="MiB",
        ours=[figures["mib"]],
        goal=Goal(120, at_most=True),
    )


def sending(server: Server, size: Size) -> Iterable[Result]:
    """Records that are built already, in batches of 1,000."""

    def send(role: str, url: str) -> Figures:
        server.flush()
        return fresh(role, url=url, events=size.sent, batch=1000)

    found = alternate(
        size.runs,
        {"raw": lambda _: send("raw.send", server.raw_url), "ours": lambda _: send("product.send", server.url)},
    )
    yield _rates("send, batches of 1,000", found["raw"], found["ours"], Goal(0.45))


def hot_partition(server: Server, size: Size) -> Iterable[Result]:
    """All events in one partition of 16; the other 15 are owned and idle."""
    events = size.sent
    _fill(server, events, hot=True)
    found = alternate(
        size.runs,
        {
            "raw": lambda _: fresh("raw.read", url=server.raw_url, events=events, count=PREFETCH, hot=True),
            "ours": lambda run: fresh("product.records", url=server.url, events=events, run=run),
        },
    )
    yield _rates("one hot partition of 16", found["raw"], found["ours"], Goal(0.65))


def latency(server: Server, size: Size) -> Iterable[Result]:
    """From the sender, in another process, to the handler of an idle worker."""

    def hop(module: str, url: str) -> Figures:
        server.flush()
        with background(f"{module}.receive_paced", url=url, events=size.paced) as receiver:
            receiver.wait_ready()
            fresh(f"{module}.send_paced", url=url, events=size.paced, rate=size.rate)
            return receiver.figures()

    found = alternate(
        size.runs, {"raw": lambda _: hop("raw", server.raw_url), "ours": lambda _: hop("product", server.url)}
    )
    for percentile, bound in (("p50", 3), ("p99", 10)):
        yield Result(
            name=f"latency at {size.rate:g}/s, {percentile}",
            unit="ms",
            raw=each(found["raw"], percentile),
            ours=each(found["ours"], percentile),
            goal=Goal(bound, at_most=True),
        )


def idling(server: Server, size: Size) -> Iterable[Result]:
    """A worker that owns 16 partitions, to which nothing comes."""
    server.flush()
    figures = fresh("product.idle", url=server.url, seconds=size.idle_seconds)
    yield Result(
        name="idle worker, 16 partitions", unit="% of a core", ours=[figures["percent"]], goal=Goal(1, at_most=True)
    )


SINGLE: dict[str, Measurement] = {
    "process": processing,
    "memory": memory,
    "send": sending,
    "hot": hot_partition,
    "latency": latency,
    "idle": idling,
}
