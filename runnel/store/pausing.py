"""Pausing a partition for a processor: a mark in its slot, which `acquire` obeys and `renew` tells."""

from typing import Any

import orjson
from attrs import frozen

from runnel.store.keys import PartitionKeys
from runnel.store.script import SCRIPTS, Call


@frozen
class Paused:
    """An operator wants nobody to run the partition, until it is resumed."""

    reason: str
    by: str
    """Who paused it, as they said."""
    since: float
    """By the server's clock, in seconds since the epoch."""

    @classmethod
    def of(cls, text: bytes) -> "Paused":
        """What the slot says; paused is paused, also by a mark that somebody has set by hand."""
        try:
            found: dict[str, Any] = orjson.loads(text)
            return cls(found["reason"], found["by"], found["since"] / 1000)
        except (ValueError, KeyError, TypeError):
            return cls(text.decode(errors="replace"), "", 0.0)


def pause(keys: PartitionKeys, processor: str, *, reason: str, by: str) -> Call[float]:
    """Pause it; since when it is, in seconds since the epoch. One that is paused gets the new reason, if there is one."""
    words = (reason.encode(errors="replace"), by.encode(errors="replace"))
    return Call(SCRIPTS["pause"], (keys.slot(processor),), words, lambda reply: reply / 1000)


def resume(keys: PartitionKeys, processor: str) -> Call[bool]:
    """Let it be acquired again; False when it was not paused."""
    return Call(SCRIPTS["resume"], (keys.slot(processor),), (), bool)
