"""The pure part of supervision: decisions, windows, pauses."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runnel.actors import Backoff, Directive, OneForAll, OneForOne, RestForOne, Strategy
from runnel.actors.supervision import RestartWindow, judge

moments = st.lists(st.floats(0, 1_000), max_size=40).map(sorted)


def test_only_the_failed_child_restarts() -> None:
    assert list(OneForOne().affected("abcd", "b")) == ["b"]


def test_all_of_the_group_restart() -> None:
    assert list(OneForAll().affected("abcd", "b")) == ["a", "b", "c", "d"]


def test_the_failed_child_and_the_later_ones_restart() -> None:
    assert list(RestForOne().affected("abcd", "b")) == ["b", "c", "d"]


def test_as_many_restarts_as_the_intensity_says_are_admitted_and_then_it_escalates() -> None:
    window, directives = RestartWindow(), []
    for now in (0.0, 1.0, 2.0, 3.0):
        decision = judge(OneForOne(intensity=3, period=5), window, Directive.RESTART, now)
        window = decision.window
        directives.append(decision.directive)
    assert directives == [Directive.RESTART] * 3 + [Directive.ESCALATE]


def test_restarts_older_than_the_period_do_not_count() -> None:
    strategy = OneForOne(intensity=1, period=5)
    window = judge(strategy, RestartWindow(), Directive.RESTART, 0.0).window
    assert judge(strategy, window, Directive.RESTART, 5.0).directive is Directive.ESCALATE
    assert judge(strategy, window, Directive.RESTART, 5.1).directive is Directive.RESTART


def test_an_intensity_of_zero_admits_no_restart() -> None:
    assert judge(OneForOne(intensity=0), RestartWindow(), Directive.RESTART, 0.0).directive is Directive.ESCALATE


@pytest.mark.parametrize("directive", [Directive.RESUME, Directive.STOP, Directive.ESCALATE])
def test_other_directives_are_followed_and_count_no_restart(directive: Directive) -> None:
    decision = judge(OneForOne(intensity=0), RestartWindow((1.0,)), directive, 2.0)
    assert (decision.directive, decision.window, decision.delay) == (directive, RestartWindow((1.0,)), 0.0)


@given(moments, st.integers(0, 5), st.floats(0, 100))
def test_no_period_ever_holds_more_restarts_than_the_intensity(
    failures: list[float], intensity: int, period: float
) -> None:
    window = RestartWindow()
    restarted: list[float] = []
    for now in failures:
        decision = judge(OneForOne(intensity=intensity, period=period), window, Directive.RESTART, now)
        window = decision.window
        recent = [moment for moment in restarted if moment >= now - period]
        assert (decision.directive is Directive.RESTART) == (len(recent) < intensity)
        if decision.directive is Directive.RESTART:
            restarted.append(now)
    assert window.count <= intensity


def test_pauses_grow_by_the_factor_up_to_the_longest() -> None:
    assert [Backoff(0.1, max=1).delay(n) for n in (1, 2, 3, 4, 5, 6)] == pytest.approx([0.1, 0.2, 0.4, 0.8, 1, 1])


def test_the_pause_grows_with_the_restarts_of_the_period() -> None:
    strategy = OneForOne(intensity=9, period=10, backoff=Backoff(1, max=60))
    window, delays = RestartWindow(), []
    for now in (0.0, 1.0, 2.0, 30.0):
        decision = judge(strategy, window, Directive.RESTART, now)
        window = decision.window
        delays.append(decision.delay)
    assert delays == [1, 2, 4, 1]


@given(
    st.floats(0, 10),
    st.floats(0, 100),
    st.floats(1, 10),
    st.floats(0, 1),
    st.integers(1, 10_000),
    st.floats(0, 1, exclude_max=True),
)
def test_a_pause_stays_within_its_jitter_and_never_exceeds_the_longest(
    initial: float, longest: float, factor: float, jitter: float, n: int, luck: float
) -> None:
    middle = Backoff(initial, longest, factor).delay(n)
    pause = Backoff(initial, longest, factor, jitter).delay(n, luck)
    assert 0 <= pause <= longest
    assert middle * (1 - jitter) * 0.999 <= pause <= middle * (1 + jitter) * 1.001


@given(st.floats(0.001, 10), st.floats(0, 100), st.floats(1, 10), st.integers(1, 1_000))
def test_pauses_never_shrink(initial: float, longest: float, factor: float, n: int) -> None:
    backoff = Backoff(initial, longest, factor)
    assert backoff.delay(n) <= backoff.delay(n + 1)


def test_strategies_of_equal_settings_are_different_groups() -> None:
    assert OneForOne() != OneForOne()


@pytest.mark.parametrize("wrong", [{"intensity": -1}, {"period": -1}])
def test_settings_without_sense_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="must be >= 0"):
        Strategy(**wrong)  # type: ignore[arg-type]
