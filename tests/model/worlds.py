"""How large the worlds are that the model searches, and what may happen in each."""

from typing import NamedTuple


class Bounds(NamedTuple):
    """What a world begins with, and what may happen in it."""

    events: tuple[str, ...] = ("a1", "b1", "a2")
    workers: int = 2
    faults: int = 1  # crash, lost reply, late copy, release, restart, expiry under a live holder: any mix
    failovers: int = 0
    step: int = 4  # between ids after a failover; 10 before. 4: ids are behind; 10: the same again; 100: ahead
    resets: int = 0
    acquires_travel: bool = False  # a copy of an acquire may arrive late
    key_concurrency: bool = False
    failing: tuple[str, ...] = ()  # fail, are parked, and succeed when replayed
    poison: tuple[str, ...] = ()  # end the worker that runs them
    max_crashes: int = 0  # 0: none are counted
    due: tuple[str, ...] = ()  # delayed events in due order, moved into the log by the owner
    trimming: bool = False
    second_group: bool = False  # registers at any time, at the earliest entry
    sequence_expires: bool = False
    breaks: str = ""  # the promise that breaks here by nature


WORLDS = {
    "three workers": Bounds(workers=3, faults=3),
    "four events": Bounds(events=("a1", "b1", "a2", "b2"), faults=2),
    "late acquires": Bounds(events=("a1", "b1"), faults=3, acquires_travel=True),
    "failover, ids behind": Bounds(failovers=1),
    "failover, ids again": Bounds(failovers=1, step=10),
    "failover, ids ahead": Bounds(failovers=1, step=100),
    "failover, two faults": Bounds(events=("a1", "a2"), faults=2, failovers=1, step=10),
    "two failovers": Bounds(events=("a1", "b1"), faults=0, failovers=2, step=10),
    "reset": Bounds(events=("a1", "b1"), faults=2, resets=1),
    "two resets": Bounds(events=("a1", "a2"), faults=0, resets=2),
    "reset, late acquires": Bounds(events=("a1",), faults=3, resets=1, acquires_travel=True),
    "reset, keys": Bounds(events=("a1", "b1", "b2"), key_concurrency=True, resets=1),
    "reset, parking": Bounds(events=("a1", "a2"), failing=("a1",), resets=1),
    "reset, trimming": Bounds(events=("a1", "a2"), trimming=True, second_group=True, resets=1),
    "reset, failover": Bounds(events=("a1", "b1"), failovers=1, step=10, resets=1),
    "keys": Bounds(events=("a1", "b1", "b2"), key_concurrency=True, faults=2),
    "keys, failover": Bounds(events=("a1", "b1", "b2"), key_concurrency=True, failovers=1),
    "keys, parking": Bounds(events=("a1", "b1", "b2"), key_concurrency=True, failing=("a1",)),
    "parking": Bounds(failing=("a1",), faults=2),
    "parking, failover": Bounds(events=("a1", "a2"), failing=("a1",), failovers=1),
    "trimming": Bounds(trimming=True, second_group=True, events=("a1", "a2"), faults=2),
    "trimming, failover": Bounds(trimming=True, events=("a1", "b1"), failovers=1, step=100),
    "due": Bounds(events=("a1",), due=("b1", "b2"), faults=2),
    "due, failover": Bounds(events=("a1",), due=("b1",), failovers=1),
    "poison": Bounds(events=("a1", "a2", "b1"), poison=("b1",), max_crashes=1, faults=0),
    "poison, twice": Bounds(events=("a1", "b1", "a2"), poison=("a1", "a2"), max_crashes=1, faults=0),
    "poison, max 2": Bounds(events=("a1", "b1"), poison=("b1",), max_crashes=2, faults=1),
    "poison, faults": Bounds(events=("a1", "b1"), poison=("b1",), max_crashes=1, faults=3),
    "poison, failover": Bounds(events=("a1", "b1"), poison=("b1",), max_crashes=1, failovers=1, step=10),
    "poison, reset": Bounds(events=("a1", "b1"), poison=("b1",), max_crashes=1, resets=1),
    "poison, healthy": Bounds(events=("a1",), max_crashes=1, faults=4),
    "sequence expires": Bounds(events=("a1",), faults=2, sequence_expires=True, breaks="an event is in the log twice"),
}
