"""Having partitions begin anew: whoever runs them finishes the event under way, commits, and starts them again.

For a handler that hangs, or that holds what went bad: a connection, a cache. It is given its `grace_period`, and is cut off
then. Nothing is lost, nothing is done twice but what was cut off.
"""

from collections.abc import Sequence

from runnel.app import App
from runnel.errors import ConfigurationError
from runnel.operations.pause import OFTEN, PausePlan, make_plan
from runnel.operations.status import PartitionStatus
from runnel.processor import Processor
from runnel.store.notices import Notice, post

AGAIN = 1.0
"""Seconds after which those that have not begun anew are told again: a notice may be lost."""


async def restart(
    app: App, processor: Processor, partitions: Sequence[int] = (), *, worker: str | None = None, patience: float = 15.0
) -> tuple[PartitionStatus, ...]:
    """Have partitions begin anew on the workers that run them. Partitions that nobody runs are left as they are.

    Args:
        app: The processor's; it is opened.
        processor: Which processor.
        partitions: The partitions' numbers; none: all.
        worker: Only those that this one runs; None: any.
        patience: For how many seconds to wait until they have begun anew.

    Returns:
        Those that have not yet. A handler that hangs may take its `grace_period`; it is told, and nothing need be repeated.

    Raises:
        ConfigurationError: There is no such partition.
        StoreError: The server cannot be reached, or refuses.
    """
    clock = app.clock
    told_at, give_up = float("-inf"), clock.monotonic() + patience
    waiting = meant(await make_plan(app, processor, partitions), worker)
    while waiting and clock.monotonic() < give_up:
        if clock.monotonic() >= told_at + AGAIN:
            told_at = clock.monotonic()
            await _tell(app, processor, waiting)
        await clock.sleep(OFTEN)
        now = {each.partition: each for each in (await make_plan(app, processor, partitions)).owned}
        waiting = tuple(each for each in waiting if _is_same(each, now.get(each.partition)))
    return waiting


def meant(plan: PausePlan, worker: str | None = None) -> tuple[PartitionStatus, ...]:
    """Which of them a worker runs, or this one."""
    return tuple(each for each in plan.owned if worker is None or each.owner == worker)


def check_worker(plan: PausePlan, worker: str | None) -> None:
    """See that this worker runs any of them.

    Raises:
        ConfigurationError: It does not; it names those that do.
    """
    if worker is not None and not meant(plan, worker):
        owners = sorted({each.owner for each in plan.owned if each.owner})
        those = f"those that do: {', '.join(owners)}" if owners else "no worker does"
        raise ConfigurationError(f"worker {worker!r} runs none of these partitions of {plan.processor!r}; {those}")


def _is_same(before: PartitionStatus, now: PartitionStatus | None) -> bool:
    """Whether its owner still has it as it had."""
    return now is not None and now.epoch == before.epoch


async def _tell(app: App, processor: Processor, partitions: Sequence[PartitionStatus]) -> None:
    numbers, epochs = tuple(each.partition for each in partitions), tuple(each.epoch for each in partitions)
    notice = Notice(kind="restart", processor=processor.options.name, partitions=numbers, epochs=epochs)
    link = (await app.open()).link()
    try:
        await post(link, app.keys, [notice])
    finally:
        await link.close()
