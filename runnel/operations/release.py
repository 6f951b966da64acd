"""Letting quarantined partitions go on: first the plan, then, if it is wanted, the deed."""

from collections.abc import Iterable, Sequence

import orjson
from attrs import frozen

from runnel.app import App
from runnel.errors import ConfigurationError, StoreError
from runnel.operations.status import PartitionStatus, look, partition_status
from runnel.processor import Processor
from runnel.store import moves
from runnel.store.keys import PartitionKeys


@frozen(kw_only=True)
class ReleasePlan:
    """Which partitions go on."""

    processor: str
    stream: str
    stopped: tuple[PartitionStatus, ...]


def chosen_partitions(processor: Processor, partitions: Iterable[int]) -> list[PartitionKeys]:
    """A stream's partitions by their numbers; none: all.

    Raises:
        ConfigurationError: There is no such partition.
    """
    stream = processor.stream
    numbers = sorted(set(partitions)) or list(range(stream.partition_count))
    for number in numbers:
        if not 0 <= number < stream.partition_count:
            raise ConfigurationError(f"stream {stream.name!r} has no partition {number}: 0 to {stream.partition_count - 1}")
    return [stream.partitions[number] for number in numbers]


async def make_plan(app: App, processor: Processor, partitions: Sequence[int] = ()) -> ReleasePlan:
    """See which partitions are quarantined; changes nothing.

    Args:
        app: The processor's; it is opened.
        processor: Which processor.
        partitions: The partitions' numbers; none: all.

    Raises:
        ConfigurationError: There is no such partition.
        StoreError: The server cannot be reached, or refuses.
    """
    name, chosen = processor.options.name, chosen_partitions(processor, partitions)
    link = (await app.open()).link()
    try:
        seen = await look(link, chosen, name)
    finally:
        await link.close()
    found = [partition_status(k.number, each, processor.options.start) for k, each in zip(chosen, seen, strict=True)]
    return ReleasePlan(
        processor=name,
        stream=processor.stream.name,
        stopped=tuple(each for each in found if each.stopped is not None),
    )


def as_json(plan: ReleasePlan, *, done: bool) -> str:
    """The plan for programs, and whether it was carried out."""
    partitions = [
        {"partition": each.partition, "cursor": each.cursor, "lag": each.lag, "stopped": each.stopped} for each in plan.stopped
    ]
    found = {"processor": plan.processor, "stream": plan.stream, "done": done, "partitions": partitions}
    return orjson.dumps(found, option=orjson.OPT_INDENT_2).decode()


async def carry_out(app: App, processor: Processor, plan: ReleasePlan) -> None:
    """Do it; done again, it does no harm.

    Raises:
        StoreError: The server cannot be reached, or refuses; some partitions may go on already.
    """
    link = (await app.open()).link()
    try:
        calls = [moves.reopen(processor.stream.partitions[each.partition], plan.processor) for each in plan.stopped]
        answers = await link.run(calls, patience=5)
    finally:
        await link.close()
    for answer in answers:
        if isinstance(answer, StoreError):
            raise answer
