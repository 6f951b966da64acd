"""The search, breadth first: the trace to a broken promise is a shortest one."""

import gc
import time
from array import array
from typing import NamedTuple

from tests.model.guards import ALL, Guards
from tests.model.promises import all_done, broken_promise
from tests.model.state import World
from tests.model.steps import first_world, steps
from tests.model.worlds import Bounds

STUCK = "work that can never be done"
NOT_FINISHED = "NOT FINISHED"


class Result(NamedTuple):
    """`broken` is empty when all promises hold; `trace` leads to where one does not. Seconds are of the processor."""

    broken: str
    trace: list[str]
    worlds: int
    seconds: float


class _Search:
    """The worlds found so far, each with a shortest way to it."""

    def __init__(self, first: World) -> None:
        self._index = {first: 0}
        self.worlds = [first]
        self._parents = array("l", [0])
        self._labels = [""]
        self._befores = [array("l")]  # from where a world is reached without a fault

    def place(self, here: int, label: str, world: World) -> tuple[int, bool]:
        """Where in the list a world stands that is reached from `here`, and whether it is new."""
        there = self._index.setdefault(world, len(self.worlds))
        if there < len(self.worlds):
            return there, False
        self.worlds.append(world)
        self._parents.append(here)
        self._labels.append(label)
        self._befores.append(array("l"))
        return there, True

    def note(self, here: int, there: int) -> None:
        self._befores[there].append(here)

    def trace(self, at: int) -> list[str]:
        labels = []
        while at:
            labels.append(self._labels[at])
            at = self._parents[at]
        return labels[::-1]

    def first_without_hope(self, bounds: Bounds) -> int | None:
        """A world from which, without more faults, some work never gets done."""
        todo = [at for at, world in enumerate(self.worlds) if all_done(world, bounds)]
        hopeful = set(todo)
        while todo:
            for before in self._befores[todo.pop()]:
                if before not in hopeful:
                    hopeful.add(before)
                    todo.append(before)
        return next((at for at in range(len(self.worlds)) if at not in hopeful), None)


def check(bounds: Bounds, guards: Guards = ALL, limit: int = 1_500_000) -> Result:
    """Search all worlds within bounds; then ask whether from each one, without more faults, all work can be done."""
    gc.disable()  # millions of tuples and not one cycle: it would look through them again and again
    try:
        return _check(bounds, guards, limit)
    finally:
        gc.enable()


def _check(bounds: Bounds, guards: Guards, limit: int) -> Result:
    began = time.process_time()
    search = _Search(first_world(bounds))

    def result(broken: str, at: int = 0) -> Result:
        return Result(broken, search.trace(at), len(search.worlds), time.process_time() - began)

    for here, world in enumerate(search.worlds):  # grows while it is walked: a queue
        for step in steps(world, bounds, guards):
            there, new = search.place(here, step.label, step.world)
            changed = new and step.world.primary is not world.primary
            if changed and (broken := broken_promise(step.world.primary, bounds)):
                return result(broken, there)
            if not step.is_fault:
                search.note(here, there)
        if len(search.worlds) > limit:
            return result(NOT_FINISHED)
    stuck = search.first_without_hope(bounds)
    return result("") if stuck is None else result(STUCK, stuck)
