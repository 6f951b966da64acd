"""What is kept of an event that failed: its own fields, untouched, and behind them why, when and where it failed.

The names of the latter start with `~`, as all of Runnel's own.
"""

import traceback
from collections.abc import Iterator, Sequence
from typing import Any

from runnel.logs import users

ID, ERROR, TRACEBACK, ATTEMPTS, FAILED_AT, WORKER = (
    *(b"~id", b"~error", b"~traceback"),
    *(b"~attempts", b"~failed_at", b"~worker"),
)
OURS = frozenset({ID, ERROR, TRACEBACK, ATTEMPTS, FAILED_AT, WORKER})

WIDE = b"~wide"
"""Stands for all of an event's own fields, where they are too many."""

MOST_FIELDS = 7_900
"""Names and values that Lua passes to a command: one more, and a commit would fail after the cursor has moved."""

LONGEST_ERROR = 500
LONGEST_TRACEBACK = 4_000
"""Characters that are kept: of the error its beginning, of the traceback its end."""


def kept(
    xid: bytes, fields: Sequence[bytes], error: Exception, *, attempts: int, now: float, worker: str
) -> list[bytes]:
    """The fields under which an event that failed is kept.

    Args:
        xid: Its entry's id in the log.
        fields: Its own: name, value, name, value, ...
        error: Why it failed.
        attempts: How often it was tried.
        now: Seconds since the epoch.
        worker: Where.
    """
    said = f"{type(error).__name__}: {error}"[:LONGEST_ERROR]
    trace = "".join(traceback.format_exception(type(error), error, users(error.__traceback__)))[-LONGEST_TRACEBACK:]
    return [
        *behind(xid, fields),
        *(ERROR, _bytes(said), TRACEBACK, _bytes(trace)),
        *(ATTEMPTS, b"%d" % attempts, FAILED_AT, b"%.3f" % now, WORKER, _bytes(worker)),
    ]


def behind(xid: bytes, fields: Sequence[bytes]) -> list[bytes]:
    """The fields of an event that did not fail itself, but lies behind one of its key that did."""
    own = fields if len(fields) <= MOST_FIELDS else (WIDE, b"".join(b"%d:%b" % (len(part), part) for part in fields))
    return [*own, ID, xid]


def restored(fields: Sequence[bytes]) -> tuple[bytes, list[bytes], dict[bytes, bytes]]:
    """The id in the log of an event that was kept, its own fields, and what was noted of its failure."""
    own: list[bytes] = []
    noted: dict[bytes, bytes] = {}
    for i in range(0, len(fields), 2):
        if fields[i] in OURS:
            noted[fields[i]] = fields[i + 1]
        elif fields[i] == WIDE:
            own += _narrowed(fields[i + 1])
        else:
            own += fields[i : i + 2]
    return noted.pop(ID, b"0-0"), own, noted


def _narrowed(packed: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(packed):
        start = packed.index(b":", at) + 1
        at = start + int(packed[at : start - 1])
        yield packed[start:at]


def field_of(fields: Sequence[Any], name: bytes) -> bytes | None:
    """A field's value, in a flat list of names and values."""
    for i in range(0, len(fields), 2):
        if fields[i] == name:
            value: bytes = fields[i + 1]
            return value
    return None


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")
