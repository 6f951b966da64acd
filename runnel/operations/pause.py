"""Pausing a processor, or some of its partitions, and letting it go on.

The mark stands in Redis: it outlives workers and servers. Whoever runs a partition finishes what is under way, commits,
and gives it back; nobody takes it until it is resumed. Events are sent and kept meanwhile, so the lag grows.
"""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from getpass import getuser
from os import getuid
from socket import gethostname
from typing import Any

import orjson
from attrs import asdict, frozen

from runnel.app import App
from runnel.errors import StoreError
from runnel.operations.release import chosen_partitions
from runnel.operations.status import PartitionStatus, look, partition_status
from runnel.processor import Processor
from runnel.store import pausing
from runnel.store.keys import PartitionKeys
from runnel.store.link import Link
from runnel.store.notices import Notice, post
from runnel.store.script import Call

OFTEN = 0.1
"""Seconds between two looks whether owners have let go."""


@frozen(kw_only=True)
class PausePlan:
    """The partitions that are to be paused, or resumed, as they are now."""

    processor: str
    stream: str
    partitions: tuple[PartitionStatus, ...]

    @property
    def paused(self) -> tuple[PartitionStatus, ...]:
        """Those that are paused."""
        return tuple(each for each in self.partitions if each.paused is not None)

    @property
    def owned(self) -> tuple[PartitionStatus, ...]:
        """Those that a worker runs."""
        return tuple(each for each in self.partitions if each.owner is not None)


def somebody() -> str:
    """Who says so, unless it is said: the user and host of this process."""
    try:
        user = getuser()
    except (OSError, KeyError):  # a container's user may have no name
        user = f"uid-{getuid()}"
    return f"{user}@{gethostname()}"


async def make_plan(app: App, processor: Processor, partitions: Sequence[int] = ()) -> PausePlan:
    """See how partitions stand; changes nothing.

    Args:
        app: The processor's; it is opened.
        processor: Which processor.
        partitions: The partitions' numbers; none: all.

    Raises:
        ConfigurationError: There is no such partition.
        StoreError: The server cannot be reached, or refuses.
    """
    chosen, name = chosen_partitions(processor, partitions), processor.options.name
    link = (await app.open()).link()
    try:
        seen = await look(link, chosen, name)
    finally:
        await link.close()
    found = [partition_status(k.number, each, processor.options.start) for k, each in zip(chosen, seen, strict=True)]
    return PausePlan(processor=name, stream=processor.stream.name, partitions=tuple(found))


async def pause(
    app: App, processor: Processor, partitions: Sequence[int] = (), *, reason: str = "", by: str | None = None
) -> None:
    """Pause partitions, at once and for good; done again, it changes the reason, if one is given.

    Owners hear of it at once, or with the next heartbeat (a quarter of `lock_expiry`), and give back what they have when
    the events under way are done (up to `grace_period`); `let_go` waits for that.

    Args:
        app: The processor's; it is opened.
        processor: Which processor; it need not have run yet.
        partitions: The partitions' numbers; none: all.
        reason: For people.
        by: Who says so; None: the user and host of this process.

    Raises:
        ConfigurationError: There is no such partition.
        StoreError: The server cannot be reached, or refuses; some partitions may be paused already.
    """
    name, by = processor.options.name, somebody() if by is None else by
    chosen = chosen_partitions(processor, partitions)
    calls = [pausing.pause(keys, name, reason=reason, by=by) for keys in chosen]
    await _do(app, calls, Notice(kind="paused", processor=name, partitions=_numbers(chosen)))


async def resume(app: App, processor: Processor, partitions: Sequence[int] = ()) -> None:
    """Let paused partitions go on from where they stopped: workers take them up at once. Others are as they were.

    Args:
        app: The processor's; it is opened.
        processor: Which processor.
        partitions: The partitions' numbers; none: all.

    Raises:
        ConfigurationError: There is no such partition.
        StoreError: The server cannot be reached, or refuses; some partitions may go on already.
    """
    name, chosen = processor.options.name, chosen_partitions(processor, partitions)
    calls = [pausing.resume(keys, name) for keys in chosen]
    await _do(app, calls, Notice(kind="released", processor=name, partitions=_numbers(chosen)))


async def let_go(
    app: App, processor: Processor, partitions: Sequence[int] = (), *, patience: float
) -> tuple[PartitionStatus, ...]:
    """Wait until nobody runs these partitions any more, `patience` seconds at most; those that still are run.

    Raises:
        ConfigurationError: There is no such partition.
        StoreError: The server cannot be reached, or refuses.
    """
    give_up = app.clock.monotonic() + patience
    while owned := (await make_plan(app, processor, partitions)).owned:
        if app.clock.monotonic() >= give_up:
            break
        await app.clock.sleep(OFTEN)
    return owned


def as_json(plan: PausePlan, *, done: bool) -> str:
    """The plan for programs, and whether it was carried out."""
    head = {"processor": plan.processor, "stream": plan.stream, "done": done}
    partitions = [
        {
            "partition": each.partition,
            "owner": each.owner,
            "epoch": each.epoch,
            "lag": each.lag,
            "paused": None if each.paused is None else asdict(each.paused),
        }
        for each in plan.partitions
    ]
    return orjson.dumps({**head, "partitions": partitions}, option=orjson.OPT_INDENT_2).decode()


def _numbers(chosen: Iterable[PartitionKeys]) -> tuple[int, ...]:
    return tuple(keys.number for keys in chosen)


async def _do(app: App, calls: Sequence[Call[Any]], notice: Notice) -> None:
    link = (await app.open()).link()
    try:
        answers = await link.run(calls, patience=5)
        await _tell(link, app, notice)
    finally:
        await link.close()
    for answer in answers:
        if isinstance(answer, StoreError):
            raise answer


async def _tell(link: Link, app: App, notice: Notice) -> None:
    with suppress(StoreError):  # the deed is done: workers learn of it with their next heartbeat
        await post(link, app.keys, [notice])
