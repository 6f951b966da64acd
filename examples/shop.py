"""A shop that never closes: it feeds itself, so that there is something to watch.

    runnel run examples.shop:app

`customers` sends an order now and then. Two processors read the same `orders`, each at its own pace and with a cursor
of its own: `charge` takes them one by one, `ship` in batches. Stop it with Ctrl-C and start it again: it goes on where
it stopped.
"""

import asyncio
import random
from datetime import UTC, datetime

from runnel import App, Events, Record, RecordError

app = App("shop", redis_url="embedded://")  # a server of its own, in ./.runnel


class Order(Record):
    customer: str
    item: str
    pence: int
    at: datetime


class Tick(Record):
    number: int


# Orders of one customer are in one partition: each processor sees them in the order in which they were sent.
orders = app.stream("orders", record=Order, partition_by="customer", partition_count=4)
ticks = app.stream("ticks", record=Tick, partition_by="number", partition_count=1)

CUSTOMERS = ("ada", "bob", "cyd", "dan", "eve", "fay", "gus", "hal")
PRICES = {"tea": 450, "jam": 320, "bread": 280, "cheese": 790}


@app.processor(orders)
async def charge(events: Events[Order]) -> None:
    async for order in events.records():
        print(f"charge  {order.customer} pays {order.pence / 100:.2f} for {order.item}")


@app.processor(orders)
async def ship(events: Events[Order]) -> None:
    async for batch in events.take(5, within=2).records():  # five, or what came within two seconds of the first
        print(f"ship    {', '.join(f'{order.item} to {order.customer}' for order in batch)}")


@app.processor(ticks)
async def customers(events: Events[Tick]) -> None:
    """Each tick, when it is processed, sends an order and the next tick; so the clock never stops."""
    await send_tick(1)
    async for tick in events.records():
        await asyncio.sleep(random.uniform(0.05, 0.25))
        item = random.choice(list(PRICES))
        await orders.send(
            Order(customer=random.choice(CUSTOMERS), item=item, pence=PRICES[item], at=datetime.now(UTC))
        )
        await send_tick(tick.number + 1)


async def send_tick(number: int) -> None:
    """Send a tick once, however often this is called: its id must be above those already there."""
    try:
        await ticks.send(Tick(number=number), stream_ids=[f"{number}-0"])
    except RecordError:
        pass  # it is there already: the worker was killed before it noted that it had sent it, or starts again
