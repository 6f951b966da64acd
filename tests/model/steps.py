"""All that may happen next in a world. A paused worker is one that takes no step for a while.

Each step that a request takes at the server says which and how it was answered, for comparing with the real scripts.
"""

from collections.abc import Iterator

from runnel.store.scripts import Went
from tests.model.guards import Guards
from tests.model.owner import (
    activated,
    active,
    answered,
    committing,
    killers,
    owner,
    passivated,
    to_be_noted,
    unread,
    work,
)
from tests.model.requests import Acquire, Commit, Mark, Release, Renew, Suspect
from tests.model.scripts import arrives, holds
from tests.model.state import IDLE, KEYS, UNCOUNTED, UNREAD, Entry, Server, Worker, World, keys_of
from tests.model.step import Step, as_fault
from tests.model.surroundings import surroundings
from tests.model.worlds import Bounds


def first_world(bounds: Bounds) -> World:
    server = Server(due=tuple(enumerate(bounds.due, 1)), crashes=0 if bounds.max_crashes else UNCOUNTED)
    return World(
        primary=server,
        replica=server if bounds.failovers else Server(),
        workers=(IDLE,) * bounds.workers,
        faults=bounds.faults,
        failovers=bounds.failovers,
        resets=bounds.resets,
    )


def steps(world: World, bounds: Bounds, guards: Guards) -> Iterator[Step]:
    yield from surroundings(world, bounds, guards)
    for commit in dict.fromkeys(world.network):
        yield from _delivery(world, commit, bounds, guards)
    for nonce in dict.fromkeys(world.acquires):
        yield _late_acquire(world, nonce, guards)
    for worker in dict.fromkeys(world.workers):
        if worker.epoch:
            yield from _owner(world, worker, guards)
            yield from _suspicious(world, worker, bounds, guards)
            yield from _reader(world, worker, bounds, guards)
            yield from _actors(world, worker, bounds, guards)
            yield from _committer(world, worker, bounds, guards)
        else:
            yield from _asking(world, worker, bounds, guards)


def _with(world: World, old: Worker, new: Worker) -> World:
    workers = list(world.workers)
    workers[workers.index(old)] = new
    return world._replace(workers=tuple(sorted(workers)))


# ── requests on their way ──


def _delivery(world: World, commit: Commit, bounds: Bounds, guards: Guards) -> Iterator[Step]:
    network = list(world.network)
    network.remove(commit)
    server, answer = arrives(world.primary, commit, guards)
    if set(server.dropped) - set(bounds.poison) and not _befallen(world, bounds):
        server = server._replace(broken="a healthy event is passed over although nothing else befell its owners")
    world = world._replace(network=tuple(network), primary=server)
    label = f"commit {commit.number} of {commit.epoch}/{commit.nonce} arrives: {answer}"
    waiting = next((worker for worker in world.workers if worker.waiting == (commit,)), None)
    if waiting is None:
        yield Step(f"{label}, nobody waits", world, False, commit, answer)
        return
    knows = answered(waiting, server) if answer in ("OK", "ALREADY") else IDLE  # it drops all, and acquires anew
    yield Step(label, _with(world, waiting, knows), False, commit, answer)
    if world.faults:
        yield Step(f"{label}, reply lost", as_fault(world), True, commit, answer)


def _late_acquire(world: World, nonce: int, guards: Guards) -> Step:
    acquires = list(world.acquires)
    acquires.remove(nonce)
    after, request, answer = _acquired(world._replace(acquires=tuple(acquires)), nonce, guards)
    return Step(f"a copy of acquire {nonce} arrives: {answer}, nobody waits", after, False, request, answer)


# ── workers ──


def _acquired(world: World, nonce: int, guards: Guards) -> tuple[World, Acquire, str]:
    request = Acquire(nonce, world.next_grant)
    server, answer = arrives(world.primary, request, guards)
    used = server.grant == world.next_grant
    return world._replace(primary=server, next_grant=world.next_grant + used), request, answer


def _asking(world: World, worker: Worker, bounds: Bounds, guards: Guards) -> Iterator[Step]:
    """A nonce is sent until it is answered, and a new one made up after that."""
    nonce = worker.nonce or world.next_nonce
    after, request, answer = _acquired(world, nonce, guards)
    label = f"acquire {nonce}{' again' if worker.nonce else ''}: {answer}"
    if answer != "OK":
        if worker != IDLE:
            yield Step(label, _with(after, worker, IDLE), False, request, answer)
        return
    server = after.primary
    label += f", token {server.epoch}/{server.nonce}, cursor {server.cursor}"
    after = after._replace(next_nonce=max(world.next_nonce, nonce + 1))
    owning = _with(after, worker, owner(server, bounds, guards))
    yield Step(label, owning, False, request, answer)
    if world.faults and worker == IDLE:
        yield Step(f"{label}, reply lost", as_fault(_with(after, worker, Worker(nonce=nonce))), True, request, answer)
    if world.faults and bounds.acquires_travel:
        travels = owning._replace(acquires=tuple(sorted((*owning.acquires, nonce))))
        yield Step(f"{label}; a copy of it still travels", as_fault(travels), True, request, answer)
    if world.faults and worker != IDLE:
        yield Step(f"who asked for {nonce} crashes", as_fault(_with(world, worker, IDLE)), True)


def _owner(world: World, worker: Worker, guards: Guards) -> Iterator[Step]:
    name = f"{worker.epoch}/{worker.nonce}"
    gone = _with(world, worker, IDLE)
    if world.faults:
        yield Step(f"{name} crashes", as_fault(gone), True)
    request = Renew(worker.epoch, worker.nonce)
    if not holds(world.primary, worker.epoch, worker.nonce, guards):
        yield Step(f"{name} renews: FENCED", gone, False, request, "FENCED")
        return
    server, answer = arrives(world.primary, request, guards)
    if server != world.primary:
        yield Step(f"{name} renews: OK", world._replace(primary=server), False, request, answer)
    for went in _ways_to_release(world, worker):
        release = Release(worker.epoch, worker.nonce, went)
        server, answer = arrives(world.primary, release, guards)
        yield Step(f"{name} releases, it went {went}", as_fault(gone._replace(primary=server)), True, release, answer)


def _ways_to_release(world: World, worker: Worker) -> list[Went]:
    if not world.faults:
        return []
    if world.primary.crashes == UNCOUNTED:
        return ["well"]
    idle: list[Went] = ["idle"] if worker.crashes and not (worker.number or worker.waiting or worker.noted) else []
    return ["well", "lost", *idle]


def _reader(world: World, worker: Worker, bounds: Bounds, guards: Guards) -> Iterator[Step]:
    name, server = f"{worker.epoch}/{worker.nonce}", world.primary
    if entries := unread(server, worker, guards):
        fed = worker._replace(buffer=worker.buffer + entries, position=server.last_id)
        yield Step(f"{name} reads {_spelled(entries)}", _with(world, worker, fed))
    again = worker._replace(buffer=(), position=worker.cursor)
    if bounds.key_concurrency:
        again = again._replace(states=UNREAD)
    if world.faults and again != worker:
        label = f"{name} restarts its partition, drops what it has read, goes back to {worker.cursor}"
        yield Step(label, as_fault(_with(world, worker, again)), True)


def _actors(world: World, worker: Worker, bounds: Bounds, guards: Guards) -> Iterator[Step]:
    """What a partition with actors reads once it owns, and whenever an actor is activated: later than all else."""
    name, server = f"{worker.epoch}/{worker.nonce}", world.primary
    if not worker.knows_marks:
        knows = worker._replace(knows_marks=True, done=server.done if "marks loaded" in guards else ())
        yield Step(f"{name} reads the marks {knows.done}", _with(world, worker, knows))
    wanted = keys_of(worker.buffer) + "".join(key for key in server.releasing if key in worker.parked_keys)
    for key in KEYS:
        if key in wanted and key not in active(worker):
            knows = activated(server, worker, key, guards)
            yield Step(f"{name} activates {key}", _with(world, worker, knows))
        if bounds.passivating and key in active(worker) and key not in wanted:
            yield Step(f"{name} passivates {key}", _with(world, worker, passivated(worker, key)))


def _suspicious(world: World, worker: Worker, bounds: Bounds, guards: Guards) -> Iterator[Step]:
    """An event that runs alone, or that ends the process. That is no fault: it happens whenever the event is run."""
    name, server = f"{worker.epoch}/{worker.nonce}", world.primary
    if entry := to_be_noted(worker, bounds, guards):
        request = Suspect(worker.epoch, worker.nonce, entry)
        after, answer = arrives(server, request, guards)
        if bounds.max_crashes > after.lost and answer == "OK":
            after = after._replace(broken="an event is suspected at which too few owners were lost")
        noted = _with(world, worker, worker._replace(noted=entry) if answer == "OK" else IDLE)
        yield Step(f"{name} notes {entry}: {answer}", noted._replace(primary=after), False, request, answer)
    for event in killers(worker, bounds, guards):
        after = server._replace(deaths=server.deaths + 1)
        if after.deaths > _most_deaths(world, bounds):
            after = after._replace(broken="an event ends too many workers")
        yield Step(f"{name} runs {event} and dies", _with(world, worker, IDLE)._replace(primary=after))


def _most_deaths(world: World, bounds: Bounds) -> int:
    """One that dies of what is not committed before the event, as many as it takes, one alone; and again after each fault."""
    return (len(bounds.poison) + _befallen(world, bounds)) * (bounds.max_crashes + 2)


def _befallen(world: World, bounds: Bounds) -> int:
    """How many faults, failovers and resets there were."""
    return bounds.faults - world.faults + bounds.failovers - world.failovers + bounds.resets - world.resets


def _committer(world: World, worker: Worker, bounds: Bounds, guards: Guards) -> Iterator[Step]:
    """One commit under way at a time; it is sent again until it is answered."""
    again = bool(worker.waiting)
    travels_already = worker.waiting[:1] != () and worker.waiting[0] in world.network
    if travels_already and not world.faults:
        return
    todo = () if again else work(world.primary, worker, bounds, guards)
    choices = [worker] if again else [committing(worker, each, bounds, guards) for each in todo]
    for after in choices:
        [commit] = after.waiting
        sent = _with(world, worker, after)._replace(network=tuple(sorted((*world.network, commit))))
        label = f"{worker.epoch}/{worker.nonce} sends commit {commit.number}{' again' if again else ''}: "
        label += f"{_spelled(commit.marks)}, cursor {worker.cursor}→{commit.cursor}"
        yield Step(label, as_fault(sent) if travels_already else sent, travels_already)


def _spelled(entries: tuple[Entry, ...] | tuple[Mark, ...]) -> str:
    return " ".join(f"{entry[1]}@{entry[0]}" + "".join(f" {word}" for word in entry[2:]) for entry in entries)
