"""When a failed event is tried again, and the alarm that lets one fail which takes too long."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from runnel import App, CircuitBreaker, ConfigurationError, ParkRetry, Record, Reject, Retry, RetryLater, TimedOut
from runnel.clock import ManualClock
from runnel.handling.alarm import Alarm, timed
from runnel.handling.retry import park_wait, pause
from tests.support import wait_until

TWICE = Retry(attempts=2, backoff=1, jitter=0)


@pytest.mark.parametrize(
    ("retry", "error", "attempts", "expected"),
    [
        (None, ValueError(), 1, None),
        (TWICE, ValueError(), 1, 1.0),
        (TWICE, ValueError(), 2, None),
        (Retry(attempts=1), ValueError(), 1, None),
        (TWICE, Reject(), 1, None),
        (None, Reject(), 1, None),
        (TWICE, RetryLater(after=7), 1, 7.0),
        (TWICE, RetryLater(after=timedelta(minutes=1)), 1, 60.0),
        (TWICE, RetryLater(after=7), 2, None),
        (None, RetryLater(after=7), 1_000, 7.0),
        (None, RetryLater(after=-1), 1, 0.0),
        (Retry(on=KeyError), ValueError(), 1, None),
        (Retry(backoff=1, jitter=0, on=LookupError), KeyError(), 1, 1.0),
        (Retry(backoff=1, jitter=0, on=(OSError, KeyError)), KeyError(), 1, 1.0),
        (Retry(backoff=1, jitter=0, on=TimeoutError), TimedOut(), 1, 1.0),
        (Retry(on=KeyError), RetryLater(after=7), 1, 7.0),
    ],
)
def test_who_is_tried_again_and_when(
    retry: Retry | None, error: Exception, attempts: int, expected: float | None
) -> None:
    assert pause(retry, error, attempts) == expected


def test_each_wait_is_twice_as_long_up_to_a_bound() -> None:
    retry = Retry(attempts=6, backoff=timedelta(seconds=1), max_backoff=5, jitter=0)
    assert [pause(retry, ValueError(), attempt) for attempt in range(1, 7)] == [1, 2, 4, 5, 5, None]


def test_jitter_spreads_the_waits() -> None:
    retry = Retry(backoff=10, jitter=0.2)
    assert [pause(retry, ValueError(), 1, luck) for luck in (0.0, 0.5)] == [8, 10]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"attempts": 0}, "attempts must be a whole number of at least 1, not 0"),
        ({"attempts": 1.5}, "attempts must be a whole number of at least 1, not 1.5"),
        ({"backoff": -1}, "backoff must be at least 0, not -1"),
        ({"max_backoff": -1}, "max_backoff must be at least 0, not -1"),
        ({"jitter": 2}, "jitter must be between 0 and 1, not 2"),
        ({"on": "ValueError"}, "on must be a class of exceptions"),
        ({"on": BaseException}, "on must be a class of exceptions"),
    ],
)
def test_what_does_not_fit_is_named(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        Retry(**options)


# ── parked keys ──


@pytest.mark.parametrize(
    ("retry", "error", "tried", "expected"),
    [
        (ParkRetry(), ValueError(), 0, 60.0),
        (ParkRetry(), None, 1, 120.0),
        (ParkRetry(), ValueError(), 5, 1_920.0),
        (ParkRetry(), ValueError(), 6, 3_600.0),
        (ParkRetry(), ValueError(), 10**9, 3_600.0),
        (ParkRetry(timedelta(seconds=5), timedelta(minutes=1)), ValueError(), 4, 60.0),
        (ParkRetry(), Reject(), 0, None),
        (None, ValueError(), 0, None),
    ],
)
def test_when_a_parked_key_runs_again_by_itself(
    retry: ParkRetry | None, error: Exception | None, tried: int, expected: float | None
) -> None:
    assert park_wait(retry, error, tried) == expected


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"backoff": 0}, "ParkRetry: backoff must be greater than 0, and finite, not 0"),
        ({"max_backoff": float("inf")}, "ParkRetry: max_backoff must be greater than 0, and finite, not inf"),
    ],
)
def test_what_does_not_fit_a_park_retry_is_named(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        ParkRetry(**options)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"park_retry": 60}, "processor 'till': park_retry must be a ParkRetry, not 60"),
        ({"breaker": True}, "processor 'till': breaker must be a CircuitBreaker, not True"),
    ],
)
def test_an_option_of_another_kind_is_named(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        declared(App("shop"), **options)


def test_options_are_on_unless_they_are_turned_off_here_or_for_all() -> None:
    mine = ParkRetry(5)
    assert declared(App("shop")) == (ParkRetry(), CircuitBreaker())
    assert declared(App("shop"), park_retry=None, breaker=None) == (None, None)
    off: dict[str, Any] = {"default_park_retry": None, "default_breaker": None}
    assert declared(App("shop", **off)) == (None, None)
    assert declared(App("shop", **off), park_retry=mine) == (mine, None)
    assert declared(App("shop", default_park_retry=mine)) == (mine, CircuitBreaker())


def declared(app: App, **options: Any) -> tuple[ParkRetry | None, CircuitBreaker | None]:
    async def till(events: Any) -> None: ...

    class Sale(Record):
        key: int

    found = app.processor(app.stream("sales", record=Sale, partition_by="key"), **options)(till).options
    return found.park_retry, found.breaker


# ── the alarm ──


async def items(*values: str) -> AsyncIterator[str]:
    for value in values:
        yield value


async def over(clock: ManualClock, handle: Any, *values: str) -> BaseException | None:
    """Run a function over these under an alarm of 10 s; answers what it failed with."""
    alarm = Alarm(clock, 10)
    try:
        async for value in timed(items(*values), alarm):
            await handle(value)
    except asyncio.CancelledError as error:
        return alarm.verdict(interrupted=True) or error
    except Exception as error:
        alarm.verdict(interrupted=False)
        return error
    return alarm.verdict(interrupted=False)


async def test_an_event_that_takes_too_long_is_interrupted() -> None:
    clock, begun = ManualClock(), list[str]()

    async def handle(value: str) -> None:
        begun.append(value)
        await asyncio.Event().wait()

    task = asyncio.create_task(over(clock, handle, "a", "b"))
    await wait_until(lambda: begun)
    clock.advance(9.9)
    await asyncio.sleep(0)
    assert not task.done()
    clock.advance(0.1)
    error = await task
    assert isinstance(error, TimedOut)
    assert str(error) == "took longer than 10 s"
    assert (begun, task.cancelling()) == (["a"], 0)


async def test_each_event_has_all_the_time() -> None:
    clock = ManualClock()

    async def handle(value: str) -> None:
        clock.advance(6)
        await asyncio.sleep(0)

    assert await over(clock, handle, *"abcdef") is None


async def test_a_function_that_swallows_the_interruption_has_failed_all_the_same() -> None:
    clock, seen = ManualClock(), list[str]()

    async def handle(value: str) -> None:
        seen.append(value)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            pass

    task = asyncio.create_task(over(clock, handle, "a", "b"))
    await wait_until(lambda: seen)
    clock.advance(10)
    assert isinstance(await task, TimedOut)
    assert (seen, task.cancelling()) == (["a"], 0)


async def test_who_cancels_the_function_too_is_obeyed() -> None:
    clock, seen = ManualClock(), list[str]()

    async def handle(value: str) -> None:
        seen.append(value)
        await asyncio.Event().wait()

    task = asyncio.create_task(over(clock, handle, "a"))
    await wait_until(lambda: seen)
    clock.advance(10)
    task.cancel()
    assert isinstance(await task, asyncio.CancelledError)


async def test_there_is_no_timer_for_each_event() -> None:
    clock, timers = ManualClock(), list[float]()
    real = clock.call_later

    def call_later(delay: float, callback: Any) -> Any:
        timers.append(delay)
        return real(delay, callback)

    clock.call_later = call_later  # type: ignore[method-assign]

    async def handle(value: str) -> None:
        await asyncio.sleep(0)

    assert await over(clock, handle, *"abcdef") is None
    assert timers == [10]
