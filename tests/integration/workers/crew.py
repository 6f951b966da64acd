"""Several workers in this process, each with an app of its own, as they would be in processes of their own."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from attrs import define, evolve, field

from runnel import App
from runnel.actors import ActorSnapshot
from runnel.worker import Worker
from tests.integration.faults.harness import World
from tests.integration.faults.shop import declare
from tests.support import wait_until


@define(eq=False)
class Hand:
    """A worker of the crew."""

    name: str
    worker: Worker
    task: "asyncio.Task[None]"

    async def leave(self) -> None:
        self.worker.stop()
        await self.task

    def actor(self, *path: str) -> ActorSnapshot:
        """One of its actors, by the names on the way down."""
        found = self.find(*path)
        assert found is not None, f"{self.name} has no {'/'.join(path)}"
        return found

    def find(self, *path: str) -> ActorSnapshot | None:
        """The same, or None: it has not started yet, or has stopped."""
        found = self.worker.snapshot()
        for name in path:
            found = None if found is None else next((child for child in found.children if child.name == name), None)
        return found

    @property
    def leads(self) -> bool:
        leader = self.find("leader")
        return leader is not None and bool(leader.details.get("leads"))

    @property
    def partitions(self) -> set[int]:
        """The partitions that its actors run."""
        till = self.find("till")
        running = () if till is None else till.children
        return {int(child.name.split(".")[0]) for child in running if child.name not in ("reader", "committer")}


@define(eq=False)
class Crew:
    """The workers of a world."""

    world: World
    hands: list[Hand] = field(factory=list)

    async def join(self, name: str, **changes: Any) -> Hand:
        """Start a worker, and wait until its actors are there."""
        app = declare(evolve(self.world.plan, worker=name, **changes))
        worker = Worker(app)
        task = asyncio.create_task(_run(app, worker))
        task.add_done_callback(lambda _: self.hands.remove(hand))
        hand = Hand(name, worker, task)
        self.hands.append(hand)
        await wait_until(lambda: worker.snapshot() is not None or task.done())
        return hand

    async def settled(self, timeout: float = 10.0) -> None:
        """Wait until every partition is owned and run, by the assigned worker, and the work is spread to within one."""
        await wait_until(self.is_settled, timeout, what=f"settled: {[(h.name, h.partitions) for h in self.hands]}")

    def is_settled(self) -> bool:
        owners = self.owners()
        there = {hand.worker.id: hand.partitions for hand in self.hands}
        if set(owners) != set(there) or any(owners[owner] != there[owner] for owner in owners):
            return False
        counts = [len(partitions) for partitions in there.values()]
        return sum(counts) == self.world.plan.partition_count and max(counts) - min(counts) <= 1

    def owners(self) -> dict[str, set[int]]:
        """Who owns what, as Redis has it."""
        owners: dict[str, set[int]] = {}
        for n in range(self.world.plan.partition_count):
            owners.setdefault(self.world.slot(n).get("owner", ""), set()).add(n)
        return owners

    def epochs(self) -> list[int]:
        """How often each partition changed hands."""
        return [int(self.world.slot(n).get("epoch", 0)) for n in range(self.world.plan.partition_count)]

    def assignments(self) -> int:
        """How often anything was assigned."""
        with self.world.server.client() as client:
            return int(client.hget("{shop}:assignment:sales:till", "version") or 0)

    async def end(self) -> None:
        for hand in list(self.hands):
            hand.worker.stop()
        await asyncio.gather(*(hand.task for hand in list(self.hands)))


async def _run(app: App, worker: Worker) -> None:
    """A worker to its end, and what its app has opened in this loop, which outlives it."""
    try:
        await worker.run()
    finally:
        await app.close()


@asynccontextmanager
async def crew_of(world: World) -> AsyncIterator[Crew]:
    crew = Crew(world)
    try:
        yield crew
    finally:
        await crew.end()


def moved(before: list[int], after: list[int]) -> Counter[int]:
    """How many partitions changed hands how often."""
    return Counter(new - old for old, new in zip(before, after, strict=True))
