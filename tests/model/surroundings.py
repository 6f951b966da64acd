"""What happens around the workers: the producer, what befalls the server, operators, retention, and time."""

from collections.abc import Iterator

from tests.model.guards import Guards
from tests.model.requests import Append, Promote, Register, Renew, Reset, Trim, Unregister
from tests.model.scripts import arrives, parked_released, slowest
from tests.model.state import Server, World, keys_of, readable
from tests.model.step import Step, as_fault
from tests.model.worlds import Bounds


def surroundings(world: World, bounds: Bounds, guards: Guards) -> Iterator[Step]:
    yield from _producer(world, bounds, guards)
    yield from _lease(world, guards)
    yield from _failover(world, bounds)
    yield from _operator(world, bounds, guards)
    yield from _retention(world, bounds, guards)
    yield from _time(world, guards)


# ── the producer ──


def _producer(world: World, bounds: Bounds, guards: Guards) -> Iterator[Step]:
    if world.sent == len(bounds.events):
        return
    request = Append(world.sent + 1, bounds.events[world.sent])
    server, answer = arrives(world.primary, request, guards)
    after = world._replace(primary=server)
    yield Step(f"append {request.event}", after._replace(sent=request.sequence), False, request, answer)
    if world.faults and after != world:
        yield Step(f"append {request.event}, reply lost", as_fault(after), True, request, answer)
    if world.faults and bounds.sequence_expires:
        expired = world._replace(primary=world.primary._replace(sequence=0))
        yield Step("the producer's sequence expires", as_fault(expired), True)


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
        yield Step(f"{EXPIRED} under its holder {server.epoch}/{server.nonce}", as_fault(expired), True)
    if server.released and world.faults:
        request = Renew(server.epoch, server.nonce)
        server, answer = arrives(server, request, guards)
        if answer == "OK":
            renewed = as_fault(world._replace(primary=server))
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


# ── operators, retention, time ──


def _operator(world: World, bounds: Bounds, guards: Guards) -> Iterator[Step]:
    server = world.primary
    for key in sorted(set(keys_of(server.parked)) - set(server.releasing)):
        released = world._replace(primary=parked_released(server, key, guards))
        yield Step(f"an operator releases key {key}", released)
    if world.resets and bounds.unregisters:
        yield _begun_anew(world, "unregisters the group", Unregister(), guards)
    elif world.resets:
        for target in [0, *(entry_id for entry_id, _ in readable(server))]:
            yield _begun_anew(world, f"resets the cursor to {target or 'earliest'}", Reset(target), guards)


def _begun_anew(world: World, what: str, request: Reset | Unregister, guards: Guards) -> Step:
    server, answer = arrives(world.primary, request, guards)
    after = world._replace(primary=server, resets=world.resets - 1)
    return Step(f"an operator {what}", after, True, request, answer)


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


def _time(world: World, guards: Guards) -> Iterator[Step]:
    """Whoever looks moves what is due."""
    if world.primary.due:
        server, answer = arrives(world.primary, Promote(), guards)
        label = f"{world.primary.due[0][1]} is due"
        yield Step(label, world._replace(primary=server), False, Promote(), answer)
