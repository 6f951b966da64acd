"""One thing that happens in a world."""

from typing import NamedTuple

from tests.model.requests import Request
from tests.model.state import World


class Step(NamedTuple):
    """What happens, the world after it, and whether it is a fault: work must get done without any more of those."""

    label: str
    world: World
    is_fault: bool = False
    request: Request | None = None
    answer: str = ""


def as_fault(world: World) -> World:
    return world._replace(faults=world.faults - 1)
