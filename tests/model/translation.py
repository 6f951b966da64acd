"""From the model's requests to calls of the real scripts, and from its ids to those of the log."""

from collections.abc import Iterator
from typing import Any, assert_never

from attrs import define, field

from runnel.store import acts, moves, scripts, timing
from runnel.store.keys import PartitionKeys
from runnel.store.moves import Move, Park, Unpark
from runnel.store.outbox import TARGET, Target
from runnel.store.scripts import Call, Token
from runnel.stream import KEY, TO
from tests.integration.scripts.bench import PROCESSOR
from tests.model.requests import (
    Acquire,
    Append,
    Commit,
    Mark,
    Promote,
    Register,
    Release,
    Renew,
    Request,
    Reset,
    Suspect,
    Trim,
    Unregister,
)
from tests.model.state import Server

SECOND = "second"
LEASE = 600.0
REMINDER = "r"
"""The name of the one reminder that a key has."""


@define(eq=False)
class Translation:
    """Of one walk.

    Attributes:
        has_actors: Whether commits are those of a processor with actors.
        ids: An entry's id in the model → in the log.
        parked_at: An entry's id in the model → where it is parked.
    """

    keys: PartitionKeys
    has_actors: bool
    ids: dict[int, bytes] = field(factory=lambda: {0: b"0-0"})
    parked_at: dict[int, bytes] = field(factory=dict)

    def id_of(self, number: int) -> bytes:
        """An id that nothing in the log has is nobody's."""
        return self.ids.get(number, b"0-%d" % number)

    def number_of(self, entry_id: str | None) -> int:
        """The other way round; "" and None are 0."""
        return {real.decode(): number for number, real in self.ids.items()}[entry_id or "0-0"]

    def next_id(self, server: Server) -> bytes:
        """The id of the next append: as far above the last one as in the model."""
        ms, _, seq = self.id_of(server.last_id).partition(b"-")
        return b"%s-%d" % (ms, int(seq) + server.step)

    def call(self, request: Request, server: Server) -> Call[Any]:
        keys = self.keys
        match request:
            case Append(sequence, event):
                values = [self.next_id(server), event.encode()]
                return scripts.append(
                    keys, "till", sequence, [b"data"], values, cap=100, overflow="block", explicit_ids=True
                )
            case Acquire(nonce):
                return scripts.acquire(
                    keys, PROCESSOR, worker="anna", nonce=b"n%d" % nonce, lease=LEASE, start="earliest"
                )
            case Renew(epoch, nonce):
                return scripts.renew(keys, PROCESSOR, token(epoch, nonce), LEASE)
            case Release(epoch, nonce, went):
                return scripts.release(keys, PROCESSOR, token(epoch, nonce), went)
            case Suspect(epoch, nonce, entry):
                return moves.suspect(keys, PROCESSOR, token(epoch, nonce), self.id_of(entry))
            case Commit():
                return self._commit(request)
            case Reset(cursor):
                return scripts.reset(keys, PROCESSOR, self.id_of(cursor).decode() if cursor else "earliest")
            case Trim():
                return scripts.trim(keys)
            case Register():
                return scripts.register(keys, SECOND, "earliest")
            case Unregister():
                return scripts.unregister(keys, PROCESSOR, force=True)
            case Promote():
                return timing.promote(keys, most=1)
            case _:
                assert_never(request)

    def _commit(self, commit: Commit) -> Call[Any]:
        to = self.keys, PROCESSOR, token(commit.epoch, commit.nonce), commit.number, self.id_of(commit.cursor), 0
        carried = [move for mark in commit.marks for move in self._moves(mark)]
        if self.has_actors:
            return acts.commit(*to, [*self._acts(commit), *carried])
        return moves.move(*to, carried) if carried else scripts.commit(*to)

    def _acts(self, commit: Commit) -> Iterator[Move]:
        yield from acts.save({write.key.encode(): ",".join(write.state).encode() for write in commit.writes})
        for write in commit.writes:
            yield acts.remind(write.key.encode(), b"%d" % write.reminder if write.reminder else b"")
        for mark in commit.marks:
            if mark.outcome in ("done", "replay"):
                target = Target(self.keys, 100, "block").field
                yield acts.emit([TARGET, target, b"data", mark.event.encode()])
        for key, due in commit.alarms:
            yield self._wake(key, due) if due else acts.unwake(PROCESSOR, key.encode(), REMINDER)
        yield from acts.mark([self.id_of(number) for number in commit.done])
        yield from acts.unmark([self.id_of(number) for number in commit.undone])

    def _wake(self, key: str, due: int) -> Move:
        moment = b"%d" % (due * 1000)
        fields = (TO, PROCESSOR.encode(), KEY, key.encode(), b"~reminder", REMINDER.encode(), b"~due", moment)
        return acts.wake(PROCESSOR, key.encode(), REMINDER, due * 1000, fields)

    def _moves(self, mark: Mark) -> Iterator[Move]:
        """What any commit carries for an event."""
        if mark.outcome == "park":
            yield Park(mark.event[0].encode(), [b"data", mark.event.encode(), b"~id", b"%d" % mark.id])
        elif mark.outcome == "replay":
            yield Unpark(mark.event[0].encode(), self.parked_at.get(mark.id, b"0-1"))


def event_of(fields: dict[str, str]) -> str:
    """What the model calls an entry of the log."""
    return fields["data"] if "data" in fields else f"{fields['~key']}~{int(fields['~due']) // 1000}"


def token(epoch: int, nonce: int) -> Token:
    return Token(b"%d" % epoch, b"n%d" % nonce if nonce else b"")
