"""The committer: makes what is done durable, soon.

It gets `Dirty` from partitions and sends, in one exchange, a fenced commit for each partition that has something done.
A commit is never changed once it was sent: it is sent again, under its number, until it is answered. It never commits
for a lease that is lost.

The first thing done after a pause is committed at once. Under load one exchange follows the other by `PACE`, however
fast they are answered: a round trip costs as much as some fifty events, and gathers more of them the longer it waits.
Only what somebody waits for, an actor's answer, does not wait for that.
"""

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, AsyncExitStack, nullcontext
from typing import Any

from attrs import define, field, frozen

from runnel.actors import Actor, ActorRef
from runnel.errors import StoreError, StoreUnavailable
from runnel.roles.lease import Lease, in_order
from runnel.store import acts, moves, scripts
from runnel.store.link import Link
from runnel.store.scripts import Call, CommitAnswer

log = logging.getLogger(__name__)

PACE = 0.005
"""Seconds from one commit to the next: what is done within may be done again after a crash."""

RESEND = 0.05
"""Seconds until commits are sent again to a server that is away."""


# ── messages ──


@frozen
class Dirty:
    """Something is done under this lease that no commit has taken up; somebody waits for it, perhaps."""

    lease: Lease
    is_awaited: bool = False


@frozen
class Settle:
    """Answered when all that is done under this lease is committed, or the lease is lost."""

    lease: Lease


@frozen
class Fenced:
    """To whoever owns the leases: this one turned out to be void."""

    lease: Lease


@frozen
class _Commit:
    lease: Lease
    call: Call[CommitAnswer]
    spans: Sequence[Any] = ()


@frozen
class _Answered:
    answers: Sequence[CommitAnswer | StoreError]


@frozen
class _Unanswered:
    error: Exception


@frozen
class _Resend:
    pass


@frozen
class _Go:
    pass


CommitterMessage = Dirty | Settle | _Answered | _Unanswered | _Resend | _Go


@define(eq=False)
class Committer(Actor[CommitterMessage]):
    """Commits for all partitions of one processor.

    Args:
        link: A connection of its own.
        owner: Who is told that a lease is void.
    """

    link: Link
    owner: "ActorRef[Fenced]"
    dirty: dict[Lease, None] = field(factory=dict)
    travelling: Sequence[_Commit] = ()
    not_before: float = 0.0
    pausing: bool = False
    away: bool = False
    commits: int = 0

    async def receive(self, message: CommitterMessage) -> None:
        match message:
            case Dirty(lease, is_awaited):
                if lease.position.dirty:  # or a commit that came meanwhile has taken it up
                    self.dirty[lease] = None
                    self.not_before = 0.0 if is_awaited else self.not_before
            case Settle(lease):
                if not lease.lost and self._owes(lease):
                    self.not_before = 0.0
                    self.stash()
            case _Answered(answers):
                self._take(answers)
                self.unstash_all()
            case _Unanswered(error):
                self._wait_for_server(error)
                self.unstash_all()
            case _Resend():
                self._send([commit for commit in self.travelling if not commit.lease.lost])
                self.unstash_all()  # who waits for one that is lost meanwhile need not wait any more
            case _Go():
                self.pausing = False
        self._go_on()

    async def on_stop(self) -> None:
        """Commit what is done, once: the worker stops, whoever comes next does the rest again."""
        try:
            if self.travelling:  # it may have taken effect: under its number only the very same commit may follow
                self._take(await self._commit(self.travelling))
            if commits := self._collect():
                self.travelling = commits
                self._take(await self._commit(commits))
        except StoreUnavailable as error:
            log.warning("the last commit was not answered", extra={"error": str(error)})
        finally:
            await self.link.close()

    def statistics(self) -> dict[str, object]:
        return {"commits": self.commits, "travelling": len(self.travelling)}

    def _go_on(self) -> None:
        if self.travelling or not self.dirty:
            return
        pause = self.not_before - self.clock.monotonic()
        if pause <= 0:
            self._send(self._collect())
        elif not self.pausing:
            self.pausing = True
            self.set_timer("pace", _Go(), pause)

    def _owes(self, lease: Lease) -> bool:
        return lease in self.dirty or any(commit.lease is lease for commit in self.travelling)

    def _collect(self) -> list[_Commit]:
        leases, self.dirty = self.dirty, {}
        commits = []
        for lease in leases:
            cursor, count, carried = lease.position.take()
            if lease.lost:
                continue
            if lease.position.dirty:  # one commit cannot carry it all
                self.dirty[lease] = None
            to = lease.keys, lease.processor.options.name, lease.token, lease.number + 1, cursor, count
            spans = [*lease.position.spans]
            lease.position.spans.clear()
            call = _with(lease)(*to, carried) if carried else scripts.commit(*to)
            commits.append(_Commit(lease, call, spans))
        return commits

    def _send(self, commits: Sequence[_Commit]) -> None:
        self.travelling = commits
        if commits:
            self.not_before = self.clock.monotonic() + PACE
            self.pipe_to_self(self._commit(commits), _Answered, _Unanswered)

    async def _commit(self, commits: Sequence[_Commit]) -> list[CommitAnswer | StoreError]:
        async with AsyncExitStack() as stack:
            for lease in in_order(commit.lease for commit in commits):
                await lease.lock.reader.acquire()
                stack.callback(lease.lock.reader.release)
            stack.enter_context(_traced(commits))
            return await self.link.run([commit.call for commit in commits])

    def _take(self, answers: Sequence[CommitAnswer | StoreError]) -> None:
        commits, self.travelling = self.travelling, ()
        self.away = False
        for commit, answer in zip(commits, answers, strict=True):
            if answer in ("OK", "ALREADY"):
                commit.lease.number += 1
                commit.lease.position.committed()
                self.commits += 1
            elif isinstance(answer, StoreError):
                raise answer
            elif not commit.lease.lost:
                log.warning("commit refused", extra={**commit.lease.log_fields, "answer": answer})
                commit.lease.lost = True
                self.owner.tell_nowait(Fenced(commit.lease))

    def _wait_for_server(self, error: Exception) -> None:
        if not isinstance(error, StoreUnavailable):
            raise error
        if not self.away:
            self.away = True
            log.warning("cannot commit, trying again", extra={"error": str(error)})
        self.set_timer("resend", _Resend(), RESEND)


def _traced(commits: Sequence[_Commit]) -> AbstractContextManager[None]:
    """A span around the exchange, if the app makes any."""
    processor = commits[0].lease.processor
    if (tracing := processor.stream.app.tracing) is None:
        return nullcontext()
    spans = [span for commit in commits for span in commit.spans]
    return tracing.committing(processor.stream.name, processor.options.name, len(commits), spans)


def _with(lease: Lease) -> Callable[..., Call[CommitAnswer]]:
    """What makes a commit that carries changes."""
    return moves.move if lease.processor.entity is None else acts.commit
