"""How a partition fails, and what its supervisor does about it. Plain data and a plain decision."""

from runnel.actors import Directive
from runnel.errors import RunnelError
from runnel.policy import ExceptionPolicy


class EventFailed(RunnelError):
    """The handling of an event, or a batch, failed; `__cause__` is the handler's error."""

    def __init__(self, message: str, events: int = 1) -> None:
        super().__init__(message)
        self.events = events


def directive(policy: ExceptionPolicy, error: Exception) -> Directive:
    """What the supervisor of a partition does about its failure.

    A failure outside of an event (before the loop, or Runnel's own) restarts it, as far as the intensity admits.
    """
    if not isinstance(error, EventFailed):
        return Directive.RESTART
    return Directive.RESUME if goes_on(policy) else Directive.STOP


def goes_on(policy: ExceptionPolicy) -> bool:
    """Whether a partition passes over an event that failed for good; otherwise it stays the next one."""
    return policy not in (ExceptionPolicy.HALT, ExceptionPolicy.QUARANTINE)
