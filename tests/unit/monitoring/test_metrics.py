"""The metrics: each has a value where there is something to tell, few labels, and a line in docs/monitoring.md."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from runnel import App
from runnel.actors import ActorSnapshot
from runnel.clock import ManualClock
from runnel.errors import ConfigurationError
from runnel.handling.durations import BOUNDS
from runnel.monitoring.exposition import Exposition
from runnel.monitoring.health import Health
from runnel.monitoring.metrics import METRICS, samples
from runnel.monitoring.monitor import Monitor, monitor_of
from runnel.telemetry.board import Board, Seen
from runnel.telemetry.collect import Collector
from runnel.telemetry.diary import Diary
from runnel.telemetry.mailboxes import KINDS
from runnel.telemetry.standing import Standing
from runnel.timing.jobs import Progress
from runnel.worker import Worker
from tests.unit.telemetry.test_collect import actor, counts

DOCS = Path(__file__).parents[3] / "docs"
TEXT = (DOCS / "monitoring.md").read_text()
DASHBOARD = DOCS / "grafana" / "runnel.json"
HEALTH = Health(now=10.0, blocked_after=5.0, stalled_after=60.0)


def tree(partitions: int, keys: int = 0, done: int = 0) -> ActorSnapshot:
    """A worker that runs one processor of actors."""
    found = [
        actor(
            f"worker/bill/{n}.1",
            "KeyedPartition",
            *(actor(f"worker/bill/{n}.1/{key}", "Key", is_resident=True) for key in range(keys)),
            details={"done": done, "retries": 1, "passivated": 2, "active": keys, "~counts": counts(*[0.002] * done)},
            mailbox_depth=n % 7,
        )
        for n in range(partitions)
    ]
    parts = [
        actor("worker/bill/committer", "Committer", details={"commits": 9}),
        actor("worker/bill/reader", "Reader", details={"events": done}),
        actor("worker/bill/relay", "Relay", details={"relayed": 5}),
    ]
    took = {"~counts": counts(*[0.002] * done), "~seconds": 0.002 * done}
    said = {"stream": "orders", "~processor": "bill", "~done": done, **took}
    bill = actor("worker/bill", "ProcessorSupervisor", *parts, *found, details=said)
    member = actor("worker/coordinator/member", "Member", details={"version": 3, "~wanted": {}, "~run": frozenset({"bill"})})
    leader = actor("worker/leader", "Leader", details={"leads": True}, restarts=1)
    others = actor("worker/scheduler", "Scheduler"), actor("worker/telemetry", "Telemetry")
    return actor("worker", "ActorSystem", *others, leader, actor("worker/coordinator", "Coordinator", member), bill)


def board(partitions: int = 4, keys: int = 0, done: int = 3) -> Board:
    app = App("shop")

    @app.timer(60)
    async def sweep() -> None: ...

    diary = Diary(ManualClock())
    diary.happened("lost", "so it was", 2)
    diary.failed(processor="bill", partition=0, event="1-0", key="k", attempt=1, fate="parked", error=ValueError("no"))
    picture = tree(partitions, keys, done)
    board = Board(sent={"orders": 7})
    collector = Collector("w1", 0.0, diary, app.jobs, {"sweep": Progress(runs=5)})
    board.put(collector.report(picture, 9.0), picture, 9.0)
    board.seen = Seen(at=8.0, standings=(Standing(processor="bill", lag=12, oldest_age=1.5, parked=2, dead=1),), standstills=())
    return board


def scraped(board: Board, health: Health = HEALTH) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """The values on the page, as Prometheus reads them; of Runnel's metrics."""
    page = Exposition(lambda: samples("shop", board, health))("").body.decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if sample.name.startswith("runnel_")
    }


def test_every_metric_has_a_value_and_its_labels() -> None:
    named: dict[str, set[tuple[str, ...]]] = {}
    for sample in samples("shop", board(), HEALTH):
        named.setdefault(sample.metric, set()).add(tuple(sample.labels))
    assert named.keys() == {metric.name for metric in METRICS}
    for metric in METRICS:
        assert {len(labels) for labels in named[metric.name]} == {len(metric.labels)}, metric.name
        assert metric.help.endswith(".")


def test_values_are_those_of_the_board() -> None:
    found = scraped(board())
    of_bill = (("processor", "bill"),)
    for name, value in {
        "runnel_events_done_total": 3,
        "runnel_events_read_total": 3,
        "runnel_events_emitted_total": 5,
        "runnel_events_failed_total": 1,
        "runnel_retries_total": 4,
        "runnel_passivations_total": 8,
        "runnel_commits_total": 9,
        "runnel_partitions_owned": 4,
        "runnel_lag_events": 12,
        "runnel_oldest_event_age_seconds": 1.5,
        "runnel_parked_events": 2,
        "runnel_dead_events": 1,
        "runnel_handler_duration_seconds_count": 3,
    }.items():
        assert found[name, of_bill] == value, name
    assert found["runnel_handler_duration_seconds_sum", of_bill] == pytest.approx(0.006)
    assert found["runnel_handler_duration_seconds_bucket", (("le", "0.001"), *of_bill)] == 0
    assert found["runnel_handler_duration_seconds_bucket", (("le", "0.0025"), *of_bill)] == 3
    assert found["runnel_mailbox_depth", (("actor", "partition"), *of_bill)] == 3
    assert found["runnel_actor_restarts_total", (("processor", ""),)] == 1
    assert found["runnel_events_sent_total", (("stream", "orders"),)] == 7
    assert found["runnel_job_runs_total", (("name", "sweep"),)] == 5
    assert (found["runnel_partitions_lost_total", ()], found["runnel_leader", ()]) == (2, 1)
    assert (found["runnel_report_age_seconds", ()], found["runnel_lag_age_seconds", ()]) == (1, 2)


def test_there_are_as_many_series_however_many_partitions_keys_and_events_there_are() -> None:
    few, many = scraped(board(partitions=1)), scraped(board(partitions=256, keys=40, done=500))
    assert few.keys() == many.keys()


def test_there_are_no_more_series_than_the_document_says() -> None:
    own, each, each_stream, each_job = map(int, re.findall(r"\*\*(\d+)\*\*", TEXT))
    found = [labels for _, labels in scraped(board())]
    of_bill = [labels for labels in found if ("processor", "bill") in labels]
    assert (each_stream, each_job) == (1, 2)
    assert (len(found) - len(of_bill) - each_stream - each_job, len(of_bill)) == (own, each)


def test_before_the_worker_runs_there_is_something_to_scrape() -> None:
    found = scraped(Board(), Health(now=1.0, blocked_after=5.0, stalled_after=60.0, joined=False, server_up=False))
    assert found["runnel_worker_ready", ()] == 0
    assert found["runnel_server_up", ()] == 0


def test_counts_only_grow_though_actors_come_and_go() -> None:
    collector = Collector("w1", 0.0, Diary(ManualClock()))
    before = collector.report(tree(4), 1.0).processors[0]
    after = collector.report(tree(1), 2.0).processors[0]
    assert (before.retries, after.retries, after.passivated, after.commits) == (4, 4, 8, 9)
    assert (before.owned, after.owned) == (4, 1)
    assert collector.report(tree(4), 3.0).processors[0].retries == 7, "three partitions began anew"


def test_an_actor_that_begins_anew_takes_nothing_back() -> None:
    collector = Collector("w1", 0.0, Diary(ManualClock()))
    found = [collector.report(tree(1, done=done), float(done)).processors[0] for done in (50, 20, 30)]
    assert [each.read for each in found] == [50, 70, 80]
    assert [each.done for each in found] == [50, 70, 80]


# ── ports ──


def test_each_of_several_workers_has_a_port_of_its_own() -> None:
    worker = Worker(App("shop", metrics_port=9100))
    assert [each.port for number in (1, 2, 3) if (each := monitor_of(worker, number))] == [9100, 9101, 9102]
    assert monitor_of(Worker(App("shop"))) is None
    any_port = monitor_of(Worker(App("shop", metrics_port=0)), 3)
    assert any_port is not None
    assert any_port.port == 0


def test_ports_end_somewhere() -> None:
    with pytest.raises(ConfigurationError, match="at port 65536: ports end at 65535"):
        monitor_of(Worker(App("shop", metrics_port=65_535)), 2)


@pytest.mark.parametrize("port", [-1, 65_536, "9100"])
def test_a_port_is_a_number_that_there_is(port: Any) -> None:
    with pytest.raises(ConfigurationError, match="metrics_port"):
        App("shop", metrics_port=port)


async def test_who_stops_serving_leaves_its_port() -> None:
    worker = Worker(App("shop"))
    async with Monitor(worker) as first:
        port = int(first.url.rpartition(":")[2])
        with pytest.raises(ConfigurationError, match=f"127.0.0.1:{port}: the port is in use"):
            async with Monitor(worker, port=port):
                pass
    async with Monitor(worker, port=port):
        pass


# ── the documents ──


def expressions(document: Any) -> Iterator[str]:
    """All PromQL in a dashboard."""
    if isinstance(document, Mapping):
        for name, value in document.items():
            if name in ("expr", "query", "definition") and isinstance(value, str) and value != "prometheus":
                yield value
            yield from expressions(value)
    elif isinstance(document, list):
        for each in document:
            yield from expressions(each)


def used(text: str) -> set[str]:
    return set(re.findall(r"\brunnel_\w+", text))


def series() -> dict[str, set[str]]:
    """What can be asked for, and by which labels."""
    found: dict[str, set[str]] = {}
    for metric in METRICS:
        labels = {*metric.labels}
        if metric.kind == "histogram":
            found |= {f"{metric.name}_bucket": labels | {"le"}, f"{metric.name}_sum": labels, f"{metric.name}_count": labels}
        else:
            found[metric.name] = labels
    return found


def test_the_document_has_a_line_for_each_metric() -> None:
    lines = re.findall(r"^\| `(runnel_\w+)` \| (\w+) \| ([^|]*) \| ([^|]+) \|$", TEXT, re.MULTILINE)
    said = [(name, kind, tuple(re.findall(r"`(\w+)`", labels)), help.strip()) for name, kind, labels, help in lines]
    assert said == [(metric.name, metric.kind, metric.labels, metric.help) for metric in METRICS]


def test_the_document_and_its_alerts_ask_for_metrics_that_there_are() -> None:
    assert used(TEXT) <= {*series(), *(metric.name for metric in METRICS)}


def test_the_document_has_the_kinds_of_actors() -> None:
    [said] = re.findall(r"`actor`, which is\n(.*)\. No label", TEXT)
    assert set(re.findall(r"`(\w+)`", said)) == set(KINDS.values())


def test_the_document_has_the_buckets() -> None:
    assert ", ".join(f"{bound:g}" for bound in BOUNDS) in TEXT


def test_every_expression_of_the_dashboard_asks_for_metrics_and_labels_that_there_are() -> None:
    asked = list(expressions(json.loads(DASHBOARD.read_text())))
    assert len(asked) > 15
    known = series()
    for expression in asked:
        names = used(expression)
        assert names, expression
        assert names <= known.keys(), expression
        labels = {"instance", "job", "le"}.union(*(known[name] for name in names))
        for by in re.findall(r"\bby ?\(([^)]*)\)", expression):
            assert {label.strip() for label in by.split(",")} <= labels, expression
        for selector in re.findall(r"\{([^}]*)\}", expression):
            assert set(re.findall(r"(\w+)\s*[=!]~?", selector)) <= labels, expression


def test_the_dashboard_shows_what_one_looks_for() -> None:
    asked = " ".join(expressions(json.loads(DASHBOARD.read_text())))
    for metric in (
        *("events_done_total", "events_read_total", "lag_events", "oldest_event_age_seconds"),
        "handler_duration_seconds_bucket",
        *("actor_restarts_total", "fences_total", "rebalances_total", "loop_lag_seconds", "mailbox_depth", "dead_events"),
        *("parked_events", "partitions_owned", "worker_ready", "server_up", "partitions_stalled"),
    ):
        assert f"runnel_{metric}" in asked, metric
    assert "histogram_quantile(0.99" in asked
    assert "histogram_quantile(0.5" in asked
