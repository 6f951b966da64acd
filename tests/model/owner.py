"""What an owner does by itself: from what it believes to its next commit, and from the answer to what it believes next."""

import itertools
from collections.abc import Iterator

from tests.model.guards import Guards
from tests.model.scripts import suspicion
from tests.model.state import KEYS, Commit, Entry, Mark, Server, Worker, keys_of, overwritten
from tests.model.worlds import Bounds

Work = tuple[tuple[Mark, ...], tuple[Entry, ...]]


def owner(server: Server, guards: Guards) -> Worker:
    """A worker whose acquire was answered."""
    crashes, _, culprit = suspicion(server, guards)
    return Worker(
        crashes=crashes,
        culprit=culprit,
        epoch=server.epoch,
        nonce=server.nonce,
        grant=server.grant,
        cursor=server.cursor,
        done=server.done,
        states=server.states,
        parked_keys=keys_of(server.parked) if "parked keys at acquire" in guards else "",
        position=server.cursor,
    )


def unread(server: Server, worker: Worker, guards: Guards) -> tuple[Entry, ...]:
    """What it reads next: all there is behind its position, but for what is done."""
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
    """What the next commit may mark, and the buffer it leaves: handled events, a replay, or a due event."""
    if condemned(worker):
        yield ((*worker.buffer[0], "drop"),), worker.buffer[1:]
        return
    if to_be_noted(worker, bounds, guards):
        return
    lanes = [worker.buffer[:1] if is_careful(worker, guards) else worker.buffer]
    if bounds.key_concurrency:
        lanes = [tuple(entry for entry in worker.buffer if entry[1][0] == key) for key in KEYS]
    for lengths in itertools.product(*(range(len(lane) + 1) for lane in lanes)):
        handled = sorted(entry for lane, length in zip(lanes, lengths, strict=True) for entry in lane[:length])
        if handled and not any(event in bounds.poison for _, event in handled):
            yield _marks(worker, handled, bounds), tuple(entry for entry in worker.buffer if entry not in handled)
    for key in sorted(set(server.releasing) & set(worker.parked_keys)):
        yield tuple((*entry, "replay") for entry in server.parked if entry[1][0] == key), worker.buffer
    for event in server.due[:1]:
        yield ((0, event, "due"),), worker.buffer


def committing(worker: Worker, work: Work) -> Worker:
    """The worker with its next commit under way."""
    marks, buffer = work
    states = dict(zip(KEYS, worker.states, strict=True))
    writes = {}
    for _, event, outcome in marks:
        if outcome in ("done", "replay"):
            writes[event[0]] = states[event[0]] = (*states[event[0]], event)
    commit = Commit(
        epoch=worker.epoch,
        nonce=worker.nonce,
        grant=worker.grant,
        number=worker.number + 1,
        cursor=_next_cursor(worker, work),
        marks=marks,
        writes=tuple(sorted(writes.items())),
    )
    return worker._replace(buffer=buffer, waiting=(commit,))


def answered(worker: Worker, server: Server) -> Worker:
    """The worker after its commit was answered OK or ALREADY."""
    [commit] = worker.waiting
    done = {*worker.done, *_finished(commit.marks)}
    known = set(worker.parked_keys) | {event[0] for _, event, outcome in commit.marks if outcome == "park"}
    return worker._replace(
        number=commit.number,
        cursor=commit.cursor,
        done=tuple(sorted(entry_id for entry_id in done if entry_id > commit.cursor)),
        states=overwritten(worker.states, commit.writes),
        parked_keys="".join(sorted(known & set(keys_of(server.parked)))),
        waiting=(),
    )


def _finished(marks: tuple[Mark, ...]) -> list[int]:
    return [entry_id for entry_id, _, outcome in marks if outcome in ("done", "park", "drop")]


def _marks(worker: Worker, handled: list[Entry], bounds: Bounds) -> tuple[Mark, ...]:
    parked_keys, marks = set(worker.parked_keys), []
    for entry_id, event in handled:
        parked_keys |= {event[0]} if event in bounds.failing else set()
        marks.append((entry_id, event, "park" if event[0] in parked_keys else "done"))
    return tuple(marks)


def _next_cursor(worker: Worker, work: Work) -> int:
    """The last id up to which all is done, as far as it has read."""
    marks, buffer = work
    first_open = min((entry_id for entry_id, _ in buffer), default=worker.position + 1)
    finished = (*worker.done, *_finished(marks))
    return max((i for i in finished if worker.cursor < i < first_open), default=worker.cursor)
