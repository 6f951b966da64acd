"""Each kind of fault alone, all of them mixed, and the accidents that guards prevent: a short fixed set of rounds.

`just chaos --minutes 30` runs others.
"""

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.directed import SCENARIOS, accident, forgotten_registry
from tests.chaos.faults import FAULTS
from tests.chaos.parking import PARKING, drawn_while_parking
from tests.chaos.rounds import Outcome, run
from tests.chaos.timeline import KINDS, alone, drawn

SEEDS = (1,)
SECONDS = 10.0
PARKING_SECONDS = 7.0


async def parking_run(seed: int, folder: Path) -> Outcome:
    return await run(drawn_while_parking(seed, PARKING_SECONDS), folder, trade=PARKING)


@pytest.mark.parametrize("run", [pytest.param(partial(run, drawn(seed, SECONDS)), id=str(seed)) for seed in SEEDS])
def test_the_invariants_hold_under_all_faults_mixed(run: Any, outcome: Outcome) -> None:
    assert not outcome.violations, str(outcome)


@pytest.mark.long  # all of them are mixed above
@pytest.mark.parametrize("run", [pytest.param(partial(run, alone(fault)), id=fault) for fault in KINDS])
def test_the_invariants_hold_under_each_kind_of_fault(run: Any, outcome: Outcome) -> None:
    assert not outcome.violations, str(outcome)


@pytest.mark.parametrize("run", [pytest.param(partial(parking_run, seed), id=str(seed)) for seed in SEEDS])
def test_parked_keys_stay_in_order_and_are_not_lost_under_kills_and_releases(run: Any, outcome: Outcome) -> None:
    assert not outcome.violations, str(outcome)


@pytest.mark.parametrize("run", [pytest.param(partial(accident, guard, ""), id=guard) for guard in SCENARIOS])
def test_a_guard_prevents_its_accident(run: Any, outcome: list[str]) -> None:
    assert outcome == []


@pytest.mark.parametrize("run", [pytest.param(partial(accident, guard, guard), id=guard) for guard in SCENARIOS])
def test_without_the_guard_the_accident_is_seen(run: Any, outcome: list[str]) -> None:
    assert outcome


@pytest.mark.parametrize("run", [pytest.param(forgotten_registry, id="registry")])
def test_partitions_are_taken_over_after_a_failover_that_lost_who_is_to_own_what(run: Any, outcome: list[str]) -> None:
    assert outcome == []


def test_a_seed_is_a_timeline() -> None:
    assert str(drawn(7, 60)) == str(drawn(7, 60)) != str(drawn(8, 60))
    assert {moment.fault for moment in drawn(7, 600).moments} == set(FAULTS)
