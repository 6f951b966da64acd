"""Tables of dead letters and parked events: plain functions from results to what rich renders."""

from collections.abc import Sequence
from datetime import UTC, datetime

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from runnel.kept import Kept


def print_kept(kept: Sequence[Kept], title: str = "") -> None:
    """Print them, a line each."""
    Console(highlight=False).print(kept_view(kept, title))


def print_one(kept: Kept) -> None:
    """Print all that is known of one."""
    console = Console(highlight=False)
    console.print(one_view(kept))
    console.print(Text(kept.as_dict()["traceback"] or ""), soft_wrap=True)  # its lines hold paths, to be copied


def kept_view(kept: Sequence[Kept], title: str = "") -> RenderableType:
    """A line for each; those without an error lie behind one of their key that failed."""
    table = _table("name", "key", "at", "error")
    for each in kept:
        error = Text(each.error.splitlines()[0] if each.error else "-", style="" if each.error else "dim", overflow="fold")
        table.add_row(each.name, Text(each.as_dict()["key"], overflow="fold"), _when(each.at), error)
    parts: list[RenderableType] = [Text(title, "bold")] if title else []
    return Group(*parts, table if kept else Text("none", style="dim"))


def one_view(kept: Kept) -> RenderableType:
    """All that is known of one, but its traceback."""
    said = kept.as_dict()
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("name", "id", "key", "at", "error", "attempts", "worker"):
        table.add_row(Text(name, style="dim"), Text("-" if said[name] is None else str(said[name]), overflow="fold"))
    for name, value in said["fields"].items():
        table.add_row(Text(name, style="dim"), Text(value, overflow="fold"))
    return table


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in columns:
        table.add_column(name, header_style="dim", no_wrap=name in ("name", "at"))
    return table


def _when(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")
