"""What `runnel replay` prints of its plan: plain functions from results to what rich renders."""

import sys

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from runnel.operations.replay import Range
from runnel.view.tables import UNCUT


def print_range(events: Range, processor: str, name: str) -> None:
    """Print which events run, through what."""
    Console(highlight=False, width=None if sys.stdout.isatty() else UNCUT).print(range_view(events, processor, name))


def range_view(events: Range, processor: str, name: str) -> RenderableType:
    """Which events run, partition by partition, and what it means."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in ("partition", "from", "to", "events"):
        table.add_column(column, justify="left" if column in ("from", "to") else "right", header_style="dim", overflow="fold")
    for part in events.parts:
        table.add_row(str(part.keys.number), part.first, part.last, f"{part.entries:,}")
    count = f"{events.entries:,} {'event' if events.entries == 1 else 'events'}"
    which = f"those of key {events.key!r} among {count}" if events.key is not None else count
    said = (
        f"The handler of {processor} runs in this process, and what it does to the world, or sends, it does again. Nothing "
        f"that Runnel keeps of {processor} is touched; what it keeps of {name}, and what actors emit, is dropped at the end."
    )
    return Group(Text(f"Replay of {events.stream} through {processor} as {name}: {which}", "bold"), table, Text(said))
