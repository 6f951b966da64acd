"""`runnel actor`, and `runnel processor` of actors: what is shown of them, what they answer, and how they begin anew."""

import asyncio
import json
import logging
import re
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from runnel import App
from runnel.cli import main
from runnel.discovery import load
from runnel.operations import actors
from runnel.operations.status import read_status
from runnel.store.keys import PartitionKeys
from runnel.worker import Worker
from tests.integration.test_jobs import working
from tests.servers import Server
from tests.support import wait_until

BANK = """
import asyncio
from runnel import Actor, App, Record, Reject, handles

app = App("bank", default_lock_expiry=1.0, default_partition_count=2)

class Posting(Record):
    account: str
    pence: int

class Money(Record):
    balance: int = 0

class Balance(Record):
    pass

class Draw(Record):
    pence: int

class Sleep(Record):
    pass

postings = app.stream("postings", record=Posting, partition_by="account")
copies = app.stream("copies", record=Posting, partition_by="account")
held = asyncio.Event()

@app.actor(postings, exception_policy="park", park_retry=None)
class Account(Actor[Posting, Money]):
    async def receive(self, posting: Posting) -> None:
        if posting.pence == 13:
            raise ValueError("thirteen")
        if posting.pence == 99:
            await held.wait()
        self.state.balance += posting.pence
        self.remind("statement", after=3600)

    @handles(Balance)
    async def balance(self, question: Balance) -> int:
        return self.state.balance

    @handles(Draw)
    async def draw(self, draw: Draw) -> int:
        self.state.balance -= draw.pence
        if self.state.balance < 0:
            raise Reject("not so much there")
        return self.state.balance

    @handles(Sleep)
    async def sleep(self, message: Sleep) -> None:
        await held.wait()

    async def on_reminder(self, name: str) -> None:
        self.state.balance += 1_000_000

@app.actor(postings)
async def watch(posting: Posting) -> None: ...

@app.processor(postings)
async def printer(events): ...
"""


class Said(NamedTuple):
    code: int
    out: str
    err: str


class Bank:
    """The bank's module, where its commands are run from, and its server."""

    def __init__(self, server: Server, capsys: pytest.CaptureFixture[str]) -> None:
        self.server = server
        self.app = load("bank_to_operate:app", App)
        self._capsys = capsys
        self.module: Any = sys.modules["bank_to_operate"]

    async def run(self, *words: str) -> Said:
        """Run a command in this process, in a thread of its own: starting Python takes longer than all that it does."""
        self._capsys.readouterr()
        code = await asyncio.to_thread(main, [word.replace("bank:", "bank_to_operate:") for word in words])
        return Said(code, *self._capsys.readouterr())

    async def json(self, *words: str) -> Any:
        said = await self.run(*words)
        assert said.code == 0, said.err
        return json.loads(said.out)

    async def send(self, *postings: tuple[str, int]) -> None:
        posting = self.module.Posting
        await self.module.postings.send(*(posting(account=account, pence=pence) for account, pence in postings))

    async def balance(self, key: str) -> int | None:
        money = await self.module.Account.state_of(key)
        return None if money is None else money.balance

    def place(self, key: str) -> PartitionKeys:
        found: PartitionKeys = self.module.postings.partitions[self.module.postings.hash(key)]
        return found

    @asynccontextmanager
    async def working(self) -> AsyncIterator[Worker]:
        """A worker of the actors alone."""
        for name in ("watch", "printer"):
            self.app.processors.pop(name, None)
        async with working(self.app) as worker:
            yield worker


@pytest.fixture
def bank(
    tmp_path: Path, valkey: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Bank]:
    (tmp_path / "bank_to_operate.py").write_text(BANK)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setenv("RUNNEL_REDIS_URL", valkey.url)
    logger = logging.getLogger("runnel")
    before = logger.handlers[:], logger.level, logger.propagate
    yield Bank(valkey, capsys)
    logger.handlers[:], logger.level, logger.propagate = before
    sys.modules.pop("bank_to_operate")


# ── ask, tell, show, list ──


async def test_timers_show_what_actors_are_to_be_reminded_of_and_cancel_none_of_it(bank: Bank) -> None:
    await bank.send(("ada", 1))
    async with bank.working():
        with bank.server.client() as redis:
            await wait_until(lambda: redis.exists(bank.place("ada").delayed))
    await bank.module.postings.send(bank.module.Posting(account="ada", pence=2), at=datetime(2040, 1, 1, tzinfo=UTC))

    found = await bank.json("timers", "list", "bank:app", "--json")
    [reminder], [event] = found["reminders"], found["delayed"]
    due = datetime.fromisoformat(reminder.pop("due"))
    assert timedelta(minutes=58) < due - datetime.now(UTC) < timedelta(minutes=61)
    partition = bank.place("ada").number
    about = {"processor": "Account", "key": "ada", "name": "statement"}
    assert reminder == about | {"stream": "postings", "partition": partition}
    assert (event["id"], found["delayed_total"]) == (f"postings/{partition}/1", 2)
    [first] = (await bank.json("timers", "list", "bank:app", "--json", "--limit", "1"))["reminders"]
    assert first["name"] == "statement"
    shown = (await bank.run("timers", "list", "bank:app", "--key", "ada")).out
    assert re.search(r"statement +\d{4}-\d\d-\d\d [\d:]+ +Account +ada", shown)

    for words in (("--limit", "1"), ("--yes",)):
        said = await bank.run("timers", "cancel", "bank:app", "--stream", "postings", *words)
        assert said.code == 0, said.err
        assert "1 delayed event is cancelled" in said.out
        assert "1 reminder stays: only actors cancel them" in said.out
    found = await bank.json("timers", "list", "bank:app", "--json", "--key", "ada")
    assert (found["delayed"], [each["name"] for each in found["reminders"]]) == ([], ["statement"])


async def test_actors_are_asked_told_and_shown(bank: Bank) -> None:
    await bank.send(("ada", 70), ("bob", 5), ("eve", 13), ("eve", 1))
    async with bank.working():
        assert await bank.run("actor", "ask", "bank:Account", "ada", "Balance") == Said(0, "70\n", "")
        assert await bank.json("actor", "ask", "bank:Account", "ada", "Draw", '{"pence": 20}') == 50
        told = await bank.run("actor", "tell", "bank:Account", "ada", "Posting", '{"account": "ada", "pence": 5}')
        assert told.out.startswith("postings/")
        assert await bank.json("actor", "ask", "bank:Account", "ada", "Balance") == 55

        failed = await bank.run("actor", "ask", "bank:Account", "ada", "Draw", '{"pence": 56}')
        said = "actor 'Account' of key 'ada' has answered with Reject: not so much there; it has changed nothing"
        assert failed == Said(1, "", f"runnel: {said}\n")
        parked = await bank.run("actor", "ask", "bank:Account", "eve", "Balance")
        assert (parked.code, parked.err.count("\n")) == (1, 1)
        assert "has answered with KeyParked: key 'eve' is parked" in parked.err
        late = await bank.run("actor", "ask", "bank:Account", "bob", "Sleep", "--timeout", "0.3")
        assert (late.code, late.err.count("\n")) == (1, 1)
        assert "has not answered within 0.3 s" in late.err
        assert "is run by" in late.err
        bank.module.held.set()

        ada = await bank.json("actor", "show", "bank:Account", "ada", "--json")
        assert (ada["state"], ada["waiting"], ada["parked"], ada["unreadable"]) == ({"balance": 55}, 0, 0, None)
        assert list(ada["reminders"]) == ["statement"]
        assert ada["owner"] is not None
        await wait_until(lambda: settled(bank))
        shown = (await bank.run("actor", "show", "bank:Account", "eve")).out
        assert "2 events" in next(line for line in shown.splitlines() if line.startswith("parked"))
        assert "none: its next event finds the initial one" in shown

    shown = (await bank.run("actor", "show", "bank:Account", "ada")).out
    for part in ("Account on postings, partition", "nobody: no worker runs this", "reminder statement", "in 59 min"):
        assert part in shown
    assert shown.endswith('{\n  "balance": 55\n}\n')
    alone = await bank.run("actor", "ask", "bank:Account", "ada", "Balance", "--timeout", "0.3")
    assert "nobody runs its partition" in alone.err
    assert "is a worker up?" in alone.err


async def settled(bank: Bank) -> bool:
    return bool((await bank.json("actor", "show", "bank:Account", "eve", "--json"))["parked"] == 2)


async def test_what_waits_for_an_actor_is_counted_without_a_worker(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    await bank.send(*[("ada", 1), ("bob", 1)] * 150)
    keys = bank.place("ada")
    with bank.server.client() as redis:
        redis.xadd(keys.log.decode(), {b"~to": "printer", b"~key": "ada"})
        last = redis.xadd(keys.log.decode(), {b"~to": "Account", b"~key": "ada"})
        redis.sadd(keys.done("Account").decode(), last)
    ada = await bank.json("actor", "show", "bank:Account", "ada", "--json")
    assert (ada["waiting"], ada["waiting_is_exact"], ada["state"]) == (150, True, None)
    monkeypatch.setattr(actors, "FARTHEST", 100)
    assert "or more events" in (await bank.run("actor", "show", "bank:Account", "ada")).out


async def test_a_page_of_those_with_a_state_is_listed(bank: Bank) -> None:
    first, second = bank.module.postings.partitions
    with bank.server.client() as redis:
        large = '{"balance": 7, "filler": "more than a hash keeps in one piece, or HSCAN would tell of all at once"}'
        redis.hset(first.state("Account").decode(), mapping={f"key {n}": large for n in range(900)})
        redis.hset(second.state("Account").decode(), mapping={"odd": "no JSON", "new": '{"balance": "7"}'})
        redis.hset(second.reminders("Account").decode(), "odd", '{"statement": 2208988800000}')
    found = await bank.json("actor", "list", "bank:Account", "--json")
    assert (found["total"], len(found["actors"])) == (902, 100)
    found = await bank.json("actor", "list", "bank:Account", "--json", "--limit", "5000")
    assert len({each["key"] for each in found["actors"]}) == 902
    [new, odd] = (await bank.json("actor", "list", "bank:Account", "--json", "--partition", "1"))["actors"]
    assert new == {"key": "new", "partition": 1, "state": {"balance": "7"}, "reminders": {}}
    assert odd["state"] == "no JSON"
    shown = (await bank.run("actor", "list", "bank:Account", "--limit", "2", "--partition", "1")).out.splitlines()
    assert [line.split()[:2] for line in shown] == [["partition", "key"], ["1", "new"], ["1", "odd"]]
    assert "2040-01-01 00:00:00" in shown[2]
    assert (await bank.run("actor", "list", "bank:Account", "--limit", "2")).out.endswith("… of 902\n")


async def test_a_state_that_the_code_cannot_read_is_shown_and_why(bank: Bank) -> None:
    with bank.server.client() as redis:
        redis.hset(bank.place("ada").state("Account").decode(), "ada", '{"balance": "7"}')
    shown = (await bank.run("actor", "show", "bank:Account", "ada")).out
    assert '"balance": "7"' in shown
    assert "cannot read this state: Money.balance: expected int" in shown


ASK = ("actor", "ask", "bank:Account", "ada")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("actor", "show", "bank:printer", "ada"), 2, "processor 'printer' has no actors"),
        (("actor", "list", "bank:watch"), 2, "actor 'watch' is a function: it remembers nothing"),
        (("actor", "show", "bank:Money", "ada"), 2, "not a Processor; it has Account, watch, printer"),
        (("actor", "show", "bank:Account", "ada"), 1, "actor 'Account' knows nothing of key 'ada'"),
        (("actor", "list", "bank:Account", "--partition", "7"), 2, "stream 'postings' has no partition 7: 0 to 1"),
        ((*ASK, "Drow"), 2, "actor 'Account' handles Posting, Balance, Draw, Sleep; 'Drow' is none of these"),
        ((*ASK, "Draw", "{pence"), 1, "Draw: not JSON: "),
        ((*ASK, "Draw", '{"pence": "7"}'), 1, "Draw.pence: expected int, got str '7'"),
        ((*ASK, "Draw", '{"pence": 7, "pounds": 1}'), 1, "pounds"),
        (("actor", "tell", "bank:watch", "ada", "Posting"), 2, "is a function: it handles events, and no messages"),
        (("actor", "tell", "bank:printer", "ada", "Posting"), 2, "processor 'printer' has no actors"),
        ((*ASK, "Balance", "--redis-url", "redis://127.0.0.1:1"), 4, "cannot be reached"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_what_cannot_be_is_said_in_one_line(bank: Bank, words: tuple[str, ...], code: int, said: str) -> None:
    done = await bank.run(*words)
    assert (done.code, done.out, done.err.count("\n")) == (code, "", 1)
    assert said in done.err


# ── reset, delete ──


async def test_a_reset_drops_what_actors_remember_and_the_worker_begins_anew(bank: Bank) -> None:
    """It is in the middle of an event then, with the state of before: that never comes back."""
    reset = "processor", "reset", "bank:Account", "--start", "earliest"
    await bank.send(("ada", 10), ("ada", 20), ("ada", 99))
    async with bank.working():
        await wait_until(lambda: has_balance(bank, "ada", 30))
        plan = await bank.run(*reset)
        assert "2 events run again" in plan.out
        assert "Drops the state of 1 key and the reminders of 1 key: these actors begin anew" in plan.out
        assert await bank.balance("ada") == 30
        assert (await bank.run(*reset, "--yes")).out.endswith("Done.\n")
        bank.module.held.set()
        await wait_until(lambda: caught_up(bank))
        assert await bank.balance("ada") == 129
    assert sum(each["states"] for each in (await bank.json(*reset, "--json"))["partitions"]) == 1


async def test_after_a_reset_nobody_is_reminded_of_what_was_before(bank: Bank) -> None:
    await bank.send(("ada", 10))
    log = bank.place("ada").log
    async with bank.working():
        await wait_until(lambda: has_balance(bank, "ada", 10))
        await bank.run("processor", "reset", "bank:Account", "--start", "latest", "--yes")
        assert await bank.balance("ada") is None
        bank.app.due_times.advance(3601)
        with bank.server.client() as redis:
            await wait_until(lambda: redis.xlen(log) == 2, what="the reminder's event")
        await wait_until(lambda: caught_up(bank))
        assert await bank.balance("ada") is None
    bank.app.due_times.advance(-3601)


async def test_deleting_says_what_goes_with_the_actors(bank: Bank) -> None:
    await bank.send(("ada", 10))
    async with bank.working():
        await wait_until(lambda: has_balance(bank, "ada", 10))
    keys = bank.place("ada")
    with bank.server.client() as redis:
        redis.xadd(keys.outbox("Account").decode(), {"~target": '["copies", 0, 9, "block"]', "data": "{}", "~key": "ada"})
        assert "1 actor with a state, 1 emitted event on the way" in (await bank.run("status", "bank:app")).out
        plan = await bank.run("processor", "delete", "bank:Account")
        assert "Drops the state of 1 key and the reminders of 1 key" in plan.out
        assert "1 emitted event on the way to other partitions: dropped" in plan.out
        assert await bank.balance("ada") == 10
        await bank.run("processor", "delete", "bank:app", "--name", "Account", "--yes")
        left = list(redis.scan_iter("*:proc:*"))
        assert left == [keys.outbox("Account").decode()], "empty, so that its ids go on"
        assert redis.xlen(left[0]) == 0


async def has_balance(bank: Bank, key: str, balance: int) -> bool:
    return await bank.balance(key) == balance


async def caught_up(bank: Bank) -> bool:
    return (await read_status(bank.app)).lag == 0
