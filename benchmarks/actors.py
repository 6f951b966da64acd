"""What handler actors cost, against the raw loop that only reads and decodes."""

from collections.abc import Iterable
from functools import partial

from benchmarks.measurements import PREFETCH, Size, _fill, alternate, each
from benchmarks.process import fresh
from benchmarks.result import Goal, Result
from benchmarks.server import Server

KEYS = 10_000


def actors(server: Server, size: Size) -> Iterable[Result]:
    """A backlog by a function, and by a class with state."""
    events = size.backlog
    _fill(server, events, keys=KEYS)
    ours = partial(fresh, url=server.url, events=events)
    found = alternate(
        size.runs,
        {
            "raw": lambda run: fresh("raw.read", url=server.raw_url, events=events, count=PREFETCH),
            "function": lambda run: ours("keyed.function", run=run),
            "one": lambda run: ours("keyed.function", run=1000 + run, key_concurrency=1),
            "state": lambda run: ours("keyed.state", run=run),
        },
    )
    base = found["raw"]
    for name, role, goal in (
        (f"function actor, {KEYS:,} keys", "function", 0.45),
        ("  the same, key_concurrency 1", "one", 0.45),
        (f"actor with state, {KEYS:,} keys", "state", 0.35),
    ):
        yield Result(
            name=name,
            unit="events/s",
            raw=each(base, "rate"),
            ours=each(found[role], "rate"),
            cpu=[mine["cpu"] / least["cpu"] for mine, least in zip(found[role], base, strict=True)],
            goal=Goal(goal),
        )
    for run in found["state"]:
        assert run["stored"] == events, f"{run['stored']} events in the states, not {events}"
