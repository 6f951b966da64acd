"""What a script is, and a call of one, or of a plain command: plain data, which a `Link` carries out.

`scripts.py`, `moves.py`, `membership.py`, `timing.py`, `pausing.py`, `outbox.py` and `upkeep.py` make calls.
"""

import hashlib
from collections.abc import Callable, Sequence
from importlib import resources
from typing import Any, Generic, TypeVar

from attrs import frozen

T = TypeVar("T")


@frozen
class Script:
    """A Lua script and the digest under which a server keeps it."""

    name: str
    source: bytes
    sha: bytes


def _load(name: str) -> Script:
    folder = resources.files("runnel.store") / "lua"
    shebang, body = (folder / f"{name}.lua").read_bytes().split(b"\n", 1)
    source = b"\n".join((shebang, (folder / "common.lua").read_bytes(), body))
    return Script(name, source, hashlib.sha1(source).hexdigest().encode())


SCRIPTS = {
    name: _load(name)
    for name in (
        *("append", "acquire", "renew", "release", "commit", "trim"),
        *("register", "unregister", "reset", "measure", "look"),
        *("move", "parked", "unpark", "revive", "reopen", "suspect"),  # moves.py
        *("pause", "resume"),  # pausing.py
        *("tick", "delay", "promote", "cancel", "delayed"),  # timing.py
        "deliver",  # outbox.py
        *("cut", "erase", "permitted"),  # upkeep.py
        *("heartbeat", "assign", "elect", "leave", "roll", "report"),  # membership.py
    )
}


@frozen(eq=False)
class Call(Generic[T]):
    """One call of a script: what to send, and how to read the answer."""

    script: Script
    keys: tuple[bytes, ...]
    args: Sequence[Any]
    parse: Callable[[Any], T]


@frozen(eq=False)
class Command(Generic[T]):
    """One plain command that may be sent again as a script may: it changes nothing, or then nothing more."""

    words: Sequence[Any]
    parse: Callable[[Any], T]
