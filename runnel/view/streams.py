"""Tables of streams, and of what trimming and deleting them does: plain functions from results to what rich renders."""

import sys
from collections.abc import Sequence

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from runnel.operations.erasing import ErasurePlan
from runnel.operations.streams import StreamStatus, TrimPlan
from runnel.view.tables import UNCUT, age

NUMERIC = ("partitions", "events", "ever sent", "oldest", "partition", "dropped", "not done yet", "stay", "not done", "delayed")


def show(view: RenderableType) -> None:
    """Print it."""
    Console(highlight=False, width=None if sys.stdout.isatty() else UNCUT).print(view)


def list_view(streams: Sequence[StreamStatus]) -> RenderableType:
    """A line for each stream."""
    if not streams:
        return Text("no streams", style="dim")
    table = _table("stream", "partitions", "events", "ever sent", "oldest", "processors", "")
    for each in streams:
        oldest = "-" if each.oldest_age is None else age(each.oldest_age)
        gone = Text("" if each.declared else "not in the code any more", style="yellow")
        counts = (f"{each.events:,}", f"{each.added:,}")
        table.add_row(each.stream, str(each.partitions), *counts, oldest, ", ".join(each.processors) or "-", gone)
    return table


def trim_view(plan: TrimPlan) -> RenderableType:
    """What trimming does, partition by partition, and in all."""
    table = _table("partition", "events", "dropped", "stay", "not done yet")
    for each in plan.cuts:
        row = (each.length, each.dropped, each.length - each.dropped, each.held_back)
        table.add_row(str(each.keys.number), *(f"{number:,}" for number in row))
    parts: list[RenderableType] = [Text(f"Trim {plan.stream}: {_events(plan.dropped)} dropped", "bold"), table]
    if plan.held_back:
        parts.append(Text(f"{_events(plan.held_back)} more would be dropped, but some processor has not done them: they stay"))
    for name, count in plan.lost.items():
        whose = f"{name} has not done" if name else "nobody has done: no processor is registered"
        parts.append(Text(f"{_events(count)} of them {whose}: lost for good", "red"))
    return Group(*parts)


def erasure_view(plan: ErasurePlan, *, force: bool) -> RenderableType:
    """What goes with a stream, partition by partition, and in all."""
    table = _table("partition", "events", "not done", "delayed", "processors", "run by")
    for each in plan.partitions:
        counts = (f"{each.events:,}", f"{each.undone + each.emitted:,}", f"{each.delayed:,}")
        table.add_row(str(each.keys.number), *counts, ", ".join(each.processors) or "-", ", ".join(each.owners) or "-")
    said = f"{_events(plan.events)}, the cursors of {_many(len(plan.processors), 'processor')} and all else that is noted of it"
    parts: list[RenderableType] = [Text(f"Delete {plan.stream}: {said}", "bold"), table]
    if plan.kept:
        parts.append(Text(f"{_events(plan.kept)} parked, or dead letters, go with it", "red"))
    refused = "" if force else "refused without --force"
    if plan.lost:
        lost = f"{_events(plan.lost)} not done, delayed, or on their way elsewhere: {refused or 'lost for good'}"
        parts.append(Text(lost, "red"))
    if plan.owners:
        owners = f"Run by {', '.join(plan.owners)}: {refused or 'they are fenced'}. While they run they make it anew"
        parts.append(Text(owners, "red"))
    return Group(*parts)


def _events(count: int) -> str:
    return _many(count, "event")


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in columns:
        numeric = name in NUMERIC
        table.add_column(name, justify="right" if numeric else "left", header_style="dim", no_wrap=numeric, overflow="fold")
    return table
