"""What the tree of actors shows of a partition's lanes: each is its key's actor, with a mailbox, though none of the kernel's.

Of thousands that may be active only the busiest have a line; all are counted. Looked at, never changed.
"""

from runnel.actors import ActorSnapshot, State
from runnel.entity.lane import Lane
from runnel.handling.window import WIDEST, Window
from runnel.roles.lanes import Lanes
from runnel.roles.passivation import GOING, Passivation
from runnel.roles.runners import Runners

MOST = 3
"""Lanes that are shown of a partition."""

LONGEST_NAME = 24
"""Characters of a key that are shown."""


def busiest(path: str, processor: str, lanes: Lanes, runners: Runners) -> list[ActorSnapshot]:
    """The actors that have most events in hand.

    Args:
        path: The partition's, in the tree.
        processor: By which name its actors are called.
        lanes: The partition's.
        runners: The partition's.
    """
    return [_resident(path, processor, lane, lanes, runners) for lane in lanes.longest(MOST)]


def counts(window: Window, lanes: Lanes, runners: Runners, passivation: Passivation) -> dict[str, object]:
    """How many actors there are, and what they are at."""
    return {
        "active": len(lanes.by_key),
        "running": runners.running,
        "passivated": passivation.passivated,
        "retries": runners.retries,
        "buffered": window.left,
        "ahead": len(window.above),
    }


def _resident(path: str, processor: str, lane: Lane, lanes: Lanes, runners: Runners) -> ActorSnapshot:
    name = shown(lane.key)
    failed = None if lane.at is None else lanes.failed.get(lane.at[0])
    return ActorSnapshot(
        path=f"{path}/{name}",
        name=name,
        kind=processor,
        state=_state(lane, lanes, runners),
        mailbox_depth=lane.holds - (lane.at is not None and lane.at is not GOING),
        mailbox_capacity=WIDEST,
        last_error=None if failed is None else f"{type(failed[1]).__name__}: {failed[1]}"[:200],
        details=_details(lane, lanes),
        is_resident=True,
    )


def _details(lane: Lane, lanes: Lanes) -> dict[str, object]:
    """What is out of the ordinary. That it begins anew after a failure is its event's, no actor of the kernel has restarted."""
    failures: dict[str, object] = {"failures": lane.failures} if lane.failures else {}
    return failures | ({"parked": True} if lane.key in lanes.parking.keys else {})


def _state(lane: Lane, lanes: Lanes, runners: Runners) -> State:
    if lane.at is GOING:
        return State.STOPPING
    if lane.at is None or lane.at[0] in lanes.failed:  # of one that has failed the policy decides, when all before it are done
        return State.WAITING
    return State.BACKOFF if runners.retries_later(lane) else State.RUNNING


def shown(key: bytes) -> str:
    """A key as a name in the tree: short, and nothing that a terminal would obey."""
    text = key.decode("utf-8", "backslashreplace")
    text = text if text.isprintable() else text.encode("unicode_escape").decode()
    return text if len(text) <= LONGEST_NAME else text[: LONGEST_NAME - 1] + "…"
