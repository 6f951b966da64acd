"""What the live view does about a row, once it is confirmed."""

from runnel import App, Events, ExceptionPolicy, Record
from runnel.operations import kept
from runnel.testing import TestApp
from runnel.view.actions import carry_out, perform
from runnel.view.model import Model
from runnel.view.pages.page import Target
from runnel.view.screen import Act, Screen
from runnel.view.watch import Watch


class Order(Record):
    number: int


app = App("seen", redis_url="redis://127.0.0.1:1")  # nobody is there: TestApp has a server of its own
orders = app.stream("orders", record=Order, partition_by="number", partition_count=4)


@app.processor(orders, exception_policy=ExceptionPolicy.PARK, breaker=None)
async def bill(events: Events[Order]) -> None:
    async for _ in events.records():
        raise ValueError("unlucky")


async def test_release_of_a_partition_leaves_the_others_parked() -> None:
    async with TestApp(app) as t:
        await orders.send(*[Order(number=number) for number in range(12)])
        await t.drained()
        parked = await kept.find(app, bill, "parked", kept.Choice())
        chosen = parked[0].keys.number
        of_it = [each.xid for each in parked if each.keys.number == chosen]
        assert 0 < len(of_it) < len(parked) == 12
        said = await perform(app, Act(what="release", target=Target(processor="bill", partition=chosen)))
        await t.drained()
        assert said.startswith(f"released {len(of_it)} parked event")
        assert said.endswith(f"of partition {chosen} of bill")
        again = await kept.find(app, bill, "parked", kept.Choice())
        tried = [each.xid for each in again if each.again is not None and each.again.tried]
        assert set(tried) <= set(of_it)


async def test_a_server_that_goes_away_takes_the_place_of_what_was_done_before() -> None:
    away = App("away", redis_url="redis://127.0.0.1:1")
    screen, model = Screen(notice="nothing done"), Model()
    await Watch(away, model, screen, lambda: None).look()
    assert (screen.notice, "cannot be reached" in (model.problem or "")) == ("", True)
    act = Act(what="pause", target=Target(processor="bill", partition=1))
    await carry_out(app, act, screen)
    assert screen.notice.startswith("pause: ")
    assert screen.waits == ""
    await app.close()
    await away.close()
