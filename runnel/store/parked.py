"""What the scripts answer of a partition's parked events. Plain data."""

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import field, frozen


@frozen
class Tries:
    """How often the first event of a parked key was tried again, and when it is next."""

    tried: int
    due: float | None
    """In seconds since the epoch, by the server's clock; None: not by itself."""


@frozen
class ParkedNow:
    """What an owner must know of its parked events: how many, how often operators changed them, and of which keys."""

    events: int = 0
    operated: int = 0
    keys: frozenset[bytes] = frozenset()
    released: frozenset[bytes] = frozenset()
    """Keys that are to run again."""
    tries: Mapping[bytes, Tries] = field(factory=dict)
    """Of keys that failed."""
    now: float = field(default=0.0, eq=False)
    """When this was so: seconds since the epoch, by the server's clock."""

    @classmethod
    def of(cls, reply: Sequence[Any]) -> "ParkedNow":
        """As the scripts answer."""
        events, operated, keys, released, tries, now = reply
        return cls(events, operated, frozenset(keys), frozenset(released), _tries(tries), now / 1000)


def _tries(reply: Sequence[bytes]) -> Mapping[bytes, Tries]:
    pairs = ((key, said.split()) for key, said in zip(reply[::2], reply[1::2], strict=True))
    return {key: Tries(int(tried), int(due) / 1000 or None) for key, (tried, due) in pairs}
