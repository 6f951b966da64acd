"""The leader: runs what must run once in the app, on the one worker that holds the app's leader lease.

The member stands for election with every heartbeat and tells here who was elected; a term ends by its own clock before it
can have ended in Redis. The duties are children, started with a term and stopped with it.
"""

import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from attrs import define, field, frozen

from runnel.actors import Actor, ActorRef, Strategy
from runnel.roles.heart import MARGIN, Heart
from runnel.store.scripts import Token
from runnel.telemetry.diary import Diary

log = logging.getLogger(__name__)


# ── messages ──


@frozen
class Term:
    """Who was elected: `epoch` numbers the terms of all workers, and is 0 when it is another one's.

    Attributes:
        sent_at: When the heartbeat was sent that stood for election.
        nonce: Under which it stood.
    """

    epoch: int
    sent_at: float
    nonce: bytes = b""


@frozen
class _LookAtTerm:
    pass


LeaderMessage = Term | _LookAtTerm


@define(eq=False)
class Leader(Actor[LeaderMessage]):
    """Starts and stops the duties.

    Args:
        duties: By name, what makes the actor of each, given the token of the term.
        supervision: Of the duties.
        heart: Knows when the lease was last prolonged.
        lease: Seconds that it lasts.
    """

    duties: Mapping[str, Callable[[Token], Actor[Any]]]
    supervision: Strategy
    heart: Heart
    lease: float
    diary: Diary = field(factory=Diary)
    epoch: int = 0
    running: list[ActorRef[Any]] = field(factory=list)

    async def receive(self, message: LeaderMessage) -> None:
        match message:
            case Term(0):
                await self._follow()
            case Term(epoch, sent_at, nonce) if self._left(sent_at) > 0:
                await self._lead(epoch, nonce)
                self.set_timer("term", _LookAtTerm(), self._left(sent_at))
            case _LookAtTerm():
                left = self._left(self.heart.answered_at)  # in a loop that was blocked, an answer may be heard of later
                if left > 0:
                    self.set_timer("term", _LookAtTerm(), left)
                else:
                    await self._follow()

    def statistics(self) -> dict[str, object]:
        return {"leads": bool(self.epoch), "term": self.epoch}

    def _left(self, sent_at: float) -> float:
        return sent_at + (1 - MARGIN) * self.lease - self.clock.monotonic()

    async def _lead(self, epoch: int, nonce: bytes) -> None:
        if epoch != self.epoch:
            await self._follow()
            self.epoch = epoch
            log.info("this worker leads", extra={"epoch": epoch})
            self.diary.happened("leader", f"leads, in term {epoch}")
            token = Token(b"%d" % epoch, nonce)
            for name, duty in self.duties.items():
                self.running.append(self.spawn(partial(duty, token), name=name, supervision=self.supervision))

    async def _follow(self) -> None:
        if self.epoch:
            log.info("this worker does not lead any more", extra={"epoch": self.epoch})
            self.diary.happened("leader", "does not lead any more")
            self.epoch = 0
            self.cancel_timer("term")
            for duty in reversed(self.running):
                await duty.stop(grace=0)
            self.running = []
