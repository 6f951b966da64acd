"""Workers that park: some keys have poison events, which are mended later, and operators release keys while faults come.

A partition's events need not come in the order of its log then, nor only once in a term. What holds, and is checked, is the
order of each key; and, of the keys without poison among themselves, all that holds elsewhere.
"""

from collections import defaultdict
from collections.abc import Iterator
from random import Random
from typing import Any

from attrs import evolve

from runnel.errors import StoreError
from runnel.operations.kept import Choice, find, release_parked
from runnel.processor import Processor
from tests.chaos import checks
from tests.chaos.faults import FAULTS, STEP
from tests.chaos.record import Record
from tests.chaos.rounds import Trade
from tests.chaos.timeline import Moment, Timeline, drawn, lasting
from tests.chaos.world import World
from tests.integration.faults.ledger import Order
from tests.support import wait_until

POISON = (0, 5, 9)
"""Keys some of whose events fail until they are mended."""

KINDS = ("kill", "kill", "kill at", "kill at", "pause", "restart server")

MENDED = 0.6
"""When, as a part of the round, the cause is mended: what is released before fails again."""


def drawn_while_parking(seed: int, seconds: float) -> Timeline:
    """The timeline of a seed: workers are killed while they park, and while released events run."""
    drawn_so = drawn(seed, seconds, KINDS, every=0.8)
    released = Moment(0.1, "release", seconds, 0.5)
    mended = Moment(round(MENDED * seconds, 2), "mend", 0.0, 0.5)
    return evolve(drawn_so, moments=[released, mended, *drawn_so.moments])


# ── what operators do ──


async def release(world: World, moment: Moment) -> None:
    """`runnel parked release`, again and again, of one poison key or another."""
    chance = Random(moment.pick)
    for _ in range(round(moment.span / STEP)):
        try:
            await _release(world, str(chance.choice(POISON)))
        except StoreError:
            pass  # another fault has the server down
        await lasting(STEP)


async def _release(world: World, *keys: str) -> None:
    processor = _processor(world)
    parked = await find(world.shop.app, processor, "parked", Choice(keys=keys))
    await release_parked(world.shop.app, processor, parked)


def _processor(world: World) -> Processor:
    """The workers' processor, as the command knows it."""
    app = world.shop.app
    if "till" not in app.processors:

        @app.processor(world.shop.stream, name="till")
        async def till(events: Any) -> None: ...

    return app.processors["till"]


async def mend(world: World, moment: Moment) -> None:
    """A fix is deployed."""
    world.shop.plan.mended.touch()


async def all_released(world: World) -> None:
    """What is still parked, for whatever reason, runs."""
    world.shop.plan.mended.touch()
    await _release(world)
    await wait_until(lambda: not _kept(world), 30, "nothing is parked any more")


def _kept(world: World) -> bool:
    shop = world.shop
    with shop.server.client() as client:
        keys = [key for n in range(shop.plan.partition_count) for key in shop.keys(n).of_parked("till")]
        return any(client.exists(key.decode()) and client.type(key.decode()) != "stream" for key in keys) or any(
            client.xlen(key.decode()) for key in keys[::3]
        )


# ── what is judged ──


def overtaken(record: Record) -> Iterator[str]:
    """I2, of each key: no event is begun before all that lie before it have been finished, by whomever."""
    before: dict[Order, Order] = {}
    for entries in record.eras[-1].logs.values():
        last: dict[int, Order] = {}
        for entry in entries:
            if entry.event.key in last:
                before[entry.event] = last[entry.event.key]
            last[entry.event.key] = entry.event
    finished: set[Order] = set()
    for line in record.lines:
        if line.what == "finished":
            finished.add(line.event)
        elif (earlier := before.get(line.event)) is not None and earlier not in finished:
            yield f"{line.worker} (term {line.token}) began {line.event}, and {earlier} was not finished"


def without_poison(record: Record) -> Record:
    """What was done of the other keys; once in each term: a batch that has failed is begun again, event by event."""
    seen: dict[str, set[tuple[Order, str]]] = defaultdict(set)
    lines = []
    for line in record.lines:
        known = seen[line.token]
        if line.event.key not in POISON and (line.event, line.what) not in known:
            known.add((line.event, line.what))
            lines.append(line)
    logs = {n: [e for e in entries if e.event.key not in POISON] for n, entries in record.eras[-1].logs.items()}
    sent = {event: place for event, place in record.sent.items() if event.key not in POISON}
    return evolve(record, lines=lines, sent=sent, eras=[evolve(record.eras[-1], logs=logs)])


def of_each_key(record: Record) -> list[str]:
    """What went wrong with events as those of their key."""
    return [f"{check.__name__}: {what}" for check in (checks.lost, overtaken) for what in check(record)]


def violations(record: Record) -> list[str]:
    """What went wrong."""
    return of_each_key(record) + [f"of keys without poison: {what}" for what in checks.violations(without_poison(record))]


PARKING = Trade(
    plan={"policy": "park", "poison": list(POISON)},
    faults={**FAULTS, "release": release, "mend": mend},
    in_peace=all_released,
    violations=violations,
)
