"""Telling actors something without waiting for an answer, and looking at what they remember without telling them anything."""

import asyncio
from typing import Any

import pytest

from runnel import Actor, App, ExceptionPolicy
from runnel.errors import RunnelError
from tests.integration.actors.shop import Balance, Fail, Paid, Total, open_shop, shop
from tests.integration.actors.support import working
from tests.servers import Server
from tests.support import wait_until

# ── tell ──


async def test_what_an_actor_is_told_waits_for_a_worker_and_is_for_that_actor_alone(valkey: Server) -> None:
    s, others = shop(valkey), list[str]()

    @s.app.actor(s.paid)
    async def audit(event: Paid) -> None:
        others.append(event.key)

    told = await s.account.tell("ada", Paid(key="ada", amount=5))
    assert told.startswith(f"paid/{s.paid.hash('ada')}/")
    await s.paid.send(Paid(key="ada", amount=2))
    async with working(s.app):
        assert await s.account.ask("ada", Total()) == 7
        await wait_until(lambda: others == ["ada"])


async def test_what_an_actor_was_told_and_fails_at_is_kept_as_its_policy_says(valkey: Server) -> None:
    async with open_shop(valkey, exception_policy=ExceptionPolicy.DEAD_LETTER) as s:
        await s.account.tell("ada", Fail(how="own"))
        assert await s.account.ask("ada", Total()) == 0
        with valkey.client() as redis:
            [(_, dead)] = redis.xrange(s.paid.partitions[s.paid.hash("ada")].dead("Account").decode())
        assert "by 3.00" in str(dead)


# ── state_of ──


async def test_ten_thousand_look_at_states_at_once_over_one_connection(valkey: Server) -> None:
    async with open_shop(valkey) as s:
        await asyncio.gather(*(s.account.ask(f"{n}", Paid(key=f"{n}", amount=n)) for n in range(100)))
        with valkey.client() as redis:
            before = redis.info("clients")["connected_clients"]
            states = await asyncio.gather(*(s.account.state_of(f"{n % 200}") for n in range(10_000)))
            assert redis.info("clients")["connected_clients"] < before + 5
        assert [each and each.total for each in states] == [n % 200 if n % 200 < 100 else None for n in range(10_000)]


async def test_looking_waits_for_a_server_that_is_away_and_no_longer_than_it_should(own_server: Any) -> None:
    server = own_server()
    s = shop(server)
    s.app.override(send_timeout=0.3)
    async with s.app:
        assert await s.account.state_of("ada") is None
        server.stop()
        with pytest.raises(RunnelError, match="cannot be reached"):
            await s.account.state_of("ada")
        s.app.override(send_timeout=20)
        many = asyncio.gather(*(s.account.state_of(f"{n}") for n in range(1_000)))
        cancelled = asyncio.create_task(s.account.state_of("bob"))
        await asyncio.sleep(0)
        cancelled.cancel()
        server.start()
        assert await many == [None] * 1_000


async def test_a_state_of_older_code_is_looked_at_as_it_is_migrated(valkey: Server) -> None:
    app = App("shop", redis_url=valkey.url)
    paid = app.stream("paid", record=Paid, partition_by="key", partition_count=1)

    @app.actor(paid)
    class Account(Actor[Paid, Balance]):
        async def receive(self, event: Paid) -> None: ...

        @classmethod
        def migrate(cls, data: dict[str, Any]) -> dict[str, Any]:
            return {"total": data.pop("sum", 0), **data}

    async with app:
        with valkey.client() as redis:
            redis.hset(paid.partitions[0].state("Account").decode(), "ada", '{"sum": 7, "gone": true}')
        assert await Account.state_of("ada") == Balance(total=7)
        assert await Account.state_of("bob") is None
