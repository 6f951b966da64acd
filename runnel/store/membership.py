"""The scripts on an app's own keys, with typed signatures: who is a member, who is to own what, who leads.

As in `scripts.py` each is idempotent. None of them decides who owns a partition: its lease does.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from attrs import field, frozen

from runnel.store.keys import AppKeys
from runnel.store.scripts import SCRIPTS, Call

Owners = tuple[str | None, ...]
"""For each partition the worker that is to own it; None where there is no worker."""


@frozen(kw_only=True)
class About:
    """What a worker says of itself: its processors, with the stream of each, and where it runs."""

    processors: Mapping[str, str] = field(factory=dict)
    host: str = ""
    pid: int = 0

    def to_json(self) -> bytes:
        """Always the same bytes for the same content: other bytes are a change of the membership."""
        document = {"processors": dict(self.processors), "host": self.host, "pid": self.pid}
        return orjson.dumps(document, option=orjson.OPT_SORT_KEYS)

    @classmethod
    def from_json(cls, text: bytes) -> "About":
        """What another worker says; one of another version may say more, or something else altogether."""
        said = orjson.loads(text)
        if not isinstance(said, dict) or not isinstance(said.get("processors"), dict):
            return cls()
        return cls(processors=said["processors"], host=str(said.get("host", "")), pid=said.get("pid", 0))


@frozen(kw_only=True)
class Assigned:
    """A stored assignment. `membership` is the version of the membership that it was computed for."""

    version: int = 0
    membership: int = -1
    owners: Owners = ()


@frozen(kw_only=True)
class Membership:
    """What a heartbeat answers. Versions can be compared only within one history: a failover begins another, and a flush."""

    history: bytes
    version: int
    age: float
    """Seconds since the membership last changed."""
    members: Mapping[str, About] | None
    """None: as known."""
    assignments: Sequence[Assigned | None]
    """For each processor asked for; None: as known, or none is stored."""


@frozen
class Elected:
    """Who leads; `epoch` is that of one's own term, 0 when another leads."""

    epoch: int
    leader: str


def heartbeat(
    keys: AppKeys,
    worker: str,
    about: About,
    *,
    lease: float,
    known: int = -1,
    assignments: Sequence[tuple[bytes, int]] = (),
) -> Call[Membership]:
    """Be a member for `lease` more seconds, and hear what has changed.

    Args:
        keys: The app's.
        worker: Who beats.
        about: What it says of itself.
        lease: In seconds.
        known: The version of the membership that it knows.
        assignments: Key and known version of each assignment that it wants to hear of.
    """
    keys_used = (keys.members, keys.workers, keys.membership, *(key for key, _ in assignments))
    versions = [b"%d" % version for _, version in assignments]
    args = (worker, about.to_json(), b"%d" % round(lease * 1000), b"%d" % known, *versions)
    return Call(SCRIPTS["heartbeat"], keys_used, args, _membership)


def _membership(reply: list[Any]) -> Membership:
    history, version, age, members, *assignments = reply
    return Membership(
        history=history,
        version=version,
        age=age / 1000,
        members=None if members is None else about_each(members),
        assignments=[None if found is None else _assigned(*found) for found in assignments],
    )


def about_each(members: Sequence[bytes]) -> dict[str, About]:
    """Members and what they say, from the flat fields of the hash."""
    pairs = zip(members[::2], members[1::2], strict=True)
    return {worker.decode(): About.from_json(said) for worker, said in pairs}


def _assigned(version: int, membership: int, owners: bytes) -> Assigned:
    stored = orjson.loads(owners)
    workers = [*stored["workers"], None]  # the last one is the one at -1: nobody
    return Assigned(version=version, membership=membership, owners=tuple(workers[at] for at in stored["owners"]))


def assign(
    keys: AppKeys, assignment: bytes, owners: Owners, *, replaces: int, membership: int, notice: bytes = b""
) -> Call[int]:
    """Store an assignment; its version, or 0 when what it was computed from is not true any more.

    Args:
        keys: The app's.
        assignment: Its key.
        owners: The worker of each partition.
        replaces: The version of the assignment that it was computed from.
        membership: The version of the membership that it was computed for.
        notice: For the control stream; empty: none.
    """
    workers = sorted({owner for owner in owners if owner is not None})
    places: dict[str | None, int] = {worker: at for at, worker in enumerate(workers)}
    stored = orjson.dumps({"workers": workers, "owners": [places.get(owner, -1) for owner in owners]})
    args = (b"%d" % replaces, b"%d" % membership, stored, notice)
    return Call(SCRIPTS["assign"], (assignment, keys.membership, keys.control), args, int)


def elect(keys: AppKeys, worker: str, nonce: bytes, *, lease: float) -> Call[Elected]:
    """Stand for leader: take the lease if nobody has it, or prolong it to `lease` seconds from now."""
    args = (worker, nonce, b"%d" % round(lease * 1000))
    return Call(SCRIPTS["elect"], (keys.leader,), args, lambda reply: Elected(reply[0], reply[1].decode()))


def leave(keys: AppKeys, worker: str, nonce: bytes) -> Call[bool]:
    """Be a member no more, nor leader (under this nonce); False when it was none."""
    keys_used = (keys.members, keys.workers, keys.membership, keys.leader)
    return Call(SCRIPTS["leave"], keys_used, (worker, nonce), bool)


def report(keys: AppKeys, worker: str, text: bytes, *, lease: float) -> Call[int]:
    """Have people read what a worker says of itself, for `lease` seconds."""
    return Call(SCRIPTS["report"], (keys.report(worker),), (text, b"%d" % round(lease * 1000)), int)


@frozen(kw_only=True)
class Roll:
    """Who is there. For each member how many seconds are left of its membership (below 0: it is gone), and what it says."""

    leader: str | None
    members: Mapping[str, tuple[float, About]]


def roll(keys: AppKeys) -> Call[Roll]:
    """See who is a member and who leads; changes nothing."""

    def answer(reply: list[Any]) -> Roll:
        leader, *members = reply
        return Roll(
            leader=leader.decode() or None,
            members={
                name.decode(): (left / 1000, About() if said is None else About.from_json(said))
                for name, left, said in members
            },
        )

    return Call(SCRIPTS["roll"], (keys.members, keys.workers, keys.leader), (), answer)
