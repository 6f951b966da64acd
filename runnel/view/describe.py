"""What `runnel describe` prints: plain functions from a description to what rich renders."""

import sys
from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from runnel.operations.describe import Description, Row
from runnel.view.tables import UNCUT


def print_description(description: Description) -> None:
    """Print all of it."""
    Console(highlight=False, width=None if sys.stdout.isatty() else UNCUT).print(description_view(description))


def description_view(description: Description) -> RenderableType:
    """The facts, a line each, and the tables below."""
    facts = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    for name, value in description.facts.items():
        facts.add_row(Text(words(name), style="dim"), Text(said(value), overflow="fold"))
    parts: list[RenderableType] = [Text(f"{description.kind} {description.name}", "bold"), facts]
    for name, rows in description.tables.items():
        parts += [Text(f"\n{words(name)}" + ("" if rows else ": none"), "bold"), *_table(rows)]
    return Group(*parts)


def _table(rows: Sequence[Row]) -> Iterable[Table]:
    if not rows:
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name, value in rows[0].items():
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        table.add_column(words(name), justify="right" if is_number else "left", header_style="dim", overflow="fold")
    for row in rows:
        table.add_row(*(Text(said(value), overflow="fold") for value in row.values()))
    yield table


def words(name: str) -> str:
    """A name as people write it."""
    return name.replace("_", " ")


def said(value: Any) -> str:
    """A value as people read it."""
    match value:
        case None | [] | "":
            return "-"
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}"
        case float():
            return f"{value:g}"
        case list():
            return ", ".join(map(said, value))
    return str(value).partition("\n")[0]
