"""The leader: runs what must run once in the app, on the one worker that holds the app's leader lease.

The coordinator stands for election with every heartbeat and says here whether this worker leads; a term ends by its own
clock before it can have ended in Redis. The duties are children, started with a term and stopped with it.
"""

import logging
from collections.abc import Callable, Mapping
from typing import Any

from attrs import define, field, frozen

from runnel.actors import Actor, ActorRef, Strategy

log = logging.getLogger(__name__)


# ── messages ──


@frozen
class Lead:
    """This worker leads from now on; `epoch` numbers the terms of all workers."""

    epoch: int


@frozen
class Follow:
    """Another worker leads, or may lead by now."""


LeaderMessage = Lead | Follow


@define(eq=False)
class Leader(Actor[LeaderMessage]):
    """Starts and stops the duties.

    Args:
        duties: By name, what makes the actor of each.
        supervision: Of the duties.
    """

    duties: Mapping[str, Callable[[], Actor[Any]]]
    supervision: Strategy
    epoch: int = 0
    running: list[ActorRef[Any]] = field(factory=list)

    async def receive(self, message: LeaderMessage) -> None:
        match message:
            case Lead(epoch) if epoch != self.epoch:
                await self._stop()
                self.epoch = epoch
                log.info("this worker leads", extra={"epoch": epoch})
                for name, duty in self.duties.items():
                    self.running.append(self.spawn(duty, name=name, supervision=self.supervision))
            case Follow() if self.epoch:
                log.info("this worker does not lead any more", extra={"epoch": self.epoch})
                await self._stop()

    def statistics(self) -> dict[str, object]:
        return {"leads": bool(self.epoch), "term": self.epoch}

    async def _stop(self) -> None:
        self.epoch = 0
        for duty in reversed(self.running):
            await duty.stop(grace=0)
        self.running = []
