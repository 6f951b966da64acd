"""How long handlers take: counted in runs, told apart where they are slow."""

import pytest

from runnel.handling.durations import BOUNDS, FINE, STEPS, Durations, coarse, quantile


def test_events_that_follow_each_other_count_by_their_mean_and_the_last_by_itself() -> None:
    durations = Durations()
    durations.add_run(101, began=10.0, before=10.0001, ended=10.2)
    assert coarse(durations.counts)[0] == 100
    assert coarse(durations.counts)[BOUNDS.index(0.25)] == 1
    assert durations.total == pytest.approx(0.2)


def test_a_run_of_nothing_counts_for_nothing() -> None:
    durations = Durations()
    durations.add_run(0, 1.0, 1.0, 2.0)
    assert sum(durations.counts) == 0 == durations.total


def test_an_event_belongs_to_the_first_bound_that_it_does_not_exceed() -> None:
    durations = Durations()
    for seconds in (*BOUNDS, 61.0):
        durations.add(seconds)
    assert coarse(durations.counts) == (1,) * (len(BOUNDS) + 1)


def test_quantiles_lie_between_the_bounds() -> None:
    durations = Durations()
    durations.add(0.004, 99)
    durations.add(3.0)
    assert 0.0025 <= (quantile(durations.counts, 0.5) or 0) <= 0.005
    assert 0.0025 <= (quantile(durations.counts, 0.99) or 0) <= 0.005
    assert 2.5 <= (quantile(durations.counts, 1.0) or 0) <= 5.0
    assert quantile([0, 0], 0.5) is None
    assert quantile([0] * len(FINE) + [1], 0.5) == 90.0


@pytest.mark.parametrize("took", [0.00002, 0.0001, 0.0003, 0.0011, 0.0503, 0.099, 3.1, 59.0])
def test_quantiles_are_right_within_an_eighth(took: float) -> None:
    durations = Durations()
    durations.add(took, 100)
    for share in (0.5, 0.99):
        assert quantile(durations.counts, share) == pytest.approx(took, rel=1 / 8)


def test_each_of_the_bounds_of_monitoring_is_one_of_the_finer_ones() -> None:
    assert FINE[-1 : -STEPS * len(BOUNDS) : -STEPS] == BOUNDS[::-1]
    assert list(FINE) == sorted(set(FINE))
    assert coarse(()) == ()
