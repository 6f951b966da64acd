"""Tables of dead letters and parked events: plain functions from results to what rich renders."""

import sys
from collections.abc import Sequence
from datetime import UTC, datetime

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from runnel.operations.kept import Kept
from runnel.view.tables import UNCUT, age


def print_kept(kept: Sequence[Kept], title: str = "") -> None:
    """Print them, a line each."""
    _console().print(kept_view(kept, title))


def print_one(kept: Kept) -> None:
    """Print all that is known of one."""
    console = _console()
    console.print(one_view(kept))
    console.print(Text(kept.as_dict()["traceback"] or ""), soft_wrap=True)  # its lines hold paths, to be copied


def _console() -> Console:
    return Console(highlight=False, width=None if sys.stdout.isatty() else UNCUT)


def kept_view(kept: Sequence[Kept], title: str = "") -> RenderableType:
    """A line for each; those without an error lie behind one of their key that failed."""
    parked = any(each.again is not None for each in kept)
    table = _table("name", "key", "at", *(("tried", "next") if parked else ()), "error")
    for each in kept:
        error = Text(each.error.splitlines()[0] if each.error else "-", style="" if each.error else "dim", overflow="fold")
        again = () if each.again is None else (f"{each.again.tried:,}", _next(each))
        table.add_row(each.name, Text(each.as_dict()["key"], overflow="fold"), _when(each.at), *again, error)
    parts: list[RenderableType] = [Text(title, "bold")] if title else []
    return Group(*parts, table if kept else Text("none", style="dim"))


def one_view(kept: Kept) -> RenderableType:
    """All that is known of one, but its traceback."""
    said = kept.as_dict()
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("name", "id", "key", "at", "error", "attempts", "worker", "tried_again", "next_try"):
        if name not in said:
            continue
        table.add_row(Text(name, style="dim"), Text("-" if said[name] is None else str(said[name]), overflow="fold"))
    for name, value in said["fields"].items():
        table.add_row(Text(name, style="dim"), Text(value, overflow="fold"))
    return table


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in columns:
        table.add_column(name, header_style="dim", no_wrap=name in ("name", "at", "tried", "next"))
    return table


def _next(kept: Kept) -> str:
    """In how long its key runs again."""
    if kept.again is None or kept.again.due is None:
        return "-"
    left = kept.again.due - kept.now
    return f"in {age(left)}" if left > 0 else "now"


def _when(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")
