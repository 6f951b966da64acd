"""Tables of what runs by the clock: plain functions from results to what rich renders."""

from collections.abc import Sequence

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from runnel.timing.timers import Clockwork, Waiting, split, when


def print_timers(jobs: Sequence[Clockwork], found: Sequence[Waiting], total: int) -> None:
    """Print jobs, delayed events and reminders."""
    events, reminders = split(found)
    tables = [jobs_view(jobs), Text(), events_view(events)]
    tables += [Text(), reminders_view(reminders)] if reminders else []
    tables += [Text(f"… of {total:,}", style="dim")] if total > len(found) else []
    Console(highlight=False).print(Group(*tables))


def print_cancelling(events: Sequence[Waiting], reminders: int) -> None:
    """Print the plan; `reminders`: how many would be meant as well, and stay."""
    title = f"{len(events):,} delayed {'event is' if len(events) == 1 else 'events are'} cancelled:"
    stay = f"{reminders:,} {'reminder stays' if reminders == 1 else 'reminders stay'}: only actors cancel them"
    Console(highlight=False).print(Group(Text(title, "bold"), events_view(events), *([Text(stay)] if reminders else [])))


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


def reminders_view(reminders: Sequence[Waiting]) -> RenderableType:
    """A line for each reminder."""
    table = _table("reminder", "due (UTC)", "of", "key")
    for each in reminders:
        about = Text(each.processor, overflow="fold"), Text(each.key, overflow="fold")
        table.add_row(Text(each.name, overflow="fold"), when(each.aside.due), *about)
    return table


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in columns:
        table.add_column(name, header_style="dim", no_wrap=name != "key")
    return table
