"""The circuit breaker's decisions: when it opens, for how long, who probes, and when it closes."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runnel import CircuitBreaker, ConfigurationError
from runnel.handling.breaker import Circuit

KEYS = [b"%d" % n for n in range(100)]


def circuit(keys: int = 3, share: float = 0.5, backoff: float = 1, max_backoff: float = 60) -> Circuit:
    return Circuit(CircuitBreaker(keys, share, backoff, max_backoff))


def wait(made: Circuit, partition: int, done: int, now: float) -> float:
    """As a partition that has events asks."""
    if made.state == "half-open":
        made.look(done)
    if made.state == "closed" or made.prober == partition:
        return 0.0
    if not (seconds := made.wait(now)):
        made.probes(partition, done, now)
    return seconds


def opened(now: float = 0.0, done: int = 0) -> Circuit:
    made = circuit()
    fail(made, 3, now=now, done=done)
    assert made.state == "open"
    return made


def fail(made: Circuit, keys: int, *, done: int = 0, now: float = 0.0, partition: int = 0) -> None:
    for key in KEYS[:keys]:
        made.has_failed(partition, key, done, now)


# ── opening ──


@pytest.mark.parametrize(("keys", "state"), [(2, "closed"), (3, "open")])
def test_it_opens_when_enough_keys_failed_and_nothing_was_done_meanwhile(keys: int, state: str) -> None:
    made = circuit(keys=3)
    fail(made, keys)
    assert made.state == state


def test_one_key_that_fails_for_ever_never_opens_it() -> None:
    made = circuit()
    for _ in range(100):
        made.has_failed(0, b"sick", 0, 0.0)
    assert made.state == "closed"


@pytest.mark.parametrize(("done", "state"), [(3, "open"), (4, "closed")])
def test_the_share_is_of_the_events_since_the_first_of_these_failures(done: int, state: str) -> None:
    made = circuit(keys=3, share=0.5)
    made.has_failed(0, b"a", 100, 0.0)
    made.has_failed(0, b"b", 101, 0.0)
    made.has_failed(0, b"c", 100 + done, 0.0)
    assert made.state == state


def test_old_failures_leave_the_window() -> None:
    made = circuit(keys=3)
    made.has_failed(0, b"old", 0, 0.0)
    for key in (b"a", b"b"):
        made.has_failed(0, key, 1_000, 0.0)
    was = made.state
    made.has_failed(0, b"c", 1_000, 0.0)
    assert (was, made.state) == ("closed", "open")


def test_a_key_that_fails_again_counts_as_of_then() -> None:
    made = circuit(keys=3)
    for key, done in ((b"a", 0), (b"b", 0), (b"a", 50), (b"c", 50), (b"d", 50)):
        assert made.state == "closed"
        made.has_failed(0, key, done, 0.0)
    assert list(made.failed) == [b"a", b"c", b"d"]
    assert made.until == 1.0


@given(st.permutations(range(1_000)))
def test_three_poison_keys_of_a_thousand_never_open_the_default_one(order: list[int]) -> None:
    made, done = Circuit(CircuitBreaker()), 0
    for key in order:
        if key < 3:
            made.has_failed(0, b"%d" % key, done, 0.0)
        else:
            done += 1
        assert made.state == "closed"


# ── open, half-open ──


def test_while_it_is_open_all_partitions_wait_until_the_pause_ends() -> None:
    made = opened(now=100.0)
    assert wait(made, 0, 0, 100.25) == 0.75
    assert wait(made, 7, 0, 100.25) == 0.75


def test_then_one_partition_probes_and_the_others_wait_for_it() -> None:
    made = opened()
    assert wait(made, 7, 0, 1.0) == 0.0
    assert (made.state, made.prober) == ("half-open", 7)
    assert wait(made, 7, 0, 1.0) == 0.0
    assert wait(made, 0, 0, 1.0) > 0


def test_a_probe_that_is_done_closes_it() -> None:
    made = opened(done=5)
    wait(made, 7, 5, 1.0)
    assert wait(made, 0, 6, 1.5) == 0.0
    assert (made.state, made.prober, made.failed) == ("closed", None, {})


def test_a_probe_that_fails_opens_it_for_twice_as_long() -> None:
    made = opened()
    pauses, now = [made.until], 0.0
    for _ in range(8):
        now = made.until
        assert wait(made, 7, 0, now) == 0.0
        made.has_failed(7, b"a", 0, now)
        assert made.state == "open"
        pauses.append(made.until - now)
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_failures_of_other_partitions_than_the_prober_change_nothing() -> None:
    made = opened()
    made.has_failed(1, b"x", 0, 0.5)
    assert (made.state, made.until) == ("open", 1.0)
    wait(made, 7, 0, 1.0)
    made.has_failed(1, b"x", 0, 1.0)
    assert (made.state, made.prober) == ("half-open", 7)


def test_a_prober_that_did_an_event_and_then_fails_at_another_has_closed_it() -> None:
    made = opened()
    wait(made, 7, 0, 1.0)
    made.has_failed(7, b"x", 1, 1.0)
    assert (made.state, list(made.failed)) == ("closed", [b"x"])


def test_a_prober_that_hangs_or_is_gone_is_followed_by_another() -> None:
    made = opened()
    wait(made, 7, 0, 1.0)
    assert wait(made, 0, 0, 1.5) == 0.5
    assert wait(made, 0, 0, 2.0) == 0.0
    assert made.prober == 0
    made.has_failed(7, b"a", 0, 2.0)
    assert made.state == "half-open"


def test_a_prober_without_events_lets_another_probe_at_once() -> None:
    made = opened()
    wait(made, 7, 0, 1.0)
    made.passes_on(0, 1.0)
    assert made.prober == 7
    made.passes_on(7, 1.0)
    assert (made.state, made.pauses) == ("open", 1)
    assert wait(made, 0, 0, 1.0) == 0.0


@pytest.mark.parametrize(("done", "pause"), [(29, 4), (30, 1)])
def test_an_outage_soon_after_the_last_one_goes_on_with_its_pauses(done: int, pause: float) -> None:
    made = opened()
    wait(made, 7, 0, 1.0)
    made.has_failed(7, b"a", 0, 1.0)
    wait(made, 7, 0, 3.0)
    made.look(1)
    assert made.state == "closed"
    fail(made, 3, done=1 + done, now=10.0)
    assert (made.state, made.until) == ("open", 10.0 + pause)


# ── whatever happens ──

Event = tuple[str, int, int]
events = st.lists(
    st.tuples(st.sampled_from(["fail", "fail", "done", "wait", "idle"]), st.integers(0, 3), st.integers(0, 20))
)


def states(made: Circuit, happened: list[Event]) -> Iterator[tuple[str, Event]]:
    done, now = 0, 0.0
    for event in happened:
        kind, partition, n = event
        now += n / 4
        match kind:
            case "fail":
                made.has_failed(partition, KEYS[n], done, now)
            case "done":
                done += 1
            case "wait":
                seconds = wait(made, partition, done, now)
                assert seconds <= made.options.max_backoff
                assert (seconds == 0.0) == (made.state == "closed" or made.prober == partition)
            case _:
                made.passes_on(partition, now)
        yield made.state, event


@given(events)
def test_it_opens_only_by_failures_and_closes_only_by_what_is_done(happened: list[Event]) -> None:
    made, was, done = circuit(), "closed", 0
    for state, (kind, _, _) in states(made, happened):
        done += kind == "done"
        assert (made.prober is None) == (state != "half-open")
        assert state != "open" or was == "open" or kind in ("fail", "idle")
        assert was == "closed" or state != "closed" or done
        assert not (was == "open" and state == "closed")
        was = state


@given(events)
def test_time_and_one_event_that_is_done_always_close_it(happened: list[Event]) -> None:
    made = circuit()
    done = sum(kind == "done" for kind, _, _ in happened)
    for _ in states(made, happened):
        pass
    assert wait(made, 9, done, 1e9) == 0.0
    made.look(done + 1)
    assert made.state == "closed"


@given(events)
def test_it_never_opens_before_so_many_different_keys_have_failed(happened: list[Event]) -> None:
    made, failed = circuit(), set[int]()
    for state, (kind, _, key) in states(made, happened):
        failed |= {key} if kind == "fail" else set()
        assert state == "closed" or len(failed) >= 3


# ── options ──


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"keys": 0}, "CircuitBreaker: keys must be a whole number of at least 1, not 0"),
        ({"keys": 2.5}, "keys must be a whole number"),
        ({"share": 0}, "CircuitBreaker: share must be above 0, and at most 1, not 0"),
        ({"share": 1.5}, "share must be above 0, and at most 1"),
        ({"backoff": 0}, "CircuitBreaker: backoff must be greater than 0, and finite"),
        ({"max_backoff": float("nan")}, "CircuitBreaker: max_backoff must be greater than 0, and finite"),
    ],
)
def test_options_that_do_not_fit(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        CircuitBreaker(**options)


def test_pauses_may_be_timedeltas() -> None:
    assert CircuitBreaker(backoff=timedelta(seconds=2), max_backoff=timedelta(minutes=1)) == CircuitBreaker(10, 0.5, 2, 60)
