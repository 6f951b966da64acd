"""All that may happen next in a world. A paused worker is one that takes no step for a while.

Each step that a request takes at the server says which and how it was answered, for comparing with the real scripts.
"""

from collections.abc import Iterator
from typing import NamedTuple

from runnel.store.scripts import Went
from tests.model.guards import Guards
from tests.model.owner import answered, committing, killers, owner, to_be_noted, unread, work
from tests.model.scripts import (
    Acquire,
    Append,
    Register,
    Release,
    Renew,
    Request,
    Reset,
    Suspect,
    Trim,
    arrives,
    holds,
    parked_released,
    slowest,
)
from tests.model.state import IDLE, UNCOUNTED, Commit, Entry, Mark, Server, Worker, World, keys_of, readable
from tests.model.worlds import Bounds


class Step(NamedTuple):
    """What happens, the world after it, and whether it is a fault: work must get done without any more of those."""

    label: str
    world: World
    is_fault: bool = False
    request: Request | None = None
    answer: str = ""


def first_world(bounds: Bounds) -> World:
    server = Server(due=bounds.due, crashes=0 if bounds.max_crashes else UNCOUNTED)
    return World(
        primary=server,
        replica=server if bounds.failovers else Server(),
        workers=(IDLE,) * bounds.workers,
        faults=bounds.faults,
        failovers=bounds.failovers,
        resets=bounds.resets,
    )


def steps(world: World, bounds: Bounds, guards: Guards) -> Iterator[Step]:
    yield from _producer(world, bounds, guards)
    yield from _lease(world, guards)
    yield from _failover(world, bounds)
    yield from _operator(world, guards)
    yield from _retention(world, bounds, guards)
    for commit in dict.fromkeys(world.network):
        yield from _delivery(world, commit, bounds, guards)
    for nonce in dict.fromkeys(world.acquires):
        yield _late_acquire(world, nonce, guards)
    for worker in dict.fromkeys(world.workers):
        if worker.epoch:
            yield from _owner(world, worker, guards)
            yield from _suspicious(world, worker, bounds, guards)
            yield from _reader(world, worker, guards)
            yield from _committer(world, worker, bounds, guards)
        else:
            yield from _asking(world, worker, bounds, guards)


def _fault(world: World) -> World:
    return world._replace(faults=world.faults - 1)


def _with(world: World, old: Worker, new: Worker) -> World:
    workers = list(world.workers)
    workers[workers.index(old)] = new
    return world._replace(workers=tuple(sorted(workers)))


# ── the producer ──


def _producer(world: World, bounds: Bounds, guards: Guards) -> Iterator[Step]:
    if world.sent == len(bounds.events):
        return
    request = Append(world.sent + 1, bounds.events[world.sent])
    server, answer = arrives(world.primary, request, guards)
    after = world._replace(primary=server)
    yield Step(f"append {request.event}", after._replace(sent=request.sequence), False, request, answer)
    if world.faults and after != world:
        yield Step(f"append {request.event}, reply lost", _fault(after), True, request, answer)
    if world.faults and bounds.sequence_expires:
        expired = world._replace(primary=world.primary._replace(sequence=0))
        yield Step("the producer's sequence expires", _fault(expired), True)


# ── what befalls the server ──

EXPIRED = "the lease runs out"
CAUGHT_UP = "the replica catches up"
FAILOVER = "failover"


def _lease(world: World, guards: Guards) -> Iterator[Step]:
    server = world.primary
    expired = world._replace(primary=server._replace(held=False))
    if server.held and not any(worker.nonce == server.nonce for worker in world.workers):
        yield Step(f"{EXPIRED}: its holder is gone", expired)
    elif server.held and world.faults:
        yield Step(f"{EXPIRED} under its holder {server.epoch}/{server.nonce}", _fault(expired), True)
    if server.released and world.faults:
        request = Renew(server.epoch, server.nonce)
        server, answer = arrives(server, request, guards)
        if answer == "OK":
            renewed = _fault(world._replace(primary=server))
            yield Step("a renewal arrives after the release: OK", renewed, True, request, answer)


def _failover(world: World, bounds: Bounds) -> Iterator[Step]:
    """What travels is lost with the connections. A reader goes on from memory, so workers notice nothing by themselves."""
    server = world.primary
    if world.failovers and world.replica != server:
        yield Step(CAUGHT_UP, world._replace(replica=server))
    if world.failovers:
        promoted = world.replica._replace(step=bounds.step, history=server.history + 1)
        after = world._replace(
            primary=promoted,
            replica=promoted if world.failovers > 1 else Server(),
            failovers=world.failovers - 1,
            network=(),
            acquires=(),
        )
        lost = "loses the rest" if world.replica != server else "loses nothing"
        yield Step(f"{FAILOVER}, {lost}", after, True)


def _operator(world: World, guards: Guards) -> Iterator[Step]:
    server = world.primary
    for key in sorted(set(keys_of(server.parked)) - set(server.releasing)):
        released = world._replace(primary=parked_released(server, key, guards))
        yield Step(f"an operator releases key {key}", released)
    for target in [0, *(entry_id for entry_id, _ in readable(server))] if world.resets else ():
        request = Reset(target)
        after, answer = arrives(server, request, guards)
        reset = world._replace(primary=after, resets=world.resets - 1)
        yield Step(f"an operator resets the cursor to {target or 'earliest'}", reset, True, request, answer)


def _retention(world: World, bounds: Bounds, guards: Guards) -> Iterator[Step]:
    server, limit = world.primary, slowest(world.primary)
    if bounds.trimming and "minimum inside trim" in guards and limit > server.trimmed:
        yield _trimmed(world, Trim(), guards)
    if bounds.trimming and "minimum inside trim" not in guards and limit > world.trim_plan:
        yield Step(f"a client reads the minimum cursor {limit}", world._replace(trim_plan=limit))
    if bounds.trimming and world.trim_plan > server.trimmed:
        yield _trimmed(world, Trim(world.trim_plan), guards)
    if bounds.second_group and server.second < 0:
        request = Register()
        registered, answer = arrives(server, request, guards)
        yield Step("a second group registers", world._replace(primary=registered), False, request, answer)
    elif todo := [i for i, _ in readable(server) if bounds.second_group and i > server.second]:
        yield Step(f"the second group does {todo[0]}", world._replace(primary=server._replace(second=todo[0])))


def _trimmed(world: World, request: Trim, guards: Guards) -> Step:
    server, answer = arrives(world.primary, request, guards)
    return Step(f"trim up to {server.trimmed}", world._replace(primary=server), False, request, answer)


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
        yield Step(f"{label}, reply lost", _fault(world), True, commit, answer)


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
    owning = _with(after, worker, owner(server, guards))
    yield Step(label, owning, False, request, answer)
    if world.faults and worker == IDLE:
        yield Step(f"{label}, reply lost", _fault(_with(after, worker, Worker(nonce=nonce))), True, request, answer)
    if world.faults and bounds.acquires_travel:
        travels = owning._replace(acquires=tuple(sorted((*owning.acquires, nonce))))
        yield Step(f"{label}; a copy of it still travels", _fault(travels), True, request, answer)
    if world.faults and worker != IDLE:
        yield Step(f"who asked for {nonce} crashes", _fault(_with(world, worker, IDLE)), True)


def _owner(world: World, worker: Worker, guards: Guards) -> Iterator[Step]:
    name = f"{worker.epoch}/{worker.nonce}"
    gone = _with(world, worker, IDLE)
    if world.faults:
        yield Step(f"{name} crashes", _fault(gone), True)
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
        yield Step(f"{name} releases, it went {went}", _fault(gone._replace(primary=server)), True, release, answer)


def _ways_to_release(world: World, worker: Worker) -> list[Went]:
    if not world.faults:
        return []
    if world.primary.crashes == UNCOUNTED:
        return ["well"]
    idle: list[Went] = ["idle"] if worker.crashes and not (worker.number or worker.waiting or worker.noted) else []
    return ["well", "lost", *idle]


def _reader(world: World, worker: Worker, guards: Guards) -> Iterator[Step]:
    name, server = f"{worker.epoch}/{worker.nonce}", world.primary
    if entries := unread(server, worker, guards):
        fed = worker._replace(buffer=worker.buffer + entries, position=server.last_id)
        yield Step(f"{name} reads {_spelled(entries)}", _with(world, worker, fed))
    again = worker._replace(buffer=(), position=worker.cursor)
    if world.faults and again != worker:
        label = f"{name} restarts its partition, drops what it has read, goes back to {worker.cursor}"
        yield Step(label, _fault(_with(world, worker, again)), True)


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
    choices = [worker] if again else [committing(worker, each) for each in work(world.primary, worker, bounds, guards)]
    for after in choices:
        [commit] = after.waiting
        sent = _with(world, worker, after)._replace(network=tuple(sorted((*world.network, commit))))
        label = f"{worker.epoch}/{worker.nonce} sends commit {commit.number}{' again' if again else ''}: "
        label += f"{_spelled(commit.marks)}, cursor {worker.cursor}→{commit.cursor}"
        yield Step(label, _fault(sent) if travels_already else sent, travels_already)


def _spelled(entries: tuple[Entry, ...] | tuple[Mark, ...]) -> str:
    return " ".join(f"{entry[1]}@{entry[0]}" + "".join(f" {word}" for word in entry[2:]) for entry in entries)
