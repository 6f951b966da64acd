"""The streams of an app, and trimming them: first the plan, then, if it is wanted, the deed.

Producers make room by themselves once a partition is full. This is for who wants it back earlier, or for good.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from attrs import asdict, frozen

from runnel.app import App
from runnel.errors import ConfigurationError
from runnel.handling.position import id_parts
from runnel.operations.exchange import linked, run_all, server_time
from runnel.operations.leftovers import noted_streams, registered_on
from runnel.operations.reset import HIGHEST_SEQUENCE, moment
from runnel.operations.status import lag
from runnel.store import scripts, upkeep
from runnel.store.keys import PartitionKeys
from runnel.store.link import Link
from runnel.store.scripts import Look, entry_id
from runnel.stream import Stream


@frozen(kw_only=True)
class StreamStatus:
    """A stream of an app.

    Attributes:
        declared: Whether the code has it.
        events: How many its logs hold.
        added: How many were ever sent to it.
        oldest_age: Seconds since the first of those that it holds was sent; None: it holds none.
        processors: Those that are registered.
    """

    stream: str
    declared: bool
    partitions: int
    events: int
    added: int
    oldest_age: float | None
    processors: tuple[str, ...]


async def list_streams(app: App) -> list[StreamStatus]:
    """The streams that the app declares, or that the server remembers, by name.

    Raises:
        StoreError: The server cannot be reached, or refuses.
    """
    async with linked(app) as (store, link):
        noted = await noted_streams(app, store)
        counts = {name: stream.partition_count for name, stream in app.streams.items()} | noted
        return [await _status(app, link, name, counts[name]) for name in sorted(counts)]


async def _status(app: App, link: Link, name: str, count: int) -> StreamStatus:
    partitions = [PartitionKeys(app.name, name, number) for number in range(count)]
    seen = await run_all(link, [scripts.look(keys, "") for keys in partitions])
    ages = [each.now - id_parts(each.first)[0] / 1000 for each in seen if each.length]
    return StreamStatus(
        stream=name,
        declared=name in app.streams,
        partitions=count,
        events=sum(each.length for each in seen),
        added=sum(each.added for each in seen),
        oldest_age=max(0.0, round(max(ages), 3)) if ages else None,
        processors=tuple(sorted(set().union(*await registered_on(link, partitions)))),
    )


def list_as_json(app: str, streams: Sequence[StreamStatus]) -> str:
    """The list, for programs."""
    return orjson.dumps({"app": app, "streams": [asdict(each) for each in streams]}, option=orjson.OPT_INDENT_2).decode()


# ── trimming ──


@frozen(kw_only=True)
class Cut:
    """What trimming does to one partition.

    Attributes:
        length: Entries that it holds.
        dropped: How many of them go.
        held_back: How many more would go, if they were done.
        lost: Processor → how many of those that go it has not done; "": none is registered, nothing counts as done.
    """

    keys: PartitionKeys
    length: int
    dropped: int
    held_back: int
    lost: Mapping[str, int]


@frozen(kw_only=True)
class TrimPlan:
    """What trimming does to a stream.

    Attributes:
        below: Only events with smaller ids; None: whatever their ids are.
        keep: How many events of each partition stay, at least.
        force: Whether events go that some processor has not done.
    """

    stream: str
    below: str | None
    keep: int
    force: bool
    cuts: tuple[Cut, ...]

    @property
    def dropped(self) -> int:
        """How many events go."""
        return sum(each.dropped for each in self.cuts)

    @property
    def held_back(self) -> int:
        """How many more would go, if they were done."""
        return sum(each.held_back for each in self.cuts)

    @property
    def lost(self) -> dict[str, int]:
        """Processor → how many of the events that go it has not done."""
        names = sorted({name for each in self.cuts for name in each.lost})
        return {name: sum(each.lost.get(name, 0) for each in self.cuts) for name in names}


async def plan_trim(app: App, stream: Stream[Any], to: str | None, keep: int | None, *, force: bool) -> TrimPlan:
    """See what trimming would do; changes nothing.

    Args:
        app: The stream's.
        stream: Which one.
        to: What was sent from then on stays: an entry's id, or a moment. None: whatever is done goes.
        keep: So many events of each partition stay, the newest. None: none has to.
        force: Whether events go that some processor has not done.

    Raises:
        ConfigurationError: `to` means nothing; or it is forced, and nothing says what is to stay.
        StoreError: The server cannot be reached, or refuses.
    """
    if force and to is None and keep is None:
        raise ConfigurationError("--force drops events that are not done: say which, with --to or --length")
    await app.compare_stream(stream)
    async with linked(app) as (store, link):
        below = None if to is None else _below(to, await server_time(store))
        registered = await registered_on(link, stream.partitions)
        cuts = [
            await _cut(link, keys, names, below, keep or 0, force)
            for keys, names in zip(stream.partitions, registered, strict=True)
        ]
    return TrimPlan(stream=stream.name, below=below, keep=keep or 0, force=force, cuts=tuple(cuts))


async def carry_out_trim(app: App, stream: Stream[Any], plan: TrimPlan) -> int:
    """Do it; how many events went. Unless it is forced, none goes that some processor has not done, as of each call.

    Raises:
        StoreError: The server cannot be reached, or refuses; some may be gone already.
    """
    below, total = None if plan.below is None else plan.below.encode(), 0
    async with linked(app) as (_, link):
        going = list(stream.partitions)
        while going:
            calls = [upkeep.cut(keys, below=below, keep=plan.keep, force=plan.force) for keys in going]
            answers = await run_all(link, calls, patience=5)
            total += sum(answers)
            going = [keys for keys, dropped in zip(going, answers, strict=True) if dropped]
    return total


async def _cut(link: Link, keys: PartitionKeys, names: set[str], below: str | None, keep: int, force: bool) -> Cut:
    seen = await run_all(link, [scripts.look(keys, name) for name in sorted(names) or [""]])
    length = seen[0].length
    wanted = max(0, length - keep)
    if below is not None and wanted:
        wanted = min(wanted, length - await count_from(link, keys, below))
    return cut(keys, dict(zip(sorted(names), seen, strict=False)), length, max(0, wanted), force=force)


def cut(keys: PartitionKeys, seen: Mapping[str, Look], length: int, wanted: int, *, force: bool) -> Cut:
    """What trimming does to a partition of which `wanted` events are to go; `seen`: how it stands for each processor."""
    undone = {name: lag(each) for name, each in seen.items()} or {"": length}
    dropped = wanted if force else min(wanted, length - max(undone.values()))
    lost = {name: dropped - (length - behind) for name, behind in undone.items() if dropped > length - behind}
    return Cut(keys=keys, length=length, dropped=dropped, held_back=wanted - dropped, lost=lost)


async def count_from(link: Link, keys: PartitionKeys, first: str) -> int:
    """How many entries have this id or a greater one."""
    ms, seq = id_parts(first)
    if (ms, seq) == (0, 0):
        return (await link.call(scripts.look(keys, ""))).length
    after, total = (f"{ms}-{seq - 1}" if seq else f"{ms - 1}-{HIGHEST_SEQUENCE}").encode(), 0
    while True:
        found, after, _ = await link.call(scripts.measure(keys, after))
        total += found
        if not found:
            return total


def _below(text: str, now: float) -> str:
    if (known := entry_id(text)) is not None:
        return known.decode()
    return f"{round(min(moment(text, now), now) * 1000)}-0"


def trim_as_json(plan: TrimPlan, dropped: int | None) -> str:
    """The plan for programs, and how many events went; None: it was not carried out."""
    cuts = [
        {
            "partition": each.keys.number,
            "length": each.length,
            "dropped": each.dropped,
            "held_back": each.held_back,
            "lost": dict(each.lost),
        }
        for each in plan.cuts
    ]
    head = {"stream": plan.stream, "below": plan.below, "keep": plan.keep, "force": plan.force, "done": dropped is not None}
    total = {"dropped": plan.dropped if dropped is None else dropped, "held_back": plan.held_back, "lost": plan.lost}
    return orjson.dumps({**head, **total, "partitions": cuts}, option=orjson.OPT_INDENT_2).decode()
