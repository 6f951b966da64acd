"""What a worker logs, as `--log-format json` writes it: one line a failure, and whose it is."""

import json
import logging
import time
from collections.abc import Iterator
from typing import Any

import pytest

from runnel import App, Events, Record
from runnel.errors import HandlerFailed
from runnel.logs import JSONLines, Lines
from runnel.roles import heart
from tests.integration.test_jobs import working
from tests.servers import Server
from tests.support import wait_until

WHOSE = {"app", "stream", "processor", "partition", "epoch", "worker"}


class Order(Record):
    key: str
    amount: int


class Log(logging.Handler):
    """Formats each line where it is logged, as the command line does."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.lines: list[dict[str, Any]] = []
        self.shown: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(json.loads(JSONLines().format(record)))
        self.shown.append(Lines(colour=False).format(record))

    def told(self, text: str) -> list[dict[str, Any]]:
        return [line for line in self.lines if text in line["message"]]

    @property
    def failures(self) -> list[dict[str, Any]]:
        """The lines with a traceback."""
        return [line for line in self.lines if "exception" in line]


@pytest.fixture
def log() -> Iterator[Log]:
    handler, logger = Log(), logging.getLogger("runnel")
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield handler
    logger.removeHandler(handler)
    logger.setLevel(before)


OUTCOMES = {
    "ignore": "failed event dropped",
    "dead_letter": "failed event moved to the dead letters",
    "park": "failed event parked",
    "quarantine": "partition quarantined",
    "halt": "event failed, the worker stops",
}


@pytest.mark.parametrize("kind", ["processor", "actor"])
@pytest.mark.parametrize("policy", OUTCOMES)
async def test_a_failure_is_one_line_with_its_traceback_and_what_becomes_of_it(
    valkey: Server, log: Log, policy: Any, kind: str
) -> None:
    app = App("shop", redis_url=valkey.url, default_lock_expiry=60.0)
    orders = app.stream("orders", record=Order, partition_by="key", partition_count=2)

    if kind == "actor":

        @app.actor(orders, name="till", exception_policy=policy)
        async def handle(order: Order) -> None:
            raise ValueError("no change")
    else:

        @app.processor(orders, name="till", exception_policy=policy)
        async def till(events: Events[Order]) -> None:
            async for _ in events.records():
                raise ValueError("no change")

    try:
        async with working(app) as worker:
            [event] = await orders.send(Order(key="a", amount=71_077))
            await wait_until(lambda: log.failures)
            if policy == "halt":
                await wait_until(lambda: worker.stopping)
    except HandlerFailed:
        assert policy == "halt"
    [line] = log.failures
    assert OUTCOMES[policy] in line["message"]
    assert line.keys() >= WHOSE
    assert (line["worker"], line["entry"]) == (worker.id, event)
    assert line["exception"].endswith("ValueError: no change")
    assert "runnel/roles" not in line["exception"]
    assert "71077" not in json.dumps(log.lines), "no payloads"
    assert all(each["worker"] == worker.id for each in log.lines if "on disk" not in each["message"])
    own = ("worker started", "worker stopped", "stopping at once")
    assert all((worker.id in text) == any(said in text for said in own) for text in log.shown)


async def test_what_the_heart_says_has_the_worker_too(
    valkey: Server, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heart, "BLOCKED", 0.05)
    app = App("shop", redis_url=valkey.url)
    orders = app.stream("orders", record=Order, partition_by="key", partition_count=1)

    @app.processor(orders)
    async def till(events: Events[Order]) -> None:
        async for _ in events.records():
            while not log.told("the event loop is blocked"):
                time.sleep(0.01)  # noqa: ASYNC251 - what users should not do, and do

    async with working(app) as worker:
        await orders.send(Order(key="a", amount=1))
        await wait_until(lambda: log.told("the event loop goes on"))
    assert [line["worker"] for line in log.told("the event loop")] == [worker.id, worker.id]


async def test_a_failure_outside_of_an_event_is_one_line_for_each_try(valkey: Server, log: Log) -> None:
    app = App("shop", redis_url=valkey.url)
    orders = app.stream("orders", record=Order, partition_by="key", partition_count=1)
    calls: list[int] = []

    @app.processor(orders)
    async def till(events: Events[Order]) -> None:
        calls.append(1)
        if len(calls) == 1:
            raise ConnectionError("no database")
        async for _ in events.records():
            pass

    async with working(app):
        await wait_until(lambda: len(calls) == 2)
    [line] = log.failures
    assert line["message"] == "actor failed"
    assert line["exception"].endswith("ConnectionError: no database")
