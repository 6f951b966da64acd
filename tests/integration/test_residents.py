"""Handler actors in a worker's tree: the busiest of each partition, what they are at, and how many there are."""

import asyncio

from runnel import Actor, App, Record, Retry
from runnel.actors import ActorSnapshot, State
from runnel.roles.residents import shown
from runnel.worker import Worker
from tests.integration.test_jobs import actor, working
from tests.servers import Server
from tests.support import wait_until


class Order(Record):
    key: str


async def test_the_busiest_actors_are_seen_at_what_they_do(valkey: Server) -> None:
    app = App("shop", redis_url=valkey.url, default_lock_expiry=1.0, default_partition_count=1)
    orders = app.stream("orders", record=Order, partition_by="key")
    go = asyncio.Event()

    @app.actor(orders, key_concurrency=2, retry=Retry(attempts=2, backoff=60), grace_period=5, idle_timeout=0.05)
    class Account(Actor[Order, None]):
        async def receive(self, order: Order) -> None:
            if order.key == "broken" and not go.is_set():
                raise ValueError("no")
            await go.wait()

    async with working(app) as worker:
        await orders.send(*(Order(key=key) for key in ["broken"] * 3 + ["full"] * 4 + ["one"] + ["late"] * 2))
        await wait_until(lambda: found(worker) and found(worker)[0].mailbox_depth == 3)
        await wait_until(lambda: partition(worker).details["running"] == 2)
        full, broken, late = found(worker)
        assert (full.name, full.kind, full.state, full.mailbox_depth) == ("full", "Account", State.RUNNING, 3)
        assert (broken.name, broken.state, broken.mailbox_depth) == ("broken", State.BACKOFF, 2)
        assert broken.details == {"failures": 1}
        assert (late.name, late.state, late.mailbox_depth) == ("late", State.WAITING, 2)
        assert full.path == f"{partition(worker).path}/full"
        assert partition(worker).details["active"] == 4

        go.set()
        await wait_until(lambda: [each.name for each in found(worker)] == ["broken"])
        await wait_until(lambda: partition(worker).details["passivated"] == 3)
        assert partition(worker).details["active"] == 1


def partition(worker: Worker) -> ActorSnapshot:
    supervisor = actor(worker, "Account")
    assert supervisor is not None
    return next((each for each in supervisor.children if each.kind == "KeyedPartition"), supervisor)


def found(worker: Worker) -> list[ActorSnapshot]:
    return [each for each in partition(worker).children if each.is_resident]


def test_a_key_is_shown_as_a_terminal_may_have_it() -> None:
    assert shown(b"ada") == "ada"
    assert shown("Zoë".encode()) == "Zoë"
    assert shown(b"\x1b[2J\xff") == "\\x1b[2J\\\\xff"
    assert shown(b"k" * 100) == "k" * 23 + "…"
