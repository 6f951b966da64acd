"""Actors under faults: what they remember is the fold of the log, and what they emit arrives once. A round, and the accidents.

`just chaos --bank --transfers 1000000` is the long one.
"""

from functools import partial
from typing import Any

import pytest

from tests.chaos.bank.directed import SCENARIOS, accident
from tests.chaos.bank.rounds import SHORT, Outcome, run
from tests.chaos.timeline import Moment, Timeline

ROUND = Timeline(
    1,
    [
        Moment(0.5, "kill", 0.0, 0.1),
        Moment(1.5, "kill clients", 0.6, 0.5),
        Moment(2.0, "pause", 2.0, 0.4),
        Moment(3.5, "cut", 1.0, 0.2, "one replies"),
        Moment(4.5, "kill at", 0.0, 0.3, "commit sent"),
    ],
)


@pytest.mark.parametrize("run", [pytest.param(partial(run, ROUND, trade=SHORT), id="short")])
def test_the_books_are_right_whatever_becomes_of_workers_and_connections(run: Any, outcome: Outcome) -> None:
    assert not outcome.violations, str(outcome)
    assert outcome.struck == len(ROUND.moments)


@pytest.mark.long  # the round above has all guards, too, and what is expected below is not said of right books
@pytest.mark.parametrize("run", [pytest.param(partial(accident, guard, ""), id=guard) for guard in SCENARIOS])
def test_a_guard_prevents_its_accident(run: Any, outcome: list[str]) -> None:
    assert outcome == []


WRONG = {
    "number": "Debit 1 remembers",
    "history": "transfer 5 was never deposited",
    "nonce": "transfer 5 was never deposited",
    "mark": "transfer 2 is deposited twice",
    "relayed": "transfer 2 is deposited twice",
}


@pytest.mark.parametrize("run", [pytest.param(partial(accident, guard, guard), id=guard) for guard in SCENARIOS])
def test_without_the_guard_the_books_are_wrong(run: Any, outcome: list[str]) -> None:
    assert any(text.startswith(WRONG[run.args[0]]) for text in outcome), outcome
