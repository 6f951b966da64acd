"""What becomes of a failed actor: strategies, and the pure decision over them.

Nothing here runs: `judge` gets the error, what was restarted when, and the time, and returns a `Decision`;
`children.py` carries it out.
"""

from collections.abc import Callable, Sequence
from enum import Enum
from typing import ClassVar, TypeVar

from attrs import field, frozen, validators

T = TypeVar("T")


class Directive(Enum):
    """What a supervisor does about one failure of a child."""

    RESUME = "resume"
    """Drop the failing message and go on with the same instance (a `run` of its own is called again)."""
    RESTART = "restart"
    """Replace the instance by a fresh one behind the same ref and mailbox."""
    STOP = "stop"
    """Stop the child; who watches it gets the error."""
    ESCALATE = "escalate"
    """Stop the child and let the parent fail with the child's error."""


def always_restart(error: Exception) -> Directive:
    """Restart after every error, as far as the intensity admits: the default of all strategies."""
    return Directive.RESTART


def nobody_tells(error: Exception) -> bool:
    """The kernel's line is the only one."""
    return False


@frozen
class Backoff:
    """Exponentially growing pauses before restarts.

    Attributes:
        initial: Seconds before the first restart.
        max: The longest pause, in seconds; jitter does not exceed it.
        factor: What each further pause is multiplied by.
        jitter: The share of a pause that is left to chance: 0.2 spreads it over ±20 %.
    """

    initial: float = field(validator=validators.ge(0))
    max: float = field(validator=validators.ge(0))
    factor: float = field(default=2.0, validator=validators.ge(1))
    jitter: float = field(default=0.0, validator=[validators.ge(0), validators.le(1)])

    def delay(self, n: int, luck: float = 0.5) -> float:
        """Seconds to pause before the n-th restart (from 1) of a period. `luck` in [0, 1) places it in the jitter."""
        try:
            pause = self.initial * self.factor ** (n - 1)
        except OverflowError:
            pause = self.max if self.initial else 0.0
        return min(self.max, min(self.max, pause) * (1 + self.jitter * (2 * luck - 1)))


@frozen(eq=False, kw_only=True)
class Strategy:
    """How a parent treats failures of the children that were spawned with this very object.

    Children of one parent that share the same strategy object are one group: their restarts are counted together.
    A subclass says which of the group restart along with a failed one.

    Attributes:
        intensity: Restarts admitted within `period`; the failure after that escalates, as in OTP.
        period: Seconds.
        backoff: The pause before a restart; None restarts at once.
        decide: The directive for an error. One that raises escalates the error it was asked about.
        tells: Whether somebody else logs an error, and says more of it: then the kernel logs it at debug only.
    """

    intensity: int = field(default=3, validator=validators.ge(0))
    period: float = field(default=5, validator=validators.ge(0))
    backoff: Backoff | None = None
    decide: Callable[[Exception], Directive] = always_restart
    tells: Callable[[Exception], bool] = nobody_tells

    together: ClassVar[bool] = True
    """Whether a failure during a restart of the group joins that restart."""

    def affected(self, group: Sequence[T], failed: T) -> Sequence[T]:
        """Who restarts when `failed` does, out of the group in the order of spawning."""
        raise NotImplementedError


class OneForOne(Strategy):
    """Only the failed child restarts."""

    __slots__ = ()

    together: ClassVar[bool] = False

    def affected(self, group: Sequence[T], failed: T) -> Sequence[T]:
        return [failed]


class OneForAll(Strategy):
    """The whole group restarts: stopped in reverse order of spawning, started in order."""

    __slots__ = ()

    def affected(self, group: Sequence[T], failed: T) -> Sequence[T]:
        return list(group)


class RestForOne(Strategy):
    """The failed child and those of the group spawned after it restart."""

    __slots__ = ()

    def affected(self, group: Sequence[T], failed: T) -> Sequence[T]:
        return list(group)[group.index(failed) :]


@frozen
class RestartWindow:
    """When a group was restarted, as far as it still counts; in ascending order."""

    restarts: tuple[float, ...] = ()

    @property
    def count(self) -> int:
        return len(self.restarts)

    def since(self, moment: float) -> "RestartWindow":
        """The window without what happened before `moment`."""
        return RestartWindow(tuple(restart for restart in self.restarts if restart >= moment))

    def with_restart(self, now: float) -> "RestartWindow":
        return RestartWindow((*self.restarts, now))


@frozen
class Decision:
    """What to do about one failure, and the window to remember."""

    directive: Directive
    window: RestartWindow
    delay: float = 0.0
    """Seconds to pause before a restart."""


def judge(strategy: Strategy, window: RestartWindow, directive: Directive, now: float, luck: float = 0.5) -> Decision:
    """Turn the directive for an error into a decision: a restart that the intensity does not admit escalates.

    Args:
        strategy: The child's.
        window: The earlier restarts of the child's group.
        directive: What `strategy.decide` answered for the error.
        now: Seconds on the clock that the window was counted with.
        luck: A number from [0, 1) for the backoff's jitter.
    """
    recent = window.since(now - strategy.period)
    if directive is not Directive.RESTART:
        return Decision(directive, recent)
    if recent.count >= strategy.intensity:
        return Decision(Directive.ESCALATE, recent)
    admitted = recent.with_restart(now)
    delay = 0.0 if strategy.backoff is None else strategy.backoff.delay(admitted.count, luck)
    return Decision(directive, admitted, delay)
