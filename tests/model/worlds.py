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
    due: tuple[str, ...] = ()  # delayed events in due order
    reminds: tuple[tuple[str, int], ...] = ()  # at these events actors want to be reminded, when
    cancels: tuple[str, ...] = ()  # at these they want it no more
    passivating: bool = False  # actors may be passivated
    unregisters: bool = False  # the resets are unregisterings
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
    "reset, keys": Bounds(events=("a1", "b1"), key_concurrency=True, resets=1),
    "reset, parking": Bounds(events=("a1", "a2"), failing=("a1",), resets=1),
    "reset, trimming": Bounds(events=("a1", "a2"), trimming=True, second_group=True, resets=1),
    "reset, failover": Bounds(events=("a1", "b1"), failovers=1, step=10, resets=1),
    "keys": Bounds(events=("a1", "b1", "b2"), key_concurrency=True),
    "keys, two faults": Bounds(events=("a1", "b1", "b2"), key_concurrency=True, faults=2),
    "keys, failover": Bounds(events=("a1", "b1"), key_concurrency=True, failovers=1, step=10),
    "keys, failover, ids behind": Bounds(events=("a1", "b1", "b2"), key_concurrency=True, faults=0, failovers=1),
    "keys, parking": Bounds(events=("a1", "b1", "b2"), key_concurrency=True, failing=("a1",)),
    "parking": Bounds(failing=("a1",), faults=2),
    "parking, failover": Bounds(events=("a1", "a2"), failing=("a1",), failovers=1),
    "trimming": Bounds(trimming=True, second_group=True, events=("a1", "a2"), faults=2),
    "trimming, failover": Bounds(trimming=True, events=("a1", "b1"), failovers=1, step=100),
    "passivation": Bounds(events=("a1", "a2"), key_concurrency=True, passivating=True),
    "passivation, keys": Bounds(events=("a1", "b1", "a2"), key_concurrency=True, passivating=True),
    "passivation, failover": Bounds(events=("a1", "a2"), key_concurrency=True, passivating=True, failovers=1, step=10),
    "due": Bounds(events=("a1",), due=("b1", "b2"), faults=2),
    "due, failover": Bounds(events=("a1",), due=("b1",), failovers=1),
    "reminder": Bounds(events=("a1", "b1"), reminds=(("a1", 5),), key_concurrency=True),
    "reminder, replaced": Bounds(events=("a1", "a2"), reminds=(("a1", 5), ("a2", 6)), key_concurrency=True),
    "reminder, put off": Bounds(events=("a1", "a2"), reminds=(("a1", 6), ("a2", 5)), key_concurrency=True),
    "reminder, again": Bounds(events=("a1", "a2"), reminds=(("a1", 5), ("a2", 5)), key_concurrency=True),
    "reminder, cancelled": Bounds(events=("a1", "a2"), reminds=(("a1", 5),), cancels=("a2",), key_concurrency=True),
    "reminder, failover": Bounds(events=("a1",), reminds=(("a1", 5),), key_concurrency=True, failovers=1, step=10),
    "reminder, passivation": Bounds(
        events=("a1", "a2"), reminds=(("a1", 5),), cancels=("a2",), key_concurrency=True, passivating=True
    ),
    "reset, reminder": Bounds(events=("a1",), reminds=(("a1", 5),), key_concurrency=True, resets=1),
    "unregister": Bounds(events=("a1", "b1"), key_concurrency=True, resets=1, unregisters=True),
    "unregister, reminder": Bounds(
        events=("a1",), reminds=(("a1", 5),), key_concurrency=True, resets=1, unregisters=True
    ),
    "unregister, trimming": Bounds(
        events=("a1", "a2"), trimming=True, second_group=True, faults=0, resets=1, unregisters=True
    ),
    "poison": Bounds(events=("a1", "a2", "b1"), poison=("b1",), max_crashes=1, faults=0),
    "poison, twice": Bounds(events=("a1", "b1", "a2"), poison=("a1", "a2"), max_crashes=1, faults=0),
    "poison, max 2": Bounds(events=("a1", "b1"), poison=("b1",), max_crashes=2, faults=1),
    "poison, faults": Bounds(events=("a1", "b1"), poison=("b1",), max_crashes=1, faults=3),
    "poison, failover": Bounds(events=("a1", "b1"), poison=("b1",), max_crashes=1, failovers=1, step=10),
    "poison, reset": Bounds(events=("a1", "b1"), poison=("b1",), max_crashes=1, resets=1),
    "poison, healthy": Bounds(events=("a1",), max_crashes=1, faults=4),
    "sequence expires": Bounds(events=("a1",), faults=2, sequence_expires=True, breaks="an event is in the log twice"),
}
