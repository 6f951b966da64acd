"""Deleting a stream, with all that is noted of it: first the plan, then, if it is wanted, the deed.

The keys of each partition go in one step; those of the app go last, so that a deed that was cut off can be done again.
"""

from collections.abc import Iterable, Sequence

import orjson
from attrs import frozen

from runnel.app import App
from runnel.errors import ConfigurationError, NotDone, StillOwned
from runnel.operations.exchange import linked, plain, run_all
from runnel.operations.leftovers import noted_streams, registered_on
from runnel.operations.status import lag
from runnel.store import scripts, upkeep
from runnel.store.keys import PartitionKeys
from runnel.store.link import Link
from runnel.store.outbox import outbox_name
from runnel.store.script import Command
from runnel.store.scripts import Held
from runnel.store.upkeep import Changed, Undone


@frozen(kw_only=True)
class Erasure:
    """What goes with one partition.

    Attributes:
        processors: Those that are registered in it.
        owners: Workers that run it.
        events: How many its log holds.
        undone: The most of them that a processor has not done; all, if none is registered.
        delayed: Events that are not in the log yet.
        emitted: Events that its actors emitted, on their way to other streams.
        kept: Parked events and dead letters.
    """

    keys: PartitionKeys
    processors: tuple[str, ...]
    owners: tuple[str, ...]
    events: int
    undone: int
    delayed: int
    emitted: int
    kept: int


@frozen(kw_only=True)
class ErasurePlan:
    """What goes with a stream."""

    stream: str
    partitions: tuple[Erasure, ...]

    @property
    def owners(self) -> list[str]:
        """The workers that run it."""
        return sorted({owner for each in self.partitions for owner in each.owners})

    @property
    def processors(self) -> list[str]:
        """The processors that are forgotten with it."""
        return sorted({name for each in self.partitions for name in each.processors})

    @property
    def events(self) -> int:
        """Events that its logs hold."""
        return sum(each.events for each in self.partitions)

    @property
    def lost(self) -> int:
        """Events that would be lost: not done, delayed, or on their way."""
        return sum(each.undone + each.delayed + each.emitted for each in self.partitions)

    @property
    def kept(self) -> int:
        """Parked events and dead letters, which go with it."""
        return sum(each.kept for each in self.partitions)


async def make_plan(app: App, stream: str) -> ErasurePlan:
    """See what would go; changes nothing.

    Raises:
        ConfigurationError: There is no such stream; it names those that are.
        StoreError: The server cannot be reached, or refuses.
    """
    async with linked(app) as (store, link):
        counts = {name: each.partition_count for name, each in app.streams.items()} | await noted_streams(app, store)
        if stream not in counts:
            raise ConfigurationError(f"app {app.name!r} has no stream {stream!r}; it has {', '.join(sorted(counts)) or 'none'}")
        partitions = [PartitionKeys(app.name, stream, number) for number in range(counts[stream])]
        registered = await registered_on(link, partitions)
        found = [await _erasure(link, keys, sorted(names)) for keys, names in zip(partitions, registered, strict=True)]
    return ErasurePlan(stream=stream, partitions=tuple(found))


async def _erasure(link: Link, keys: PartitionKeys, names: Sequence[str]) -> Erasure:
    seen = await run_all(link, [scripts.look(keys, name) for name in names or [""]])
    outboxes = [Command[int](("XLEN", keys.outbox(name)), plain) for name in names]
    delayed, *emitted = await run_all(link, [Command[int](("ZCARD", keys.delayed), plain), *outboxes])
    return Erasure(
        keys=keys,
        processors=tuple(names),
        owners=tuple(sorted({each.owner for each in seen if each.owner})),
        events=seen[0].length,
        undone=max(map(lag, seen)) if names else seen[0].length,
        delayed=delayed,
        emitted=sum(emitted),
        kept=sum(each.parked + each.dead for each in seen),
    )


async def carry_out(app: App, plan: ErasurePlan, *, force: bool) -> None:
    """Do it; done again, it does no harm.

    Args:
        app: Whose stream; it is opened.
        plan: What to do.
        force: Also while workers run it, which are fenced, and though events are lost.

    Raises:
        StillOwned: A worker runs it, and it is not to be forced.
        NotDone: Events would be lost, or a processor was registered since the plan was made.
        StoreError: The server cannot be reached, or refuses; some partitions may be gone already.
    """
    if plan.owners and not force:
        raise _still_owned(plan, plan.owners)
    if plan.lost and not force:
        raise NotDone(f"stream {plan.stream!r}: {_not_done(plan.lost, '')}: --force deletes that, too")
    async with linked(app) as (store, link):
        calls = [upkeep.erase(each.keys, each.processors, force=force) for each in plan.partitions]
        for answer in await run_all(link, calls, patience=5):
            _check(plan, answer)
        await _forget_marks(app, link, plan, await noted_streams(app, store))
        assignments = [app.keys.assignment(plan.stream, name) for name in plan.processors]
        words = [("UNLINK", *assignments)] if assignments else []
        words += [("HDEL", app.keys.delaying, plan.stream), ("HDEL", app.keys.streams, plan.stream)]
        await run_all(link, [Command(each, plain) for each in words], patience=5)


def _check(plan: ErasurePlan, answer: upkeep.Erased) -> None:
    match answer:
        case Held(owner):
            raise _still_owned(plan, [owner])
        case Undone(processor, events):
            whose = f"by {processor}" if processor else "by any processor"
            raise NotDone(f"stream {plan.stream!r}: {_not_done(events, ' or more')} {whose}: --force deletes that, too")
        case Changed():
            raise NotDone(f"stream {plan.stream!r}: another processor was registered just now: look at the plan again")


def _not_done(events: int, more: str) -> str:
    return f"1 event{more} is not done" if events == 1 else f"{events:,} events{more} are not done"


async def _forget_marks(app: App, link: Link, plan: ErasurePlan, noted: dict[str, int]) -> None:
    """Other partitions remember what was delivered to them from here: in the way, should the stream be made anew."""
    names = [outbox_name(each.keys, name) for each in plan.partitions for name in each.processors]
    counts = {name: each.partition_count for name, each in app.streams.items()} | noted
    targets = [PartitionKeys(app.name, name, number) for name, count in counts.items() for number in range(count)]
    if names:
        await run_all(link, [Command(("HDEL", keys.relayed, *names), plain) for keys in targets], patience=5)


def _still_owned(plan: ErasurePlan, owners: Iterable[str]) -> StillOwned:
    return StillOwned(f"stream {plan.stream!r} is run by {', '.join(owners)}: stop what runs it first, or use --force")


def as_json(plan: ErasurePlan, *, done: bool) -> str:
    """The plan for programs, and whether it was carried out."""
    head = {"stream": plan.stream, "done": done, "partitions": len(plan.partitions), "processors": plan.processors}
    counts = {"events": plan.events, "lost": plan.lost, "kept": plan.kept, "owners": plan.owners}
    return orjson.dumps({**head, **counts}, option=orjson.OPT_INDENT_2).decode()
