"""What all actors of one system share: the clock, the dead letters, who is executing, and the emergency exit."""

import asyncio
import logging
from collections.abc import Callable
from typing import Generic, Never, TypeVar

from attrs import define, field

from runnel.actors.actor import System
from runnel.actors.inbox import Sender
from runnel.actors.ref import ActorRef, DeadLetter
from runnel.actors.snapshot import ActorFailure, ActorSnapshot
from runnel.actors.supervision import Strategy
from runnel.clock import Clock

T = TypeVar("T")

logger = logging.getLogger(__name__)


def log_failure(strategy: Strategy, error: Exception, of_child: str, **fields: object) -> None:
    """Log an actor's failure, unless somebody else does; one that a child escalated without its traceback, which is there."""
    if of_child:
        logger.warning("actor failed with its child", extra={**fields, "child": of_child})
    else:
        level = logging.DEBUG if strategy.tells(error) else logging.WARNING
        logger.log(level, "actor failed", extra=fields, exc_info=error)


class Spectators(Generic[T]):
    """Those who are shown what happens. A mistake of theirs fails nobody else."""

    def __init__(self) -> None:
        self._callbacks: dict[object, Callable[[T], object]] = {}

    def subscribe(self, callback: Callable[[T], object]) -> Callable[[], None]:
        """Call back for each from now on, until the returned function is called."""
        subscription = object()
        self._callbacks[subscription] = callback
        return lambda: self._callbacks.pop(subscription, None) and None

    def show(self, make: Callable[[], T], path: str) -> None:
        """Show what `make` makes, which is about the actor of this path; it is not called when nobody looks."""
        if not self._callbacks:
            return
        shown = make()
        for callback in list(self._callbacks.values()):
            try:
                callback(shown)
            except Exception:
                logger.exception("spectator failed", extra={"actor": path})


class DeadLetters:
    """Counts, logs and shows to spectators what nobody will handle."""

    def __init__(self) -> None:
        self.count = 0
        self.spectators: Spectators[DeadLetter] = Spectators()

    def bury(self, recipient: ActorRef[Never], message: object) -> None:
        self.count += 1
        logger.debug("dead letter", extra={"actor": recipient.path, "kind": type(message).__name__})
        self.spectators.show(lambda: DeadLetter(recipient, message), recipient.path)


@define(eq=False)
class Runtime:
    """Handed down the tree from the system."""

    system: System
    clock: Clock
    panic: Callable[[BaseException], None]
    """Ends everything because of an error that is no `Exception`, which no supervision may treat."""
    dead_letters: DeadLetters = field(factory=DeadLetters)
    ends: Spectators[ActorSnapshot] = field(factory=Spectators)
    """Who is shown the last picture of each actor that stops."""
    failures: Spectators[ActorFailure] = field(factory=Spectators)
    """Who is shown each failure."""
    executing: dict[asyncio.Task[object], Sender] = field(factory=dict)
    """Which tasks run which actors' code at present."""
