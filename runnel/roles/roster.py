"""The roster: what one worker knows of all workers of its app, and of who is to own what. Plain data, no actor.

The member fills it from the answers to heartbeats, and asks it what is to be assigned anew.
"""

from collections.abc import Mapping, Sequence

from attrs import define, field

from runnel.assignment import assign
from runnel.store.membership import About, Assigned, Membership, Owners

SETTLE = 0.1
"""Seconds for which the membership must stand still before anything is assigned: workers come and go in bursts."""


@define(eq=False)
class Roster:
    """Members and assignments, as last heard.

    Attributes:
        streams: For each processor of this worker its stream.
        partitions: And how many partitions that has.
        history: Of the server that was heard last: versions are its.
        version: Of the membership; -1: nothing was heard yet.
        settle: Seconds for which it must stand still before anything is assigned.
        settled_at: When it will have stood still for long enough, by this worker's clock.
    """

    streams: Mapping[str, str]
    partitions: Mapping[str, int]
    history: bytes = b""
    version: int = -1
    settle: float = SETTLE
    settled_at: float = 0.0
    members: Mapping[str, About] = field(factory=dict)
    assignments: dict[str, Assigned] = field(factory=dict)

    def is_of_another_history(self, answer: Membership) -> bool:
        """Whether what is known counts for nothing any more (a failover, a flush), and all has to be asked for again."""
        return self.version >= 0 and answer.history != self.history

    def forget(self) -> None:
        """Begin anew: a promoted server may have other members and assignments under the versions that are known."""
        self.version, self.assignments = -1, {}

    def hear(self, names: Sequence[str], answer: Membership, now: float) -> list[str]:
        """Take in what a heartbeat answered for these processors; those for which there is a new assignment."""
        self.history = answer.history
        if answer.members is not None:
            self.version, self.members = answer.version, answer.members
            self.settled_at = now - answer.age + self.settle
        news = []
        for name, assigned in zip(names, answer.assignments, strict=True):
            if assigned is not None and assigned.version > self.known(name).version:
                self.assignments[name] = assigned
                news.append(name)
        return news

    def known(self, name: str) -> Assigned:
        """The last assignment heard of."""
        return self.assignments.get(name, Assigned())

    def owner(self, name: str, partition: int) -> str | None:
        """The worker that is to own a partition."""
        owners = self.known(name).owners
        return owners[partition] if partition < len(owners) else None

    def stale(self) -> list[str]:
        """The processors whose assignment was computed for another membership than the present one."""
        if self.version < 0:
            return []
        return [name for name in self.partitions if self.known(name).membership != self.version]

    def runners(self, name: str) -> list[str]:
        """The members that run a processor, on the same stream: another version of the app may have moved it."""
        return [member for member, about in self.members.items() if about.processors.get(name) == self.streams[name]]

    @property
    def run(self) -> frozenset[str]:
        """The processors that any member runs."""
        return frozenset(name for about in self.members.values() for name in about.processors)

    def assign(self, name: str) -> Owners:
        """Who should own a processor's partitions now."""
        count, last = self.partitions[name], self.known(name).owners
        return assign(self.runners(name), [*last, *[None] * (count - len(last))][:count], name)
