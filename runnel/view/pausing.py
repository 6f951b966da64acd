"""What is paused, and what is about to be: plain functions from results to what rich renders."""

import sys
from collections.abc import Sequence
from datetime import UTC, datetime

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from runnel.operations.pause import PausePlan
from runnel.operations.status import PartitionStatus
from runnel.store.pausing import Paused

UNCUT = 10_000
"""Columns of what is no terminal: whoever reads it gets each row as a line, uncut."""


def print_plan(plan: PausePlan, title: str) -> None:
    """Print partitions, as they are, under what is to be done with them."""
    Console(highlight=False, width=None if sys.stdout.isatty() else UNCUT).print(plan_view(plan, title))


def plan_view(plan: PausePlan, title: str) -> RenderableType:
    """A line for each partition, and what is paused already."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("partition", "lag", "owner", "now"):
        right = name in ("partition", "lag")
        table.add_column(name, justify="right" if right else "left", header_style="dim", no_wrap=right, overflow="fold")
    for each in plan.partitions:
        table.add_row(str(each.partition), f"{each.lag:,}", each.owner or Text("-", style="dim"), _now(each))
    already = [Text(said, style="yellow") for said in paused_lines(plan.partitions)]
    return Group(Text(title, "bold"), table, *already)


def _now(status: PartitionStatus) -> Text:
    if status.stopped is not None:
        return Text("quarantined" if status.paused is None else "paused, quarantined", style="red")
    if status.paused is not None:
        return Text("paused", style="yellow")
    return Text("runs") if status.owner is not None else Text("nobody runs it", style="dim")


def paused_lines(partitions: Sequence[PartitionStatus]) -> list[str]:
    """What of a processor is paused: a line for each reason and who gave it."""
    found: dict[tuple[str, str], list[PartitionStatus]] = {}
    for each in partitions:
        if each.paused is not None:
            found.setdefault((each.paused.reason, each.paused.by), []).append(each)
    return [f"{_numbers([each.partition for each in some])} paused {_how(some)}" for some in found.values()]


def _how(partitions: Sequence[PartitionStatus]) -> str:
    first = min((each.paused for each in partitions if each.paused is not None), key=_since)
    by = f" by {first.by}" if first.by else ""
    when = datetime.fromtimestamp(first.since, UTC).strftime("since %Y-%m-%d %H:%M:%SZ")
    reason = " ".join(first.reason.split())
    return f"{when}{by}{': ' if reason else ''}{reason}"


def _since(paused: Paused) -> float:
    return paused.since


def _numbers(numbers: Sequence[int]) -> str:
    """Partitions by their numbers, those that follow one another together: partitions 0-3, 7 are."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1][1:] = [number]
        else:
            runs.append([number])
    said = ", ".join("-".join(map(str, run)) for run in runs)
    return f"partition {said} is" if len(numbers) == 1 else f"partitions {said} are"
