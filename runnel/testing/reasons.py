"""Why a test waits in vain: what is undone, as the author of the test reads it."""

from collections.abc import Iterable, Sequence

import orjson

from runnel.actors import ActorSnapshot
from runnel.operations.status import lag
from runnel.roles.tree import top_name
from runnel.store import scripts
from runnel.store.link import Link
from runnel.testing.standing import Undone
from runnel.timing.jobs import Progress, shown

MOST = 5
"""Reasons that are told."""


async def reasons(undone: Sequence[Undone], link: Link, tree: ActorSnapshot | None) -> list[str]:
    """One line for each of the first, and how many more there are.

    Args:
        undone: What there is to do.
        link: For a closer look.
        tree: The worker's actors.

    Raises:
        StoreError: The server cannot be reached, or refuses.
    """
    said = [await _reason(each, link, tree) for each in undone[:MOST]]
    return said + ([f"and {len(undone) - MOST} partitions more"] if len(undone) > MOST else [])


def of_jobs(jobs: Iterable[tuple[str, Progress]], now: int) -> list[str]:
    """A line for each job that is due, or still runs."""
    said = []
    for name, progress in jobs:
        if progress.running:
            said.append(f"job {name!r} still runs")
        elif progress.next is None:
            said.append(f"job {name!r} waits for the worker to lead")
        elif progress.next <= now:
            said.append(f"job {name!r}, due at {shown(progress.next)}, has not run")
    return said


async def _reason(undone: Undone, link: Link, tree: ActorSnapshot | None) -> str:
    keys, name = undone.keys, undone.processor
    where = f"partition {keys.number} of stream {keys.stream!r}"
    if undone.stopped:
        return f"processor {name!r}: {where} is quarantined: {undone.stopped}"
    if undone.paused is not None:
        return f"processor {name!r}: {where} is paused: {undone.paused.reason or 'resume lets it go on'}"
    match undone.what:
        case "due":
            return f"delayed events of {where} are due, and the worker has not moved them into the log: perhaps it is full"
        case "outbox":
            return f"processor {name!r}: events that it emitted in {where} are not delivered{await _target(undone, link)}"
        case "released":
            return f"processor {name!r}: parked events of {where} were released, and have not run again"
    seen = await link.call(scripts.look(keys, name))
    count = lag(seen) - await link.command("SCARD", keys.done(name))  # actors do events beyond those that wait
    more = "".join(f"; {detail}" for detail in _details(undone, tree, is_owned=bool(seen.owner)))
    return f"processor {name!r}: event {keys.stream}/{keys.number}/{seen.next} is not done, {count} in all in {where}{more}"


async def _target(undone: Undone, link: Link) -> str:
    """Where the first event of an outbox is to go."""
    page = await link.command("XRANGE", undone.keys.outbox(undone.processor), "-", "+", "COUNT", 1)
    if not page:
        return ""
    stream, partition, *_ = orjson.loads(page[0][1][1])
    return f" to partition {partition} of stream {stream!r}"


def _details(undone: Undone, tree: ActorSnapshot | None, *, is_owned: bool) -> list[str]:
    """What the actors say of it."""
    if not is_owned:
        return ["no worker runs that partition"]
    supervisor = _child(tree, top_name(undone.processor))
    partition = _child(supervisor, f"{undone.keys.number}.")
    if supervisor is None or partition is None:
        return []
    said = []
    if "breaker" in supervisor.details:
        said.append(f"the circuit breaker is {supervisor.details['breaker']}")
    if partition.details.get("retries"):
        said.append(f"failed events there were tried again {partition.details['retries']} times")
    if partition.details.get("paused"):
        said.append("no more events may be parked there")
    if partition.last_error is not None:
        said.append(f"the last error was {partition.last_error}")
    return said


def _child(tree: ActorSnapshot | None, name: str) -> ActorSnapshot | None:
    """The child of that name; of a partition's actors the one that begins so."""
    children = () if tree is None else tree.children
    return next((child for child in children if child.name == name or (name[-1] == "." and child.name.startswith(name))), None)
