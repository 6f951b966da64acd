"""An outbox as its relay knows it: what is to be asked of the server next, and what the answers mean. Plain data.

Nothing here is ever the truth: that is in the outbox, and in what the targets remember of it. So whatever is in doubt is
forgotten, and read again.
"""

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

from attrs import define, field, frozen

from runnel.errors import StoreError
from runnel.store import outbox
from runnel.store.keys import PartitionKeys
from runnel.store.outbox import LARGEST, Delivered, Emitted, Entry
from runnel.store.script import Call, Command
from runnel.store.scripts import START

log = logging.getLogger(__name__)


class Step(NamedTuple):
    """One thing to ask of the server, and who takes the answer; that says how many events it has delivered."""

    call: Call[Any] | Command[Any]
    take: Callable[[Any], int]


@frozen
class Trouble:
    """Why events wait, in words for the log."""

    said: str
    error: str


REFUSES = "emitted events wait: their target refuses them, trying again"
CLOSED = "emitted events wait: the server refuses their outbox, trying again"
ODD = "emitted events wait behind an entry of the outbox that is not understood: XDEL takes it out, if nothing else can"


@define(eq=False)
class Outbox:
    """The outbox of one partition.

    Each target gets its events in the order of the outbox, without a gap: it takes what is not above its mark for
    delivered. So from the first event on that a target has refused none is brought to it, until that one is; those for
    other targets go on meanwhile. No event is brought while an earlier one for the same target is under way.

    Attributes:
        source: The partition.
        processor: Whose outbox.
        told: Something may have come since it was last read.
        more: There was something behind what was read last.
        after: Up to which entry it was read.
        page: What is to be delivered next, of each target.
        delivered: What is to be removed next.
        held: For each target that refuses the first event that waits for it, and why.
        closed: Why it is not read on.
        largest: Bytes of the largest event of what was read last.
    """

    source: PartitionKeys
    processor: str
    told: bool = True
    more: bool = False
    after: bytes = START
    page: dict[bytes, list[Emitted]] = field(factory=dict)
    delivered: list[bytes] = field(factory=list)
    held: dict[bytes, tuple[Emitted, str]] = field(factory=dict)
    closed: Trouble | None = None
    largest: int = 0

    @property
    def is_busy(self) -> bool:
        """Whether there is something to ask now."""
        return bool(self.page) or (self.closed is None and bool(self.delivered or self._reads))

    @property
    def is_done(self) -> bool:
        """Whether nothing of it is known to wait."""
        return not (self.delivered or self.page or self.held or self._reads or self.closed)

    @property
    def troubles(self) -> dict[bytes, Trouble]:
        """Why events wait, if they do, by the Redis key that is the reason."""
        held = {key: Trouble(REFUSES, error) for key, (_, error) in self.held.items()}
        return held if self.closed is None else {**held, self.source.outbox(self.processor): self.closed}

    @property
    def _reads(self) -> bool:
        return self.told or self.more

    def steps(self, most: int) -> list[Step]:
        """What to ask now, all in one exchange: the next page, of so many entries, is read while the last is delivered."""
        found = []
        if self.delivered:
            ids, self.delivered = self.delivered, []
            found.append(Step(outbox.remove(self.source, self.processor, ids), partial(self._removed, ids)))
        page, self.page = self.page, {}
        for events in page.values():
            call = outbox.deliver(self.source, self.processor, events)
            found.append(Step(call, partial(self._delivered, events)))
        if self._reads and self.closed is None:
            self.told = self.more = False
            page_after = outbox.read(self.source, self.processor, self.after, most)
            found.append(Step(page_after, partial(self._read, self.after, most)))
        return found

    def retry(self) -> None:
        """Try again what was refused: each target with the first event that waits for it, and to read on."""
        self.page |= {key: [event] for key, (event, _) in self.held.items()}
        if self.closed is not None:
            self.closed, self.more = None, True

    def restart(self) -> None:
        """Forget all that was read: the server has not answered, and may have another past when it does."""
        self.told, self.more, self.after = True, False, START
        self.page, self.delivered, self.held = {}, [], {}

    # ── answers ──

    def _removed(self, ids: list[bytes], answer: int | StoreError) -> int:
        if isinstance(answer, StoreError):
            self.closed = Trouble(CLOSED, str(answer))
            self.delivered = ids + self.delivered
        return 0

    def _delivered(self, events: Sequence[Emitted], answer: Delivered | StoreError) -> int:
        first, target = events[0], events[0].target.keys
        if isinstance(answer, StoreError):
            self.held[target.log] = first, str(answer)
            return 0
        self.delivered += [event.id for event in events]
        if self.held.pop(target.log, None) is not None:
            self._go_back(first.id)
        if answer.dropped:
            fields = {"app": target.app, "stream": target.stream, "partition": target.number}
            log.warning("unprocessed events dropped", extra={**fields, "dropped": answer.dropped})
        return answer.appended

    def _go_back(self, entry: bytes) -> None:
        """Read on from there: a target that refused until now gets what was passed over."""
        self.after, self.more = min(self.after, entry, key=_place), True

    def _read(self, after: bytes, most: int, answer: list[Entry] | StoreError) -> int:
        if isinstance(answer, StoreError):
            self.closed = Trouble(CLOSED, str(answer))
        elif after != self.after:
            self.more = True  # it went back meanwhile: this page would leave a gap
        else:
            self.more = len(answer) == most
            if answer:
                self._sort(answer)
        return 0

    def _sort(self, entries: Sequence[Entry]) -> None:
        """Give each target its events, as far as one exchange may hold them: what lies behind is read again."""
        size = self.largest = 0
        for entry in entries:
            try:
                event = Emitted.of(self.source.app, entry)
            except ValueError as error:
                # Nobody knows for which target it is: to pass over it might break that one's order.
                self.closed = Trouble(ODD, f"{entry[0].decode()}: {error}")
                return
            target = event.target.keys.log
            if target not in self.held:
                bytes_of = sum(map(len, event.fields))
                size += bytes_of
                if size > LARGEST and self.page:
                    self.more = True
                    return
                self.largest = max(self.largest, bytes_of)
                self.page.setdefault(target, []).append(event)
            self.after = event.id


def _place(entry: bytes) -> tuple[int, int]:
    """An id as its two numbers, for comparing."""
    ms, _, seq = entry.partition(b"-")
    return int(ms), int(seq)
