"""Tables of what runs by the clock: plain functions from results to what rich renders."""

from collections.abc import Sequence

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from runnel.timing.timers import Clockwork, Waiting, when


def print_timers(jobs: Sequence[Clockwork], events: Sequence[Waiting], total: int) -> None:
    """Print jobs and delayed events."""
    more = [Text(f"… of {total:,}", style="dim")] if total > len(events) else []
    Console(highlight=False).print(Group(jobs_view(jobs), Text(), events_view(events), *more))


def print_cancelling(events: Sequence[Waiting]) -> None:
    """Print the plan."""
    title = f"{len(events):,} delayed {'event is' if len(events) == 1 else 'events are'} cancelled:"
    Console(highlight=False).print(Group(Text(title, "bold"), events_view(events)))


def jobs_view(jobs: Sequence[Clockwork]) -> RenderableType:
    """A line for each job."""
    if not jobs:
        return Text("no jobs", style="dim")
    table = _table("job", "schedule", "runs on", "next due (UTC)", "last claimed")
    for each in jobs:
        said = each.as_dict()
        moments = ["-" if moment is None else when(moment) for moment in (each.next, each.claimed)]
        table.add_row(each.job.name, said["schedule"], "the leader" if each.job.on_leader else "each worker", *moments)
    return table


def events_view(events: Sequence[Waiting]) -> RenderableType:
    """A line for each delayed event."""
    if not events:
        return Text("no delayed events", style="dim")
    table = _table("delayed event", "due (UTC)", "key")
    for each in events:
        table.add_row(each.id, when(each.aside.due), Text(each.key, overflow="fold"))
    return table


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in columns:
        table.add_column(name, header_style="dim", no_wrap=name != "key")
    return table
