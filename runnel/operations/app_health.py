"""How an app stands on its server: the second half of `runnel doctor`. Reads, and changes nothing.

It finds what nobody tells: partitions that stand still, and what was left behind by streams and processors of older code.
"""

from collections.abc import Iterator, Mapping, Sequence

from runnel.app import App
from runnel.errors import ConfigurationError
from runnel.operations.exchange import linked, plain, run_all
from runnel.operations.finding import Finding, Level, ok
from runnel.operations.leftovers import find_leftovers
from runnel.operations.status import PartitionStatus, ProcessorStatus, Status, read_status
from runnel.processor import Processor
from runnel.store.script import Command

STALLED = 10.0
"""Seconds for which the oldest event has waited before a partition that did not move counts as standing still."""


async def examine_app(app: App, wait: float) -> list[Finding]:
    """See how an app stands, with a second look after `wait` seconds.

    Raises:
        StoreError: The server cannot be reached, or refuses.
    """
    found = [*await _streams(app), *await find_leftovers(app)]
    if any(each.check == "streams" and each.level == "problem" for each in found):
        return found  # which partitions there are is what they disagree about
    before = await read_status(app)
    if any(each.lag and each.owned for each in before.processors):
        await app.clock.sleep(wait)
    now = await read_status(app)
    found += _workers(now)
    for old, new in zip(before.processors, now.processors, strict=True):
        found += processor(app.processors[new.processor], old, new)
    return [*found, *await _outboxes(app, now)]


async def _streams(app: App) -> list[Finding]:
    wrong = []
    for stream in app.streams.values():
        try:
            await app.compare_stream(stream)
        except ConfigurationError as error:
            advice = "Declare it as it was, or give it another name; `runnel stream delete` removes the old one"
            wrong.append(Finding("streams", "problem", str(error), advice))
    count = len(app.streams)
    return wrong or [ok("streams", f"{count} {'stream' if count == 1 else 'streams'}, as they were made")]


def _workers(status: Status) -> Iterator[Finding]:
    there = [each for each in status.workers if each.left > 0]
    lost = [each.worker for each in status.workers if each.left <= 0]
    if there:
        names = ", ".join(each.worker for each in there[:3])
        yield ok("workers", f"{len(there)}: {names}{' …' if len(there) > 3 else ''}")
    elif status.processors:
        level: Level = "problem" if status.lag else "warning"
        yield Finding("workers", level, "none is running", "Start one: runnel worker APP")
    if lost:
        yield Finding("workers", "warning", f"lost: {', '.join(lost)}", "Others take over within a lease; see why it went away")


def processor(declared: Processor, before: ProcessorStatus, now: ProcessorStatus) -> list[Finding]:
    """What is to be said of a processor, that was looked at twice."""
    name = f"processor {now.processor}"
    found = [*_stopped(name, now), *_still(name, before, now), *_kept(name, declared, now)]
    for worker, error in now.breaker_open.items():
        advice = "Mend what it needs: it tries again by itself"
        found.append(Finding(name, "problem", f"paused on {worker} by its circuit breaker: {error.splitlines()[0]}", advice))
    full = [each.partition for each in now.partitions if each.lag >= declared.stream.partition_size]
    if full:
        said = f"{partitions(full)} full of events that it has not done: producers wait, or are refused"
        found.append(Finding(name, "problem", said, "Run more workers, make its handler faster, or raise partition_size"))
    return found or [ok(name, f"lag {now.lag:,}")]


def _stopped(name: str, now: ProcessorStatus) -> Iterator[Finding]:
    if paused := {each.partition: each.paused for each in now.partitions if each.paused is not None}:
        reasons = sorted({" ".join(each.reason.split()) for each in paused.values() if each.reason})
        said = f"{partitions(list(paused))} paused{': ' if reasons else ''}{'; '.join(reasons)}"
        yield Finding(name, "warning", said, "If it may go on: runnel resume")
    for each in now.partitions:
        if each.stopped is not None:
            said = f"partition {each.partition} is quarantined: {each.stopped.splitlines()[0]}"
            yield Finding(name, "problem", said, "Mend it, then: runnel processor release")
        elif each.crashes:
            said = f"partition {each.partition}: {each.crashes} workers lost in a row at the event after {each.cursor}"
            yield Finding(name, "warning", said, "See the logs of the workers that died: this event may be what kills them")


def _still(name: str, before: ProcessorStatus, now: ProcessorStatus) -> Iterator[Finding]:
    """Partitions with events to do of which none is done."""
    if idle := [each.partition for each in now.partitions if each.lag and _may_run(each) and each.owner is None]:
        said = f"nobody runs {partitions(idle)}, with events to do"
        yield Finding(name, "problem", said, "Start a worker that runs it; --processors of those that run may leave it out")
    pairs = zip(before.partitions, now.partitions, strict=True)
    if stuck := [new.partition for old, new in pairs if _stands(old, new) and not now.breaker_open]:
        said = f"no event was done in {partitions(stuck)} between two looks, though a worker owns them"
        advice = "A handler that takes long looks the same. See `runnel top`, and the worker's log for where it blocks"
        yield Finding(name, "warning", said, advice)


def _may_run(status: PartitionStatus) -> bool:
    """Whether nothing keeps a worker from it."""
    return status.stopped is None and status.paused is None


def _stands(before: PartitionStatus, now: PartitionStatus) -> bool:
    same = before.lag > 0 and before.cursor == now.cursor and before.owner == now.owner and _may_run(now)
    return same and now.owner is not None and (now.oldest_age or 0.0) >= STALLED


def _kept(name: str, declared: Processor, now: ProcessorStatus) -> Iterator[Finding]:
    if full := [each.partition for each in now.partitions if each.parked >= declared.options.max_parked]:
        said = f"as many events are parked as may be (max_parked) in {partitions(full)}: there it pauses"
        yield Finding(name, "problem", said, "runnel parked list, then release or discard")
    elif now.parked:
        advice = "runnel parked list says why, and when they run again"
        yield Finding(name, "warning", "1 event is parked" if now.parked == 1 else f"{now.parked:,} events are parked", advice)
    if now.dead:
        letters = "1 dead letter" if now.dead == 1 else f"{now.dead:,} dead letters"
        yield Finding(name, "warning", letters, "runnel dead list, then retry or discard")


async def _outboxes(app: App, status: Status) -> list[Finding]:
    """Emitted events that nobody brings to where they belong."""
    found = []
    owned: Mapping[str, Sequence[PartitionStatus]] = {each.processor: each.partitions for each in status.processors}
    async with linked(app) as (_, link):
        for name, declared in app.processors.items():
            if declared.entity is None:
                continue
            calls = [Command(("XLEN", keys.outbox(name)), plain) for keys in declared.stream.partitions]
            lengths = await run_all(link, calls)
            waiting = sum(length for length, each in zip(lengths, owned[name], strict=True) if each.owner is None)
            if waiting:
                said = f"{waiting:,} emitted events are on their way, and no worker brings them"
                found.append(Finding(f"processor {name}", "problem", said, "Start a worker that runs it"))
    return found


def partitions(numbers: Sequence[int]) -> str:
    """Some partitions, named."""
    shown = ", ".join(map(str, numbers[:8])) + (f" and {len(numbers) - 8} more" if len(numbers) > 8 else "")
    return f"partition {shown}" if len(numbers) == 1 else f"partitions {shown}"

