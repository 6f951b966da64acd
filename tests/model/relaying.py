"""The relay's protocol: what commits put into an outbox is brought to its targets, each event once and in order.

One outbox, two targets, several relays of owners old and new. Requests may arrive late, or twice; answers get lost; a
failover loses the end of what the server held, and all that travels, but not what relays remember. What an outbox gets is the
business of `scripts.py`: here events simply come into it.
"""

from collections.abc import Iterator
from typing import NamedTuple

from tests.model.guards import ALL, Guards

TARGETS = "xy"  # an event is named by its target and a number
LATE = -1  # whose answer nobody waits for

Emitted = tuple[int, str]  # id in the outbox, event


class RelayBounds(NamedTuple):
    """What may happen in a world of relays."""

    events: tuple[str, ...] = ("x1", "x2", "x3")
    relays: int = 2
    faults: int = 2
    failovers: int = 0
    loses: str = "all"  # what fails over: "all" (one server), "source" or "target" (of a cluster)
    step: int = 4  # between ids after a failover; 10 before
    page: int = 2
    breaks: str = ""  # the promise that breaks here by nature


class Source(NamedTuple):
    """The outbox. `emitted` is for judging: all that ever came into it, in this history."""

    outbox: tuple[Emitted, ...] = ()
    last_id: int = 0
    step: int = 10
    emitted: tuple[str, ...] = ()


class Targets(NamedTuple):
    """The logs, and for each the mark: the last id of the outbox that it got."""

    logs: tuple[tuple[str, ...], ...] = ((),) * len(TARGETS)
    marks: tuple[int, ...] = (0,) * len(TARGETS)


class Deliver(NamedTuple):
    """Events of one target, on their way to it. `by` is who waits for the answer."""

    by: int
    target: int
    events: tuple[Emitted, ...]


class Remove(NamedTuple):
    """Ids, on their way to the outbox. `target` is there for sorting."""

    by: int
    target: int
    ids: tuple[int, ...]


class Relay(NamedTuple):
    """What a relay remembers of the outbox. One that is done remembers nothing."""

    told: bool = False
    after: int = 0
    page: tuple[Emitted, ...] = ()
    waiting: int = 0  # answers
    delivered: tuple[int, ...] = ()


class RelayWorld(NamedTuple):
    """Everything at one moment. `untold`: an owner was lost, the next one will tell its relay."""

    source: Source
    targets: Targets
    replica: tuple[Source, Targets]
    relays: tuple[Relay, ...]
    faults: int
    failovers: int
    network: tuple[Deliver | Remove, ...] = ()
    untold: bool = False


class RelayStep(NamedTuple):
    """As `step.Step`."""

    label: str
    world: RelayWorld
    is_fault: bool = False


class RelayModel(NamedTuple):
    """For the search."""

    bounds: RelayBounds
    guards: Guards = ALL

    def first(self) -> RelayWorld:
        relays = (Relay(),) * self.bounds.relays
        nothing = Source(), Targets()
        return RelayWorld(*nothing, nothing, relays, self.bounds.faults, self.bounds.failovers)

    def steps(self, world: RelayWorld) -> Iterator[RelayStep]:
        yield from _emitting(world, self.bounds)
        yield from _failover(world, self.bounds, self.guards)
        for request in dict.fromkeys(world.network):
            yield from _arrivals(world, request, self.guards)
        for number, relay in enumerate(world.relays):
            yield from _relay(world, number, relay, self.bounds, self.guards)

    def broken(self, before: RelayWorld, after: RelayWorld) -> str:
        """Each target has what was emitted for it, up to somewhere; the rest is in the outbox."""
        if (before.source, before.targets) == (after.source, after.targets):
            return ""
        for name, log in zip(TARGETS, after.targets.logs, strict=True):
            emitted = tuple(event for event in after.source.emitted if event[0] == name)
            if log != emitted[: len(log)]:
                return f"{log} is delivered, and {emitted} emitted"
            waits = [event for _, event in after.source.outbox]
            if lost := [event for event in emitted[len(log) :] if event not in waits]:
                return f"{lost} is lost"
        return ""

    def is_done(self, world: RelayWorld) -> bool:
        return len(world.source.emitted) == len(self.bounds.events) and not world.source.outbox


def _emitting(world: RelayWorld, bounds: RelayBounds) -> Iterator[RelayStep]:
    source = world.source
    if len(source.emitted) < len(bounds.events):
        event, entry_id = bounds.events[len(source.emitted)], source.last_id + source.step
        outbox, emitted = (*source.outbox, (entry_id, event)), (*source.emitted, event)
        after = world._replace(source=source._replace(outbox=outbox, last_id=entry_id, emitted=emitted))
        for number in range(bounds.relays):
            yield RelayStep(f"{event} is emitted, relay {number} is told", _told(after, number))
        if world.faults:
            lost = after._replace(faults=world.faults - 1, untold=True)
            yield RelayStep(f"{event} is emitted, its owner is lost before it tells", lost, True)
    if world.untold:
        for number in range(bounds.relays):
            told = _told(world._replace(untold=False), number)
            yield RelayStep(f"the next owner tells relay {number}", told)


def _told(world: RelayWorld, number: int) -> RelayWorld:
    return _with(world, number, world.relays[number]._replace(told=True))


def _with(world: RelayWorld, number: int, relay: Relay) -> RelayWorld:
    return world._replace(relays=(*world.relays[:number], relay, *world.relays[number + 1 :]))


def _failover(world: RelayWorld, bounds: RelayBounds, guards: Guards) -> Iterator[RelayStep]:
    """Connections break with their server: a relay's next exchange is not answered. In a cluster another one may be."""
    if not world.failovers:
        return
    source, targets = world.replica
    if world.replica != (world.source, world.targets):
        yield RelayStep("the replica catches up", world._replace(replica=(world.source, world.targets)))
    source = world.source if bounds.loses == "target" else source._replace(step=bounds.step)
    targets = world.targets if bounds.loses == "source" else targets
    relays = tuple(
        Relay(told=True)
        if relay.waiting or (relay != Relay() and bounds.loses == "all" and "relay forgets" in guards)
        else relay
        for relay in world.relays
    )
    left = world.failovers - 1
    after = RelayWorld(source, targets, (source, targets), relays, world.faults, left, untold=True)
    yield RelayStep(f"failover of {bounds.loses}", after, True)


# ── requests on their way ──


def _arrivals(world: RelayWorld, request: Deliver | Remove, guards: Guards) -> Iterator[RelayStep]:
    network = list(world.network)
    network.remove(request)
    arrived = world._replace(network=tuple(network))
    if isinstance(request, Deliver):
        arrived = arrived._replace(targets=_deliver(world.targets, request, guards))
        label = f"{[event for _, event in request.events]} arrive"
    else:
        arrived = arrived._replace(source=_remove(world.source, request, guards))
        label = f"{list(request.ids)} are removed"
    if request.by == LATE:
        yield RelayStep(f"{label}, late", arrived)
        return
    yield RelayStep(label, _answered(arrived, request))
    if world.faults:
        yield RelayStep(f"{label}, answer lost", _unanswered(arrived, request.by), True)
        yield RelayStep(f"{label}, and travel once more", _once_more(arrived, request), True)
        yield RelayStep(f"relay {request.by} gives up", _unanswered(world, request.by), True)
    if world.faults and isinstance(request, Deliver):
        yield RelayStep(f"{label}, and are refused", _refused(world._replace(network=tuple(network)), request.by), True)


def _deliver(targets: Targets, request: Deliver, guards: Guards) -> Targets:
    at, logs, marks = request.target, list(targets.logs), list(targets.marks)
    for entry_id, event in request.events:
        if entry_id > marks[at] or "relay mark" not in guards:
            logs[at], marks[at] = (*logs[at], event), entry_id
    return Targets(tuple(logs), tuple(marks))


def _remove(source: Source, request: Remove, guards: Guards) -> Source:
    def goes(entry_id: int) -> bool:
        return entry_id in request.ids if "removed by ids" in guards else entry_id <= max(request.ids)

    return source._replace(outbox=tuple(entry for entry in source.outbox if not goes(entry[0])))


def _answered(world: RelayWorld, request: Deliver | Remove) -> RelayWorld:
    relay = world.relays[request.by]
    relay = relay._replace(waiting=relay.waiting - 1)
    if isinstance(request, Deliver):
        ids = {*relay.delivered, *(entry_id for entry_id, _ in request.events)}
        relay = relay._replace(delivered=tuple(sorted(ids)))
    return _with(world, request.by, relay)


def _refused(world: RelayWorld, by: int) -> RelayWorld:
    """The relay reads again from the first event on; a real one leaves those of other targets out."""
    relay = world.relays[by]
    again = Relay(told=True, waiting=relay.waiting - 1, delivered=relay.delivered)
    return _with(world._replace(faults=world.faults - 1), by, again)


def _unanswered(world: RelayWorld, by: int) -> RelayWorld:
    """Nobody knows what became of the exchange: the relay forgets all, and what travels may still arrive."""
    late = tuple(sorted(each._replace(by=LATE) if each.by == by else each for each in world.network))
    world = world._replace(network=late, faults=world.faults - 1)
    return _with(world, by, Relay(told=True))


def _once_more(world: RelayWorld, request: Deliver | Remove) -> RelayWorld:
    world = world._replace(network=tuple(sorted((*world.network, request._replace(by=LATE)))), faults=world.faults - 1)
    return _answered(world, request)


# ── a relay ──


def _relay(world: RelayWorld, number: int, relay: Relay, bounds: RelayBounds, guards: Guards) -> Iterator[RelayStep]:
    """One exchange after the other: it removes what was delivered, delivers a page, and reads the next."""
    if world.faults and relay != Relay():
        lost = _unanswered(world, number)._replace(untold=True)
        yield RelayStep(f"relay {number} is lost", _with(lost, number, Relay()), True)
    if relay.waiting:
        return
    if relay.page or relay.delivered:
        label = f"relay {number} sends {list(relay.page)}, removes {list(relay.delivered)}"
        yield RelayStep(label, _sent(world, number, guards))
    elif relay.told:
        found = tuple(entry for entry in world.source.outbox if entry[0] > relay.after)[: bounds.page]
        if "no gap" not in guards:
            found = found[-1:]
        after = found[-1][0] if found else relay.after
        read = Relay(told=len(found) == bounds.page, after=after, page=found) if found else Relay()
        yield RelayStep(f"relay {number} reads {list(found)}", _with(world, number, read))


def _sent(world: RelayWorld, number: int, guards: Guards) -> RelayWorld:
    relay = world.relays[number]
    removed = relay.delivered
    if "removed once delivered" not in guards:
        removed += tuple(entry_id for entry_id, _ in relay.page)
    requests: list[Deliver | Remove] = [Remove(number, -1, removed)] if removed else []
    for at, name in enumerate(TARGETS):
        if events := tuple(entry for entry in relay.page if entry[1][0] == name):
            requests.append(Deliver(number, at, events))
    world = world._replace(network=tuple(sorted((*world.network, *requests))))
    return _with(world, number, relay._replace(page=(), delivered=(), waiting=len(requests)))


RELAY_WORLDS = {
    "relay": RelayBounds(events=("x1", "y1", "x2"), faults=1),
    "relay, one target": RelayBounds(),
    "relay, failover": RelayBounds(events=("x1", "x2"), faults=1, failovers=1, step=4),
    "relay, failover, ids again": RelayBounds(events=("x1", "x2"), faults=1, failovers=1, step=10),
    "relay, failover, ids ahead": RelayBounds(events=("x1", "x2"), faults=1, failovers=1, step=100),
    "relay, source fails over": RelayBounds(
        events=("x1",), failovers=1, loses="source", breaks="('x1',) is delivered, and () emitted"
    ),
    "relay, target fails over": RelayBounds(events=("x1",), failovers=1, loses="target", breaks="['x1'] is lost"),
}
