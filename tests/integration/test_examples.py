"""The examples run, as the README says."""

import asyncio
import random
import signal
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from examples import bank, sessions, shop
from examples.bank import Account, Charge, Free, Hold, Money, Posting
from examples.sessions import Click, Visitor
from runnel import Stream
from runnel.testing import TestApp
from tests.integration.commands import REPOSITORY, Folder
from tests.integration.embedded_world import World
from tests.support import wait_until


def told(*module: str) -> list[str]:
    """What an example says that tells its own story."""
    ran = subprocess.run(
        [sys.executable, "-m", *module], cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.splitlines()


async def records(stream: Stream[Any]) -> list[Any]:
    """All that is in a stream's logs."""
    redis: Any = stream.app.redis  # type: ignore[attr-defined]
    return [stream.deserialize(fields) for keys in stream.partitions for _, fields in await redis.xrange(keys.log)]


# ── the shop ──


async def test_each_order_is_charged_in_order_and_shipped(capsys: pytest.CaptureFixture[str]) -> None:
    async with TestApp(shop.app, processors=["charge", "ship"]) as t:
        at = datetime.now(UTC)
        await shop.orders.send(*(shop.Order(customer="ada", item=item, pence=100, at=at) for item in shop.PRICES))
        await t.drained()
    said = capsys.readouterr().out.splitlines()
    assert [line for line in said if line.startswith("charge")] == [f"charge  ada pays 1.00 for {item}" for item in shop.PRICES]
    assert [line for line in said if line.startswith("ship")] == ["ship    tea to ada, jam to ada, bread to ada, cheese to ada"]


async def test_the_shop_charges_and_ships_until_it_is_stopped(tmp_path: Path) -> None:
    folder = Folder(tmp_path, "redis://not.used")
    with folder.started("run", "examples.shop:app") as shop:
        await shop.says("charge  ", times=5)
        await shop.says("ship    ")
        assert await shop.ends(signal.SIGINT) == 0
    assert "Traceback" not in shop.stderr
    await wait_until(lambda: not World(tmp_path / ".runnel").processes(), what="no server left")


def test_parked_keys_finish_in_order_after_the_fix(tmp_path: Path) -> None:
    said = told("examples.parking")
    assert said[:2] == ["997 accounts are finished, in order", "24 events of 3 accounts are parked, because of:"]
    assert sum("ValueError: account" in line for line in said) == 3
    assert said[-2:] == ["3 accounts are released", "1000 accounts are finished, in order"]


# ── the bank ──


async def balances(*accounts: str) -> dict[str, int]:
    return {name: (await Account.state_of(name) or Money()).balance for name in accounts}


async def test_what_leaves_an_account_arrives_in_another_once() -> None:
    customers = [f"customer {n}" for n in range(30)]
    async with TestApp(bank.app) as t:
        await bank.postings.send(*(Posting(account=name, pence=1_000) for name in customers))
        for _ in range(10):
            pairs = [random.sample(customers, 2) for _ in range(100)]
            await bank.postings.send(*(Posting(account=a, pence=random.randint(1, 500), to=b) for a, b in pairs))
        await t.drained()
        ledger = Counter[str]()
        for posting in await records(bank.postings):
            ledger[posting.account] += posting.pence if posting.to is None else -posting.pence
        for refused in await records(bank.refusals):
            ledger[refused.account] += refused.pence
        found = await balances(*customers)
        assert found == ledger
        assert sum(found.values()) == 30_000
        assert min(found.values()) >= 0


async def test_what_an_account_does_not_have_is_refused() -> None:
    async with TestApp(bank.app) as t:
        await bank.postings.send(
            Posting(account="ada", pence=100),
            Posting(account="ada", pence=101, to="bob"),
            Posting(account="ada", pence=-1, to="bob"),
            Posting(account="ada", pence=60, to="bob"),
            Posting(account="ada", pence=60, to="bob"),
        )
        await t.drained()
        assert await balances("ada", "bob") == {"ada": 40, "bob": 60}
        assert [refused.pence for refused in await records(bank.refusals)] == [101, -1, 60]


async def test_money_that_is_held_is_charged_or_free_again_after_a_week() -> None:
    async with TestApp(bank.app) as t:
        await bank.postings.send(Posting(account="ada", pence=100))
        assert await Account.ask("ada", Hold(who="hotel", pence=80)) is True
        assert await Account.ask("ada", Hold(who="inn", pence=21)) is False
        assert await Account.ask("ada", Hold(who="inn", pence=15)) is True
        assert await Account.ask("ada", Free()) == 5
        await t.advance(timedelta(days=6))
        assert await Account.ask("ada", Charge(who="hotel")) is True
        assert await Account.ask("ada", Charge(who="hotel")) is False
        await t.advance(timedelta(days=1))
        assert await Account.ask("ada", Charge(who="inn")) is False
        assert await Account.ask("ada", Free()) == 20
        await t.drained()
        assert await balances("ada", "hotel") == {"ada": 20, "hotel": 80}


async def test_an_account_is_asked_by_many_at_once_and_pays_each_penny_once() -> None:
    async with TestApp(bank.app):
        await bank.postings.send(Posting(account="ada", pence=100))
        answers = await asyncio.gather(*(Account.ask("ada", Hold(who=f"hotel {n}", pence=30)) for n in range(10)))
        assert answers.count(True) == 3


def test_the_bank_tells_its_story() -> None:
    said = told("examples.bank")
    assert said[:3] == [
        "may a hotel hold 80.00 of ada's 100.00? True",
        "and an inn another 80.00?               False",
        "5,000 transfers later there is 10,000.00 in the accounts,",
    ]
    assert said[4:] == ["ada may spend 20.00,", "and a week later 100.00"]


# ── sessions ──


async def test_a_session_ends_half_an_hour_after_its_last_click(capsys: pytest.CaptureFixture[str]) -> None:
    async with TestApp(sessions.app) as t:
        await sessions.clicks.send(Click(visitor="ada", page="/tea"), Click(visitor="bob", page="/"))
        await t.advance(timedelta(minutes=20))
        await sessions.clicks.send(Click(visitor="ada", page="/jam"))
        await t.advance(timedelta(minutes=29))
        assert capsys.readouterr().out == "bob saw /\n"
        await t.advance(timedelta(minutes=1))
        assert capsys.readouterr().out == "ada saw /tea /jam\n"
        assert await Visitor.state_of("ada") is None


async def test_a_visitor_who_comes_back_begins_another_session(capsys: pytest.CaptureFixture[str]) -> None:
    async with TestApp(sessions.app) as t:
        for page in ("/tea", "/jam"):
            await sessions.clicks.send(Click(visitor="ada", page=page))
            await t.advance(timedelta(hours=1))
    assert capsys.readouterr().out == "ada saw /tea\nada saw /jam\n"
