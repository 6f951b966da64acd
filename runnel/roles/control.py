"""Control messages between the workers of an app: notices that make fast what heartbeats would bring anyway.

Whoever changes something posts a `Notice` (store/notices.py); the listener of every worker hears it and tells its parent,
the member. One that is lost costs a heartbeat. Nothing is ever decided by a notice alone.
"""

import logging
from collections.abc import Iterable
from typing import Any

from attrs import define, frozen

from runnel.actors import Actor, ActorRef
from runnel.errors import StoreError
from runnel.roles.lease import Lease
from runnel.store.keys import AppKeys
from runnel.store.link import Link
from runnel.store.notices import Notice as Notice
from runnel.store.notices import post as post

log = logging.getLogger(__name__)

BLOCK = 5.0
"""Seconds for which one XREAD waits for notices."""


def released(leases: Iterable[Lease]) -> list[Notice]:
    """What to tell other workers when these leases are released."""
    partitions: dict[str, list[int]] = {}
    for lease in leases:
        partitions.setdefault(lease.processor.options.name, []).append(lease.keys.number)
    return [Notice(kind="released", processor=name, partitions=tuple(found)) for name, found in partitions.items()]


@frozen
class _Heard:
    reply: Any


@frozen
class _Failed:
    error: Exception


@frozen
class _Again:
    pass


@define(eq=False)
class Listener(Actor[_Heard | _Failed | _Again]):
    """Hears the notices of all workers, its own among them.

    Args:
        keys: The app's.
        link: For XREAD, which occupies its connection while it blocks.
        member: To whom notices go.
    """

    keys: AppKeys
    link: Link
    member: ActorRef[Notice]
    after: bytes = b""
    failures: int = 0

    async def on_start(self) -> None:
        self._listen()

    async def receive(self, message: _Heard | _Failed | _Again) -> None:
        match message:
            case _Heard(reply):
                self.failures = 0
                for entry, fields in (reply or {}).get(self.keys.control, ()):
                    self.after = entry
                    self._pass_on(fields)
                self._listen()
            case _Failed(error):
                if not isinstance(error, StoreError):
                    raise error
                self.after = b""  # another server may count from elsewhere
                self.failures += 1
                self.set_timer("again", _Again(), min(0.05 * 2**self.failures, 1.0))
            case _Again():
                self._listen()

    async def on_stop(self) -> None:
        await self.link.close()

    def _listen(self) -> None:
        self.pipe_to_self(self._read(), _Heard, _Failed)

    async def _read(self) -> Any:
        control = self.keys.control
        if not self.after:
            last = await self.link.command("XREVRANGE", control, "+", "-", "COUNT", 1)
            self.after = last[0][0] if last else b"0-0"
        block = round(BLOCK * 1000)
        return await self.link.command("XREAD", "BLOCK", block, "STREAMS", control, self.after, timeout=2 * BLOCK)

    def _pass_on(self, fields: list[bytes]) -> None:
        try:
            notice = Notice.from_json(fields[1])
        except (ValueError, KeyError, TypeError, IndexError):
            log.warning("a notice that is none", extra={"app": self.keys.app})  # of another version, or a user's
        else:
            self.member.tell_nowait(notice)
