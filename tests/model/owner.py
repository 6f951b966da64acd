"""What an owner does by itself: from what it believes to its next commit, and from the answer to what it believes next."""

import itertools
from collections.abc import Iterator

from tests.model.fold import Actor, handled
from tests.model.guards import Guards
from tests.model.requests import Commit, Mark, Write
from tests.model.scripts import suspicion
from tests.model.state import KEYS, UNREAD, Entry, Server, Worker, keys_of, overwritten
from tests.model.worlds import Bounds

Work = tuple[tuple[Mark, ...], tuple[Entry, ...]]


def owner(server: Server, bounds: Bounds, guards: Guards) -> Worker:
    """A worker whose acquire was answered. One with actors has yet to read what the answer does not tell."""
    crashes, _, culprit = suspicion(server, guards)
    return Worker(
        crashes=crashes,
        culprit=culprit,
        epoch=server.epoch,
        nonce=server.nonce,
        grant=server.grant,
        cursor=server.cursor,
        knows_marks=not bounds.key_concurrency,
        states=UNREAD if bounds.key_concurrency else server.states,
        reminders=server.reminders,
        parked_keys=keys_of(server.parked) if "parked keys at acquire" in guards else "",
        position=server.cursor,
    )


def unread(server: Server, worker: Worker, guards: Guards) -> tuple[Entry, ...]:
    """What it reads next: all there is behind its position, but for what is done."""
    if not worker.knows_marks:
        return ()
    behind = max(worker.position, worker.cursor, server.trimmed)
    known = set(worker.done)
    if "restart behind commit" in guards:
        known |= {entry_id for commit in worker.waiting for entry_id in _finished(commit.marks)}
    return tuple(entry for entry in server.log if entry[0] > behind and entry[0] not in known)


def is_careful(worker: Worker, guards: Guards) -> bool:
    """Whether it runs one event, and commits it before the next. Longer than it has to, since it does no harm."""
    return bool(worker.crashes or worker.culprit) and "careful owners" in guards


def to_be_noted(worker: Worker, bounds: Bounds, guards: Guards) -> int:
    """The event that is to be noted before it runs alone, if it is not yet."""
    is_suspected = bounds.max_crashes and worker.crashes >= bounds.max_crashes and not worker.number
    if not (is_suspected and worker.buffer) or worker.waiting or "suspect noted" not in guards:
        return 0
    entry_id = worker.buffer[0][0]
    return entry_id if entry_id not in (worker.noted, condemned(worker)) else 0


def condemned(worker: Worker) -> int:
    """The culprit, if it is the next event of an owner that has done nothing yet."""
    is_next = worker.buffer and worker.buffer[0][0] == worker.culprit and not worker.number
    return worker.culprit if is_next else 0


def killers(worker: Worker, bounds: Bounds, guards: Guards) -> list[str]:
    """The events that may be out by now and end the worker: the first one that is poison, and not behind another."""
    if condemned(worker) or to_be_noted(worker, bounds, guards):
        return []
    within = worker.buffer[: 0 if worker.waiting else 1] if is_careful(worker, guards) else worker.buffer
    return [event for _, event in within if event in bounds.poison][:1]


def work(server: Server, worker: Worker, bounds: Bounds, guards: Guards) -> Iterator[Work]:
    """What the next commit may mark, and the buffer it leaves: handled events, or a replay."""
    if condemned(worker):
        yield (Mark(*worker.buffer[0], "drop"),), worker.buffer[1:]
        return
    if to_be_noted(worker, bounds, guards):
        return
    within = worker.buffer[:1] if is_careful(worker, guards) else worker.buffer
    lanes = [within]
    if bounds.key_concurrency:
        lanes = [tuple(entry for entry in within if entry[1][0] == key) for key in active(worker)]
    for lengths in itertools.product(*(range(len(lane) + 1) for lane in lanes)):
        done = sorted(entry for lane, length in zip(lanes, lengths, strict=True) for entry in lane[:length])
        if done and not any(event in bounds.poison for _, event in done):
            yield _marks(worker, done, bounds), tuple(entry for entry in worker.buffer if entry not in done)
    for key in sorted(set(server.releasing) & set(worker.parked_keys) & set(active(worker))):
        yield tuple(Mark(*entry, "replay") for entry in server.parked if entry[1][0] == key), worker.buffer


def active(worker: Worker) -> str:
    """The keys whose actors it has in memory."""
    return "".join(key for key, state, unread in zip(KEYS, worker.states, UNREAD, strict=True) if state != unread)


def activated(server: Server, worker: Worker, key: str, guards: Guards) -> Worker:
    """It reads what is stored of a key; but what is to be stored yet it knows better."""
    at = KEYS.index(key)
    stored = Write(key, server.states[at], server.reminders[at])
    if "own states first" in guards:
        stored = next((write for commit in worker.waiting for write in commit.writes if write.key == key), stored)
    states, reminders = overwritten(worker.states, worker.reminders, (stored,))
    return worker._replace(states=states, reminders=reminders)


def passivated(worker: Worker, key: str) -> Worker:
    states, reminders = overwritten(worker.states, worker.reminders, (Write(key, UNREAD[0], 0),))
    return worker._replace(states=states, reminders=reminders)


def committing(worker: Worker, work: Work, bounds: Bounds, guards: Guards) -> Worker:
    """The worker with its next commit under way."""
    marks, buffer = work
    remembered = zip(KEYS, worker.states, worker.reminders, strict=True)
    actors = {key: Actor(state, due) for key, state, due in remembered}
    marked, alarms, changed = [], [], set()
    for mark in marks:
        key, outcome = mark.event[0], mark.outcome
        if outcome in ("done", "replay"):
            if (result := handled(actors[key], mark.event, bounds, guards)) is None:
                outcome = "skip"
            else:
                actors[key] = result.actor
                changed.add(key)
                alarms += [] if result.alarm is None else [(key, result.alarm)]
        marked.append(mark._replace(outcome=outcome))
    if "snapshot" not in guards:
        for _, event in buffer:  # what its handler has done to the state so far is committed with it
            if event[0] in changed:
                actors[event[0]] = actors[event[0]]._replace(state=(*actors[event[0]].state, event))
    writes = tuple(Write(key, *actors[key]) for key in sorted(changed))
    states, reminders = overwritten(worker.states, worker.reminders, writes)
    commit = _commit(worker, work, guards)._replace(marks=tuple(marked), writes=writes, alarms=tuple(alarms))
    return worker._replace(buffer=buffer, waiting=(commit,), states=states, reminders=reminders)


def _commit(worker: Worker, work: Work, guards: Guards) -> Commit:
    """Cursor and marks: what is done above the cursor is marked, and what it has come past is not any more."""
    cursor = _next_cursor(worker, work)
    passed = tuple(entry_id for entry_id in worker.done if entry_id <= cursor)
    return Commit(
        epoch=worker.epoch,
        nonce=worker.nonce,
        grant=worker.grant,
        number=worker.number + 1,
        cursor=cursor,
        marks=(),
        writes=(),
        done=tuple(sorted(entry_id for entry_id in _finished(work[0]) if entry_id > cursor)),
        undone=passed if "unmark" in guards else (),
    )


def answered(worker: Worker, server: Server) -> Worker:
    """The worker after its commit was answered OK or ALREADY."""
    [commit] = worker.waiting
    known = set(worker.parked_keys) | {mark.event[0] for mark in commit.marks if mark.outcome == "park"}
    return worker._replace(
        number=commit.number,
        cursor=commit.cursor,
        done=tuple(sorted({*worker.done, *commit.done} - {*commit.undone})),
        parked_keys="".join(sorted(known & set(keys_of(server.parked)))),
        waiting=(),
    )


def _finished(marks: tuple[Mark, ...]) -> list[int]:
    return [mark.id for mark in marks if mark.outcome != "replay"]


def _marks(worker: Worker, done: list[Entry], bounds: Bounds) -> tuple[Mark, ...]:
    parked_keys, marks = set(worker.parked_keys), []
    for entry_id, event in done:
        parked_keys |= {event[0]} if event in bounds.failing else set()
        marks.append(Mark(entry_id, event, "park" if event[0] in parked_keys else "done"))
    return tuple(marks)


def _next_cursor(worker: Worker, work: Work) -> int:
    """The last id up to which all is done, as far as it has read."""
    marks, buffer = work
    first_open = min((entry_id for entry_id, _ in buffer), default=worker.position + 1)
    finished = (*worker.done, *_finished(marks))
    return max((i for i in finished if worker.cursor < i < first_open), default=worker.cursor)
