"""A lease: this worker's right to one partition for one processor, and how far its commits got."""

from collections.abc import Iterable, Sequence
from typing import Any

from aiorwlock import RWLock
from attrs import define, field

from runnel.handling.position import Position
from runnel.handling.window import Window
from runnel.processor import Processor
from runnel.roles.parking import Parking, Replay, key_of
from runnel.store import scripts
from runnel.store.keys import PartitionKeys
from runnel.store.scripts import Acquired, Call, RenewAnswer, Token, Went
from runnel.telemetry.diary import Diary

ROOM = 2
"""How many batches a partition holds: one in hand, and the next."""


@define(eq=False)
class Lease:
    """One term of ownership. The coordinator makes it and prolongs it; processor, partition and committer live by it.

    Attributes:
        processor: For which processor.
        keys: The partition's keys.
        token: What every change of the partition has to show.
        position: How far the partition's events are done.
        deadline: When it ends, by this worker's monotonic clock, counted from sending the last renewal that was
            answered: always before it ends in Redis.
        count_before: How many entries were done when the lease was taken.
        renewal: The call that prolongs it.
        worker: Whose it is.
        crashes: How many owners in a row were lost before, since the last commit.
        culprit: The event that ran alone when the last of them was lost, until it is treated: it must not run again.
        went: What its release says about it: "idle", if owners were lost before, until it has come to its first event.
        parking: What is parked of the partition.
        replay: The parked events that run again just now.
        replayed: How many ran before these.
        diary: The worker's.
        lost: Whether it is void: nothing may be committed under it any more.
        number: The number of its last commit that was answered.
        lock: Commits hold the read side; who gives the partition back holds the write side, so that no commit is under
            way then. Whoever takes the locks of several leases takes them in `in_order`. It is taken without a turn of the
            event loop where nobody has it: a commit of many partitions would wait a turn for each.
    """

    processor: Processor
    keys: PartitionKeys
    token: Token
    position: Position
    deadline: float
    count_before: int
    renewal: Call[RenewAnswer]
    worker: str
    crashes: int = 0
    culprit: bytes | None = None
    went: Went = "well"
    parking: Parking = field(factory=Parking)
    replay: Replay | None = None
    server_ahead: float = 0.0
    """By how many seconds the server's clock, since the epoch, is ahead of this worker's monotonic one, at most."""
    replayed: int = 0
    lost: bool = False
    number: int = 0
    lock: RWLock = field(factory=lambda: RWLock(fast=True))
    diary: Diary = field(factory=Diary)

    @classmethod
    def of(cls, processor: Processor, keys: PartitionKeys, acquired: Acquired, deadline: float, worker: str) -> "Lease":
        """The lease that an `acquire` gave."""
        name, seconds = processor.options.name, processor.options.lock_expiry
        lease = cls(
            processor=processor,
            keys=keys,
            token=acquired.token,
            position=(Position if processor.entity is None else Window)(acquired.cursor, acquired.count),
            deadline=deadline,
            worker=worker,
            count_before=acquired.count,
            crashes=acquired.crashes,
            culprit=acquired.culprit,
            went="idle" if acquired.crashes else "well",
            renewal=scripts.renew(keys, name, acquired.token, seconds),
        )
        sent_at = deadline - seconds
        lease.parking.know(acquired.parked, sent_at)
        lease.server_ahead = acquired.parked.now - sent_at
        return lease

    def compare_clocks(self, sent_at: float, time: tuple[bytes, bytes]) -> float:
        """How far the server's clock is ahead, with what it answers to TIME: `acquire` may have been under way for seconds,
        and asks would be taken for late as long as this lease lasts.
        """
        seconds, micros = time
        self.server_ahead = min(self.server_ahead, int(seconds) + int(micros) / 1e6 - sent_at)
        return self.server_ahead

    @property
    def current(self) -> Position:
        """The events in hand: of the log, or parked ones that run again."""
        return self.replay or self.position

    @property
    def is_careful(self) -> bool:
        """Whether each event is committed before the next is handed out: any may have been out when an owner was lost."""
        return self.crashes > 0 and self.number < ROOM * self.processor.options.prefetch_count

    @property
    def next_xid(self) -> bytes:
        """The id in the log of the next event in hand."""
        return self.current.entries[self.current.at][0]

    @property
    def next_id(self) -> str:
        """The id in the app of the next event in hand."""
        return self.event_id(self.next_xid)

    def event_id(self, xid: bytes) -> str:
        """An event's id in the app."""
        return f"{self.keys.stream}/{self.keys.number}/{xid.decode()}"

    def note_failure(self, fate: str, error: Exception, attempt: int, entry: Sequence[Any] | None = None) -> None:
        """Have the worker's diary say what becomes of an event that has failed: the next one in hand, if not another."""
        xid, fields = entry or self.current.entries[self.current.at]
        self.diary.failed(
            processor=self.processor.options.name,
            partition=self.keys.number,
            event=self.event_id(xid),
            key=key_of(fields).decode(errors="replace"),
            attempt=attempt,
            fate=fate,
            error=error,
        )

    def close(self) -> None:
        """Hand out nothing more: the partition is to be let go."""
        self.position.close()
        if self.replay is not None:
            self.replay.close()

    @property
    def done(self) -> int:
        """How many events this worker did; not those that it passed over."""
        replayed = self.replayed if self.replay is None else self.replayed + self.replay.told - self.replay.passed
        return self.position.count - self.count_before - self.position.passed + replayed

    @property
    def epoch(self) -> int:
        """Which term of the partition's this is."""
        return int(self.token.epoch)

    @property
    def place(self) -> tuple[str, int]:
        """Of which partition of which processor."""
        return self.processor.options.name, self.keys.number

    def renewed(self, sent_at: float) -> None:
        """A renewal sent at that moment was answered: it cannot have ended in Redis before this deadline."""
        self.deadline = sent_at + self.processor.options.lock_expiry

    def release(self) -> Call[bool]:
        """The call that gives the partition back."""
        return scripts.release(self.keys, self.processor.options.name, self.token, self.went)

    @property
    def log_fields(self) -> dict[str, object]:
        """What log lines about it carry."""
        return {
            "app": self.keys.app,
            "stream": self.keys.stream,
            "processor": self.processor.options.name,
            "partition": self.keys.number,
            "epoch": self.epoch,
            "worker": self.worker,
        }


def in_order(leases: Iterable[Lease]) -> list[Lease]:
    """The order in which everybody takes the locks of several leases: in two orders they would wait for each other."""
    return sorted(leases, key=lambda lease: lease.place)


def note(diary: Diary, what: str, leases: Sequence[Lease], why: str = "") -> None:
    """Have a worker's diary say what happened to partitions: a line for those of a processor."""
    for name in dict.fromkeys(lease.processor.options.name for lease in leases):
        of_it = [lease for lease in leases if lease.processor.options.name == name]
        after = sum(lease.crashes > 0 for lease in of_it) if what == "acquired" else 0
        diary.counters["takeover"] += after
        numbers = ", ".join(str(lease.keys.number) for lease in of_it[:20]) + (" ..." if len(of_it) > 20 else "")
        more = f", {after} of them after owners were lost" if after else ""
        many = "1 partition" if len(of_it) == 1 else f"{len(of_it)} partitions"
        diary.happened(what, f"{name}: {many} {what} ({numbers}){more}{why}", len(of_it))
