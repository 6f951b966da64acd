"""Standing: what processors have still to do, in all partitions, read at one moment.

At one moment, or it would prove nothing: an event on its way from one stream to another could be missed in both.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from attrs import define, field, frozen

from runnel.clock import DueTimes
from runnel.handling.position import before
from runnel.processor import Processor
from runnel.store.keys import AppKeys, PartitionKeys
from runnel.store.link import Link
from runnel.store.pausing import Paused

Command = tuple[Any, ...]


@frozen(kw_only=True)
class Undone:
    """What one partition has still to do.

    Attributes:
        what: "events" of the log that a processor has not done, parked events of "released" keys that have not run again,
            events in its "outbox", or delayed events that are "due" and not in the log.
        processor: Whose; of delayed events nobody's.
        stopped: Why it never will: the partition is quarantined.
        paused: Who wants nobody to: it never will either, until it is resumed.
    """

    keys: PartitionKeys
    what: Literal["events", "released", "outbox", "due"]
    processor: str = ""
    stopped: str = ""
    paused: Paused | None = None


@frozen(kw_only=True)
class Standing:
    """How all stands. Moments are in ms since the epoch, by the server's clock and as far as due times are ahead of it."""

    now: int
    undone: Sequence[Undone]
    next_due: int | None
    """When the next delayed event is due, or reminder; None: there is none."""


@define(eq=False)
class Onlooker:
    """Looks at processors, and at the delayed events of their app. It changes nothing.

    Args:
        keys: The app's.
        processors: Those that are waited for.
        due_times: How far they are ahead.
        link: A connection of its own.
    """

    keys: AppKeys
    processors: Sequence[Processor]
    due_times: DueTimes
    link: Link
    delaying: Mapping[bytes, bytes] = field(factory=dict)
    """Streams that ever had delayed events, as far as is known, and how many partitions they have."""

    async def look(self) -> Standing:
        """See how all stands.

        Raises:
            StoreError: The server cannot be reached, or refuses.
        """
        while True:
            asked, ahead = self.delaying, round(self.due_times.ahead * 1000)
            answers = iter(await self.link.at_once(list(self._commands())))
            self.delaying = next(answers)
            if self.delaying == asked:  # otherwise there is more to ask about
                return self._standing(answers, ahead)

    def _commands(self) -> Iterator[Command]:
        yield "HGETALL", self.keys.delaying
        yield ("TIME",)
        for keys in self._delayed():
            yield "ZRANGE", keys.delayed, 0, 0, "WITHSCORES"
        for name, keys in self._partitions():
            yield "XREVRANGE", keys.log, "+", "-", "COUNT", 1
            yield "HGET", keys.cursors, name
            yield "HMGET", keys.slot(name), "stopped", "paused"
            yield "SCARD", keys.released_keys(name)
            yield "XLEN", keys.outbox(name)

    def _standing(self, answers: Iterator[Any], ahead: int) -> Standing:
        seconds, microseconds = next(answers)
        now = int(seconds) * 1000 + int(microseconds) // 1000 + ahead
        undone, dues = list[Undone](), list[int]()
        for keys in self._delayed():
            for _, due in next(answers):
                dues.append(int(due))
                if due <= now:
                    undone.append(Undone(keys=keys, what="due"))
        for name, keys in self._partitions():
            last, cursor, (stopped, paused), released, emitted = (next(answers) for _ in range(5))
            why: dict[str, Any] = {"stopped": (stopped or b"").decode(), "paused": paused and Paused.of(paused)}
            if cursor is not None and last and before(cursor.decode(), last[0][0].decode()):
                undone.append(Undone(keys=keys, what="events", processor=name, **why))
            if released:
                undone.append(Undone(keys=keys, what="released", processor=name, **why))
            if emitted:
                undone.append(Undone(keys=keys, what="outbox", processor=name))
        return Standing(now=now, undone=undone, next_due=min(dues, default=None))

    def _delayed(self) -> Iterator[PartitionKeys]:
        for stream, count in self.delaying.items():
            for number in range(int(count)):
                yield PartitionKeys(self.keys.app, stream.decode(), number)

    def _partitions(self) -> Iterator[tuple[str, PartitionKeys]]:
        for processor in self.processors:
            for keys in processor.stream.partitions:
                yield processor.options.name, keys
