"""Events, as `runnel peek` and `runnel tail` print them: plain functions from results to text."""

import sys
from datetime import UTC, datetime

import orjson
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from runnel.operations.peek import Page
from runnel.operations.shown import Shown
from runnel.view.tables import UNCUT, YEAR_9999, age


def print_page(page: Page) -> None:
    """Print a page of events, a line each."""
    Console(highlight=False, width=None if sys.stdout.isatty() else UNCUT).print(page_view(page))


def page_view(page: Page) -> RenderableType:
    """A line for each event, and below it where a search for a key's events ended early."""
    parts: list[RenderableType] = [_table(page) if page.events else Text("no events", style="dim")]
    if page.unfinished is not None:
        said = f"The search ended at {page.unfinished}, before the partition did: --from goes on there, --search looks further"
        parts.append(Text(said, style="yellow"))
    return Group(*parts)


def line(event: Shown) -> str:
    """An event in one line: its id, when it was sent, its key, and what it holds."""
    ms = event.sent * 1000
    sent = "-" if ms >= YEAR_9999 else datetime.fromtimestamp(event.sent, UTC).isoformat(sep=" ", timespec="milliseconds")[:-6]
    said = "  ".join((event.id, sent, printable(event.key) or "-", content(event)))
    return f"{said}  {_headers(event)}" if event.headers else said


def content(event: Shown) -> str:
    """What an event holds: its record as JSON; or why it does not decode, and its fields."""
    if event.error is not None:
        return printable(f"does not decode: {event.error}; {orjson.dumps(dict(event.fields)).decode()}")
    held = "" if event.record is None else printable(orjson.dumps(event.record).decode())
    if event.to is None:
        return held
    return printable(f"for {event.to} alone: {event.what or 'a message'}") + (f" {held}" if held else "")


def printable(text: str) -> str:
    """The text with what a terminal might take for commands escaped: anybody may have sent it."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _table(page: Page) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    with_headers = any(event.headers for event in page.events)
    for name in ("event", "age", "key", "record", *(("headers",) if with_headers else ())):
        table.add_column(name, header_style="dim", no_wrap=name in ("event", "age"))
    for event in page.events:
        style = "red" if event.error is not None else "dim" if event.to is not None else ""
        texts = [Text(printable(event.key)), Text(content(event), style), *([Text(_headers(event))] if with_headers else [])]
        for text in texts:
            text.overflow = "fold"
        table.add_row(event.id, age(event.age), *texts)
    return table


def _headers(event: Shown) -> str:
    return printable(orjson.dumps(dict(event.headers)).decode()) if event.headers else ""
