"""The member: keeps this worker one of the app's workers, and says which partitions it is to have.

It gets the answers to heartbeats (heart.py) and what other workers post (control.py). Whenever workers came or went and
nobody else has done it, it assigns the partitions anew (roster.py) and stores that. It tells the coordinator `Wanted`, and
the leader who was elected. It never owns anything.
"""

import logging
import os
import secrets
import socket
from collections.abc import Callable, Sequence

from attrs import define, field, frozen

from runnel.actors import Actor, ActorRef
from runnel.errors import StoreError
from runnel.processor import Processor
from runnel.roles.committer import Fenced
from runnel.roles.control import Listener, Notice
from runnel.roles.heart import Beat, Heart, MissedBeat
from runnel.roles.leader import LeaderMessage, Term
from runnel.roles.orders import LetGo, to_restart
from runnel.roles.roster import SETTLE, Roster
from runnel.store import membership
from runnel.store.keys import AppKeys
from runnel.store.link import Link
from runnel.store.membership import About, Assigned, Elected, Membership
from runnel.store.pausing import Paused
from runnel.telemetry.diary import Diary

log = logging.getLogger(__name__)

HANDOVER = 2.0
"""Seconds within which a leaving worker should be assigned nothing any more; then it gives back what it has anyway."""


# ── messages ──


@frozen
class Join:
    """Take a processor's partitions, too, in `delay` seconds."""

    processor: str
    delay: float = 0.0


@frozen
class Retire:
    """Take nothing any more, and let others take what this worker has."""


@frozen
class _Assign:
    pass


@frozen
class _Stored:
    history: bytes
    assigned: Sequence[tuple[str, Assigned]]
    answers: Sequence[int | StoreError]


@frozen
class _Unanswered:
    error: Exception


@frozen
class _HandoverFailed:
    pass


# ── what it tells the coordinator ──


@frozen
class Wanted:
    """This worker is to have these partitions of a processor, and no others."""

    processor: str
    partitions: frozenset[int]


@frozen
class Freed:
    """Another worker has let go of these partitions."""

    processor: str
    partitions: Sequence[int]


MemberMessage = Join | Retire | Notice | Beat | MissedBeat | _Assign | _Stored | _Unanswered | _HandoverFailed


@define(eq=False, kw_only=True)
class Member(Actor[MemberMessage]):
    """One of the app's workers.

    Args:
        worker: Its id, as others see it in Redis.
        app: The app's keys.
        processors: All that this worker runs.
        lease: Seconds, for a worker without processors.
        settle: Seconds for which no worker may come or go before anything is assigned.
        heart: Beats for it.
        open_link: Makes connections: for assigning, and for listening to other workers.
        coordinator: Who takes and gives back partitions.
        leader: Told who was elected, at each heartbeat.
        diary: The worker's.
    """

    worker: str
    app: AppKeys
    processors: Sequence[Processor]
    lease: float = 4.0
    settle: float = SETTLE
    heart: Heart
    open_link: Callable[[], Link]
    coordinator: "ActorRef[Wanted | Freed | LetGo | Fenced]"
    leader: "ActorRef[LeaderMessage]"
    diary: Diary = field(factory=Diary)
    link: Link = field(init=False)
    streams: dict[str, str] = field(init=False)
    lease_time: float = field(init=False)
    roster: Roster = field(init=False)
    candidacy: bytes = field(factory=lambda: secrets.token_hex(8).encode())
    joined: list[str] = field(factory=list)
    wanted: dict[str, frozenset[int]] = field(factory=dict)
    retired: bool = False
    assigning: bool = False
    away: bool = False

    def __attrs_post_init__(self) -> None:
        self.link = self.open_link()
        self.streams = {each.options.name: each.stream.name for each in self.processors}
        self.lease_time = min((each.options.lock_expiry for each in self.processors), default=self.lease)
        partitions = {each.options.name: len(each.stream.partitions) for each in self.processors}
        self.roster = Roster(self.streams, partitions, settle=self.settle)

    async def on_start(self) -> None:
        self.spawn(lambda: Listener(self.app, self.open_link(), self.ref), name="listener")
        self.heart.start(self.ref.tell_nowait)
        if not self.processors:
            self._beat_anew()

    async def receive(self, message: MemberMessage) -> None:
        match message:
            case Join(name, delay) if delay > 0:
                self.set_timer(message, Join(name), delay)
            case Join(name):
                self.joined.append(name)
                self._beat_anew()
            case Retire():
                self._retire()
            case Notice():
                self._hear(message)
            case Beat():
                self._beaten(message)
            case MissedBeat(error):
                self._unreachable(error)
            case _Assign():
                self._assign()
            case _Stored(history, assigned, answers):
                self.assigning = False
                if history == self.roster.history:
                    self._stored(assigned, answers)
            case _Unanswered(error):
                self.assigning = False
                self._unreachable(error)
            case _HandoverFailed():
                self._want_nothing()

    async def on_stop(self) -> None:
        await self.heart.stop()
        leave = membership.leave(self.app, self.worker, self.candidacy)
        try:
            await self.link.call(leave, timeout=2, patience=0.5)  # a server that was started again has closed the connection
        except StoreError as error:
            log.warning("the worker is gone without notice, others find out by themselves", extra={"error": str(error)})
        await self.link.close()

    def statistics(self) -> dict[str, object]:
        told = {"~wanted": dict(self.wanted), "~run": self.roster.run}  # runnel/telemetry/board.py reads these
        return {"workers": len(self.roster.members), "version": self.roster.version, **told}

    # ── beating ──

    def _beat_anew(self) -> None:
        """Something about this worker has changed: let others know at once."""
        self._load()
        self.heart.beat_now()

    def _load(self) -> None:
        about = About(
            processors={} if self.retired else {name: self.streams[name] for name in self.joined},
            host=socket.gethostname(),
            pid=os.getpid(),
        )
        known = [(self._key(name), self.roster.known(name).version) for name in self.streams]
        beat = membership.heartbeat(
            self.app, self.worker, about, lease=self.lease_time, known=self.roster.version, assignments=known
        )
        stand = membership.elect(self.app, self.worker, self.candidacy, lease=0 if self.retired else self.lease_time)
        self.heart.calls = [beat, stand]

    def _key(self, name: str) -> bytes:
        return self.app.assignment(self.streams[name], name)

    def _beaten(self, beat: Beat) -> None:
        self.away = False
        for lease, renewed in zip(beat.leases, beat.renewals, strict=True):
            if isinstance(renewed, StoreError):
                raise renewed
            if not renewed:
                self.coordinator.tell_nowait(Fenced(lease))
            elif isinstance(renewed, Paused):
                self.coordinator.tell_nowait(LetGo(lease))
        for answer in beat.answers:
            match answer:
                case Membership():
                    self._take_in(answer)
                case Elected() if not self.retired:
                    self.leader.tell_nowait(Term(answer.epoch, beat.sent_at, self.candidacy))
                case StoreError():  # no reason to drop partitions that are held
                    log.warning("the registry of workers refuses", extra={"app": self.app.app, "error": str(answer)})

    def _unreachable(self, error: Exception) -> None:
        if not isinstance(error, StoreError):
            raise error
        if not self.away:
            self.away = True
            log.warning("the server is away, trying again", extra={"worker": self.worker, "error": str(error)})

    # ── who there is, and who is to have what ──

    def _take_in(self, heard: Membership) -> None:
        if self.roster.is_of_another_history(heard):
            self.roster.forget()
            return self._beat_anew()
        version = self.roster.version
        news = self.roster.hear(list(self.streams), heard, self.clock.monotonic())
        for name in news:
            self._adopt(name)
        if news or self.roster.version != version:
            self._load()
        if self.roster.stale() and not self.assigning:
            self.set_timer("assign", _Assign(), max(0.0, self.roster.settled_at - self.clock.monotonic()))

    def _adopt(self, name: str) -> None:
        owners = self.roster.known(name).owners
        self._want(name, frozenset(n for n, owner in enumerate(owners) if owner == self.worker))

    def _want(self, name: str, partitions: frozenset[int]) -> None:
        if self.retired:  # what is still assigned to one that leaves is not for it to take
            partitions &= self.wanted.get(name, frozenset())
        if partitions != self.wanted.get(name):
            workers = len(self.roster.runners(name))
            are = "partition is" if len(partitions) == 1 else "partitions are"
            self.diary.happened("rebalance", f"{name}: {len(partitions)} {are} for this worker, one of {workers}")
        self.wanted[name] = partitions
        self.coordinator.tell_nowait(Wanted(name, partitions))

    def _assign(self) -> None:
        if self.assigning:
            return
        calls, assigned = [], []
        for name in self.roster.stale():
            known, owners = self.roster.known(name), self.roster.assign(name)
            news = owners != known.owners
            calls.append(
                membership.assign(
                    self.app,
                    self._key(name),
                    owners,
                    replaces=known.version,
                    membership=self.roster.version,
                    notice=Notice(kind="assigned", processor=name).to_json() if news else b"",
                )
            )
            assigned.append((name, Assigned(version=known.version + 1, membership=self.roster.version, owners=owners)))
        if calls:
            self.assigning, history = True, self.roster.history
            self.pipe_to_self(self.link.run(calls), lambda answers: _Stored(history, assigned, answers), _Unanswered)

    def _stored(self, assigned: Sequence[tuple[str, Assigned]], answers: Sequence[int | StoreError]) -> None:
        for (name, made), answer in zip(assigned, answers, strict=True):
            if isinstance(answer, StoreError):
                log.warning("assignment refused", extra={"processor": name, "error": str(answer)})
            elif answer == made.version and made.version > self.roster.known(name).version:
                self.roster.assignments[name] = made
                self._adopt(name)
        self._load()  # where another was first, or others came or went meanwhile, a notice or the next beat tells

    def _hear(self, notice: Notice) -> None:
        match notice.kind:
            case "released":
                self.coordinator.tell_nowait(Freed(notice.processor, notice.partitions))
            case "restart":
                for lease in to_restart(notice, self.heart.leases):
                    self.coordinator.tell_nowait(LetGo(lease))
            case _:
                self.heart.beat_now()  # it brings the assignment, or that a lease's partition is paused

    # ── leaving ──

    def _retire(self) -> None:
        self.retired = True
        self.leader.tell_nowait(Term(0, self.clock.monotonic()))
        self._beat_anew()
        if any(set(self.roster.runners(name)) - {self.worker} for name in self.joined):
            self.set_timer("handover", _HandoverFailed(), HANDOVER)  # until then others are to be assigned it all
        else:
            self._want_nothing()

    def _want_nothing(self) -> None:
        for name in self.streams:
            self._want(name, frozenset())
