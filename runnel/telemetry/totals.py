"""Counts that only ever grow, from pictures of a tree in which actors come and go. No clock, no Redis.

An actor that is gone takes its counts with it, and one that begins anew counts from zero. Monitoring takes both for a
program that was started again. So what each actor has counted more than in the picture before is added up here.
"""

from collections import Counter
from collections.abc import Iterable, Mapping

from attrs import define, field

from runnel.actors import ActorSnapshot

COUNTED: Mapping[str, Mapping[str, str]] = {
    "ProcessorSupervisor": {"~done": "done"},
    "Reader": {"events": "read"},
    "Committer": {"commits": "commits"},
    "Relay": {"relayed": "emitted"},
    "Partition": {"retries": "retries"},
    "KeyedPartition": {"retries": "retries", "passivated": "passivated"},
}
"""By kind of actor: which of the numbers that it tells are counts, and of what."""


@define(eq=False)
class Totals:
    """Of one worker, by processor; "" is what belongs to none."""

    _sums: dict[str, Counter[str]] = field(factory=dict)
    _last: dict[str, Mapping[str, int]] = field(factory=dict)
    _seen: dict[str, Mapping[str, int]] = field(factory=dict)

    def see(self, processor: str, actors: Iterable[ActorSnapshot]) -> None:
        """These actors of a processor are in the present picture."""
        sums = self._sums.setdefault(processor, Counter())
        for actor in actors:
            if actor.is_resident:
                continue
            counts = counted(actor)
            before = self._last.get(actor.path, {})
            for name, count in counts.items():
                was = before.get(name, 0)
                sums[name] += count - was if count >= was else count
            self._seen[actor.path] = counts

    def seen_all(self) -> None:
        """The picture has no more actors: those that are not in it are gone."""
        self._last, self._seen = self._seen, {}

    def of(self, processor: str, name: str) -> int:
        """How much it has come to."""
        return self._sums.get(processor, Counter())[name]


def counted(actor: ActorSnapshot) -> dict[str, int]:
    """What an actor has counted since its incarnation began, and how often it was restarted."""
    told = COUNTED.get(actor.kind, {})
    found = {name: count for said, name in told.items() if isinstance(count := actor.details.get(said), int)}
    return {**found, "restarts": actor.restarts}
