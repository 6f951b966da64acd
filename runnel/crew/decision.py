"""What the parent of a crew does next: pure functions over what happened, which answer what is to be done.

Nothing here runs or reads a clock; `parent.py` tells it events and carries its effects out. How often and how late a
worker is started again is decided by the actor kernel's `judge`, as for any supervised child; all workers are one group.

Only one worker is started at first, and the others when it is up: a wrong configuration is then said by one of them.
"""

import signal
from collections.abc import Sequence

from attrs import evolve, field, frozen

from runnel.actors.supervision import Backoff, Directive, OneForOne, RestartWindow, Strategy, judge


def supervision_of(size: int) -> Strategy:
    """Restarts that a crew is allowed: all of its workers may crash at once, but not twice within a minute."""
    return OneForOne(intensity=max(5, size), period=60, backoff=Backoff(0.2, max=5, jitter=0.2))


# ── what happens ──


@frozen
class Ready:
    """A worker has found the app and the server as they must be."""

    number: int


@frozen
class Ended:
    """A worker's process has ended.

    Attributes:
        code: As of `subprocess`: negative for a signal. None if it could not be started.
    """

    number: int
    code: int | None
    pid: int | None = None


@frozen
class Due:
    """The pause before a restart is over."""

    number: int


@frozen
class Signalled:
    """The parent got a signal."""

    signal: signal.Signals


Event = Ready | Ended | Due | Signalled


# ── what is to be done ──


@frozen
class Start:
    """Start a worker."""

    number: int


@frozen
class StartLater:
    """Say `Due` after `delay` seconds."""

    number: int
    delay: float


@frozen
class Pass:
    """Send a worker a signal."""

    number: int
    signal: signal.Signals


@frozen
class Say:
    """Write a warning to the log."""

    text: str
    fields: dict[str, object]


Effect = Start | StartLater | Pass | Say


# ── the decision ──

EXPECTED = (0, -signal.SIGTERM, -signal.SIGINT)
"""How a worker may end that was told to: a signal kills one that is not up yet, or is past its work."""


@frozen(kw_only=True)
class Crew:
    """What the parent knows. Workers are numbered from 1; one that is started again keeps its number.

    Attributes:
        final: Exit codes of a worker that end the crew, with that code.
        final_at_first: Exit codes that do so as long as no worker was ever up.
        tried: Whether one was ever up.
        alive: Workers whose process runs.
        ready: Those of them that are up.
        outcome: The exit code with which to end when nobody is alive any more; None as long as it is to work.
        failure: Why, if the crew gave up.
    """

    size: int
    final: frozenset[int]
    final_at_first: frozenset[int]
    strategy: Strategy
    window: RestartWindow = field(factory=RestartWindow)
    tried: bool = False
    alive: frozenset[int] = frozenset()
    ready: frozenset[int] = frozenset()
    outcome: int | None = None
    failure: str = ""

    @property
    def over(self) -> bool:
        """Whether there is nothing left to wait for."""
        return self.outcome is not None and not self.alive


Step = tuple[Crew, Sequence[Effect]]


def begin(crew: Crew) -> Step:
    """The first step."""
    return _start(crew, [1])


def step(crew: Crew, event: Event, now: float, luck: float = 0.5) -> Step:
    """The next one. `now` is in seconds; `luck` in [0, 1) places a pause in the backoff's jitter."""
    match event:
        case Ready(number):
            return _after_ready(crew, number)
        case Ended():
            return _after_end(crew, event, now, luck)
        case Due(number):
            return _start(crew, [number]) if crew.outcome is None else (crew, [])
        case Signalled(number):
            return _after_signal(crew, number)


def how(code: int | None) -> str:
    """How a process ended, in words."""
    if code is None:
        return "not started"
    if code >= 0:
        return f"exit code {code}"
    known = -code in set(signal.Signals)
    return f"killed by {signal.Signals(-code).name if known else f'signal {-code}'}"


def _start(crew: Crew, numbers: Sequence[int]) -> Step:
    return evolve(crew, alive=crew.alive | {*numbers}), [Start(number) for number in numbers]


def _after_ready(crew: Crew, number: int) -> Step:
    if number not in crew.alive:
        return crew, []
    first = not crew.tried
    crew = evolve(crew, tried=True, ready=crew.ready | {number})
    return _start(crew, range(2, crew.size + 1)) if first and crew.outcome is None else (crew, [])


def _after_end(crew: Crew, event: Ended, now: float, luck: float) -> Step:
    crew = evolve(crew, alive=crew.alive - {event.number}, ready=crew.ready - {event.number})
    said: dict[str, object] = {"worker_number": event.number, "pid": event.pid, "ended": how(event.code)}
    if crew.outcome is not None:
        outcome = event.code if event.code in crew.final else crew.outcome
        return evolve(crew, outcome=outcome), [] if event.code in EXPECTED else [Say("worker ended", said)]
    final = event.code in crew.final or (not crew.tried and event.code in crew.final_at_first)
    directive = Directive.ESCALATE if final else Directive.RESTART
    decision = judge(crew.strategy, crew.window, directive, now, luck)
    crew = evolve(crew, window=decision.window)
    if decision.directive is Directive.RESTART:
        said["again_in"] = f"{decision.delay:.1f} s"
        return crew, [Say("worker ended, it starts again", said), StartLater(event.number, decision.delay)]
    ended = evolve(crew, outcome=event.code) if final else _given_up(crew, event)
    stops = _pass(crew, signal.SIGTERM)
    says = [Say("worker ended, the others are stopped", said)] if stops else []  # alone, its own last words are enough
    return ended, [*says, *stops]


def _given_up(crew: Crew, last: Ended) -> Crew:
    allowed = f"{crew.strategy.intensity} restarts within {crew.strategy.period:g} s"
    failure = f"workers end too often: more than {allowed}; the last was worker {last.number}: {how(last.code)}"
    return evolve(crew, outcome=1, failure=failure)


def _after_signal(crew: Crew, number: signal.Signals) -> Step:
    """What ends the parent ends the workers. SIGQUIT, which a terminal would send to all, ends them as it does alone.

    SIGHUP is never a second signal, at which workers end at once: a terminal that is closed may send it twice.
    """
    if number is signal.SIGHUP and crew.outcome is not None:
        return crew, []
    outcome = crew.outcome or (1 if number is signal.SIGQUIT else 0)
    return evolve(crew, outcome=outcome), _pass(crew, signal.SIGTERM if number is signal.SIGHUP else number)


def _pass(crew: Crew, number: signal.Signals) -> list[Pass]:
    """One that is not up may still be importing, where SIGINT would print a traceback: it has nothing to finish."""
    gentle = signal.SIGTERM if number is signal.SIGINT else number
    return [Pass(each, number if each in crew.ready else gentle) for each in sorted(crew.alive)]
