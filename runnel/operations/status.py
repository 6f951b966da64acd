"""How an app stands: for each processor and partition who owns it, and how far behind it is. Reads, changes nothing."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any, Literal

from attrs import evolve, field, frozen

from runnel.app import App
from runnel.errors import LagTooHigh, StoreError
from runnel.handling.position import before, id_parts
from runnel.store import membership, scripts
from runnel.store.link import Link
from runnel.store.membership import Roll
from runnel.store.pausing import Paused
from runnel.store.scripts import Look

NOTHING = "0-0"
"""No entry has this id."""


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
    oldest_age: float | None
    """How long ago the first of these was sent, in seconds by the server's clock; None: there is none."""
    length: int
    """How many entries the log holds."""
    added: int
    """How many were ever sent to it."""
    parked: int
    """How many events are parked."""
    parked_keys: int
    """How many keys these have."""
    dead: int
    """How many dead letters there are."""
    crashes: int
    """How many workers in a row were lost at its next event."""
    suspect: str | None
    """The event that runs alone for it, by its id in the log; None: none does."""
    stopped: str | None
    """Why it is quarantined; None: it is not."""
    states: int
    """How many actors remember something."""
    emitted: int
    """How many events that actors emitted are not delivered yet."""
    paused: Paused | None = None
    """Who wants nobody to run it, and why; None: nobody does. Its owner may still be finishing what is under way."""


@frozen(kw_only=True)
class ProcessorStatus:
    """One processor, over all partitions."""

    processor: str
    stream: str
    partitions: tuple[PartitionStatus, ...]
    breaker_open: Mapping[str, str] = field(factory=dict)
    """Workers on which its circuit breaker is open → the error that opened it."""

    @property
    def lag(self) -> int:
        """Entries that are not done, in all partitions."""
        return sum(each.lag for each in self.partitions)

    @property
    def oldest_age(self) -> float | None:
        """How long the oldest of them has waited, in seconds; None: there is none."""
        return _oldest(each.oldest_age for each in self.partitions)

    @property
    def parked(self) -> int:
        """Events that are parked, in all partitions."""
        return sum(each.parked for each in self.partitions)

    @property
    def dead(self) -> int:
        """Dead letters of all partitions."""
        return sum(each.dead for each in self.partitions)

    @property
    def states(self) -> int:
        """Actors that remember something, in all partitions."""
        return sum(each.states for each in self.partitions)

    @property
    def emitted(self) -> int:
        """Events that actors emitted and that are not delivered yet, from all partitions."""
        return sum(each.emitted for each in self.partitions)

    @property
    def quarantined(self) -> int:
        """Partitions that are quarantined."""
        return sum(each.stopped is not None for each in self.partitions)

    @property
    def paused(self) -> int:
        """Partitions that an operator has paused."""
        return sum(each.paused is not None for each in self.partitions)

    @property
    def owned(self) -> int:
        """Partitions that a worker runs."""
        return sum(each.owner is not None for each in self.partitions)

    @property
    def owners(self) -> int:
        """Workers that run some of it."""
        return len({each.owner for each in self.partitions} - {None})


@frozen(kw_only=True)
class WorkerStatus:
    """One worker of the app."""

    worker: str
    host: str
    pid: int
    processors: tuple[str, ...]
    """Those that it runs; none: it is about to stop."""
    left: float
    """Seconds until others count it as gone, if it is not heard of; below 0: they have not noticed yet."""
    leads: bool


@frozen(kw_only=True)
class Status:
    """An app, at about one moment: each partition is read at one, but not all at the same."""

    app: str
    server: str
    workers: tuple[WorkerStatus, ...]
    processors: tuple[ProcessorStatus, ...]

    @property
    def lag(self) -> int:
        """Entries that are not done, of all processors."""
        return sum(each.lag for each in self.processors)

    @property
    def oldest_age(self) -> float | None:
        """How long the oldest of them has waited, in seconds; None: there is none."""
        return _oldest(each.oldest_age for each in self.processors)


async def read_status(app: App, link: Link | None = None) -> Status:
    """Read how all processors stand, and which workers there are, over this link or one that is opened for it.

    Raises:
        ConfigurationError: A stream has other options on the server than here.
        StoreError: The server cannot be reached, or refuses.
    """
    store = await app.open()
    for declared in app.processors.values():
        await app.compare_stream(declared.stream)
    async with AsyncExitStack() as stack:
        if link is None:
            stack.push_async_callback((link := store.link()).close)
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
        workers = workers_of(await link.call(membership.roll(app.keys)))
        processors = [evolve(each, breaker_open=await _breaker_open(app, link, each.processor, workers)) for each in processors]
    return Status(app=app.name, server=store.where, workers=workers, processors=tuple(processors))


async def _breaker_open(app: App, link: Link, processor: str, workers: Sequence[WorkerStatus]) -> Mapping[str, str]:
    """The workers on which its circuit breaker is open, and the error that opened it."""
    running = [each.worker for each in workers if processor in each.processors]
    keys = [app.keys.paused(processor, worker) for worker in running]
    errors = await link.command("MGET", *keys) if keys else []
    return {worker: error.decode() for worker, error in zip(running, errors, strict=True) if error is not None}


def workers_of(roll: Roll) -> tuple[WorkerStatus, ...]:
    """Those who are there, by name."""
    return tuple(
        WorkerStatus(
            worker=name,
            host=about.host,
            pid=about.pid,
            processors=tuple(sorted(about.processors)),
            left=left,
            leads=name == roll.leader,
        )
        for name, (left, about) in sorted(roll.members.items())
    )


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
        oldest_age=oldest_age(seen, start),
        length=seen.length,
        added=seen.added,
        parked=seen.parked,
        parked_keys=seen.parked_keys,
        dead=seen.dead,
        crashes=seen.crashes,
        suspect=seen.suspect,
        stopped=seen.stopped,
        paused=seen.paused,
        states=seen.states,
        emitted=seen.emitted,
    )


def lag(seen: Look, start: Literal["earliest", "latest"] = "earliest") -> int:
    """How many entries are not done; of a processor that never ran, as many as it will begin with."""
    if seen.cursor is None:
        return seen.length if start == "earliest" else 0
    if seen.next == NOTHING:
        return 0
    if seen.length and before(seen.cursor, seen.first):
        return seen.length  # what lay between was dropped
    return min(seen.length, max(0, seen.added - seen.count))


def oldest_age(seen: Look, start: Literal["earliest", "latest"] = "earliest") -> float | None:
    """How many seconds ago the first entry was sent that is not done, going by its id; None: there is none.

    An id that a sender chose may lie in the future: then it is 0.
    """
    if not lag(seen, start):
        return None
    return max(0.0, round(seen.now - id_parts(seen.next)[0] / 1000, 3))


def check_lag(status: Status, above: int | None, above_age: float | None) -> None:
    """See that no processor is further behind than it may be.

    Args:
        status: How they stand.
        above: The highest lag that is well; None: any.
        above_age: The highest age of the oldest event not done that is well, in seconds; None: any.

    Raises:
        LagTooHigh: One is; it names each.
    """
    found = []
    for each in status.processors:
        if above is not None and each.lag > above:
            found.append(f"{each.processor} on {each.stream}: lag {each.lag:,} is above {above:,}")
        if above_age is not None and each.oldest_age is not None and each.oldest_age > above_age:
            waited = f"its oldest event has waited {each.oldest_age:,.1f} s"
            found.append(f"{each.processor} on {each.stream}: {waited}, which is above {above_age:g} s")
    if found:
        raise LagTooHigh("; ".join(found))


def _oldest(ages: Iterable[float | None]) -> float | None:
    return max((age for age in ages if age is not None), default=None)
