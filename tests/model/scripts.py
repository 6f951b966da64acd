"""The scripts of `runnel/store/lua`, as functions of the dataset: `arrives(server, request)` is what one call does.

`test_scripts.py` compares them with the real ones.
"""

from runnel.store.scripts import Went
from tests.model.guards import Guards
from tests.model.requests import (
    Acquire,
    Append,
    Commit,
    Promote,
    Register,
    Release,
    Renew,
    Request,
    Reset,
    Suspect,
    Trim,
    Unregister,
)
from tests.model.state import (
    NO_REMINDERS,
    NO_STATES,
    UNCOUNTED,
    Due,
    Entry,
    Server,
    keys_of,
    overwritten,
    readable,
    reminder,
)


def arrives(server: Server, request: Request, guards: Guards) -> tuple[Server, str]:
    """The dataset after a request, and the answer."""
    match request:
        case Append():
            return _append(server, request, guards)
        case Acquire():
            return _acquire(server, request, guards)
        case Renew(epoch, nonce):
            if not holds(server, epoch, nonce, guards):
                return server, "FENCED"
            broken = "a released lease is held again" if server.released else server.broken
            return server._replace(held=True, broken=broken), "OK"
        case Release(epoch, nonce, went):
            return _release(server, went, guards) if holds(server, epoch, nonce, guards) else (server, "FENCED")
        case Suspect(epoch, nonce, entry):
            if not holds(server, epoch, nonce, guards):
                return server, "FENCED"
            noted = server.noted if server.committed else tuple(sorted({*server.noted, entry}))
            return server._replace(suspect=entry, noted=noted), "OK"
        case Commit():
            answer = _answer_to(server, request, guards)
            return (_committed(server, request) if answer == "OK" else server), answer
        case Reset(cursor):
            return _reset(server, cursor, guards), "OK"
        case Trim(limit):
            return _trim(server, slowest(server) if limit < 0 else limit), "OK"
        case Register():
            return (server._replace(second=0), "OK") if server.second < 0 else (server, "ALREADY")
        case Unregister():
            return _unregister(server, guards), "OK"
        case Promote():
            return _promote(server), "OK"


# ── the log ──


def added(server: Server, event: str) -> Server:
    entry_id = server.last_id + server.step
    return server._replace(log=(*server.log, (entry_id, event)), last_id=entry_id)


def _append(server: Server, request: Append, guards: Guards) -> tuple[Server, str]:
    if "sequence" in guards and request.sequence <= server.sequence:
        return server, "ALREADY" if request.sequence == server.sequence else "STALE"
    return added(server, request.event)._replace(sequence=request.sequence), "OK"


def slowest(server: Server) -> int:
    cursors = [server.cursor] * server.registered + [server.second] * (server.second >= 0)
    return min(cursors, default=server.trimmed)


def _promote(server: Server) -> Server:
    if not server.due:
        return server
    (_, event), *later = server.due
    return added(server._replace(due=tuple(later)), event)


def _trim(server: Server, limit: int) -> Server:
    lost = any(max(slowest(server), server.trimmed) < entry_id <= limit for entry_id, _ in server.log)
    return server._replace(
        trimmed=max(server.trimmed, limit),
        broken="an event is trimmed before every group has done it" if lost else server.broken,
    )


# ── the slot ──


def holds(server: Server, epoch: int, nonce: int, guards: Guards) -> bool:
    """Whether a token is the slot's. Without "nonce", a released slot is anybody's who knows its epoch."""
    return (
        ("epoch" not in guards or epoch == server.epoch)
        and ("nonce" not in guards or (nonce == server.nonce and nonce != 0))
        and ("history" not in guards or server.slot_history == server.history)
    )


def _acquire(server: Server, request: Acquire, guards: Guards) -> tuple[Server, str]:
    if request.nonce == server.nonce and holds(server, server.epoch, request.nonce, guards):
        return server._replace(held=True, grant=server.grant or request.grant), "OK"
    void = "history" in guards and server.slot_history != server.history
    if server.held and server.nonce and not void:
        return server, "HELD"
    if not server.registered:
        server = server._replace(registered=True, base=server.trimmed)
    taken = _judged(server, guards)._replace(
        epoch=server.epoch + 1,
        nonce=request.nonce,
        held=True,
        slot_history=server.history,
        number=0,
        grant=request.grant,
        released=False,
    )
    return taken, "OK"


def suspicion(server: Server, guards: Guards) -> tuple[int, int, int]:
    """Owners lost in a row, suspect and culprit: until the first commit of the term."""
    if server.number and "commit clears suspicion" in guards:
        return 0, 0, 0
    return max(server.crashes, 0), server.suspect, server.culprit


def _judged(server: Server, guards: Guards) -> Server:
    """Acquired by the next: what is known of the owner before."""
    if server.crashes == UNCOUNTED:
        return server
    crashes, suspect, culprit = suspicion(server, guards)
    lost = 0 if server.committed else server.lost
    waits = bool(server.parked) or any(entry_id > server.cursor for entry_id, _ in readable(server))
    if server.owned and server.slot_history == server.history:
        crashes, lost = (crashes + 1, lost + 1) if waits else (0, 0)
        culprit = suspect or culprit
    return server._replace(
        owned=True,
        crashes=crashes if "crash count" in guards else 0,
        suspect=0,
        culprit=culprit,
        lost=lost,
        committed=False,
    )


def _release(server: Server, went: Went, guards: Guards) -> tuple[Server, str]:
    nonce = 0 if "release clears nonce" in guards else server.nonce
    server = server._replace(held=False, nonce=nonce, released=True)
    if went == "lost" or server.crashes == UNCOUNTED:
        return server, "OK"
    server = server._replace(owned=False)
    if went == "idle":
        return server, "OK"
    noted = tuple(entry for entry in server.noted if entry != server.suspect)
    server = server._replace(noted=noted, lost=0)
    return server._replace(crashes=0, suspect=0) if "release clears suspicion" in guards else server, "OK"


def _reset(server: Server, cursor: int, guards: Guards) -> Server:
    server = server._replace(
        epoch=server.epoch + 1 if "reset raises epoch" in guards else server.epoch,
        nonce=0 if "reset clears nonce" in guards else server.nonce,
        held=False,
        owned=False,
        crashes=min(server.crashes, 0),
        suspect=0,
        culprit=0,
        noted=(),
        lost=0,
        dropped=(),
        cursor=cursor,
        grant=0,
        base=max(cursor, server.trimmed),
        outputs=(),  # those since the last reset: what went out before cannot be taken back
    )
    return _without_effects(server) if "reset drops state" in guards else server


def _without_effects(server: Server) -> Server:
    """Reminders that are put aside stay there: who does not wait for one passes over it."""
    return server._replace(states=NO_STATES, reminders=NO_REMINDERS, done=(), parked=(), releasing=())


def _unregister(server: Server, guards: Guards) -> Server:
    """The slot goes with the cursor: epochs begin anew."""
    server = _reset(server, 0, (guards | {"reset clears nonce"}) - {"reset drops state"})
    server = server._replace(registered=False, epoch=0, number=0, slot_history=0, released=False)
    return _without_effects(server) if "unregister drops state" in guards else server


# ── commit ──


def _answer_to(server: Server, commit: Commit, guards: Guards) -> str:
    if not holds(server, commit.epoch, commit.nonce, guards):
        return "FENCED"
    if "commit chain" in guards and commit.number != server.number + 1:
        return "ALREADY" if commit.number == server.number else "CONFLICT"
    return "OK"


def _committed(server: Server, commit: Commit) -> Server:
    broken = _broken_by(server, commit)
    parked, outputs, dropped = server.parked, server.outputs, server.dropped
    for entry_id, event, outcome in commit.marks:
        if outcome == "replay":
            parked = tuple(entry for entry in parked if entry[0] != entry_id)
        elif outcome == "park":
            parked = (*parked, (entry_id, event))
        elif outcome == "drop":
            broken = broken or ("" if entry_id in server.noted else "an event is passed over that did not end its owner alone")
            dropped = (*dropped, event)
        if outcome in ("done", "replay"):
            outputs = (*outputs, event)
    states, reminders = overwritten(server.states, server.reminders, commit.writes)
    return server._replace(
        cursor=commit.cursor,
        number=commit.number,
        done=tuple(sorted({*server.done, *commit.done} - {*commit.undone})),
        states=states,
        reminders=reminders,
        due=put_aside(server.due, commit.alarms),
        outputs=outputs,
        parked=parked,
        dropped=dropped,
        releasing=tuple(key for key in server.releasing if key in keys_of(parked)),
        broken=broken or server.broken,
        committed=server.crashes != UNCOUNTED,
        noted=tuple(entry for entry in server.noted if entry > commit.cursor),
    )


def put_aside(due: tuple[Due, ...], alarms: tuple[tuple[str, int], ...]) -> tuple[Due, ...]:
    """Each key has one reminder here: another one replaces it."""
    for key, when in alarms:
        due = tuple(each for each in due if each[1] != reminder(key, each[0]))
        due = tuple(sorted((*due, (when, reminder(key, when))))) if when else due
    return due


def _broken_by(server: Server, commit: Commit) -> str:
    if commit.grant != server.grant:
        return f"an effect under a token {'that is superseded' if server.grant else 'from before a reset'}"
    return "a commit moves the cursor back" if commit.cursor < server.cursor else ""


# ── operators ──


def parked_released(server: Server, key: str, guards: Guards) -> Server:
    """An operator asks to replay a key's parked events."""
    if "replay by owner" in guards:
        return server._replace(releasing=tuple(sorted((*server.releasing, key))))
    moved: list[Entry] = [entry for entry in server.parked if entry[1][0] == key]
    server = server._replace(
        releasing=tuple(sorted((*server.releasing, key))),
        parked=tuple(entry for entry in server.parked if entry not in moved),
        log=tuple(entry for entry in server.log if entry not in moved),
    )
    for _, event in moved:
        server = added(server, event + "'")
    return server
