"""The ledger: a file, outside of Redis, in which workers note every event that they begin and finish.

Each line is written at once, so that it outlives a kill -9 of its writer; lines of several processes follow each other
in the order in which they were written.
"""

import os
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from attrs import define, field, frozen


@frozen(order=True)
class Order:
    """An event, as tests know it: the n-th of its key."""

    key: int
    number: int


@frozen
class Line:
    """What a worker noted."""

    worker: str
    partition: int
    event: Order
    what: str
    token: str
    """Under which term of ownership: the lease's epoch and nonce."""
    at: float
    """When, by the clock that all processes of a machine share (`time.monotonic`)."""


@define(eq=False)
class Ledger:
    """The ledger at `path`: workers write, tests read."""

    path: Path
    _file: int = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def close(self) -> None:
        os.close(self._file)

    def note(self, worker: str, partition: int, key: int, number: int, what: str, token: str) -> None:
        line = f"{worker} {partition} {key} {number} {what} {token} {time.monotonic():.4f}\n"
        os.write(self._file, line.encode())

    def lines(self, worker: str = "", what: str = "") -> list[Line]:
        lines = []
        for text in self.path.read_text().splitlines():
            name, partition, key, number, done, token, at = text.split()
            line = Line(name, int(partition), Order(int(key), int(number)), done, token, float(at))
            if worker in ("", line.worker) and what in ("", line.what):
                lines.append(line)
        return lines

    def begun(self, worker: str = "") -> list[Order]:
        return [line.event for line in self.lines(worker, "begun")]

    def finished(self, worker: str = "") -> list[Order]:
        return [line.event for line in self.lines(worker, "finished")]

    def repeated(self) -> set[Order]:
        """The events that were begun more than once."""
        return repeated(self.begun())


def repeated(events: Iterable[Order]) -> set[Order]:
    return {event for event, times in Counter(events).items() if times > 1}


def lost(sent: Iterable[Order], finished: Iterable[Order]) -> set[Order]:
    """The events that nobody finished."""
    return set(sent) - set(finished)


def out_of_order(begun: Iterable[Order]) -> list[Order]:
    """The events that were begun for the first time before an earlier one of their key."""
    seen: set[Order] = set()
    next_number: dict[int, int] = {}
    wrong = []
    for event in begun:
        if event not in seen:
            seen.add(event)
            if event.number != next_number.get(event.key, 0):
                wrong.append(event)
            next_number[event.key] = event.number + 1
    return wrong
