"""Notices to all workers of an app: hints that make fast what heartbeats would bring anyway.

Whoever changes something posts one; the listener of every worker hears it (roles/control.py). What is decided stands
elsewhere, but for a restart, which its sender asks for again until he sees it.
"""

from collections.abc import Iterable
from typing import Literal

import orjson
from attrs import asdict, frozen

from runnel.store.keys import AppKeys
from runnel.store.link import Link

MOST = 1_000
"""How many notices are kept, about."""

Kind = Literal["assigned", "released", "paused", "restart"]


@frozen(kw_only=True)
class Notice:
    """Something that happened in the app. To members.

    assigned: There is a new assignment for a processor.
    released: These partitions of a processor are free.
    paused: These are paused: who owns them is to give them back. The next heartbeat says so, too.
    restart: Who owns these, in these epochs, is to begin anew with them.
    """

    kind: Kind
    processor: str
    partitions: tuple[int, ...] = ()
    epochs: tuple[int, ...] = ()
    """Of a restart: in which epoch each partition is meant. So a notice that comes late, or twice, does no harm."""

    def means(self, processor: str, partition: int, epoch: int) -> bool:
        """Whether a restart is about this lease."""
        places = zip(self.partitions, self.epochs, strict=False)
        return self.processor == processor and (partition, epoch) in places

    def to_json(self) -> bytes:
        return orjson.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: bytes) -> "Notice":
        """A notice that was posted.

        Raises:
            ValueError, KeyError, TypeError: It is none.
        """
        found = orjson.loads(text)
        partitions, epochs = tuple(found["partitions"]), tuple(found.get("epochs", ()))
        return cls(kind=found["kind"], processor=found["processor"], partitions=partitions, epochs=epochs)


async def post(link: Link, keys: AppKeys, notices: Iterable[Notice]) -> None:
    """Let all workers know.

    Raises:
        StoreError: The server cannot be reached, or refuses.
    """
    for notice in notices:
        await link.command("XADD", keys.control, "MAXLEN", "~", MOST, "*", "notice", notice.to_json())
