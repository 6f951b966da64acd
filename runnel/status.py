"""How an app stands: for each processor and partition who owns it, and how far behind it is. Reads, changes nothing."""

from typing import Any, Literal

import orjson
from attrs import asdict, frozen

from runnel.app import App
from runnel.errors import StoreError
from runnel.position import before
from runnel.store import scripts
from runnel.store.link import Link
from runnel.store.scripts import Look


@frozen(kw_only=True)
class PartitionStatus:
    """One partition, for one processor."""

    partition: int
    owner: str | None
    """The worker that runs it; None: nobody."""
    epoch: int
    """How often it was taken, or fenced."""
    lease_left: float
    """Seconds until the owner's lease ends, if it is not renewed."""
    cursor: str | None
    """The last entry that is done; None: the processor never ran."""
    lag: int
    """How many entries it has not done; 0: it is caught up."""
    length: int
    """How many entries the log holds."""
    added: int
    """How many were ever sent to it."""


@frozen(kw_only=True)
class ProcessorStatus:
    """One processor, over all partitions."""

    processor: str
    stream: str
    partitions: tuple[PartitionStatus, ...]

    @property
    def lag(self) -> int:
        """Entries that are not done, in all partitions."""
        return sum(each.lag for each in self.partitions)

    @property
    def owned(self) -> int:
        """Partitions that a worker runs."""
        return sum(each.owner is not None for each in self.partitions)

    @property
    def owners(self) -> int:
        """Workers that run some of it."""
        return len({each.owner for each in self.partitions} - {None})


@frozen(kw_only=True)
class Status:
    """An app, at about one moment: each partition is read at one, but not all at the same."""

    app: str
    server: str
    processors: tuple[ProcessorStatus, ...]


async def read_status(app: App) -> Status:
    """Read how all processors of an app stand.

    Raises:
        StoreError: The server cannot be reached, or refuses.
    """
    store = await app.open()
    link = store.link()
    try:
        processors = [
            ProcessorStatus(
                processor=name,
                stream=declared.stream.name,
                partitions=tuple(
                    partition_status(number, seen, declared.options.start)
                    for number, seen in enumerate(await look(link, declared.stream.partitions, name))
                ),
            )
            for name, declared in app.processors.items()
        ]
    finally:
        await link.close()
    return Status(app=app.name, server=store.where, processors=tuple(processors))


async def look(link: Link, partitions: Any, processor: str) -> list[Look]:
    """Look at partitions, in one exchange.

    Raises:
        StoreError: The server cannot be reached, or refuses.
    """
    answers = await link.run([scripts.look(keys, processor) for keys in partitions])
    for answer in answers:
        if isinstance(answer, StoreError):
            raise answer
    return [answer for answer in answers if isinstance(answer, Look)]


def partition_status(number: int, seen: Look, start: Literal["earliest", "latest"]) -> PartitionStatus:
    """What `look` saw, as people ask for it."""
    return PartitionStatus(
        partition=number,
        owner=seen.owner or None,
        epoch=seen.epoch,
        lease_left=seen.left,
        cursor=seen.cursor,
        lag=lag(seen, start),
        length=seen.length,
        added=seen.added,
    )


def lag(seen: Look, start: Literal["earliest", "latest"] = "earliest") -> int:
    """How many entries are not done; of a processor that never ran, as many as it will begin with."""
    if seen.cursor is None:
        return seen.length if start == "earliest" else 0
    if seen.cursor == seen.last:
        return 0
    if seen.length and before(seen.cursor, seen.first):
        return seen.length  # what lay between was dropped
    return min(seen.length, max(0, seen.added - seen.count))


def as_json(status: Status) -> str:
    """The status for programs, with totals."""
    processors = [
        {**asdict(each), "lag": each.lag, "owned": each.owned, "workers": each.owners} for each in status.processors
    ]
    document = {**asdict(status), "processors": processors, "lag": sum(each.lag for each in status.processors)}
    return orjson.dumps(document, option=orjson.OPT_INDENT_2).decode()
