"""Asking actors: in order with their events, by whoever has the app imported, and with an answer that is committed, or none."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, NoReturn

import pytest
from attrs import frozen

from runnel import Actor, App, ExceptionPolicy, NoAnswer, Record, RecordError, Stream, handles
from runnel.errors import ActorFailed, RunnelError
from runnel.worker import Worker
from tests.integration.actors.support import working
from tests.servers import Server
from tests.support import wait_until


class Paid(Record):
    """An event."""

    key: str
    amount: int = 1


class Balance(Record):
    total: int = 0
    seen: list[int] = []  # noqa: RUF012 - each copy is its own


class Total(Record):
    """Ask: what is the total?"""


class History(Record):
    """Ask: all amounts, and when the first came."""


class Wait(Record):
    """Ask: until the test says so."""


class Fail(Record):
    """Ask: to change the state, and fail."""

    how: str


class Described(Record):
    amounts: list[int]
    at: datetime


class Overdrawn(Exception):
    """An error of the user's own."""


class Picky(Exception):
    """It cannot be made of its text."""

    def __init__(self, code: int, why: str) -> None:
        super().__init__(f"{why} ({code})")


@frozen
class Shop:
    """An app with actors, as one process has it; the gate is what `Wait` waits for."""

    app: App
    paid: Stream[Paid]
    account: type[Actor[Paid, Balance]]
    gate: asyncio.Event
    handled: list[str]


def shop(server: Server, name: str = "shop", *, partitions: int = 2, **options: Any) -> Shop:
    app = App(name, redis_url=server.url, default_lock_expiry=1.0)
    paid = app.stream("paid", record=Paid, partition_by="key", partition_count=partitions)
    gate, handled = asyncio.Event(), list[str]()

    @app.actor(paid, **options)
    class Account(Actor[Paid, Balance]):
        async def receive(self, event: Paid) -> int:
            self.state.total += event.amount
            self.state.seen.append(event.amount)
            return self.state.total

        @handles(Total)
        async def total(self, question: Total) -> int:
            handled.append(self.key)
            return self.state.total

        @handles(History)
        def history(self, question: History) -> Described:  # a thread's
            return Described(amounts=self.state.seen, at=datetime(2026, 1, 2, tzinfo=UTC))

        @handles(Wait)
        async def wait(self, question: Wait) -> str:
            handled.append("wait")
            await gate.wait()
            return "done"

        @handles(Fail)
        async def fail(self, question: Fail) -> None:
            self.state.total = -1
            self.remind("never", after=0)
            fails(question.how)

    return Shop(app, paid, Account, gate, handled)


def fails(how: str) -> NoReturn:
    if how == "unknown":
        raise type("Local", (Exception,), {"__module__": "nobody.has.it"})("lost")
    raise {
        "own": Overdrawn("by 3.00"),
        "builtin": ValueError("no"),
        "picky": Picky(7, "odd"),
        "exit": SystemExit(3),
    }[how]


@asynccontextmanager
async def open_shop(server: Server, **options: Any) -> AsyncIterator[Shop]:
    """With a worker in this process."""
    found = shop(server, **options)
    async with working(found.app):
        yield found
        found.gate.set()


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
        ("picky", ActorFailed, "tests.integration.actors.test_asking:Picky: odd (7)"),
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
