"""What the live view shows of a snapshot."""

from typing import Any

import pytest
from rich.console import Console

from runnel.actors import ActorSnapshot
from runnel.actors.snapshot import State
from runnel.view.meter import Meter
from runnel.view.tree import Heading, rows, view

HEADING = Heading(app="shop", server="unix:/x", worker="vm-1", done=12_345, rate=678.9, elapsed=61)


def actor(name: str, kind: str = "Actor", *children: ActorSnapshot, path: str = "", **values: Any) -> ActorSnapshot:
    values = {"state": State.IDLE, "mailbox_capacity": 2, **values}
    return ActorSnapshot(path=path or name, name=name, kind=kind, children=children, **values)


def partition(number: int, **values: Any) -> ActorSnapshot:
    return actor(f"{number}.1", "Partition", path=f"worker/bill/{number}.1", **values)


def worker(*partitions: ActorSnapshot) -> ActorSnapshot:
    return actor("worker", "System", actor("coordinator"), actor("bill", "Supervisor", actor("reader"), *partitions))


def shown(tree: ActorSnapshot | None, width: int = 120, height: int = 40) -> str:
    console = Console(record=True, width=width, height=height, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(view(HEADING, tree, width, height))
    console.file.close()
    return console.export_text()


def test_the_heading_says_what_was_done() -> None:
    text = shown(worker())
    assert "shop  unix:/x  vm-1" in text
    assert "12,345 events done, 679/s, up 1 min 01 s" in text


def test_every_actor_has_a_line_with_what_it_is_at() -> None:
    text = shown(
        worker(
            partition(0, state=State.RUNNING, message_age=3.4, mailbox_depth=1, processed=1_234, details={"count": 7}),
            partition(1, state=State.BACKOFF, restarts=3, last_error="ValueError: no"),
        )
    )
    first, second = text.splitlines()[-2:]
    for part in ("├ 0.1", "running 3 s", "████····", "1/2", "1,234", "count 7"):
        assert part in first
    for part in ("└ 1.1", "backoff", "3", "ValueError: no"):
        assert part in second


def test_a_full_mailbox_is_a_full_bar_and_one_message_is_seen() -> None:
    full = partition(0, mailbox_depth=100, mailbox_capacity=100)
    text = shown(worker(full, partition(1, mailbox_depth=1, mailbox_capacity=1_000)))
    assert "████████ 100/100" in text
    assert "█······· 1/1000" in text


def test_a_tree_that_is_too_tall_folds_brothers_of_one_kind() -> None:
    tree = worker(*(partition(n, processed=10, state=State.IDLE if n else State.RUNNING) for n in range(64)))
    assert len(rows(tree, 100)) == 68
    text = shown(tree, height=20)
    assert len(text.splitlines()) <= 20
    assert "64 partitions" in text
    assert "1 running, 63 idle" in text
    assert "640" in text


def keyed(number: int, *lanes: ActorSnapshot, **values: Any) -> ActorSnapshot:
    return actor(f"{number}.1", "KeyedPartition", *lanes, path=f"worker/bill/{number}.1", **values)


def lane(key: str, **values: Any) -> ActorSnapshot:
    return actor(key, "Account", is_resident=True, **values)


def test_the_busiest_actors_have_a_line_below_their_partition() -> None:
    ada = lane("ada", state=State.RUNNING, mailbox_depth=3, mailbox_capacity=1_024, details={"failures": 2})
    text = shown(worker(keyed(0, ada, lane("bob", state=State.WAITING))))
    first, second = text.splitlines()[-2:]
    for part in ("├ ada", "running", "3/1024", "failures 2"):
        assert part in first
    assert "└ bob" in second
    assert "waiting" in second


def test_where_there_is_no_room_the_busiest_actors_go_first_and_are_not_missed() -> None:
    tree = worker(*(keyed(n, lane("ada"), lane("bob")) for n in range(4)))
    assert len(rows(tree, 100)) == 16
    text = shown(tree, height=12)
    assert [part in text for part in ("3.1", "ada", "more")] == [True, False, False]
    text = shown(tree, height=10)
    assert "4 keyed partitions" in text
    assert "more" not in text


@pytest.mark.parametrize("height", [8, 14])
def test_what_has_no_room_is_counted(height: int) -> None:
    """Every actor is on the screen, one of several on a line, or one of those that are more."""
    tree = actor("worker", "System", *(actor(f"p{n}", "Supervisor", actor("reader")) for n in range(20)))
    text = shown(tree, 45, height)
    lines = text.splitlines()
    assert len(lines) == height - 1
    assert lines[-1] == f"… and {41 - (height - 5)} more"
    assert "more" not in shown(tree, 45, 50)


@pytest.mark.parametrize("width", [20, 40, 60, 80, 100, 200])
@pytest.mark.parametrize("height", [5, 10, 24, 50])
def test_it_fits_into_any_terminal(width: int, height: int) -> None:
    tree = worker(*(partition(n, last_error="E" * 300) for n in range(16)))
    lines = shown(tree, width, height).splitlines()
    assert len(lines) <= height
    assert max(map(len, lines)) <= width
    assert "actor" in "".join(lines)


def test_before_the_worker_runs_there_is_a_heading() -> None:
    assert "starting" in shown(None)


def test_the_meter_adds_up_over_partitions_and_owners() -> None:
    meter = Meter()
    meter.update(worker(partition(0, details={"done": 100})), 0.0)
    meter.update(worker(partition(0, details={"done": 150}), partition(1, details={"done": 7})), 1.0)
    assert (meter.done, meter.rate) == (157, 57.0)
    meter.update(worker(partition(1, details={"done": 10})), 2.0)
    assert (meter.done, meter.rate) == (160, 30.0)
    for second in range(3, 10):
        meter.update(worker(partition(1, details={"done": 10})), float(second))
    assert (meter.done, meter.rate) == (160, 0.0)


def test_the_meter_counts_events_of_handler_actors() -> None:
    meter = Meter()
    meter.update(worker(keyed(0, lane("ada"), details={"done": 100})), 0.0)
    assert meter.done == 100


def test_the_meter_counts_what_an_actor_did_before_it_ended() -> None:
    meter = Meter()
    meter.update(worker(partition(0, details={"done": 100})), 0.0)
    meter.ended(partition(0, details={"done": 130}))
    meter.ended(partition(1, details={"done": 7}))
    meter.ended(actor("reader"))
    assert meter.done == 137
    meter.update(worker(partition(0, details={"done": 5})), 1.0)  # the same name again, after the server lost its epoch
    assert meter.done == 142


def test_a_detail_that_is_true_or_not_reads_yes_or_no() -> None:
    text = shown(actor("worker", "System", actor("leader", details={"leads": True}), actor("other", details={"leads": False})))
    assert "leads yes" in text
    assert "leads no" in text
