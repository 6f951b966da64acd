"""Which fault comes when: drawn from a seed before anything runs, so that a seed is a timeline, whatever happens then.

What a fault strikes is drawn as a number as well (`pick`): which of the workers there are then, is known only then.
"""

import asyncio
import time
from collections.abc import Iterable, Sequence
from random import Random

from attrs import evolve, field, frozen

LEASE = 1.0
"""Seconds: how long a lease of the workers lasts."""

OWNERS = 0.8
"""A `pick` below this strikes a worker that owns something, if there is one; so most do."""

CRASHES = ("read", "handler", "before commit", "commit sent", "after commit")
"""The fail points on the way of an event (see `tests.integration.faults.crashes`)."""


@frozen
class Kind:
    """A kind of fault: what it is called in `faults.FAULTS`, how long it lasts, and what more there is to draw."""

    name: str
    shortest: float = 0.0
    longest: float = 0.0
    details: Sequence[str] = ("",)


KINDS = {
    kind.name: kind
    for kind in (
        Kind("kill"),
        Kind("kill at", details=CRASHES),
        Kind("pause", 3 * LEASE, 3 * LEASE),
        Kind("pause two", 1.5 * LEASE, 3 * LEASE),
        Kind("pause at", 1.5 * LEASE, 3 * LEASE, CRASHES),
        Kind("kill clients", 0.5, 2.0),
        Kind("restart server", 0.0, 0.5, ("SIGTERM", "SIGKILL")),
        Kind("latency", 1.0, 3.0, ("one", "all")),
        Kind("cut", 0.5, 3 * LEASE, ("one requests", "one replies", "all requests", "all replies")),
        Kind("stall", 0.5, 3 * LEASE, ("one requests", "one replies", "all requests", "all replies")),
        Kind("slow handlers", 2.0, 5.0, ("async", "blocking")),
        Kind("join and leave", 1.5, 4.0),
        Kind("lose control messages", 0.5, 2.0, ("DEL", "XTRIM")),
        Kind("failover", 0.0, 0.5),
    )
}

@frozen(order=True)
class Moment:
    """One fault: when it begins, in seconds since the start, how long it lasts, and whom it strikes (0 to 1)."""

    at: float
    fault: str
    span: float
    pick: float
    detail: str = ""

    def __str__(self) -> str:
        lasts = f" for {self.span:.2f} s" if self.span else ""
        return f"{self.at:6.2f} s  {self.fault}{lasts} [{self.pick:.3f}] {self.detail}".rstrip()


def _in_order(moments: Iterable[Moment]) -> tuple[Moment, ...]:
    return tuple(sorted(moments))


@frozen
class Timeline:
    """Faults in their order."""

    seed: int
    moments: tuple[Moment, ...] = field(converter=_in_order)

    def __str__(self) -> str:
        return "\n".join([f"seed {self.seed}", *map(str, self.moments)])


def drawn(seed: int, seconds: float, kinds: Sequence[str] = tuple(KINDS), every: float = 1.0) -> Timeline:
    """The timeline of a seed: faults of these kinds, about one in `every` seconds, over so many seconds."""
    chance = Random(seed)
    moments: list[Moment] = []
    at = 0.0
    while (at := at + chance.uniform(0.2, 1.8) * every) < seconds:
        moments.append(_moment(chance, at, chance.choice(kinds)))
    return Timeline(seed, moments)


def alone(fault: str, seed: int = 1) -> Timeline:
    """A timeline of one kind of fault: twice, or each detail of it in turn."""
    chance, details = Random(seed), KINDS[fault].details
    moments = [_moment(chance, 0.5 + n, fault, details[n % len(details)]) for n in range(max(2, len(details)))]
    return Timeline(seed, [evolve(moment, pick=round(OWNERS * moment.pick, 3)) for moment in moments])


def _moment(chance: Random, at: float, fault: str, detail: str | None = None) -> Moment:
    kind = KINDS[fault]
    span = round(chance.uniform(kind.shortest, kind.longest), 2)
    pick = round(chance.random(), 3)
    return Moment(round(at, 2), fault, span, pick, chance.choice(kind.details) if detail is None else detail)


async def planned(until: float) -> None:
    """Wait for a moment that the timeline has planned (`time.monotonic`): the only sleep of these tests."""
    await asyncio.sleep(max(0.0, until - time.monotonic()))


async def lasting(span: float) -> None:
    """Wait for as long as the timeline has a fault last."""
    await planned(time.monotonic() + span)
