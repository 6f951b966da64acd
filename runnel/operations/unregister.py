"""Unregistering a processor, so that nothing waits for it any more: first the plan, then, if it is wanted, the deed.

A processor that is not in the code any more, or has another name there, is still registered: its events are kept, and
hold producers back once a partition is full. So it is looked up on the server, by its name.
"""

from collections.abc import Iterable, Mapping

import orjson
from attrs import asdict, frozen

from runnel.app import App
from runnel.errors import ConfigurationError, StillOwned, StoreError
from runnel.operations.status import lag, look
from runnel.store import scripts
from runnel.store.client import Store
from runnel.store.keys import PartitionKeys
from runnel.store.scripts import Held


@frozen(kw_only=True)
class Removal:
    """What is forgotten in one partition."""

    keys: PartitionKeys
    owner: str | None
    cursor: str
    lag: int
    kept: int
    """Parked events and dead letters, which go with it."""
    states: int
    """Keys whose state goes with it."""
    reminding: int
    """Keys whose reminders do."""
    emitted: int
    """Events that its actors emitted, and that are never delivered."""
    others: int
    """How many other processors are registered there."""


@frozen(kw_only=True)
class RemovalPlan:
    """What is forgotten of a processor."""

    processor: str
    removals: tuple[Removal, ...]

    @property
    def streams(self) -> list[str]:
        """On which streams it is registered."""
        return sorted({each.keys.stream for each in self.removals})

    @property
    def owners(self) -> list[str]:
        """The workers that run it."""
        return sorted({each.owner for each in self.removals if each.owner})

    @property
    def lag(self) -> int:
        """Events that it has not done."""
        return sum(each.lag for each in self.removals)

    @property
    def kept(self) -> int:
        """Parked events and dead letters, which go with it."""
        return sum(each.kept for each in self.removals)

    @property
    def states(self) -> int:
        """Keys whose actors forget what they remember."""
        return sum(each.states for each in self.removals)

    @property
    def reminding(self) -> int:
        """Keys whose actors are not reminded any more."""
        return sum(each.reminding for each in self.removals)

    @property
    def emitted(self) -> int:
        """Events that its actors emitted, and that are never delivered."""
        return sum(each.emitted for each in self.removals)

    @property
    def left_alone(self) -> list[str]:
        """Streams that have partitions with no other processor."""
        return sorted({each.keys.stream for each in self.removals if not each.others})


async def make_plan(app: App, processor: str, stream: str | None = None) -> RemovalPlan:
    """See what would be forgotten; changes nothing.

    Args:
        app: Whose processor; it is opened.
        processor: Its name.
        stream: Only on this stream; None: on all that the app declares or the server remembers.

    Raises:
        ConfigurationError: There is no such stream, or no such processor is registered; it names those that are.
        StoreError: The server cannot be reached, or refuses.
    """
    store = await app.open()
    partitions = _partitions(app, await _partition_counts(app, store), stream)
    registered = {keys: await _registered(store, keys) for keys in partitions}
    chosen = [keys for keys, names in registered.items() if processor in names]
    if not chosen:
        raise ConfigurationError(_unknown(app, processor, stream, registered))
    link = store.link()
    try:
        seen = await look(link, chosen, processor)
    finally:
        await link.close()
    return RemovalPlan(
        processor=processor,
        removals=tuple(
            Removal(
                keys=keys,
                owner=each.owner or None,
                cursor=each.cursor or scripts.START.decode(),
                lag=lag(each),
                kept=each.parked + each.dead,
                states=each.states,
                reminding=each.reminding,
                emitted=each.emitted,
                others=len(registered[keys] - {processor}),
            )
            for keys, each in zip(chosen, seen, strict=True)
        ),
    )


def as_json(plan: RemovalPlan, *, done: bool) -> str:
    """The plan for programs, and whether it was carried out."""
    removals = [
        {
            "stream": each.keys.stream,
            "partition": each.keys.number,
            **asdict(each, filter=lambda field, _: field.name != "keys"),
        }
        for each in plan.removals
    ]
    found = {"processor": plan.processor, "done": done, "left_alone": plan.left_alone, "partitions": removals}
    return orjson.dumps(found, option=orjson.OPT_INDENT_2).decode()


async def carry_out(store: Store, plan: RemovalPlan, *, force: bool) -> None:
    """Do it; done again, it does no harm.

    Args:
        store: An open one.
        plan: What to do.
        force: Also where a worker runs it. That worker is fenced; if it goes on it registers the processor again.

    Raises:
        StillOwned: A worker runs it, and it is not to be forced. Unless it began to just now, nothing is changed.
        StoreError: The server cannot be reached, or refuses; some partitions may have forgotten it already.
    """
    if plan.owners and not force:
        raise _still_owned(plan, plan.owners)
    link = store.link()
    try:
        calls = [scripts.unregister(each.keys, plan.processor, force=force) for each in plan.removals]
        answers = await link.run(calls, patience=5)
    finally:
        await link.close()
    for answer in answers:
        if isinstance(answer, StoreError):
            raise answer
    if owners := sorted({answer.owner for answer in answers if isinstance(answer, Held)}):
        raise _still_owned(plan, owners)


async def _partition_counts(app: App, store: Store) -> dict[str, int]:
    """Of all streams that are declared, or that the server remembers."""
    counts = {name: stream.partition_count for name, stream in app.streams.items()}
    noted: Mapping[bytes, bytes] = await store.command("HGETALL", app.keys.streams)
    return counts | {name.decode(): orjson.loads(options)["partition_count"] for name, options in noted.items()}


def _partitions(app: App, counts: Mapping[str, int], stream: str | None) -> list[PartitionKeys]:
    if stream is not None and stream not in counts:
        raise ConfigurationError(f"app {app.name!r} has no stream {stream!r}; it has {', '.join(sorted(counts))}")
    chosen = sorted(counts) if stream is None else [stream]
    return [PartitionKeys(app.name, name, number) for name in chosen for number in range(counts[name])]


async def _registered(store: Store, keys: PartitionKeys) -> set[str]:
    return {name.decode() for name in await store.command("HKEYS", keys.cursors)}


def _unknown(app: App, processor: str, stream: str | None, registered: Mapping[PartitionKeys, Iterable[str]]) -> str:
    where = f"app {app.name!r}" if stream is None else f"stream {stream!r} of app {app.name!r}"
    found = sorted({f"{name} (on {keys.stream})" for keys, names in registered.items() for name in names})
    return f"no processor {processor!r} is registered in {where}; registered are: {', '.join(found) or 'none'}"


def _still_owned(plan: RemovalPlan, owners: Iterable[str]) -> StillOwned:
    return StillOwned(
        f"processor {plan.processor!r} is run by {', '.join(owners)}: stop what runs it first, or take it away with --force"
    )
