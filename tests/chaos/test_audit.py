"""The audit finds what is wrong with books, and nothing in those that are right."""

from collections.abc import Callable

import pytest
from attrs import define, evolve, field

from tests.chaos.bank.app import Tally
from tests.chaos.bank.audit import Audit, Due


def tally(*events: tuple[int, int]) -> Tally:
    found = Tally()
    for number, pence in events:
        found.take(number, pence)
    return found


@define(kw_only=True)
class Books:
    """Three transfers: 0 and 2 from account 1, 1 from account 2."""

    transfers: list[tuple[int, int, int, int]] = field(factory=lambda: [(0, 1, 3, 10), (1, 2, 3, 20), (2, 1, 2, 30)])
    deposits: list[tuple[int, Due]] = field(
        factory=lambda: [(0, Due(1, 3, 10, 1)), (2, Due(1, 2, 30, 2)), (1, Due(2, 3, 20, 1))]
    )
    sent: list[int] = field(factory=lambda: [0, 1, 2])
    debits: dict[int, Tally] = field(factory=lambda: {1: tally((0, 10), (2, 30)), 2: tally((1, 20))})
    credits: dict[int, Tally] = field(factory=lambda: {3: tally((0, 10), (1, 20)), 2: tally((2, 30))})
    left: dict[str, int] = field(factory=lambda: {"marks": 0})

    def violations(self) -> list[str]:
        audit = Audit(accounts=4)
        for transfer in self.transfers:
            audit.transfer(0, *transfer)
        for number, due in self.deposits:
            audit.deposit(0, number, due)
        return audit.violations(self.sent, self.debits, self.credits, self.left)


def with_deposits(change: Callable[[list[tuple[int, Due]]], object]) -> Callable[[Books], Books]:
    def changed(books: Books) -> Books:
        change(books.deposits)
        return books

    return changed


def test_nothing_is_wrong_with_books_that_are_right() -> None:
    assert Books().violations() == []


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda books: evolve(books, sent=[0, 1, 2, 3]), "transfer 3 was sent, and is not in the log"),
        (lambda books: evolve(books, transfers=[*books.transfers, (2, 1, 2, 30)]), "transfer 2 is in the log behind 2"),
        (with_deposits(lambda deposits: deposits.pop()), "transfer 1 was never deposited"),
        (with_deposits(lambda deposits: deposits.append(deposits[0])), "transfer 0 is deposited twice"),
        (with_deposits(lambda deposits: deposits.reverse()), "transfer 0 is deposited behind a later one of account 1"),
        (with_deposits(lambda deposits: deposits.append((7, Due(1, 3, 5, 3)))), "transfer 7 is deposited as"),
        (lambda books: evolve(books, debits={1: tally((0, 10)), 2: tally((1, 20))}), "Debit 1 remembers"),
        (lambda books: evolve(books, debits={1: tally((2, 30), (0, 10)), 2: tally((1, 20))}), "Debit 1 remembers"),
        (lambda books: evolve(books, credits={2: tally((2, 30))}), "Credit 3 remembers None"),
        (lambda books: evolve(books, credits={2: tally((2, 30))}), "there were 400000 pence, and are 399970"),
        (lambda books: evolve(books, left={"marks": 2}), "2 marks are left"),
    ],
)
def test_what_is_wrong_is_found(change: Callable[[Books], Books], found: str) -> None:
    violated = change(Books()).violations()
    assert any(found in text for text in violated), violated
