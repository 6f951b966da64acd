"""The search, breadth first: the trace to a broken promise is a shortest one."""

import gc
import time
from array import array
from collections.abc import Callable, Hashable, Iterator
from typing import Generic, NamedTuple, Protocol, TypeVar

from tests.model.guards import ALL, Guards
from tests.model.promises import all_done, broken_promise
from tests.model.relaying import RelayBounds, RelayModel
from tests.model.state import World
from tests.model.step import Step
from tests.model.steps import first_world, steps
from tests.model.worlds import Bounds

W = TypeVar("W", bound=Hashable)
W_co = TypeVar("W_co", bound=Hashable, covariant=True)

STUCK = "work that can never be done"
NOT_FINISHED = "NOT FINISHED"


class Result(NamedTuple):
    """`broken` is empty when all promises hold; `trace` leads to where one does not. Seconds are of the processor."""

    broken: str
    trace: list[str]
    worlds: int
    seconds: float


class Happening(Protocol[W_co]):
    """What may happen next, and the world after it."""

    @property
    def label(self) -> str: ...

    @property
    def world(self) -> W_co: ...

    @property
    def is_fault(self) -> bool: ...


class Model(Protocol[W]):
    """What can be searched: where it begins, what may happen, what is promised (judged after a step), and when all is done."""

    def first(self) -> W: ...

    def steps(self, world: W) -> Iterator[Happening[W]]: ...

    def broken(self, before: W, after: W) -> str: ...

    def is_done(self, world: W) -> bool: ...


class PartitionModel(NamedTuple):
    """One partition, its owners and all around them."""

    bounds: Bounds
    guards: Guards = ALL

    def first(self) -> World:
        return first_world(self.bounds)

    def steps(self, world: World) -> Iterator[Step]:
        return steps(world, self.bounds, self.guards)

    def broken(self, before: World, after: World) -> str:
        return "" if after.primary is before.primary else broken_promise(after.primary, self.bounds)

    def is_done(self, world: World) -> bool:
        return all_done(world, self.bounds)


class _Search(Generic[W]):
    """The worlds found so far, each with a shortest way to it."""

    def __init__(self, first: W) -> None:
        self._index = {first: 0}
        self.worlds = [first]
        self._parents = array("l", [0])
        self._labels = [""]
        self._befores = [array("l")]  # from where a world is reached without a fault

    def place(self, here: int, label: str, world: W) -> tuple[int, bool]:
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

    def first_without_hope(self, is_done: Callable[[W], bool]) -> int | None:
        """A world from which, without more faults, some work never gets done."""
        todo = [at for at, world in enumerate(self.worlds) if is_done(world)]
        hopeful = set(todo)
        while todo:
            for before in self._befores[todo.pop()]:
                if before not in hopeful:
                    hopeful.add(before)
                    todo.append(before)
        return next((at for at in range(len(self.worlds)) if at not in hopeful), None)


def check(bounds: Bounds | RelayBounds, guards: Guards = ALL, limit: int = 1_500_000) -> Result:
    """Search all worlds within bounds; then ask whether from each one, without more faults, all work can be done."""
    gc.disable()  # millions of tuples and not one cycle: it would look through them again and again
    try:
        if isinstance(bounds, RelayBounds):
            return _check(RelayModel(bounds, guards), limit)
        return _check(PartitionModel(bounds, guards), limit)
    finally:
        gc.enable()


def _check(model: Model[W], limit: int) -> Result:
    began = time.process_time()
    search = _Search(model.first())

    def result(broken: str, at: int = 0) -> Result:
        return Result(broken, search.trace(at), len(search.worlds), time.process_time() - began)

    for here, world in enumerate(search.worlds):  # grows while it is walked: a queue
        for step in model.steps(world):
            there, new = search.place(here, step.label, step.world)
            if new and (broken := model.broken(world, step.world)):
                return result(broken, there)
            if not step.is_fault:
                search.note(here, there)
        if len(search.worlds) > limit:
            return result(NOT_FINISHED)
    stuck = search.first_without_hope(model.is_done)
    return result("") if stuck is None else result(STUCK, stuck)
