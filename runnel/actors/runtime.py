"""What all actors of one system share: the clock, the dead letters, who is executing, and the emergency exit."""

import asyncio
import logging
from collections.abc import Callable
from typing import Never

from attrs import define, field

from runnel.actors.actor import System
from runnel.actors.inbox import Sender
from runnel.actors.ref import ActorRef, DeadLetter
from runnel.clock import Clock

logger = logging.getLogger(__name__)


class DeadLetters:
    """Counts, logs and shows to subscribers what nobody will handle."""

    def __init__(self) -> None:
        self.count = 0
        self._subscribers: dict[object, Callable[[DeadLetter], object]] = {}

    def subscribe(self, callback: Callable[[DeadLetter], object]) -> Callable[[], None]:
        """Call back for each from now on, until the returned function is called."""
        subscription = object()
        self._subscribers[subscription] = callback
        return lambda: self._subscribers.pop(subscription, None) and None

    def bury(self, recipient: ActorRef[Never], message: object) -> None:
        self.count += 1
        logger.debug("dead letter", extra={"actor": recipient.path, "kind": type(message).__name__})
        letter = DeadLetter(recipient, message)
        for callback in list(self._subscribers.values()):
            try:
                callback(letter)
            except Exception:
                # A spectator's mistake must fail neither the sender nor an actor that is stopping.
                logger.exception("dead letter subscriber failed", extra={"actor": recipient.path})


@define(eq=False)
class Runtime:
    """Handed down the tree from the system."""

    system: System
    clock: Clock
    panic: Callable[[BaseException], None]
    """Ends everything because of an error that is no `Exception`, which no supervision may treat."""
    dead_letters: DeadLetters = field(factory=DeadLetters)
    executing: dict[asyncio.Task[object], Sender] = field(factory=dict)
    """Which tasks run which actors' code at present."""
