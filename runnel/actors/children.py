"""The children of one actor, or of the system: their names and order, and what is done when one fails.

Failures are treated here, at once and by tasks of the kernel's own, however busy the parent is with its messages.
"""

import asyncio
import itertools
import logging
import math
import random
from collections.abc import Iterator
from typing import Never, Protocol
from weakref import WeakKeyDictionary

from attrs import define, field

from runnel.actors.execution import conduct, settle
from runnel.actors.ref import ActorRef
from runnel.actors.restart import Restart, Restartable
from runnel.actors.snapshot import ActorSnapshot
from runnel.actors.supervision import Decision, Directive, RestartWindow, Strategy, judge
from runnel.clock import Clock
from runnel.errors import ActorError, ActorStopped

logger = logging.getLogger(__name__)


class Child(Restartable, Protocol):
    """What a parent needs of a child."""

    @property
    def name(self) -> str: ...
    @property
    def ref(self) -> ActorRef[Never]: ...
    @property
    def strategy(self) -> Strategy: ...
    @property
    def stopping(self) -> bool: ...
    @property
    def stopped(self) -> asyncio.Future[None]: ...
    def snapshot(self) -> ActorSnapshot: ...


class Children:
    """An ordered set of children under one supervisor.

    Args:
        path: The parent's.
    """

    def __init__(self, path: str, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._children: dict[str, Child] = {}
        self._names = itertools.count(1)
        self._serials = itertools.count(1)
        self._groups: WeakKeyDictionary[Strategy, _Group] = WeakKeyDictionary()
        self._restarts: dict[Restart, asyncio.Task[None]] = {}
        self._open = True
        self._deadline = math.inf

    def __iter__(self) -> Iterator[Child]:
        """In the order of spawning."""
        return iter(list(self._children.values()))

    @property
    def refs(self) -> tuple[ActorRef[Never], ...]:
        """Their addresses, in the order of spawning."""
        return tuple(child.ref for child in self)

    def next_serial(self) -> int:
        """The place of a new child in the order of spawning."""
        return next(self._serials)

    def choose_name(self, name: str | None, kind: str) -> str:
        """The name of a new child.

        Raises:
            ActorError: It is taken or not allowed.
            ActorStopped: There are to be no more children.
        """
        if not self._open:
            raise ActorStopped(f"{self._path} is past its last message and spawns no more children")
        if name is None:
            return next(free for n in self._names if (free := f"{kind.lower()}-{n}") not in self._children)
        if not name or "/" in name:
            raise ActorError(f"an actor's name is not empty and has no slash: {name!r}")
        if name in self._children:
            raise ActorError(f"{self._path}/{name} is already there; a name is free again when its actor has stopped")
        return name

    def add(self, child: Child) -> None:
        self._children[child.name] = child

    def remove(self, child: Child) -> None:
        self._children.pop(child.name, None)

    # --- failures --------------------------------------------------------------------------------------------------

    def treat(self, child: Child, error: Exception, *, resumable: bool) -> Directive:
        """Decide what becomes of a failed child. A restart is seen to here, the rest is the child's to do."""
        group = self._groups.setdefault(child.strategy, _Group())
        decision = self._judge(child.strategy, group.window, error, resumable)
        group.window = decision.window
        if decision.directive is Directive.RESTART:
            self._restart(group, child, error, self._clock.monotonic() + decision.delay)
        return decision.directive

    def _judge(self, strategy: Strategy, window: RestartWindow, error: Exception, resumable: bool) -> Decision:
        try:
            directive = strategy.decide(error)
        except Exception:
            logger.exception("supervision failed to decide", extra={"actor": self._path})
            directive = Directive.ESCALATE
        if directive is Directive.RESUME and not resumable:
            directive = Directive.RESTART
        if directive is Directive.RESTART and not self._open:
            directive = Directive.STOP
        return judge(strategy, window, directive, self._clock.monotonic(), random.random())

    def _restart(self, group: "_Group", child: Child, error: Exception, due: float) -> None:
        members = [member for member in self if member.strategy is child.strategy and not member.stopping]
        restart = group.restart if child.strategy.together else None
        if restart is not None:
            # Whoever fails while the group restarts joins that restart.
            return restart.enlarge(child.strategy.affected(members, child), error, due)
        restart = group.restart = Restart(self._clock)
        restart.enlarge(child.strategy.affected(members, child), error, due)
        self._restarts[restart] = conduct(self._see_to(group, restart), f"{self._path}/{child.name}#restart")

    async def _see_to(self, group: "_Group", restart: Restart) -> None:
        try:
            await restart.run()
        finally:
            self._restarts.pop(restart)
            if group.restart is restart:
                group.restart = None

    # --- the end ---------------------------------------------------------------------------------------------------

    async def stop_all(self, deadline: float) -> None:
        """Stop them one after the other, the last spawned first; no child is accepted or restarted any more."""
        self._open = False
        self._deadline = deadline
        restarts = list(self._restarts.values())
        for restart in self._restarts:
            restart.abandon()
        for child in reversed(list(self)):
            child.request_stop(self._deadline)
            await settle([child.stopped], lambda: self.hurry(self._clock.monotonic()))
        await settle(restarts, lambda: None)

    def hurry(self, deadline: float) -> None:
        """Shorten the time of a `stop_all` that is under way, or do nothing."""
        if self._open:
            return
        self._deadline = min(self._deadline, deadline)
        for child in self:
            if child.stopping:
                child.request_stop(self._deadline)


@define(eq=False)
class _Group:
    """The children that share a strategy, as far as their failures go."""

    window: RestartWindow = field(factory=RestartWindow)
    restart: Restart | None = None
    """The latest restart, while it is under way."""
