"""A reset while a worker runs: it goes on from the new cursor by itself, and nothing that it had in hand is committed."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from runnel import App, Events, Record, Worker
from runnel.operations.reset import carry_out, make_plan
from runnel.operations.status import read_status
from tests.servers import Server
from tests.support import wait_until


class Order(Record):
    n: int


class Shop:
    """Ten events in one partition, and a processor that in its first term is held at the sixth, and at the seventh."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.app = App("shop", redis_url=server.url)
        self.orders = self.app.stream("orders", record=Order, partition_by="n", partition_count=1)
        self.keys = self.orders.partitions[0]
        self.ids: list[str] = []
        self.begun: list[int] = []
        self.terms = 0
        self.sixth, self.seventh = asyncio.Event(), asyncio.Event()

        @self.app.processor(self.orders, lock_expiry=1)
        async def bill(events: Events[Order]) -> None:
            self.terms += 1
            holds = {5: self.sixth, 6: self.seventh} if self.terms == 1 else {}
            async for order in events.records():
                self.begun.append(order.n)
                if order.n in holds:
                    await holds[order.n].wait()

        self.bill = bill

    async def send(self, *numbers: int) -> None:
        self.ids += [each.rpartition("/")[2] for each in await self.orders.send(*(Order(n=n) for n in numbers))]

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """A worker that has done the first five events, and is held at the sixth with the others in hand."""
        await self.send(*range(10))
        worker = Worker(self.app)
        running = asyncio.create_task(worker.run())
        try:
            await wait_until(lambda: self.begun == list(range(6)) and self.standing == (self.ids[4], "5"))
            yield
        finally:
            worker.stop()
            await running
            await self.app.close()

    async def reset(self, start: str, *, finishes: bool) -> None:
        """Reset it under the worker; the event in hand may be done only then, so that its commit comes too late."""
        before = self.epoch
        store = await self.app.open()
        await carry_out(store, await make_plan(store, self.bill, start))
        if finishes:
            self.sixth.set()
        await wait_until(lambda: self.epoch == before + 2, what="reset, and taken again")

    @property
    def standing(self) -> tuple[str | None, str | None]:
        """The cursor, and the count that goes with it."""
        with self.server.client() as client:
            return client.hget(self.keys.cursors, "bill"), client.hget(self.keys.slot("bill"), "count")

    @property
    def epoch(self) -> int:
        with self.server.client() as client:
            return int(client.hget(self.keys.slot("bill"), "epoch") or 0)

    async def goes_on_with(self, *numbers: int) -> None:
        """It is caught up after these; before them it began the seventh at most, where it was held."""
        await wait_until(lambda: self.standing == (self.ids[-1], str(len(self.ids))))
        assert self.begun in ([*range(6), *numbers], [*range(7), *numbers])
        assert (await read_status(self.app)).lag == 0
        with self.server.client() as client:
            await wait_until(lambda: client.xinfo_groups(self.keys.log)[0]["last-delivered-id"] == self.ids[-1])
            assert client.xinfo_groups(self.keys.log)[0]["lag"] == 0


finishes = pytest.mark.parametrize("finishes", [True, False], ids=["is done too late", "is never done"])
"""What becomes of the event in hand: its commit finds out about the reset, or else a renewal does."""


@finishes
async def test_back_to_the_beginning(server: Server, finishes: bool) -> None:
    shop = Shop(server)
    async with shop.working():
        await shop.reset("earliest", finishes=finishes)
        await shop.goes_on_with(*range(10))


@finishes
async def test_back_to_an_event_that_was_done(server: Server, finishes: bool) -> None:
    shop = Shop(server)
    async with shop.working():
        await shop.reset(shop.ids[2], finishes=finishes)
        await shop.goes_on_with(*range(3, 10))


@finishes
async def test_ahead_over_events_in_hand(server: Server, finishes: bool) -> None:
    shop = Shop(server)
    async with shop.working():
        await shop.reset(shop.ids[7], finishes=finishes)
        await shop.goes_on_with(8, 9)


@finishes
async def test_ahead_to_the_end(server: Server, finishes: bool) -> None:
    shop = Shop(server)
    async with shop.working():
        await shop.reset("latest", finishes=finishes)
        assert shop.standing == (shop.ids[-1], "10")
        await shop.send(10)
        await shop.goes_on_with(10)
