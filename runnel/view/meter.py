"""How many events a worker has done, and how fast, told from snapshots of its tree. No clock, no rich."""

from collections import deque

from attrs import define, field

from runnel.actors import ActorSnapshot

WINDOW = 3.0
"""Seconds over which the rate is taken."""


PARTITIONS = ("Partition", "KeyedPartition")
"""Kinds of actors that have events done."""


@define(eq=False)
class Meter:
    """Adds up what the partitions say they have done."""

    done: int = 0
    rate: float = 0.0
    _seen: dict[str, int] = field(factory=dict)
    _history: deque[tuple[float, int]] = field(factory=deque)

    def update(self, tree: ActorSnapshot, now: float) -> None:
        """Take in a snapshot of `now` (seconds, monotonic)."""
        self._count(tree)
        self._history.append((now, self.done))
        while len(self._history) > 2 and now - self._history[0][0] > WINDOW:
            self._history.popleft()
        then, before = self._history[0]
        self.rate = (self.done - before) / (now - then) if now > then else 0.0

    def ended(self, actor: ActorSnapshot) -> None:
        """Take in the last snapshot of an actor that stopped: it has done something since it was last seen."""
        self._count(actor)
        self._seen.pop(actor.path, None)

    def _count(self, tree: ActorSnapshot) -> None:
        for path, done in events_done(tree).items():
            self.done += max(0, done - self._seen.get(path, 0))
            self._seen[path] = done


def events_done(tree: ActorSnapshot) -> dict[str, int]:
    """By the path of each partition of a processor: how many events it has done under its present lease."""
    found: dict[str, int] = {}
    for child in tree.children:
        found |= events_done(child)
    done = tree.details.get("done")
    if tree.kind in PARTITIONS and isinstance(done, int):
        found[tree.path] = done
    return found
