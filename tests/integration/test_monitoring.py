"""`--metrics-port`: real workers, scraped over HTTP by Prometheus' own parser; and when they say that they are not well."""

import asyncio
import http.client
import json
import os
import re
import signal
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from attrs import define
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families

from runnel import App, Processor, Record
from runnel.operations.pause import pause
from tests.integration.commands import Folder, Running
from tests.integration.test_cli import assert_one_line
from tests.servers import Server
from tests.support import wait_until

APP = """
import asyncio, time
from pathlib import Path
from prometheus_client import Counter
from runnel import Actor, App, Record

app = App("shop", health_stalled_after=1, health_blocked_after=0.6)

class Order(Record):
    order_id: int
    what: str = ""

orders = app.stream("orders", record=Order, partition_by="order_id", partition_count=PARTITIONS)
bills = app.stream("bills", record=Order, partition_by="order_id", partition_count=2)
seen = Counter("shop_seen", "Orders that were seen.")

@app.processor(orders)
async def bill(events):
    async for order in events.records():
        seen.inc()
        while order.what == "hang" and not Path("go").exists():
            await asyncio.sleep(0.01)
        while order.what == "block" and not Path("go").exists():
            time.sleep(0.01)

@app.task
async def send_some():
    await bills.send(*[Order(order_id=n) for n in range(7)])

@app.actor(orders)
class Account(Actor[Order, None]):
    async def receive(self, order: Order) -> None:
        self.emit(bills, order)
"""


class Order(Record):
    order_id: int
    what: str = ""


@define
class Desk:
    """Where the test sends from, and what it pauses."""

    app: App
    partitions: int

    async def send(self, numbers: "range | list[int]", what: str = "") -> None:
        stream = self.app.streams["orders"]
        await stream.send(*[Order(order_id=n, what=what) for n in numbers])

    @property
    def bill(self) -> Processor:
        return self.app.processors["bill"]


@pytest.fixture
async def desks() -> AsyncIterator[Callable[[str, int], Desk]]:
    apps: list[App] = []

    def sit(url: str, partitions: int) -> Desk:
        apps.append(app := App("shop", redis_url=url))
        orders = app.stream("orders", record=Order, partition_by="order_id", partition_count=partitions)

        @app.processor(orders)
        async def bill(events: Any) -> None: ...

        return Desk(app, partitions)

    yield sit
    for app in apps:
        await app.close()


def folder(path: Path, url: str, partitions: int) -> Folder:
    found = Folder(path, url)
    found.write("shop.py", APP.replace("PARTITIONS", str(partitions)))
    return found


async def get(port: int, path: str, **headers: str) -> tuple[int, str, str]:
    """Status, content type and text of a page."""

    def ask() -> tuple[int, str, str]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.getheader("Content-Type", ""), answer.read().decode()
        finally:
            connection.close()

    return await asyncio.to_thread(ask)


async def health(port: int, path: str = "ready") -> tuple[int, str, str]:
    """Status, and what it says in a word, and why."""
    code, kind, text = await get(port, f"/health/{path}")
    assert kind == "application/json"
    said = json.loads(text)
    return code, said["status"], said["reason"]


async def is_well(port: int) -> bool:
    return (await health(port))[:2] == (200, "ready")


class Scrape:
    """A page of metrics."""

    def __init__(self, text: str, families: Callable[[str], Any] = text_string_to_metric_families) -> None:
        self.samples = [sample for family in families(text) for sample in family.samples]

    def __call__(self, name: str, /, **labels: str) -> float | None:
        """A value, if there is one."""
        found = [sample.value for sample in self.samples if (sample.name, sample.labels) == (name, labels)]
        assert len(found) <= 1
        return found[0] if found else None


async def scrape(port: int) -> Scrape:
    code, _, text = await get(port, "/metrics")
    assert code == 200
    return Scrape(text)


async def scraped(port: int, condition: Callable[[Scrape], object], what: str) -> Scrape:
    """Scrape until the condition holds."""
    found: list[Scrape] = []

    async def holds() -> object:
        found.append(await scrape(port))
        return condition(found[-1])

    await wait_until(holds, timeout=20, what=what)
    return found[-1]


async def port_of(worker: Running, number: int = 1) -> int:
    await worker.says("metrics and health are served", times=number)
    return int(re.findall(r"url=http://127\.0\.0\.1:(\d+)", worker.stderr)[number - 1])


async def test_a_worker_tells_what_it_has_done(tmp_path: Path, valkey: Server, desks: Callable[[str, int], Desk]) -> None:
    """Of 256 partitions: with as many series as there would be of one."""
    desk = desks(valkey.url, 256)
    with folder(tmp_path, valkey.url, 256).started("worker", "shop:app", "--metrics-port", "0") as worker:
        port = await port_of(worker)
        assert (await health(port))[:2] == (503, "starting")
        await desk.send(range(400))
        await wait_until(lambda: is_well(port), what="ready")
        found = await scraped(
            port,
            lambda page: [page("runnel_events_done_total", processor=name) for name in ("bill", "Account")] == [400, 400]
            and page("runnel_events_emitted_total", processor="Account") == 400
            and page("runnel_lag_events", processor="bill") == page("runnel_lag_events", processor="Account") == 0
            and page("runnel_handler_duration_seconds_count", processor="Account") == 400,
            "all is done",
        )
        assert found("runnel_events_read_total", processor="bill") == 400
        assert found("runnel_handler_duration_seconds_count", processor="bill") == 400
        assert found("runnel_handler_duration_seconds_bucket", processor="bill", le="+Inf") == 400
        assert 0 < (found("runnel_handler_duration_seconds_sum", processor="bill") or 0) < 60
        assert 1 <= (found("runnel_commits_total", processor="bill") or 0) <= 400
        assert found("runnel_partitions_owned", processor="bill") == 256
        assert found("runnel_oldest_event_age_seconds", processor="bill") == 0
        assert (found("runnel_server_up"), found("runnel_worker_ready"), found("runnel_leader")) == (1, 1, 1)
        assert (found("runnel_partitions_acquired_total"), found("runnel_partitions_lost_total")) == (512, 0)
        assert found("runnel_mailbox_capacity", processor="bill", actor="partition") == 10
        assert found("runnel_events_sent_total", stream="bills") == 7
        assert found("runnel_job_runs_total", name="send_some") == 1
        assert found("shop_seen_total") == 400, "the app's own metrics are there, too"
        assert (found("process_resident_memory_bytes") or 0) > 0
        assert len([sample for sample in found.samples if sample.name.startswith("runnel_")]) <= 28 + 2 * 51 + 1 + 2

        code, kind, text = await get(port, "/metrics", Accept="application/openmetrics-text; version=1.0.0")
        assert (code, kind.split(";")[0]) == (200, "application/openmetrics-text")
        assert Scrape(text, openmetrics_families)("runnel_events_done_total", processor="bill") == 400
        assert (await get(port, "/"))[::2] == (404, "there is /metrics, /health/live, /health/ready\n")

        await pause(desk.app, desk.bill, reason="the bank is down")
        await scraped(port, lambda page: page("runnel_partitions_paused", processor="bill") == 256, "paused")
        await desk.send(range(30))
        first = await scraped(port, lambda page: page("runnel_lag_events", processor="bill") == 30, "they wait")
        age = first("runnel_oldest_event_age_seconds", processor="bill") or 0
        await scraped(
            port,
            lambda page: (page("runnel_oldest_event_age_seconds", processor="bill") or 0) > age + 0.9,
            "two looks have seen it stand still for as long as is not well",
        )
        code, status, reason = await health(port)
        assert (code, status) == (200, "ready"), reason
        assert "paused by an operator: 256 partitions" in reason
        assert (await scrape(port))("runnel_partitions_stalled", processor="bill") == 0
        assert await worker.ends(signal.SIGTERM) == 0


async def test_a_worker_says_when_it_is_not_well(
    tmp_path: Path, own_server: Callable[..., Server], desks: Callable[[str, int], Desk]
) -> None:
    server = own_server()
    desk = desks(server.url, 4)
    shop = folder(tmp_path, server.url, 4)
    with shop.started("worker", "shop:app", "--metrics-port", "0") as worker:
        port = await port_of(worker)
        await wait_until(lambda: is_well(port), what="ready")

        # a handler that hangs
        await desk.send([1], "hang")
        await desk.send([1, 1])

        async def stalled() -> bool:
            return (await health(port))[:2] == (503, "stalled")

        await wait_until(stalled, what="stalled")
        _, _, reason = await health(port)
        assert re.fullmatch(r"partition \d of bill has 3 events to do, and has done none for \d s.*", reason), reason
        assert (await health(port, "live"))[:2] == (200, "live")
        page = await scraped(port, lambda page: page("runnel_partitions_stalled", processor="bill") == 1, "told as well")
        assert page("runnel_lag_events", processor="bill") == 3

        # the server is away: what is known is told
        os.kill(server.pid, signal.SIGSTOP)
        try:

            async def away() -> bool:
                return (await health(port))[:2] == (503, "server away")

            await wait_until(away, what="away")
            page = await scrape(port)
            assert (page("runnel_server_up"), page("runnel_worker_ready")) == (0, 0)
            assert page("runnel_lag_events", processor="bill") == 3
            assert (page("runnel_lag_age_seconds") or 0) > 0.5
            assert (await health(port, "live"))[0] == 200, "no reason to start the worker anew"
        finally:
            os.kill(server.pid, signal.SIGCONT)
        (tmp_path / "go").touch()
        await scraped(port, lambda page: page("runnel_lag_events", processor="bill") == 0, "it goes on")
        assert await is_well(port)

        # the event loop is blocked
        (tmp_path / "go").unlink()
        await desk.send([2], "block")

        async def blocked() -> bool:
            return (await health(port, "live"))[:2] == (503, "blocked")

        await wait_until(blocked, what="blocked")
        assert (await health(port))[:2] == (503, "blocked")
        page = await scrape(port)
        assert (page("runnel_loop_lag_seconds") or 0) > 0.5
        assert page("runnel_worker_ready") == 0
        (tmp_path / "go").touch()
        await wait_until(lambda: is_well(port), what="well again")
        assert ((await scrape(port))("runnel_loop_lag_seconds") or 0) > 0.5, "it is remembered for a while"

        # it leaves
        (tmp_path / "go").unlink()
        await desk.send([3], "hang")
        await scraped(port, lambda page: page("runnel_lag_events", processor="bill") == 1, "an event is under way")
        worker.process.send_signal(signal.SIGTERM)

        async def leaving() -> bool:
            return (await health(port))[:2] == (503, "leaving")

        await wait_until(leaving, what="leaving")
        assert (await scrape(port))("runnel_worker_draining") == 1
        (tmp_path / "go").touch()
        assert await worker.ends() == 0


def free_ports() -> int:
    """A port that is free, and so is the next one."""
    for _ in range(100):
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port = int(first.getsockname()[1])
            try:
                second.bind(("127.0.0.1", port + 1))
            except (OSError, OverflowError):
                continue
            return port
    raise AssertionError("no two ports are free")


async def test_each_of_several_workers_has_its_own_port_and_their_sums_are_the_apps(
    tmp_path: Path, valkey: Server, desks: Callable[[str, int], Desk]
) -> None:
    desk, port = desks(valkey.url, 4), free_ports()
    shop = folder(tmp_path, valkey.url, 4)
    command = ("worker", "shop:app", "--workers", "2", "--metrics-port", str(port), "--processors", "bill")
    with shop.started(*command) as crew:
        await port_of(crew, 2)
        for each in (port, port + 1):
            await wait_until(lambda each=each: is_well(each), what="ready")
        await desk.send(range(40), "hang")

        async def sums() -> bool:
            pages = [await scrape(port), await scrape(port + 1)]
            owned = [page("runnel_partitions_owned", processor="bill") for page in pages]
            lag = [page("runnel_lag_events", processor="bill") or 0 for page in pages]
            unrun = [page("runnel_lag_events", processor="Account") or 0 for page in pages]
            leaders = [page("runnel_leader") or 0 for page in pages]
            return owned == [2, 2] and sum(lag) == 40 and min(lag) > 0 and sorted(unrun) == [0, 40] and sum(leaders) == 1

        await wait_until(sums, timeout=20, what="each event is told of once, by whom it is for, or else by the leader")
        (tmp_path / "go").touch()
        assert await crew.ends(signal.SIGTERM) == 0


# ── what cannot be ──


def test_a_port_that_is_in_use_is_one_line(tmp_path: Path, valkey: Server) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = folder(tmp_path, valkey.url, 4).run("worker", "shop:app", "--metrics-port", str(port))
    assert_one_line(done, 2, f"127.0.0.1:{port}", "the port is in use", "--metrics-port")


def test_a_port_of_several_that_is_in_use_is_one_line(tmp_path: Path, valkey: Server) -> None:
    port = free_ports()
    with socket.create_server(("127.0.0.1", port + 1)):
        words = ("worker", "shop:app", "--workers", "2", "--metrics-port", str(port))
        done = folder(tmp_path, valkey.url, 4).run(*words)
    assert_one_line(done, 2, f"127.0.0.1:{port + 1}", "the port is in use")


def test_an_address_of_another_machine_is_one_line(tmp_path: Path, valkey: Server) -> None:
    words = ("worker", "shop:app", "--metrics-port", "0", "--metrics-host", "192.0.2.1")
    assert_one_line(folder(tmp_path, valkey.url, 4).run(*words), 2, "192.0.2.1", "--metrics-host")


def test_without_the_extra_it_says_how_to_install_it(tmp_path: Path, valkey: Server) -> None:
    shop = folder(tmp_path, valkey.url, 4)
    counts_nothing = APP.replace("from prometheus_client import Counter\n", "Counter = print\n").replace("seen.inc()", "")
    shop.write("shop.py", counts_nothing.replace("PARTITIONS", "4"))
    shop.write("prometheus_client.py", "raise ImportError('not installed')")
    done = shop.run("worker", "shop:app", "--metrics-port", "0")
    assert_one_line(done, 2, "--metrics-port needs prometheus-client: pip install 'runnel[metrics]'")


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["--metrics-port", "65536"], ["--metrics-port", "65535"]),
        (["--metrics-port", "http"], ["--metrics-port", "integer"]),
        (["--metrics-port", "65534", "--workers", "3"], ["3 workers need as many ports, up to 65536"]),
    ],
)
def test_a_port_that_there_is_not_is_one_line(call: Any, words: list[str], parts: list[str]) -> None:
    call("worker", "shop:app", *words).refused(2, *parts)


def test_a_setting_that_is_no_port_is_one_line(call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNNEL_METRICS_PORT", "http")
    call("worker", "shop:app").refused(2, "RUNNEL_METRICS_PORT must be a number, not 'http'")
