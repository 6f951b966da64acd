"""What an event makes of its key's actor: what the user's code would do. Promises are judged by it, and owners do it."""

from typing import NamedTuple

from tests.model.guards import ALL, Guards
from tests.model.worlds import Bounds


class Actor(NamedTuple):
    """What it remembers, all the events that it has handled, and when it is to be reminded (0: not)."""

    state: tuple[str, ...] = ()
    reminder: int = 0


class Handled(NamedTuple):
    """The actor after an event, and the reminder that is to be put aside (0: taken back), if any."""

    actor: Actor
    alarm: int | None = None


def handled(actor: Actor, event: str, bounds: Bounds, guards: Guards = ALL) -> Handled | None:
    """None: it is a reminder that was taken back, or replaced, since it went into the log."""
    state = (*actor.state, event)
    if is_reminder(event):
        if "due compared" in guards and event[2:] != str(actor.reminder):
            return None
        return Handled(Actor(state), 0 if actor.reminder else None)
    due = dict(bounds.reminds).get(event, actor.reminder)
    if due and event in bounds.cancels:
        return Handled(Actor(state), 0 if "taken back" in guards else None)
    return Handled(Actor(state, due), due if event in dict(bounds.reminds) else None)


def is_reminder(event: str) -> bool:
    return event[1] == "~"
