"""Every key that Runnel writes, its type and its lifetime. No other module spells a key.

All keys of a partition share one hash tag, so that each script stays within one slot of a Redis Cluster; the few keys of
an app share another. Names are percent-encoded outside `A-Za-z0-9_.-`: no two apps, streams or processors share a key.
"""

from functools import lru_cache
from urllib.parse import quote, unquote

from attrs import field, frozen


@lru_cache(4096)
def encoded(name: str) -> str:
    """A name as it stands in a key: `:`, `{`, `}`, `~` and all else that keys use for themselves are escaped."""
    return quote(name, safe="", errors="surrogatepass").replace("~", "%7E")


def decoded(name: str) -> str:
    """The name that `encoded` was given."""
    return unquote(name, errors="surrogatepass")


@frozen
class PartitionKeys:
    """The keys of one partition of a stream, for all its producers and processors."""

    app: str
    stream: str
    number: int
    log: bytes = field(init=False)
    """stream, for ever: the events, trimmed once every processor has done them and room is needed; with a consumer group
    for each processor, which shows its cursor to people and is never read"""
    cursors: bytes = field(init=False)
    """hash, for ever: processor → its committed cursor; what is not above the smallest of them may be trimmed"""
    counts: bytes = field(init=False)
    """hash, for ever: `dropped`, the events that overflow `drop_oldest` dropped unprocessed; `delayed`, how many were ever"""
    delayed: bytes = field(init=False)
    """zset, while there are any: number of a delayed event, as 16 digits → when it is due, in ms"""
    delayed_entries: bytes = field(init=False)
    """hash, while there are any: the same number → its fields, and what becomes of it in a full log, as MessagePack"""
    relayed: bytes = field(init=False)
    """hash, for ever: outbox of another partition, as `stream/partition/processor` → the last of its events delivered here"""

    def __attrs_post_init__(self) -> None:
        for name in ("log", "cursors", "counts", "delayed", "delayed_entries", "relayed"):
            object.__setattr__(self, name, f"{self.tag}:{name}".encode())

    @property
    def tag(self) -> str:
        """What Redis Cluster hashes: the braces and what they hold."""
        return f"{{{encoded(self.app)}:{encoded(self.stream)}:{self.number}}}"

    def slot(self, processor: str) -> bytes:
        """hash, for ever: who owns the partition for `processor` (owner, epoch, nonce, history, deadline), how far it
        came (count: entries up to the cursor since the log began; mirrored: the cursor that its consumer group shows),
        the number of the last commit under that epoch, how often operators have changed parked events (operated), and
        why it may not be acquired (stopped)
        """
        return f"{self.tag}:proc:{encoded(processor)}".encode()

    def dead(self, processor: str) -> bytes:
        """stream, for ever: the processor's dead letters: the entries' own fields, and why and when they failed, as `~...`"""
        return self.slot(processor) + b":dead"

    def parked(self, processor: str) -> bytes:
        """stream, for ever: the processor's parked events, as dead letters; of one key in the order of the log"""
        return self.slot(processor) + b":parked"

    def parked_keys(self, processor: str) -> bytes:
        """hash, while there are any: key that is parked → how many events of it are"""
        return self.slot(processor) + b":parked_keys"

    def released_keys(self, processor: str) -> bytes:
        """set, while there are any: the parked keys that are to run again"""
        return self.slot(processor) + b":released_keys"

    def tries(self, processor: str) -> bytes:
        """hash, while there are any: parked key → how often it was tried again, and when it is next (ms; 0: not by itself)"""
        return self.slot(processor) + b":tries"

    def of_parked(self, processor: str) -> tuple[bytes, bytes, bytes, bytes]:
        """All that there is of a processor's parked events: these, their keys, the released ones, and the keys' tries."""
        return self.parked(processor), self.parked_keys(processor), self.released_keys(processor), self.tries(processor)

    def state(self, processor: str) -> bytes:
        """hash, while there are any: key → what its actor remembers, encoded"""
        return self.slot(processor) + b":state"

    def done(self, processor: str) -> bytes:
        """set, while there are any: ids of the events above the cursor that are done (at most some thousand)"""
        return self.slot(processor) + b":done"

    def reminders(self, processor: str) -> bytes:
        """hash, while there are any: key → its actor's pending reminders, as JSON: name → due time in ms"""
        return self.slot(processor) + b":reminders"

    def outbox(self, processor: str) -> bytes:
        """stream, for ever: events that the processor's actors emitted, on their way to other partitions"""
        return self.slot(processor) + b":outbox"

    def of_actors(self, processor: str) -> tuple[bytes, ...]:
        """All that a commit of a processor with actors may change beyond that of one without: these, and delayed events."""
        own = self.state(processor), self.done(processor), self.reminders(processor), self.outbox(processor)
        return *own, self.delayed, self.delayed_entries

    @property
    def of_stream(self) -> tuple[bytes, ...]:
        """All that there is of the partition for ever, but what is its processors'."""
        return self.log, self.cursors, self.counts, self.delayed, self.delayed_entries, self.relayed

    def of_processor(self, processor: str) -> tuple[bytes, ...]:
        """All that there is of a processor in the partition: its slot, its outbox, and the rest."""
        actors = self.state(processor), self.done(processor), self.reminders(processor)
        return self.slot(processor), self.outbox(processor), self.dead(processor), *self.of_parked(processor), *actors

    def answers(self, asker: str) -> bytes:
        """stream, expires: answers of actors to one who asks them"""
        return f"{self.tag}:answers:{encoded(asker)}".encode()

    def producer(self, producer: str) -> bytes:
        """hash, expires: the last sequence that a producer appended, or put aside, or a cancelling, and what it was answered"""
        return f"{self.tag}:producer:{encoded(producer)}".encode()


@frozen
class AppKeys:
    """The keys of an app that belong to no partition."""

    app: str

    @property
    def streams(self) -> bytes:
        """hash, for ever: stream → the options that may not change while it holds events, as JSON"""
        return f"{{{encoded(self.app)}}}:streams".encode()

    @property
    def members(self) -> bytes:
        """zset, for ever: worker → when its membership ends unless it beats again, in ms by the server's clock"""
        return f"{{{encoded(self.app)}}}:members".encode()

    @property
    def workers(self) -> bytes:
        """hash, for ever: member → what it says of itself, as JSON: its processors, host and process"""
        return f"{{{encoded(self.app)}}}:workers".encode()

    @property
    def membership(self) -> bytes:
        """hash, for ever: the membership's version, when it changed last, the server's history then, and when it was begun"""
        return f"{{{encoded(self.app)}}}:membership".encode()

    @property
    def leader(self) -> bytes:
        """hash, for ever: the lease of what runs once in the app (owner, epoch, nonce, history, deadline)"""
        return f"{{{encoded(self.app)}}}:leader".encode()

    @property
    def control(self) -> bytes:
        """stream, its last thousand entries: notices between workers, which only make fast what heartbeats bring anyway"""
        return f"{{{encoded(self.app)}}}:control".encode()

    @property
    def ticks(self) -> bytes:
        """hash, for ever: job that runs once in the app → the last due time claimed for it, in ms, and the last claims of its
        last leaders
        """
        return f"{{{encoded(self.app)}}}:ticks".encode()

    @property
    def delaying(self) -> bytes:
        """hash, for ever: stream that ever had delayed events → how many partitions it has"""
        return f"{{{encoded(self.app)}}}:delaying".encode()

    def paused(self, processor: str, worker: str) -> bytes:
        """string, expires: why a processor pauses on a worker, the error that opened its circuit breaker; only for people"""
        return f"{{{encoded(self.app)}}}:paused:{encoded(processor)}:{encoded(worker)}".encode()

    def assignment(self, stream: str, processor: str) -> bytes:
        """hash, for ever: which worker is to own which partition, its version, and that of the membership it is for"""
        return f"{{{encoded(self.app)}}}:assignment:{encoded(stream)}:{encoded(processor)}".encode()
