"""The reader: one blocking XREAD over all partitions of a processor that can take more, into their mailboxes.

It gets feeds (a partition actor and where to read on) and passes batches of entries to those actors. Reading changes
nothing in Redis, so a reader that is late, or reads twice, does no harm. It never reads what a partition has no room for.
"""

import logging
from typing import Any

from attrs import define, field, frozen

from runnel.actors import Actor, ActorRef
from runnel.errors import StoreUnavailable
from runnel.processor import ProcessorOptions
from runnel.roles.lease import ROOM, Lease
from runnel.store.link import Link

log = logging.getLogger(__name__)

BLOCK = 5.0
"""Seconds for which one XREAD waits for events."""

LINGER = 0.002
"""Seconds for which the reader waits for room in a partition that has just become full, before it blocks on the others.
Leaving a blocked XREAD costs two round trips, which a partition that is hot would pay for each of its batches."""

RETRY = 0.05
"""Seconds until the reader tries again to get out of an XREAD when the server is away."""


# ── messages ──


@frozen(kw_only=True)
class Batch:
    """Entries of a partition, in order. To a partition actor."""

    entries: list[tuple[bytes, list[bytes]]]
    feed: "Feed"


@define(eq=False, kw_only=True)
class Feed:
    """Read for this partition actor from now on, from its position. Replaces an earlier feed of the partition."""

    lease: Lease
    partition: "ActorRef[Any]"
    after: bytes
    room: int = ROOM
    full_since: float = 0.0
    entry_size: float = 0.0

    def gets_room(self, batches: int) -> bool:
        """Its partition has finished so many batches. Whether it was full until now."""
        was_full = not self.room
        self.room += batches
        return was_full and batches > 0


@frozen(kw_only=True)
class Unfeed:
    """Read no more for this lease."""

    lease: Lease


@frozen(kw_only=True)
class Room:
    """A feed's partition, which was full, has finished a batch."""

    feed: Feed


@frozen
class _Read:
    feeds: dict[bytes, Feed]
    reply: Any


@frozen
class _ReadFailed:
    error: Exception


@frozen
class _Again:
    pass


@frozen
class _WakingFailed:
    error: Exception


@frozen
class _Resume:
    pass


ReaderMessage = Feed | Unfeed | Room | _Read | _ReadFailed | _Again | _WakingFailed | _Resume


@define(eq=False)
class Reader(Actor[ReaderMessage]):
    """Feeds the partitions of one processor.

    Args:
        options: The processor's: how much to read ahead.
        link: For XREAD, which occupies its connection while it blocks.
        control: For CLIENT UNBLOCK, which gets the reader out of it.
    """

    options: ProcessorOptions
    link: Link
    control: Link
    feeds: dict[bytes, Feed] = field(factory=dict)
    reading: dict[bytes, Feed] = field(factory=dict)
    client_id: int | None = None
    failures: int = 0
    pausing: bool = False
    waking: bool = False
    events_read: int = 0

    async def receive(self, message: ReaderMessage) -> None:
        match message:
            case Feed():
                self.feeds[message.lease.keys.log] = message
            case Unfeed():
                self._forget(message.lease)
            case _Read():
                batches = self._take(message)
                self._read()  # the server works on it while the partitions work on what it has sent
                for feed, batch in batches:
                    feed.partition.tell_nowait(batch)
            case _ReadFailed():
                self._wait_for_server(message.error)
            case _Resume():
                self.pausing = False
            case _WakingFailed(error):
                if not isinstance(error, StoreUnavailable):
                    raise error
                return self.set_timer("wake", _Again(), RETRY)
            case Room() | _Again():
                pass
        self._read()

    async def on_stop(self) -> None:
        await self.link.close()
        await self.control.close()

    def statistics(self) -> dict[str, object]:
        return {"partitions": len(self.feeds), "reading": len(self.reading), "events": self.events_read}

    def _forget(self, lease: Lease) -> None:
        feed = self.feeds.get(lease.keys.log)
        if feed is not None and feed.lease is lease:
            del self.feeds[lease.keys.log]

    # ── reading ──

    def _read(self) -> None:
        """Start a read, or get the one that is blocked to take up a partition that it leaves out."""
        ready = {key: feed for key, feed in self.feeds.items() if feed.room}
        if self.reading:
            if any(self.reading.get(key) is not feed for key, feed in ready.items()):
                self._wake()
        elif ready and not self.pausing and not self._lingers():
            self.reading = ready
            self.pipe_to_self(self._xread(ready), lambda reply: _Read(ready, reply), _ReadFailed)

    def _lingers(self) -> bool:
        now = self.clock.monotonic()
        if not any(not feed.room and now - feed.full_since < LINGER for feed in self.feeds.values()):
            return False
        self.set_timer("linger", _Again(), LINGER)
        return True

    async def _xread(self, feeds: dict[bytes, Feed]) -> Any:
        if self.client_id is None:
            self.client_id = await self.link.command("CLIENT", "ID")
        return await self.link.command(
            b"XREAD",
            b"COUNT",
            self._count(feeds),
            b"BLOCK",
            round(BLOCK * 1000),
            b"STREAMS",
            *feeds,
            *(feed.after for feed in feeds.values()),
            timeout=2 * BLOCK,
        )

    def _count(self, feeds: dict[bytes, Feed]) -> int:
        """How many entries a partition may give now: what is read ahead is bounded in bytes as well."""
        largest = max((feed.entry_size for feed in self.feeds.values()), default=0.0)  # all may be gone by now
        if not largest:
            return min(self.options.prefetch_count, 16)  # nothing is known of their size yet
        bytes_each = self.options.prefetch_bytes / (ROOM * len(self.feeds))
        return max(1, min(self.options.prefetch_count, int(bytes_each / largest)))

    def _take(self, read: _Read) -> list[tuple[Feed, Batch]]:
        self.reading = {}
        self.failures = 0
        now = self.clock.monotonic()
        batches = []
        for key, entries in (read.reply or {}).items():
            feed = read.feeds[key]
            if self.feeds.get(key) is not feed:
                continue  # it was let go, or its actor restarted and reads on from its position
            feed.after = entries[-1][0]
            feed.room -= 1
            feed.full_since = now
            self._weigh(feed, entries)
            self.events_read += len(entries)
            batches.append((feed, Batch(entries=entries, feed=feed)))
        return batches

    def _weigh(self, feed: Feed, entries: list[tuple[bytes, list[bytes]]]) -> None:
        """Remember how large entries are: a sample of a batch, the largest counting most."""
        sample = entries[:: max(1, len(entries) // 8)]
        largest = max(sum(map(len, fields)) for _, fields in sample)
        feed.entry_size = max(float(largest), 0.9 * feed.entry_size + 0.1 * largest)

    # ── getting out of a read that blocks ──

    def _wake(self) -> None:
        if not self.waking:
            self.waking = True
            self.pipe_to_self(self._unblock(self.reading), lambda _: _Again(), _WakingFailed)

    async def _unblock(self, read: dict[bytes, Feed]) -> None:
        # The connections race: the XREAD may not have arrived yet, and then there is nothing to unblock.
        try:
            while self.reading is read and not await self._is_unblocked():
                await self.clock.sleep(0.001)
        finally:
            self.waking = False

    async def _is_unblocked(self) -> bool:
        return self.client_id is not None and bool(await self.control.command("CLIENT", "UNBLOCK", self.client_id))

    # ── a server that is away ──

    def _wait_for_server(self, error: Exception) -> None:
        # Reading goes on where it stopped. Should the server have lost entries meanwhile, it has another history now:
        # every commit is fenced, the lease is lost, and its next owner reads from the cursor that the server has.
        self.reading, self.client_id = {}, None
        if not isinstance(error, StoreUnavailable):
            raise error
        if not self.failures:
            log.warning("cannot read, trying again", extra={"processor": self.options.name, "error": str(error)})
        self.failures += 1
        self.pausing = True
        self.set_timer("pause", _Resume(), min(0.05 * 2**self.failures, 1.0))
