"""How long handlers take: counted in runs, told apart where they are slow."""

import pytest

from runnel.handling.durations import BOUNDS, Durations, quantile


def test_events_that_follow_each_other_count_by_their_mean_and_the_last_by_itself() -> None:
    durations = Durations()
    durations.add_run(101, began=10.0, before=10.0001, ended=10.2)
    assert durations.counts[0] == 100
    assert durations.counts[BOUNDS.index(0.25)] == 1
    assert durations.total == pytest.approx(0.2)


def test_a_run_of_nothing_counts_for_nothing() -> None:
    durations = Durations()
    durations.add_run(0, 1.0, 1.0, 2.0)
    assert sum(durations.counts) == 0 == durations.total


def test_an_event_belongs_to_the_first_bound_that_it_does_not_exceed() -> None:
    durations = Durations()
    for seconds in (*BOUNDS, 61.0):
        durations.add(seconds)
    assert durations.counts == [1] * (len(BOUNDS) + 1)


def test_quantiles_lie_between_the_bounds() -> None:
    durations = Durations()
    durations.add(0.004, 99)
    durations.add(3.0)
    assert 0.0025 <= (quantile(durations.counts, 0.5) or 0) <= 0.005
    assert 0.0025 <= (quantile(durations.counts, 0.99) or 0) <= 0.005
    assert 2.5 <= (quantile(durations.counts, 1.0) or 0) <= 5.0
    assert quantile([0, 0], 0.5) is None
    assert quantile([0] * len(BOUNDS) + [1], 0.5) == 90.0
