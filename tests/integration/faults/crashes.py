"""Fail points: moments in a worker at which a test has it killed or stopped. Patched in from here, not built in there."""

import itertools
import logging
import os
import signal
from collections.abc import Callable
from typing import Any

from runnel.roles import committer
from runnel.roles.committer import Committer
from runnel.roles.coordinator import Coordinator
from runnel.roles.reader import Reader

log = logging.getLogger(__name__)

CRASHES = (
    "read",
    "handler",
    "before commit",
    "commit sent",
    "after commit",
    "before release",
    "after release",
)


def crasher(name: str, nth: int, signal_name: str) -> Callable[[str], None]:
    """To be called at fail points: sends this process the signal when `name` is passed for the n-th time."""
    counter = itertools.count(1)

    def crash(at: str) -> None:
        if at == name and next(counter) == nth:
            os.kill(os.getpid(), getattr(signal, signal_name))

    return crash


def patch_events(crash: Callable[[str], None]) -> None:
    """Put fail points on the way of an event."""
    committer.PACE = 0  # many commits, so that there is an n-th one
    xread, commit = Reader._xread, Committer._commit

    async def crashing_xread(self: Reader, feeds: Any) -> Any:
        if reply := await xread(self, feeds):
            crash("read")
        return reply

    async def crashing_commit(self: Committer, commits: Any) -> Any:
        await self.link.command("PING")  # connected: after the next line nothing else runs before the commit is sent
        crash("before commit")
        with_answers(self, lambda: crash("commit sent"))
        answers = await commit(self, commits)
        log.debug("commits answered", extra={"answers": answers})
        crash("after commit")
        return answers

    Reader._xread = crashing_xread  # type: ignore[method-assign]
    Committer._commit = crashing_commit  # type: ignore[method-assign]


def patch_release(crash: Callable[[str], None]) -> None:
    """Put fail points around giving a partition back."""
    release = Coordinator._release

    async def crashing_release(self: Coordinator, leases: Any, timeout: float = 5.0) -> None:
        crash("before release")
        await release(self, leases, timeout)
        crash("after release")

    Coordinator._release = crashing_release  # type: ignore[method-assign]


def with_answers(of: Committer, before: Callable[[], None]) -> None:
    """Call `before` when the commit is sent and its first answer is waited for."""
    connection: Any = of.link._connection
    read = type(connection).read_response

    async def read_response(*args: Any, **kwargs: Any) -> Any:
        connection.read_response = lambda *a, **k: read(connection, *a, **k)
        before()
        return await read(connection, *args, **kwargs)

    connection.read_response = read_response
