"""What `runnel replay` prints of its plan: plain functions from results to what rich renders."""

import sys

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from runnel.operations.replay import Range
from runnel.replaying import Outcome
from runnel.view.tables import UNCUT


def print_range(events: Range, processor: str, name: str) -> None:
    """Print which events run, through what."""
    Console(highlight=False, width=None if sys.stdout.isatty() else UNCUT).print(range_view(events, processor, name))


def done_line(outcome: Outcome, key: str | None) -> str:
    """The last line of a replay: how many events ran, and why not all that the plan counted."""
    said = f"Done: {_events(outcome.events)}"
    if not outcome.left_out:
        return f"{said}."
    others = "what is not of the key" if key is not None else "messages and reminders of actors"
    return f"{said}; {outcome.left_out:,} left out: {others}."


def _events(count: int) -> str:
    return f"{count:,} {'event' if count == 1 else 'events'}"


def range_view(events: Range, processor: str, name: str) -> RenderableType:
    """Which events run, partition by partition, and what it means."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in ("partition", "from", "to", "events"):
        table.add_column(column, justify="left" if column in ("from", "to") else "right", header_style="dim", overflow="fold")
    for part in events.parts:
        table.add_row(str(part.keys.number), part.first, part.last, f"{part.entries:,}")
    count = _events(events.entries)
    which = f"those of key {events.key!r} among {count}" if events.key is not None else count
    said = (
        f"The handler of {processor} runs in this process, and what it does to the world, or sends, it does again. Nothing "
        f"that Runnel keeps of {processor} is touched; what it keeps of {name}, and what actors emit, is dropped at the end."
    )
    return Group(Text(f"Replay of {events.stream} through {processor} as {name}: {which}", "bold"), table, Text(said))
