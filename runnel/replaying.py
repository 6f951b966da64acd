"""Replaying: a range of a stream through a processor once more, under another name, in this process.

The events are copied, a window at a time and with their own ids, into a sandbox: an app of its own on the same server, with
this processor alone. So nothing of the real app is touched: no cursor, no state, no worker, no leader, and no producer waits.
What lies in the sandbox (cursors, what actors remember, are reminded of and emit, dead letters) goes with it at the end. What
the user's code does itself, to streams of the real app or to the world, it does again.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import orjson
from attrs import asdict, define, evolve, field, frozen

from runnel.app import App
from runnel.errors import ConfigurationError, ReplayFailed
from runnel.operations import erasing, kept
from runnel.operations.exchange import linked, plain, run_all
from runnel.operations.replay import Part, Range, read, shapes
from runnel.operations.shown import Entry
from runnel.operations.status import lag
from runnel.processor import Processor
from runnel.store import membership, scripts
from runnel.store.keys import PartitionKeys
from runnel.store.link import Link
from runnel.store.script import Command
from runnel.store.scripts import Appended, Full, Look
from runnel.worker import Worker

WINDOW = 1_000
"""Events of a partition that are in the sandbox at once."""

PRODUCER = "replay"

LOOK = 0.02
"""Seconds between two looks at how far it is."""

SHOWN = 5
"""Failures that are told one by one."""


@frozen(kw_only=True)
class Outcome:
    """What a replay did.

    Attributes:
        events: How many were handled.
        left_out: How many entries of the range were not: messages and reminders of actors; with a key, also what is of others.
        failed: How many of them failed, under the policies PARK or DEAD_LETTER (PARK: with those behind them).
        errors: The first of these, and why.
    """

    events: int
    left_out: int
    failed: int
    errors: tuple[str, ...]


def check(outcome: Outcome) -> None:
    """See that no event failed.

    Raises:
        ReplayFailed: Some did; it names the first.
    """
    if outcome.failed:
        first = f": {'; '.join(outcome.errors)}" if outcome.errors else ""
        raise ReplayFailed(f"{outcome.failed:,} of {outcome.events:,} events failed, or lie behind one that did{first}")


def done_as_json(outcome: Outcome) -> str:
    """What was done, for programs."""
    return orjson.dumps({"done": True, **asdict(outcome)}, option=orjson.OPT_INDENT_2).decode()


def sandbox_of(app: App, processor: Processor, name: str) -> tuple[App, Processor]:
    """An app with nothing but this processor, under another name, and streams of the same names.

    Raises:
        ConfigurationError: The name does not fit.
    """
    sandbox = App(f"{app.name}~replay~{name}", clock=app.clock)
    sandbox.settings = evolve(app.settings, autodiscover=None)
    sandbox.starting, sandbox.stopping = app.starting, app.stopping
    sandbox.streams = {each.name: each.clone(app=sandbox) for each in app.streams.values()}
    stream = processor.stream.clone(app=sandbox, partition_size=WINDOW)
    sandbox.streams[stream.name] = stream
    options = evolve(processor.options, name=name, start="earliest", join_delay=0.0)
    again = Processor(stream, processor.function, options, processor.entity)
    sandbox.processors[name] = again
    return sandbox, again


async def replay(
    app: App, processor: Processor, name: str, events: Range, advance: Callable[[int], object] = lambda done: None
) -> Outcome:
    """Run them, in the order of each partition, and wait until all are done.

    Args:
        app: The processor's; it is opened.
        processor: What is to handle them.
        name: Under which name.
        events: Which.
        advance: Told how many entries of the range are done.

    Raises:
        ConfigurationError: A replay of this name is under way.
        HandlerFailed: A handler failed under the policy HALT.
        ReplayFailed: A partition was quarantined.
        StoreError: The server cannot be reached, or refuses.

    Cancelling it lets events under way finish. In any case nothing of it is left on the server, unless the process is killed:
    then what is left goes when a replay of the same name begins.
    """
    sandbox, again = sandbox_of(app, processor, name)
    async with sandbox:
        await _check_free(sandbox, name)
        await _clear(sandbox, again)
        try:
            async with _running(sandbox, name) as running, linked(sandbox) as (_, link):
                feed = Feed(link, again, events, [_Going(part) for part in events.parts])
                await feed.run(running, app.clock.sleep, advance)
                return await _outcome(sandbox, again, feed)
        finally:
            await _clear(sandbox, again)


@asynccontextmanager
async def _running(sandbox: App, name: str) -> AsyncIterator["asyncio.Task[None]"]:
    """A worker for the sandbox, stopped in order at the end."""
    worker, ready = Worker(sandbox, settle=0.0), asyncio.Event()  # no others come
    running = asyncio.ensure_future(worker.run([name], ready=ready.set))
    running.add_done_callback(lambda _: ready.set())
    try:
        await ready.wait()
        yield running
    finally:
        worker.stop() if ready.is_set() else running.cancel()  # before that there is nothing to stop in order
        await asyncio.wait([running])
        if not running.cancelled():
            running.exception()  # who waits for it has heard of it


@define
class _Going:
    """How far a partition is.

    Attributes:
        part: The range in it.
        read: Entries of the range that were looked at.
        after: The last of them.
        last: The last one that is in the sandbox.
        waiting: Those that have yet to go there: there was no room.
        ended: Whether all were looked at.
    """

    part: Part
    read: int = 0
    after: bytes | None = None
    last: bytes | None = None
    waiting: list[tuple[tuple[bytes, ...], list[Entry]]] = field(factory=list)
    sequence: int = 0
    copied: int = 0
    ended: bool = False


@define
class Feed:
    """Copies the range into the sandbox as there is room, and sees how much of it is done."""

    link: Link
    processor: Processor
    range: Range
    going: list[_Going]

    async def run(
        self, running: "asyncio.Task[None]", sleep: Callable[[float], Any], advance: Callable[[int], object]
    ) -> None:
        """Until all is done; or raise what ended the worker, or the reason for which a partition is quarantined."""
        while True:
            for each in self.going:
                await self._fill(each)
            seen = await self.look()
            for going, stands in zip(self.going, seen, strict=True):
                if stands.stopped is not None:
                    raise ReplayFailed(f"partition {going.part.keys.number} is quarantined: {stands.stopped}")
            undone = sum(map(lag, seen))
            advance(sum(each.read for each in self.going) - undone)
            if not undone and all(each.ended and not each.waiting for each in self.going):
                return
            if running.done():
                running.result()
                raise ReplayFailed("the worker was stopped")
            await sleep(LOOK)

    async def _fill(self, going: _Going) -> None:
        while await self._append(going) and not going.ended:
            events, looked, last = await read(self.link, going.part, going.after, self.range.key)
            going.read += looked
            going.ended = last is None
            going.after = last or going.after
            going.waiting = shapes(events)

    async def _append(self, going: _Going) -> bool:
        """Bring what waits into the sandbox; whether there was room for all of it."""
        while going.waiting:
            names, entries = going.waiting[0]
            values = [value for entry, fields in entries for value in (entry, *fields[1::2])]
            call = scripts.append(
                self._keys(going), PRODUCER, going.sequence + 1, names, values, cap=WINDOW, overflow="block", explicit_ids=True
            )
            answer = await self.link.call(call, patience=5)
            if isinstance(answer, Full):
                return False
            if not isinstance(answer, Appended):
                raise ReplayFailed(f"partition {going.part.keys.number}: somebody else writes to the sandbox: {answer}")
            going.sequence += 1
            going.copied += len(entries)
            going.last = entries[-1][0]
            going.waiting = going.waiting[1:]
        return True

    async def look(self) -> list[Look]:
        """How its partitions stand in the sandbox."""
        name = self.processor.options.name
        return await run_all(self.link, [scripts.look(self._keys(each), name) for each in self.going], patience=5)

    def _keys(self, going: _Going) -> PartitionKeys:
        return self.processor.stream.partitions[going.part.keys.number]


async def _outcome(sandbox: App, again: Processor, feed: Feed) -> Outcome:
    seen = await feed.look()
    failed = sum(each.parked + each.dead for each in seen)
    found: Sequence[kept.Kept] = ()
    if failed:
        choice = kept.Choice(limit=SHOWN)
        found = [*await kept.find(sandbox, again, "dead", choice), *await kept.find(sandbox, again, "parked", choice)]
    errors = tuple(f"{each.event_id}: {each.error.splitlines()[0]}" for each in found if each.error)[:SHOWN]
    events = sum(each.copied for each in feed.going)
    left_out = sum(each.read for each in feed.going) - events
    return Outcome(events=events, left_out=left_out, failed=failed, errors=errors)


async def _check_free(sandbox: App, name: str) -> None:
    async with linked(sandbox) as (_, link):
        roll = await link.call(membership.roll(sandbox.keys))
    if running := [worker for worker, (left, _) in roll.members.items() if left > 0]:
        raise ConfigurationError(f"a replay as {name!r} is under way, by {', '.join(running)}: choose another --as")


async def _clear(sandbox: App, again: Processor) -> None:
    """Leave nothing of the sandbox on the server."""
    streams = list(sandbox.streams.values()) if again.entity is not None else [again.stream]
    for stream in streams:  # actors may have emitted to any
        await erasing.carry_out(sandbox, await erasing.make_plan(sandbox, stream.name), force=True)
    keys = sandbox.keys
    of_app = (keys.streams, keys.members, keys.workers, keys.membership, keys.leader, keys.control, keys.ticks, keys.delaying)
    producers = [partition.producer(PRODUCER) for partition in again.stream.partitions]
    async with linked(sandbox) as (_, link):
        await run_all(link, [Command[int](("UNLINK", key), plain) for key in (*of_app, *producers)], patience=5)
