"""Asking actors: in order with their events, by whoever has the app imported, and with an answer that is committed, or none."""

import asyncio
import time
from datetime import UTC, datetime
from typing import Any

import pytest

from runnel import Actor, App, NoAnswer, RecordError, handles
from runnel.errors import ActorFailed
from runnel.roles.coordinator import Coordinator
from runnel.worker import Worker
from tests.integration.actors.shop import (
    Balance,
    Described,
    Fail,
    History,
    Overdrawn,
    Paid,
    Total,
    Wait,
    open_shop,
    shop,
)
from tests.integration.actors.support import working
from tests.servers import Server
from tests.support import wait_until

# ── what is answered ──


async def test_an_ask_is_answered_in_order_with_the_events_of_its_key(server: Server) -> None:
    async with open_shop(server) as s:
        for _ in range(5):
            await s.paid.send(*(Paid(key="ada", amount=2) for _ in range(10)), Paid(key="bob"))
            assert await s.account.ask("ada", Paid(key="ada", amount=1)) % 21 == 0
        assert await s.account.ask("ada", Total()) == 105
        assert await s.account.ask("bob", Total()) == 5
        state = await s.account.state_of("ada")  # what was answered is committed
        assert state is not None
        assert state.total == 105


async def test_an_answer_is_what_the_annotation_says(valkey: Server) -> None:
    async with open_shop(valkey) as s:
        await s.paid.send(Paid(key="ada", amount=3))
        assert await s.account.ask("ada", History()) == Described(amounts=[3], at=datetime(2026, 1, 2, tzinfo=UTC))


@pytest.mark.parametrize(
    ("how", "expected", "text"),
    [
        ("own", Overdrawn, "by 3.00"),
        ("builtin", ValueError, "no"),
        ("picky", ActorFailed, "tests.integration.actors.shop:Picky: odd (7)"),
        ("unknown", ActorFailed, "nobody.has.it:Local: lost"),
        ("exit", RuntimeError, "raised SystemExit"),
    ],
)
async def test_an_error_travels_back_and_the_actor_is_as_before(
    valkey: Server, how: str, expected: type[Exception], text: str
) -> None:
    async with open_shop(valkey) as s:
        await s.paid.send(Paid(key="ada", amount=3))
        with pytest.raises(expected) as caught:
            await s.account.ask("ada", Fail(how=how))
        assert type(caught.value) is expected
        assert text in str(caught.value)
        assert caught.value.__notes__ == ["actor 'Account' of key 'ada' has answered with this; it has changed nothing"]
        assert await s.account.ask("ada", Total()) == 3
        assert await s.account.state_of("ada") == Balance(total=3, seen=[3])
        assert s.handled == ["ada"]


async def test_answers_do_not_wait_for_the_pace_of_other_commits(valkey: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runnel.roles.committer.PACE", 60.0)
    async with open_shop(valkey) as s:
        await s.paid.send(Paid(key="ada"))
        for total in (2, 3):
            assert await s.account.ask("ada", Paid(key="ada"), timeout=10) == total
            with pytest.raises(ValueError, match="no"):
                await s.account.ask("ada", Fail(how="builtin"), timeout=10)


async def test_a_thousand_ask_at_once(valkey: Server) -> None:
    async with open_shop(valkey) as s:
        answers = await asyncio.gather(*(s.account.ask(key, Paid(key=key)) for _ in range(250) for key in "abcd"))
        assert sorted(answers) == sorted([*range(1, 251)] * 4)


async def test_who_is_slow_to_read_answers_gets_them_all(valkey: Server) -> None:
    asks, works = shop(valkey), shop(valkey)
    worker, log = Worker(works.app), asks.paid.partitions[asks.paid.hash("ada")]
    running = asyncio.create_task(asyncio.to_thread(asyncio.run, worker.run()))
    first = asyncio.create_task(asks.account.ask("ada", Wait()))
    await wait_until(lambda: works.handled == ["wait"])
    many = [asyncio.create_task(asks.account.ask("ada", Paid(key="ada"))) for _ in range(2_000)]
    with valkey.client() as redis:
        asked = -1
        while asked != (asked := redis.xlen(log.log.decode())):  # until as many are asked as may be
            await asyncio.wait(many, timeout=0.1)
        works.gate._loop.call_soon_threadsafe(works.gate.set)  # type: ignore[attr-defined]
        while int(redis.hget(log.slot("Account").decode(), "count") or 0) < redis.xlen(log.log.decode()):
            time.sleep(0.01)  # noqa: ASYNC251 - this event loop is to read nothing meanwhile
    assert sorted(await asyncio.gather(*many)) == [*range(1, 2_001)]
    assert await first == "done"
    worker.stop()
    await running
    await asks.app.close()


# ── who gives up, and who comes late ──


async def test_who_gives_up_gets_no_answer_and_what_waited_is_not_handled(valkey: Server) -> None:
    async with open_shop(valkey) as s:
        first = asyncio.create_task(s.account.ask("ada", Wait(), timeout=20))
        await wait_until(lambda: s.handled == ["wait"])
        with pytest.raises(NoAnswer, match=r"actor 'Account' of key 'ada' has not answered within 0.1 s"):
            await s.account.ask("ada", Total(), timeout=0.1)
        s.gate.set()
        assert await first == "done"
        assert await s.account.ask("ada", Total()) == 0
        assert s.handled == ["wait", "ada"]  # the late one was left out


async def test_an_ask_that_nobody_could_handle_in_time_is_dropped_when_a_worker_comes(valkey: Server) -> None:
    s = shop(valkey)
    with pytest.raises(NoAnswer):
        await s.account.ask("ada", Paid(key="ada", amount=100), timeout=0.05)
    waiting = asyncio.create_task(s.account.ask("ada", Total(), timeout=20))
    async with working(s.app):
        assert await waiting == 0


async def test_asks_are_not_late_because_the_partition_was_acquired_slowly(
    valkey: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How long that took is not known from the server's answer; it must not count for as long as the partition is owned."""
    own = Coordinator._own

    def own_late(self: Coordinator, slot: Any, acquired: Any, sent_at: float) -> None:
        own(self, slot, acquired, sent_at - 2)

    monkeypatch.setattr(Coordinator, "_own", own_late)
    s = shop(valkey, lock_expiry=10)
    async with working(s.app):
        assert await s.account.ask("ada", Total(), timeout=10) == 0
        assert await s.account.ask("ada", Paid(key="ada"), timeout=1.5) == 1


async def test_an_actor_that_asks_itself_waits_in_vain_and_asks_others(valkey: Server) -> None:
    app = App("shop", redis_url=valkey.url)
    paid = app.stream("paid", record=Paid, partition_by="key", partition_count=1)

    @app.actor(paid)
    class Friend(Actor[Paid, Balance]):
        async def receive(self, event: Paid) -> int:
            self.state.total += event.amount
            return self.state.total

        @handles(Fail)
        async def ask_on(self, question: Fail) -> int:
            total: int = await Friend.ask(question.how, Paid(key=question.how), timeout=0.2 if question.how == self.key else 20)
            return total

    async with working(app):
        assert await Friend.ask("ada", Fail(how="bob")) == 1
        with pytest.raises(NoAnswer, match="of key 'ada' has not answered"):
            await Friend.ask("ada", Fail(how="ada"))
        await Friend.ask("ada", Paid(key="ada"))
        assert await Friend.state_of("ada") == Balance(total=1)  # its message to itself came too late


async def test_who_is_cancelled_leaves_the_others_their_answers(valkey: Server) -> None:
    async with open_shop(valkey) as s:
        near, far = ("ada", next(key for key in "bcdefgh" if s.paid.hash(key) != s.paid.hash("ada")))
        reads = asyncio.create_task(s.account.ask(near, Wait()))
        await wait_until(lambda: s.handled == ["wait"])
        others = [asyncio.create_task(s.account.ask(near, Total())) for _ in range(3)]
        with valkey.client() as redis:
            await wait_until(lambda: redis.xlen(s.paid.partitions[s.paid.hash(near)].log.decode()) == 4)
            newest = max(int(each["id"]) for each in redis.client_list())
            reads.cancel()  # it was the one that read for all; the next one does so over a new connection
            await wait_until(
                lambda: any(newest < int(each["id"]) and "b" in each["flags"] for each in redis.client_list())
            )
        assert await s.account.ask(far, Total(), timeout=2) == 0  # it gets that one out of its read
        s.gate.set()
        assert await asyncio.gather(*others) == [0, 0, 0]


async def test_who_waits_when_the_app_is_closed_is_told_and_sends_nothing_any_more(valkey: Server) -> None:
    s = shop(valkey)
    await s.app.asker_for(s.paid)  # so that all tasks below come as far as they can at once
    waiting = [asyncio.create_task(s.account.ask("ada", Total())) for _ in range(510)]
    log = s.paid.partitions[s.paid.hash("ada")].log.decode()
    with valkey.client() as redis:
        await wait_until(lambda: redis.xlen(log) == 500)  # more are not asked at once
        await s.app.close()
        ended = await asyncio.gather(*waiting, return_exceptions=True)
        assert {str(each) for each in ended} == {"the app was closed before the actor answered"}
        assert redis.xlen(log) == 500


# ── servers and connections ──


async def test_a_connection_that_breaks_costs_no_answer(valkey: Server) -> None:
    async with open_shop(valkey) as s:
        waiting = [asyncio.create_task(s.account.ask(key, Wait())) for key in ("ada", "bob", "eve")]
        await wait_until(lambda: len(s.handled) == 3)
        with valkey.client() as redis:
            redis.client_kill_filter(_type="normal", skipme=True)
        s.gate.set()
        assert await asyncio.gather(*waiting) == ["done"] * 3


async def test_a_server_that_is_restarted_has_the_question_and_brings_the_answer(own_server: Any) -> None:
    server = own_server()
    async with open_shop(server) as s:
        await s.account.ask("ada", Paid(key="ada"))
        waiting = asyncio.create_task(s.account.ask("ada", Wait()))
        await wait_until(lambda: s.handled == ["wait"])
        server.restart(kill=True)
        s.gate.set()  # what this handler did is fenced, for it is another history; the message is handled again
        assert await waiting == "done"
        assert await s.account.ask("ada", Total()) == 1


async def test_answers_go_when_nobody_has_asked_for_a_while(valkey: Server) -> None:
    async with open_shop(valkey) as s:
        await s.account.ask("ada", Total())
        with valkey.client() as redis:
            [answers] = [key for key in redis.scan_iter("*") if "answers" in key]
            assert 590_000 < redis.pttl(answers) <= 600_000
            redis.delete(answers)  # as if that time were over
        assert await s.account.ask("ada", Total()) == 0


# ── several apps and workers ──


async def test_other_processes_and_workers_are_asked_as_one(valkey: Server) -> None:
    asks = shop(valkey)  # as a web server has it: no worker
    async with open_shop(valkey) as one, open_shop(valkey) as other, asks.app:
        keys = [f"key {n}" for n in range(20)]

        async def both_answer() -> bool:
            await asyncio.gather(*(asks.account.ask(key, Total()) for key in keys))
            return bool(one.handled and other.handled)

        await wait_until(both_answer)
        answers = await asyncio.gather(*(asks.account.ask(key, Paid(key=key)) for key in keys))
        assert answers == [1] * 20
        assert await asks.account.state_of("key 7") == Balance(total=1, seen=[1])


async def test_two_apps_on_a_server_do_not_hear_each_other(valkey: Server) -> None:
    async with open_shop(valkey, name="one") as one, open_shop(valkey, name="two") as two:
        await asyncio.gather(
            one.account.ask("ada", Paid(key="ada", amount=1)), two.account.ask("ada", Paid(key="ada", amount=2))
        )
        assert await one.account.ask("ada", Total()) == 1
        assert await two.account.ask("ada", Total()) == 2


# ── what cannot be asked ──


async def test_what_an_actor_does_not_handle_is_refused_before_it_is_sent(valkey: Server) -> None:
    s = shop(valkey)
    for says in (s.account.ask, s.account.tell):
        with pytest.raises(
            RecordError, match="actor 'Account' handles Paid, Fail, History, Total, Wait; a Balance is none"
        ):
            await says("ada", Balance())
    with pytest.raises(RecordError, match="timeout must be greater than 0"):
        await s.account.ask("ada", Total(), timeout=0)
    with pytest.raises(RecordError, match=r"has 16777[0-9]+ bytes, more than max_payload"):
        await s.account.tell("ada", Fail(how="x" * 2**24))
    with valkey.client() as redis:
        assert not [key for key in redis.scan_iter("*") if key.endswith("log")]
    await s.app.close()


async def test_an_answer_that_is_wrong_or_too_large_is_an_error_and_changes_nothing(valkey: Server) -> None:
    app = App("shop", redis_url=valkey.url)
    paid = app.stream("paid", record=Paid, partition_by="key", partition_count=1)

    @app.actor(paid)
    class Answers(Actor[Paid, Balance]):
        async def receive(self, event: Paid) -> str:
            self.state.total += event.amount
            return "x" * event.amount if event.amount else 7  # type: ignore[return-value]

    async with working(app):
        assert await Answers.ask("ada", Paid(key="ada", amount=2**20 - 2)) == "x" * (2**20 - 2)
        with pytest.raises(RecordError, match=r"the answer of Answers\.receive has 1048577 bytes, more than 1048576"):
            await Answers.ask("ada", Paid(key="ada", amount=2**20 - 1))
        with pytest.raises(RecordError, match=r"the answer of Answers\.receive: expected str"):
            await Answers.ask("ada", Paid(key="ada", amount=0))
        assert await Answers.state_of("ada") == Balance(total=2**20 - 2)
