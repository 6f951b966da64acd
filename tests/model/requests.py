"""What is sent to the server: one class for each script of `runnel/store/lua` that the model has."""

from typing import NamedTuple

from runnel.store.scripts import Went


class Append(NamedTuple):
    """Of one event."""

    sequence: int
    event: str


class Acquire(NamedTuple):
    """By whoever made up this nonce. `grant` is for judging: it tells tokens apart, whatever guards are missing."""

    nonce: int
    grant: int


class Renew(NamedTuple):
    """Under a token."""

    epoch: int
    nonce: int


class Release(NamedTuple):
    """Under a token. How its term went: "well", "idle" (nothing was run), "lost" (the lease was over before)."""

    epoch: int
    nonce: int
    went: Went = "well"


class Suspect(NamedTuple):
    """Under a token: this event is about to run alone."""

    epoch: int
    nonce: int
    entry: int


class Reset(NamedTuple):
    """To the earliest entry (0), or behind an id."""

    cursor: int


class Trim(NamedTuple):
    """Up to the slowest cursor, or up to `limit` where a client has computed it ("minimum inside trim" is missing)."""

    limit: int = -1


class Register(NamedTuple):
    """The second group, at the earliest entry."""


class Unregister(NamedTuple):
    """Of the group itself, whoever owns the partition. The next acquire registers it anew, at the earliest entry."""


class Promote(NamedTuple):
    """The first delayed event goes into the log. By anybody: it needs no token."""


class Mark(NamedTuple):
    """What a commit makes of an event."""

    id: int
    event: str
    outcome: str  # "done" | "skip" | "park" | "replay" | "drop"


class Write(NamedTuple):
    """What a key's actor remembers from then on, and when it is to be reminded (0: not)."""

    key: str
    state: tuple[str, ...]
    reminder: int


class Commit(NamedTuple):
    """The request that moves a cursor. What it writes was computed from what the worker believes."""

    epoch: int
    nonce: int
    grant: int
    number: int
    cursor: int
    marks: tuple[Mark, ...]
    writes: tuple[Write, ...]
    alarms: tuple[tuple[str, int], ...] = ()  # key and due time of a reminder that is to be put aside; 0: taken back
    done: tuple[int, ...] = ()  # ids to be marked: done above the cursor
    undone: tuple[int, ...] = ()  # ids that need no mark any more


Request = Append | Acquire | Renew | Release | Suspect | Commit | Reset | Trim | Register | Unregister | Promote
