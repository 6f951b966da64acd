"""Faults one after the other, arranged so that one guard stands alone between them and wrong books. As in ../directed.py.

There is one partition of each stream. Ids are chosen by the teller, so that other transfers come under the ids of those that a
failover lost.
"""

from collections.abc import Awaitable, Callable
from pathlib import Path
from signal import Signals
from typing import Any

from attrs import field, frozen

from tests.chaos.bank.app import DEBIT, Transfer
from tests.chaos.bank.world import Bank, keys, opened
from tests.chaos.checks import ended_otherwise
from tests.chaos.directed import PATIENCE, ids, stood
from tests.support import wait_until

ACCOUNTS = 10


def transfers(*numbers: int, source: int = 1) -> list[Transfer]:
    return [Transfer(number=number, source=source, target=9, pence=100 + number) for number in numbers]


def of_commits(request: bytes) -> bool:
    """It has commits of debits: of all scripts, that one with the slot and the outbox, and without the log."""
    at = keys("transfers", 0)
    return b"EVALSHA" in request and at.outbox(DEBIT) in request and at.state(DEBIT) in request and at.log not in request


def of_deliveries(request: bytes) -> bool:
    """It appends what was emitted."""
    return b"EVALSHA" in request and keys("deposits", 0).relayed in request


async def number(bank: Bank) -> None:
    """A commit that the network has kept back does not put an old state back, nor emit again, when it arrives."""
    await bank.send(transfers(1))
    life, _ = await bank.hire()
    await bank.settled()
    gate = bank.gates[life.name]
    gate.keep_next_request(of_commits)
    await bank.send(transfers(2))
    await wait_until(lambda: gate.late, PATIENCE, "a commit is kept back")
    await bank.settled()
    await bank.send(transfers(3))
    await bank.settled()
    gate.let_go()
    await wait_until(lambda: gate.late_replies, PATIENCE, "it arrived late")
    await bank.send(transfers(4, source=2))
    await bank.settled()


async def history(bank: Bank) -> None:
    """What is the fold of events that a failover has lost is not committed where others have come under their ids."""
    await bank.send(transfers(1, 2), ids(range(1, 3)))
    await bank.hire(hold=3)
    await bank.settled()
    await bank.pair.in_step()
    bank.pair.sever()
    await bank.send(transfers(3, 4), ids(range(3, 5)))
    await wait_until(lambda: debiting(bank), PATIENCE, "it is at the one that holds")
    await bank.promote()
    await bank.send(transfers(5, 6), ids(range(3, 5)))
    bank.let_go()
    await bank.settled()


def debiting(bank: Bank) -> bool:
    """Whether the debit that holds is under way."""
    return bank.plan.holds.exists()


async def nonce(bank: Bank) -> None:
    """Two owners got the same epoch, one of them on the server that is gone: what it did is not taken for the other's."""
    await bank.pair.in_step()
    bank.pair.sever()
    await bank.send(transfers(1, 2), ids(range(1, 3)))
    _, first = await bank.hire(lock_expiry=60.0, fail_points=True, crash="before commit", signal="SIGSTOP")
    await wait_until(lambda: first.stopped, PATIENCE, "the first owner is stopped with its first commit in hand")
    await bank.promote()
    await bank.send(transfers(5, 6), ids(range(1, 3)))
    second = await bank.hire(hold=5)  # comes now: the new server has never heard of the first, which is not waited for
    await wait_until(lambda: debiting(bank), PATIENCE, "the second owner is at the one that holds")
    first.signal(Signals.SIGCONT)
    await wait_until(lambda: stood(first), PATIENCE, "the first owner's commit is answered")
    bank.kill(second)
    bank.let_go()
    await bank.settled()


async def mark(bank: Bank) -> None:
    """What is done before an earlier event of another key is not done again by the next owner."""
    await bank.send(transfers(1))
    await bank.send(transfers(2, source=2))
    first = await bank.hire(hold=1)
    at = keys("deposits", 0)
    with bank.pair.primary.client() as client:
        await wait_until(lambda: client.xlen(at.log.decode()), PATIENCE, "the second one is done")
    bank.kill(first)
    bank.let_go()
    await bank.hire()
    await bank.settled()


async def relayed(bank: Bank) -> None:
    """What was delivered, and nobody has heard that it was, is not delivered again."""
    await bank.send(transfers(1))
    life, _ = await bank.hire()
    await bank.settled()  # from now on the server knows the script
    gate = bank.gates[life.name]
    gate.lose_next_reply(of_deliveries)
    await bank.send(transfers(2))
    await wait_until(lambda: gate.lost, PATIENCE, "the reply to a delivery is lost")
    await bank.settled()


@frozen(kw_only=True)
class Scenario:
    """Faults in a bank of their own, and what its workers do."""

    arrange: Callable[[Bank], Awaitable[None]]
    replica: bool = False
    plan: dict[str, Any] = field(factory=dict)


SCENARIOS = {
    "number": Scenario(arrange=number),
    "history": Scenario(arrange=history, replica=True),
    "nonce": Scenario(arrange=nonce, replica=True),
    "mark": Scenario(arrange=mark),
    "relayed": Scenario(arrange=relayed),
}
"""By the guard that stands alone between these faults and wrong books."""


async def accident(guard: str, without: str, folder: Path) -> list[str]:
    """What is wrong when the accident of a guard is arranged, without some guard or with all of them ("")."""
    scenario = SCENARIOS[guard]
    plan = {"partition_count": 1, "without": without, "failing": 10**6, "slow": 10**6, **scenario.plan}
    async with opened(folder, replica=scenario.replica, durable=False, **plan) as bank:
        found = []
        try:
            await scenario.arrange(bank)
            await bank.go_home()
        except AssertionError as error:
            found.append(f"it came to no end: {error}")
        return found + bank.violations(ACCOUNTS)[1] + list(ended_otherwise(life for life, _ in bank.workers))
