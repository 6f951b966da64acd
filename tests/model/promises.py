"""What must hold in every world: judged after every change of the primary.

After `processor reset` the promises are those of a group that begins anew where the reset put its cursor:

- State is the fold of the events behind the reset's cursor, up to the cursor. What was folded before is dropped, with the
  done marks: a state that went on would count events twice after a reset backwards, and after one forwards it would
  belong to no stretch of the log at all.
- Parked events go too. Those behind the reset's cursor run again from the log; those before it are skipped, as all that
  lies there is.
- Outputs are judged since the reset. Earlier ones cannot be taken back, and a reset backwards repeats them: that is
  its purpose.
- No commit under a token from before the reset takes effect, so that work goes on from the reset's cursor, never from
  where the fenced owner was; and only a reset moves a cursor back.
"""

from tests.model.fold import Actor, handled, is_reminder
from tests.model.state import KEYS, Server, World, readable, reminder
from tests.model.worlds import Bounds


def broken_promise(server: Server, bounds: Bounds) -> str:
    """The first promise that does not hold, or nothing."""
    if server.broken:
        return server.broken
    sent = [event for _, event in server.log if not is_reminder(event)]
    if len(set(sent)) < len(sent):
        return "an event is in the log twice"
    if server.done and server.done[0] <= server.cursor:
        return "a mark stays although the cursor has passed it"
    for at, key in enumerate(KEYS):
        if broken := _broken_for(server, key, Actor(server.states[at], server.reminders[at]), bounds):
            return f"key {key}: {broken}"
    return ""


def _broken_for(server: Server, key: str, actor: Actor, bounds: Bounds) -> str:
    state = actor.state
    taken = [event for entry_id, event in server.log if event[0] == key and _is_taken(server, entry_id)]
    taken = [event for event in taken if event not in server.dropped]
    parked = tuple(event for _, event in server.parked if event[0] == key)
    folded = Actor()
    for event in taken:
        if result := handled(folded, event, bounds):
            folded = result.actor
    if state + parked != folded.state:
        return f"state {state} and parked {parked} are not the fold of {tuple(taken)}"
    sent = [event for event in state if not is_reminder(event)]
    if sent != sorted(sent, key=lambda event: event[1]):
        return f"effects out of order {state}"
    if tuple(event for event in server.outputs if event[0] == key) != state:
        return f"outputs {server.outputs} are not those of state {state}"
    if actor.reminder != folded.reminder:
        return f"reminder {actor.reminder} is not that of {tuple(taken)}"
    return _broken_reminder(server, key, actor.reminder, bounds) if bounds.reminds else ""


def _is_taken(server: Server, entry_id: int) -> bool:
    return server.base < entry_id <= server.cursor or entry_id in server.done


def _broken_reminder(server: Server, key: str, due: int, bounds: Bounds) -> str:
    """Each comes, and none is kept that nobody waits for; but a reset leaves them."""
    aside = [event for _, event in server.due if event[0] == key and is_reminder(event)]
    if not bounds.resets and any(event != reminder(key, due) for event in aside):
        return f"{aside} are put aside, and {due} is waited for"
    coming = [event for entry_id, event in server.log if not _is_taken(server, entry_id)]
    return f"reminder {due} never comes" if due and reminder(key, due) not in (*aside, *coming) else ""


def all_done(world: World, bounds: Bounds) -> bool:
    server = world.primary
    todo = [entry_id for entry_id, _ in readable(server) if entry_id > server.cursor]
    return world.sent == len(bounds.events) and server.registered and not (todo or server.parked or server.due)
