"""How a partition fails, and what its supervisor does about it. Plain data and plain decisions."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

from runnel.actors import Directive
from runnel.errors import RunnelError, StoreUnavailable
from runnel.handling.alarm import Alarm
from runnel.handling.policy import ExceptionPolicy
from runnel.roles.lease import Lease

log = logging.getLogger(__name__)

SELDOM = 600
"""How many calls that got nowhere, a second apart, between two warnings of them."""


class EventFailed(RunnelError):
    """The handling of an event, or a batch, failed; raised from the handler's error."""

    def __init__(self, message: str, events: int = 1, entry: str = "") -> None:
        super().__init__(message)
        self.events = events
        self.entry = entry

    @property
    def reason(self) -> Exception:
        """The handler's error."""
        assert isinstance(self.__cause__, Exception)
        return self.__cause__


def reason(error: BaseException, alarm: Alarm | None) -> Exception:
    """What an actor's handler has failed with, in whose task this is called; what is meant for its task is raised anew."""
    interrupted = isinstance(error, asyncio.CancelledError)
    if alarm is not None:
        if alarm.rang and (verdict := alarm.verdict(interrupted=interrupted)) is not None:
            return verdict
        alarm.since = None  # or it would ring for this event when others are under way, or none is
    task = asyncio.current_task()
    if isinstance(error, SystemExit) or (interrupted and task is not None and not task.cancelling()):
        failure = RuntimeError(f"the handler raised {type(error).__name__}")
        failure.__cause__ = error
        return failure
    if not isinstance(error, Exception):
        raise error
    return error


def failed(lease: Lease, error: Exception) -> RunnelError:
    """What the partition fails with when its function failed, with an event out or without."""
    name, out = lease.processor.options.name, lease.current.out
    if not out:
        return RunnelError(f"processor {name!r} failed outside of an event: {type(error).__name__}: {error}")
    more = f" and {out - 1} more of its batch" if out > 1 else ""
    said = f"processor {name!r}: event {lease.next_id}{more} failed: {type(error).__name__}: {error}"
    return EventFailed(said, out, lease.next_id)


def tell_again(lease: Lease, error: Exception, attempt: int, seconds: float, entry: Sequence[Any] | None = None) -> None:
    """Say that an event has failed, and is tried again in so many seconds: the next one in hand, if not another."""
    event = lease.next_id if entry is None else lease.event_id(entry[0])
    fields = {**lease.log_fields, "entry": event, "attempt": attempt, "after": round(seconds, 3)}
    log.warning("event failed, trying it again", extra={**fields, "error": f"{type(error).__name__}: {error}"})
    lease.note_failure("tried again", error, attempt, entry)


def too_early(lease: Lease, calls: int) -> float:
    """Seconds until a function is called again that so often ended without doing an event. Says so, now and then."""
    if calls < 2:
        return 0.0
    if calls == 2 or not calls % SELDOM:
        log.warning(
            "function ended without doing an event, and is called again: "
            "it must loop over its events, as in `async for record in events.records()`",
            extra=lease.log_fields,
        )
    return min(0.01 * float(2 ** min(calls, 10)), 1.0)


def directive(policy: ExceptionPolicy, error: Exception) -> Directive:
    """What the supervisor of a partition does about its failure.

    A failure outside of an event (before the loop, or Runnel's own) restarts it, as far as the intensity admits.
    """
    if not isinstance(error, EventFailed):
        return Directive.RESTART
    return Directive.RESUME if goes_on(policy) else Directive.STOP


def tells(error: Exception) -> bool:
    """Whether a partition's failure is logged by others.

    What becomes of an event, and why, is one line of whoever treats it. That the server is away is said by those who
    wait for it, once; a traceback for each partition that begins anew because of it says no more.
    """
    return isinstance(error, EventFailed | StoreUnavailable)


def goes_on(policy: ExceptionPolicy) -> bool:
    """Whether a partition passes over an event that failed for good; otherwise it stays the next one."""
    return policy not in (ExceptionPolicy.HALT, ExceptionPolicy.QUARANTINE)
