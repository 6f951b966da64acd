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

from tests.model.state import KEYS, Server, World, readable
from tests.model.worlds import Bounds


def broken_promise(server: Server) -> str:
    """The first promise that does not hold, or nothing."""
    if server.broken:
        return server.broken
    if len({event for _, event in server.log}) < len(server.log):
        return "an event is in the log twice"
    for key, state in zip(KEYS, server.states, strict=True):
        if broken := _broken_for(server, key, state):
            return f"key {key}: {broken}"
    return ""


def _broken_for(server: Server, key: str, state: tuple[str, ...]) -> str:
    taken = tuple(
        event
        for entry_id, event in server.log
        if event[0] == key
        and event not in server.dropped
        and (server.base < entry_id <= server.cursor or entry_id in server.done)
    )
    parked = tuple(event for _, event in server.parked if event[0] == key)
    if state + parked != taken:
        return f"state {state} and parked {parked} are not the fold of {taken}"
    if list(state) != sorted(state, key=lambda event: event[1]):
        return f"effects out of order {state}"
    if tuple(event for event in server.outputs if event[0] == key) != state:
        return f"outputs {server.outputs} are not those of state {state}"
    return ""


def all_done(world: World, bounds: Bounds) -> bool:
    server = world.primary
    todo = [entry_id for entry_id, _ in readable(server) if entry_id > server.cursor]
    return world.sent == len(bounds.events) and not (todo or server.parked or server.due)
