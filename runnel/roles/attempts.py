"""How often an event was tried. Plain data of a partition: it counts for the present owner only."""

from attrs import define

from runnel.handling.position import Position


@define
class Attempts:
    """Of the event, or batch, that failed last.

    Attributes:
        xid: Which it is: the first one of a batch.
        times: How often it has failed.
        with_batch: How often its batch had failed before its events were tried one by one.
    """

    xid: bytes | None = None
    times: int = 0
    with_batch: int = 0

    def next(self, position: Position) -> int:
        """Which attempt the next event is: 1, or more if it was out before and was not done."""
        return 1 + (self.times if _next_xid(position) == self.xid else 0) + self._before(position)

    def tried(self, position: Position) -> int:
        """How often the event that has failed was tried in all."""
        return self.times + self._before(position)

    def if_failed(self, position: Position) -> int:
        """How often the next event, or batch, will have failed, should it fail now."""
        return self.times + 1 if _next_xid(position) == self.xid else 1

    def failed(self, position: Position) -> None:
        """The next event, or batch, has failed."""
        self.times, self.xid = self.if_failed(position), _next_xid(position)

    def singly(self) -> None:
        """The batch that failed is tried event by event from now on."""
        self.with_batch, self.times = self.times, 0

    def _before(self, position: Position) -> int:
        return self.with_batch if position.singly else 0


def _next_xid(position: Position) -> bytes | None:
    return position.entries[position.at][0] if position.left else None
