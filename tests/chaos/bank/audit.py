"""Whether the books of a bank are right: it is told what is in the logs, and what the accounts remember; plain data.

The ledger is the log. What each account remembers has to be the fold of its own events there, in their order, each once; and
each transfer in the log of transfers has to be, once and unchanged, in the log of deposits.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from attrs import define, field

from tests.chaos.bank.app import CREDIT, DEBIT, Tally

OPENING = 100_000
"""Pence in each account at the beginning."""


class Due(NamedTuple):
    """The deposit that has to come of a transfer."""

    source: int
    account: int
    pence: int
    sequence: int


@define(eq=False, kw_only=True)
class Audit:
    """To be told all transfers first, partition by partition, in the log's order; then all deposits; then what is remembered.

    Attributes:
        accounts: How many there are: 0, 1, 2, ...
    """

    accounts: int
    found: list[str] = field(factory=list)
    _debits: dict[int, Tally] = field(factory=lambda: defaultdict(Tally))
    _credits: dict[int, Tally] = field(factory=lambda: defaultdict(Tally))
    _due: dict[int, Due] = field(factory=dict)
    _deposited: set[int] = field(factory=set)
    _last: dict[int, int] = field(factory=dict)
    _last_of: dict[tuple[int, int], int] = field(factory=dict)

    @property
    def transfers(self) -> int:
        """How many there are."""
        return len(self._due)

    def transfer(self, partition: int, number: int, source: int, target: int, pence: int) -> None:
        """The next entry of a partition of the transfers."""
        if number <= self._last.get(partition, -1):
            self.found.append(f"transfer {number} is in the log behind {self._last[partition]}")
        self._last[partition] = number
        tally = self._debits[source]
        tally.take(number, pence)
        self._due[number] = Due(source, target, pence, tally.count)

    def deposit(self, partition: int, number: int, deposit: Due) -> None:
        """The next entry of a partition of the deposits."""
        if number in self._deposited:
            self.found.append(f"transfer {number} is deposited twice: {deposit}")
        elif self._due.get(number) != deposit:
            self.found.append(f"transfer {number} is deposited as {deposit}, and should be as {self._due.get(number)}")
        self._deposited.add(number)
        self._credits[deposit.account].take(number, deposit.pence)
        where = partition, deposit.source
        if deposit.sequence <= self._last_of.get(where, 0):
            self.found.append(f"transfer {number} is deposited behind a later one of account {deposit.source}")
        self._last_of[where] = deposit.sequence

    def violations(
        self, sent: Iterable[int], debits: Mapping[int, Tally], credits: Mapping[int, Tally], left: Mapping[str, int]
    ) -> list[str]:
        """What is wrong.

        Args:
            sent: The transfers that `send` returned for.
            debits: What accounts remember of their debits.
            credits: And of their credits.
            left: What should not be there any more, and how much of it is.
        """
        lost = [f"transfer {number} was sent, and is not in the log" for number in sent if number not in self._due]
        missing = [f"transfer {number} was never deposited" for number in self._due if number not in self._deposited]
        return [
            *lost,
            *self.found,
            *missing,
            *_unlike(DEBIT, self._debits, debits),
            *_unlike(CREDIT, self._credits, credits),
            *self._unbalanced(debits, credits),
            *(f"{count} {what} are left" for what, count in left.items() if count),
        ]

    def _unbalanced(self, debits: Mapping[int, Tally], credits: Mapping[int, Tally]) -> Iterator[str]:
        there = self.accounts * OPENING
        total = there + sum(tally.pence for tally in credits.values()) - sum(tally.pence for tally in debits.values())
        if total != there:
            yield f"there were {there} pence, and are {total}"


def _unlike(processor: str, expected: Mapping[int, Tally], found: Mapping[int, Tally]) -> Iterator[str]:
    for account in sorted({*expected, *found}):
        if found.get(account) != expected.get(account):
            yield f"{processor} {account} remembers {found.get(account)}, and the log says {expected.get(account)}"
