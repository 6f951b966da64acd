"""What a commit carries of actors: what they remember, emit and want to be reminded of, and what they answer.

Each is a move, see `moves.py`: together with the cursor it takes effect, or not at all.
"""

from collections.abc import Mapping, Sequence

from attrs import frozen

from runnel.store.keys import PartitionKeys, encoded
from runnel.store.moves import Move, move
from runnel.store.scripts import Call, CommitAnswer, Token

ANSWERS_LIVE = 600
"""Seconds for which answers lie there for whoever asked."""

ANSWER = 14
"""The place, in the script's keys, of the first stream of answers."""


@frozen
class Act:
    """A change, as `move.lua` reads it."""

    args: Sequence[bytes]


@frozen
class Answer:
    """What an actor answers: fields for the stream of answers of one who asked."""

    asker: str
    fields: Sequence[bytes]

    def act(self, place: int) -> Act:
        """The change, when that stream is the script's key with this number."""
        return Act((b"answer", b"%d" % place, b"%d" % (ANSWERS_LIVE * 1000), b"%d" % len(self.fields), *self.fields))


def save(states: Mapping[bytes, bytes | None]) -> list[Move]:
    """Key → what its actor remembers; None: nothing any more."""
    kept = [part for key, state in states.items() if state is not None for part in (key, state)]
    dropped = [key for key, state in states.items() if state is None]
    return [*_list(b"save", kept), *_list(b"drop", dropped)]


def mark(ids: Sequence[bytes]) -> list[Move]:
    """These are done, above the cursor."""
    return _list(b"mark", ids)


def unmark(ids: Sequence[bytes]) -> list[Move]:
    """The cursor is above these by now."""
    return _list(b"unmark", ids)


def emit(fields: Sequence[bytes]) -> Act:
    """An event goes into the outbox; `fields` begin with its target, see `outbox.py`."""
    return Act((b"emit", b"%d" % len(fields), *fields))


def remind(key: bytes, reminders: bytes) -> Act:
    """What the actor of this key is to be reminded of, all of it, as JSON; b"": nothing."""
    return Act((b"remind", key, reminders))


def wake(processor: str, key: bytes, name: str, due: int, fields: Sequence[bytes]) -> Act:
    """An event goes into the log when it is due (in ms): an actor's reminder. It replaces the one of the same name."""
    return Act((b"wake", _reminder(processor, key, name), b"%d" % due, b"%d" % len(fields), *fields))


def unwake(processor: str, key: bytes, name: str) -> Act:
    """Not any more."""
    return Act((b"unwake", _reminder(processor, key, name)))


def _reminder(processor: str, key: bytes, name: str) -> bytes:
    """A delayed event's id that no other reminder has; those of events that were sent are numbers."""
    called = encoded(name)
    return f"~{encoded(processor)}/{len(called)}:{called}".encode() + key


def _list(what: bytes, args: Sequence[bytes]) -> list[Move]:
    """In pieces: Lua's stack holds some thousand values."""
    pieces = [args[at : at + 2000] for at in range(0, len(args), 2000)]
    return [Act((what, b"%d" % len(piece), *piece)) for piece in pieces]


def commit(
    keys: PartitionKeys,
    processor: str,
    token: Token,
    number: int,
    cursor: bytes,
    count: int,
    moves: Sequence[Move | Answer],
) -> Call[CommitAnswer]:
    """`moves.move` for a processor with actors; its moves are as many and as large as the owner lets them be."""
    askers = list(dict.fromkeys(each.asker for each in moves if isinstance(each, Answer)))
    places = {asker: place for place, asker in enumerate(askers, ANSWER)}
    resolved = [each.act(places[each.asker]) if isinstance(each, Answer) else each for each in moves]
    of_actors = (*keys.of_actors(processor), *(keys.answers(asker) for asker in askers))
    return move(keys, processor, token, number, cursor, count, resolved, of_actors)
