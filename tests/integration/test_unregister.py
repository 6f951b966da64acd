"""Deleting a processor that a worker begins to run between the plan and the deed."""

import pytest

from runnel import App, Record
from runnel.errors import StillOwned
from runnel.operations.unregister import carry_out, make_plan
from runnel.store import scripts
from tests.servers import Server


class Order(Record):
    n: int


async def test_a_worker_that_began_after_the_plan_was_made_keeps_its_partition(server: Server) -> None:
    app = App("shop", redis_url=server.url)
    orders = app.stream("orders", record=Order, partition_by="n", partition_count=2)
    async with app:
        store = await app.open()
        link = store.link()
        await link.run([scripts.register(keys, "bill", "earliest") for keys in orders.partitions])
        plan = await make_plan(app, "bill")
        assert (plan.owners, plan.streams, len(plan.removals)) == ([], ["orders"], 2)

        late = orders.partitions[1]
        await link.call(scripts.acquire(late, "bill", worker="w", nonce=b"n", lease=60, start="earliest"))
        with pytest.raises(StillOwned, match="'bill' is run by w"):
            await carry_out(store, plan, force=False)
        [removal] = (await make_plan(app, "bill")).removals
        assert (removal.keys, removal.owner, removal.others) == (late, "w", 0)

        first = orders.partitions[0]
        await link.call(scripts.register(first, "bill", "earliest"))
        with pytest.raises(StillOwned):  # known beforehand: then nothing is changed at all
            await carry_out(store, await make_plan(app, "bill"), force=False)
        assert [each.keys for each in (await make_plan(app, "bill")).removals] == [first, late]

        await carry_out(store, plan, force=True)
        await carry_out(store, plan, force=False)  # again, as after a lost reply
    with server.client() as client:
        assert not list(client.scan_iter("*:cursors"))
