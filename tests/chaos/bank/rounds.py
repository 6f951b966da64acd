"""One round: transfers come as fast as they are handled, and faults with them; then the books are audited, in peace."""

import asyncio
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

from attrs import frozen

from runnel.errors import StoreError
from tests.chaos.bank.app import Transfer
from tests.chaos.bank.world import Bank, opened
from tests.chaos.checks import ended_otherwise
from tests.chaos.faults import FAULTS, heal
from tests.chaos.timeline import Moment, Timeline, drawn, lasting, planned

KINDS = ("kill", "kill", "kill", "kill at", "pause", "pause two", "pause at", "kill clients", "cut", "stall", "join and leave")
HARSH = (*KINDS, "restart server", "failover")
"""What comes over a bank, also where its server is not to be restarted, or to lose anything, and where it is."""

FOR_EVER = 3600.0
"""Seconds for which faults are drawn."""

SELDOM = 4.0
"""Seconds between faults in a long round: transfers are to be handled, too."""


@frozen(kw_only=True)
class Trade:
    """What a bank does.

    Attributes:
        every: Seconds from one batch of transfers to the next, at least.
        backlog: How many transfers are sent ahead of those that are debited, at most.
    """

    transfers: int
    accounts: int = 1_000
    batch: int = 500
    every: float = 0.0
    backlog: int = 20_000
    partitions: int = 8
    max_active: int = 500


SHORT = Trade(transfers=3_000, accounts=100, batch=30, every=0.06, partitions=4, max_active=16)
"""A trade of some six seconds."""


@frozen
class Outcome:
    """What came of a round."""

    timeline: Timeline
    violations: list[str]
    folder: Path
    transfers: int
    seconds: float
    struck: int
    workers: int

    def __str__(self) -> str:
        wrong = [f"{len(self.violations)} violations:", *self.violations[:20]] if self.violations else ["all is well"]
        came = str(self.timeline).splitlines()[: self.struck + 1]
        return "\n".join([*came, f"{self.summary}; {self.folder}", *wrong])

    @property
    def summary(self) -> str:
        return f"{self.transfers} transfers in {self.seconds:.0f} s, {self.struck} faults, {self.workers} workers"


async def run(
    timeline: Timeline, folder: Path, trade: Trade = SHORT, without: str = "", tell: Callable[[int], None] = lambda done: None
) -> Outcome:
    """Have the timeline come over a new bank, for as long as it has transfers to handle; `tell` hears how many are done."""
    kinds = {moment.fault for moment in timeline.moments}
    durable = bool(kinds & {"restart server", "failover"})
    plan = {"partition_count": trade.partitions, "max_active": trade.max_active, "without": without}
    async with opened(folder, replica="failover" in kinds, durable=durable, **plan) as bank:
        found: list[str] = []
        struck, begin = 0, time.monotonic()
        try:
            struck = await _live_through(timeline, bank, trade, found, tell)
        except Exception:
            found.append(f"it came to no end: {traceback.format_exc()}")
        seconds = time.monotonic() - begin
        transfers, wrong = await asyncio.to_thread(bank.violations, trade.accounts)
        found += wrong + list(ended_otherwise(life for life, _ in bank.workers))
        return Outcome(timeline, found, folder, transfers, seconds, struck, len(bank.workers))


async def _live_through(
    timeline: Timeline, bank: Bank, trade: Trade, found: list[str], tell: Callable[[int], None]
) -> int:
    first = [await bank.hire() for _ in range(2)]
    for worker in first:
        await bank.ready(worker)
    trading = asyncio.create_task(_trade(bank, trade, timeline.seed, tell))
    start = time.monotonic()
    striking = []
    for moment in timeline.moments:
        await planned(start + moment.at)
        if trading.done():
            break
        striking.append(asyncio.create_task(_strike(bank, moment, found)))
    await asyncio.gather(*striking)
    await trading
    await heal(bank)
    await bank.settled()
    await bank.go_home()
    return len(striking)


async def _strike(bank: Bank, moment: Moment, found: list[str]) -> None:
    try:
        await bank.at_least(2)
        await FAULTS[moment.fault](bank, moment)
    except Exception:
        found.append(f"the fault itself failed: {moment}: {traceback.format_exc()}")


async def _trade(bank: Bank, trade: Trade, seed: int, tell: Callable[[int], None]) -> None:
    """Send all transfers. Numbers whose sending failed are not used again: whether they are there, the log will tell."""
    batches = _drawn(trade, seed)
    begun = 0
    for batch in batches:
        due = time.monotonic() + trade.every
        try:
            await bank.send(batch)
        except StoreError:
            pass
        begun += len(batch)
        while begun - (done := await bank.done()) > trade.backlog:
            await lasting(0.02)
        tell(done)
        await planned(due)


def _drawn(trade: Trade, seed: int) -> Iterator[list[Transfer]]:
    """The transfers of a seed, in batches; some accounts have many, most have few."""
    chance = Random(seed)
    for first in range(0, trade.transfers, trade.batch):
        batch = []
        for number in range(first, min(first + trade.batch, trade.transfers)):
            source = int(trade.accounts * chance.random() ** 2)
            target = (source + chance.randrange(1, trade.accounts)) % trade.accounts
            batch.append(Transfer(number=number, source=source, target=target, pence=chance.randrange(1, 1_000)))
        yield batch


def timeline_of(seed: int, kinds: tuple[str, ...], every: float = 1.0) -> Timeline:
    """The faults of a seed, about one in `every` seconds: more than come before all transfers are handled."""
    return drawn(seed, FOR_EVER, kinds, every)
