"""Pieces of an app as the view knows it, and what is drawn of it."""

from typing import Any

from rich.console import Console

from runnel.operations.status import PartitionStatus
from runnel.telemetry.report import (
    ActorReport,
    FailureReport,
    Happening,
    JobReport,
    KeyReport,
    PartitionReport,
    ProcessorReport,
    Report,
)
from runnel.view.model import Model
from runnel.view.pages.page import Row
from runnel.view.picture import picture
from runnel.view.screen import Screen


def partition(number: int, **values: Any) -> PartitionStatus:
    known: dict[str, Any] = {
        "partition": number,
        "owner": "w1",
        "epoch": 2,
        "lease_left": 3.0,
        "cursor": "5-0",
        "lag": 10 * number,
        "oldest_age": float(number) if number else None,
        "length": 100,
        "added": 200,
        "parked": 0,
        "parked_keys": 0,
        "dead": 0,
        "states": 0,
        "emitted": 0,
        "crashes": 0,
        "suspect": None,
        "stopped": None,
    }
    return PartitionStatus(**{**known, **values})


def report(worker: str, **values: Any) -> Report:
    return Report(
        worker=worker,
        uptime=61.0,
        memory=50 * 2**20,
        loop_lag=0.4,
        processors=(ProcessorReport(processor="bill", stream="orders", done=7, rate=100.0, restarts=3),),
        partitions=(PartitionReport(processor="bill", partition=1, epoch=2, state="running", rate=20.0, p99=0.0042),),
        keys=(KeyReport(processor="bill", partition=1, key="hot", state="running", waiting=12),),
        jobs=(JobReport(job="nightly", schedule="45 17 * * *", next=1_800_000_000.0, error="ValueError: job"),),
        failures=(
            FailureReport(
                at=1_800_000_000.0,
                processor="bill",
                partition=1,
                event="orders/1/9-0",
                key="13",
                attempt=2,
                fate="parked",
                error="ValueError: unlucky",
                traceback="Traceback\n  File here",
            ),
        ),
        happenings=(Happening(at=1_800_000_000.0, kind="lost", text="bill: 1 partition lost (1)"),),
        actors=(
            ActorReport(depth=0, name="coordinator", kind="Coordinator", state="idle", path="worker/coordinator"),
            ActorReport(depth=1, name="member", kind="Member", state="idle", path="worker/coordinator/member"),
            ActorReport(depth=0, name="bill", kind="ProcessorSupervisor", state="idle", path="worker/bill"),
            ActorReport(
                depth=1, name="1.2", kind="Partition", state="running", path="worker/bill/1.2", mailbox=5, capacity=10
            ),
        ),
        **values,
    )


def rows(screen: Screen, model: Model) -> list[Row]:
    found = screen.chosen([*screen.current.rows(model)])
    screen.place(found, 10)
    return found


def press(screen: Screen, model: Model, *keys: str) -> Any:
    effect = None
    for key in keys:
        effect = screen.press(key, rows(screen, model))
    return effect


def drawn(screen: Screen, model: Model, width: int = 140, height: int = 30) -> str:
    console = Console(record=True, width=width, height=height, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(picture(screen, model, width, height))
    console.file.close()
    return console.export_text()
