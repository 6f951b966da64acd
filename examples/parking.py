"""The story of a parked key: `python -m examples.parking`. It brings its own server.

A thousand accounts get ten events each, in order. Three of them hit a bug. Under PARK the other 997 do not notice: they
finish, in order. The three wait, also in order. Then the fix is deployed, their keys are released, and they finish as if
nothing had been.
"""

import asyncio
import tempfile
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from runnel import App, Events, ExceptionPolicy, Record, Worker
from runnel.operations.kept import Choice, find, release_parked

ACCOUNTS, EVENTS = 1_000, 10
POISON = {7, 77, 777}

app = App(name="parking")


class Payment(Record):
    """What is sent."""

    account: int
    number: int


payments = app.stream("payments", record=Payment, partition_by="account", partition_count=4)
done: defaultdict[int, list[int]] = defaultdict(list)
is_fixed = False


@app.processor(payments, exception_policy=ExceptionPolicy.PARK)
async def book(events: Events[Payment]) -> None:
    """Books payments; the bug is in the third payment of some accounts."""
    async for payment in events.records():
        if payment.account in POISON and payment.number == 3 and not is_fixed:
            raise ValueError(f"account {payment.account} has no currency")
        done[payment.account].append(payment.number)


def finished() -> int:
    """How many accounts have all their payments, in order."""
    return sum(numbers == list(range(1, EVENTS + 1)) for numbers in done.values())


@asynccontextmanager
async def worker() -> AsyncIterator[None]:
    """A worker, in this process."""
    running = Worker(app)
    task = asyncio.create_task(running.run())
    try:
        yield
    finally:
        running.stop()
        await task


async def until(condition: Callable[[], bool]) -> None:
    """Wait for it."""
    while not condition():  # noqa: ASYNC110 - an example, which looks from outside
        await asyncio.sleep(0.05)


async def main() -> None:
    """Tell the story."""
    global is_fixed
    async with app:
        for number in range(1, EVENTS + 1):
            await payments.send(*(Payment(account=account, number=number) for account in range(ACCOUNTS)))
        async with worker():
            await until(lambda: finished() == ACCOUNTS - len(POISON))
            print(f"{finished()} accounts are finished, in order")

        parked = await find(app, book, "parked", Choice())
        print(f"{len(parked)} events of {len({each.key for each in parked})} accounts are parked, because of:")
        print("\n".join(f"  {each.error}" for each in parked if each.error))

        is_fixed = True  # a fix is deployed: another worker starts
        async with worker():
            print(f"{await release_parked(app, book, parked)} accounts are released")
            await until(lambda: finished() == ACCOUNTS)
        print(f"{finished()} accounts are finished, in order")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="runnel-parking-") as folder:
        app.override(redis_url=f"embedded://{folder}/data")
        asyncio.run(main())
