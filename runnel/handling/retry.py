"""Trying a failed event again: how often and when. Plain data and plain decisions; the partition carries them out.

In place, an event that is tried again stays where it is: its partition waits, so order holds. Parked, it and all that is
behind it of its key wait.
"""

from typing import Any

from attrs import Attribute, field, frozen

from runnel.actors import Backoff
from runnel.clock import seconds
from runnel.errors import ConfigurationError, Reject, RetryLater


def _whole(value: Any) -> int:
    if type(value) is not int or value < 1:
        raise ConfigurationError(f"Retry: attempts must be a whole number of at least 1, not {value!r}")
    return value


def _errors(on: Any) -> tuple[type[Exception], ...]:
    found = on if isinstance(on, tuple) else (on,)
    for each in found:
        if not (isinstance(each, type) and issubclass(each, Exception)):
            raise ConfigurationError(f"Retry: on must be a class of exceptions, or a tuple of such, not {on!r}")
    return found


def _within(low: float, high: float) -> Any:
    def check(retry: Any, attribute: "Attribute[Any]", value: float) -> None:
        if not low <= value <= high:
            bounds = f"at least {low:g}" if high == float("inf") else f"between {low:g} and {high:g}"
            raise ConfigurationError(f"{type(retry).__name__}: {attribute.name} must be {bounds}, not {value!r}")

    return check


@frozen
class Retry:
    """How often an event whose handling fails is tried again, in place, before the processor's policy decides.

    Attributes:
        attempts: How often an event is tried in all; 1 is never again.
        backoff: How long to wait before the second attempt: seconds, or a timedelta. Each further wait is twice as long.
        max_backoff: The longest wait.
        jitter: The share of a wait that is left to chance: 0.2 spreads it over ±20 %.
        on: The class of errors that are tried again, or a tuple of such; any other goes to the policy at once.

    Raises:
        ConfigurationError: A value does not fit.
    """

    attempts: int = field(default=3, converter=_whole)
    backoff: float = field(default=0.1, converter=seconds, validator=_within(0, float("inf")))
    max_backoff: float = field(default=30.0, converter=seconds, validator=_within(0, float("inf")))
    jitter: float = field(default=0.2, validator=_within(0, 1))
    on: tuple[type[Exception], ...] = field(default=(Exception,), converter=_errors)


def _finite(retry: Any, attribute: "Attribute[Any]", value: float) -> None:
    if not 0 < value < float("inf"):
        name = f"{type(retry).__name__}: {attribute.name}"
        raise ConfigurationError(f"{name} must be greater than 0, and finite, not {value!r}")


@frozen
class ParkRetry:
    """When parked keys run again by themselves (policy PARK), without end.

    Attributes:
        backoff: How long after an event was parked its key runs again: seconds, or a timedelta. When that event fails once
            more, it waits twice as long, and so on.
        max_backoff: The longest wait.

    Raises:
        ConfigurationError: A value does not fit.
    """

    backoff: float = field(default=60.0, converter=seconds, validator=_finite)
    max_backoff: float = field(default=3600.0, converter=seconds, validator=_finite)


def park_wait(retry: ParkRetry | None, error: Exception | None, tried: int) -> float | None:
    """Seconds until a parked key runs again by itself; None: it does not.

    Args:
        retry: The processor's.
        error: Why its first event failed. What a handler rejected waits for a person.
        tried: How often that event was tried again since it was parked.
    """
    if retry is None or isinstance(error, Reject):
        return None
    return Backoff(retry.backoff, retry.max_backoff).delay(tried + 1)


def pause(retry: Retry | None, error: Exception, attempts: int, luck: float = 0.5) -> float | None:
    """Seconds until a failed event is tried again; None: it is not, the policy decides.

    Args:
        retry: The processor's.
        error: What its handling failed with.
        attempts: How often it was tried, from 1.
        luck: A number from [0, 1) for the jitter.
    """
    if isinstance(error, Reject) or (retry is not None and attempts >= retry.attempts):
        return None
    if isinstance(error, RetryLater):
        return max(0.0, seconds(error.after))
    if retry is None or not isinstance(error, retry.on):
        return None
    return Backoff(retry.backoff, retry.max_backoff, jitter=retry.jitter).delay(attempts, luck)
