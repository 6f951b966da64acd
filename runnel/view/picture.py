"""The view as rich renders it: pure functions from what is known (model.py) and what is shown (screen.py) to lines.

Exactly as many lines as the terminal has, or fewer; nothing is wider than it.
"""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from runnel.view import words
from runnel.view.model import Model
from runnel.view.pages import PAGES
from runnel.view.pages.page import Page, Row
from runnel.view.screen import HELP, Screen

GAP = 2
"""Cells between columns."""

LEAST = 12
"""A column that would have to be narrower than this, and than it needs, is left out."""

ANSWERS = "  y / n"

MARK = "› "
"""Before the selected row: it must be seen without colours, too."""


def picture(screen: Screen, model: Model, width: int, height: int, rows: Sequence[Row] | None = None) -> RenderableType:
    """Everything."""
    head = header(model, width)
    body = max(1, height - len(head) - 2)
    if screen.mode == "help":
        lines = _scrolled([_pair(*each, 26) for each in HELP], screen, body)
    elif model.overview is None:
        lines = [Text(model.problem or "asking the server …", style="red" if model.problem else "dim")]
    else:
        found = screen.chosen([*screen.current.rows(model)]) if rows is None else rows
        at = screen.place(found, max(1, body - 1))
        detail = found[at].whole().detail if screen.mode == "detail" and found else ()
        if detail:
            room = max(18, *(len(name) + GAP for name, _ in detail))
            lines = _scrolled([_pair(name, str(value), room) for name, value in detail], screen, body)
        else:
            lines = _list(screen, found, width, body)
    lines = [*head, tabs(screen, width), *lines, footer(screen, model, width)]
    for line in lines:
        clean(line).truncate(width, overflow="ellipsis")
    return Group(*lines)


def safely(screen: Screen, model: Model, width: int, height: int) -> tuple[list[Row], RenderableType]:
    """The rows that are shown, and everything. Should that fail, why: a view that is wrong must not stop a worker."""
    try:
        rows = screen.chosen([*screen.current.rows(model)])
        return rows, picture(screen, model, width, height, rows)
    except Exception as error:
        text = Text(f"this page cannot be shown: {type(error).__name__}: {error}", style="red")
        return [], Group(tabs(screen, width), clean(text))


def clean(text: Text) -> Text:
    """Without what a terminal would obey: keys and errors come from users, who may have put anything into them."""
    if not text.plain.isprintable():
        text.plain = "".join(character if character.isprintable() else "·" for character in text.plain)
    return text


# ── the parts ──


def header(model: Model, width: int) -> list[Text]:
    """How the app stands as a whole."""
    overview = model.overview
    if overview is None:
        return [Text("runnel", style="bold")]
    status, server = overview.status, overview.server
    reports = [*model.reports]
    draining = sum(report.state == "draining" for report in reports)
    leader = next((worker.worker for worker in status.workers if worker.leads), "nobody")
    memory = words.size(server.memory) + (f" of {words.size(server.limit)}" if server.limit else "")
    loop_lag = max((report.loop_lag for report in reports), default=0.0)
    restarts = sum(each.restarts for report in reports for each in report.processors)
    first = Text.assemble(
        (status.app, "bold"), "  ", status.server, (f"  {server.name} {server.version}, {memory}", "dim")
    )
    second = Text.assemble(
        _many(len(status.workers), "worker"),
        (f", {draining} draining" if draining else "", "magenta"),
        (f", leader {leader}", "dim"),
        f"  restarts {restarts:,}",
        ("  loop lag ", ""),
        (words.took(loop_lag).plain, "red" if loop_lag >= 0.25 else ""),
    )
    parked, dead = sum(each.parked for each in status.processors), sum(each.dead for each in status.processors)
    third = Text.assemble(
        (f"{model.done:,.0f}/s done", "bold green"),
        f"  {model.incoming:,.0f}/s in  ",
        (words.sparkline([*model.curve]), "green"),
        ("  lag ", ""),
        (f"{status.lag:,}", "yellow" if status.lag else "green"),
        ("  parked ", ""),
        (f"{parked:,}", "red" if parked else ""),
        ("  dead ", ""),
        (f"{dead:,}", "red" if dead else ""),
        f"  oldest {words.waited(status.oldest_age).plain}",
    )
    for line in (first, second, third):
        line.truncate(width, overflow="ellipsis")
    return [first, second, third]


def tabs(screen: Screen, width: int) -> Text:
    """The names of the pages."""
    line = Text()
    for at, page in enumerate(PAGES):
        line.append(f" {at + 1} {page.name} ", style="reverse" if at == screen.page else "dim")
    if screen.here.filter:
        line.append(f"  /{screen.here.filter}", style="bold")
    line.truncate(width, overflow="ellipsis")
    return line


def footer(screen: Screen, model: Model, width: int) -> Text:
    """What is asked, what was done, or what the keys are."""
    if screen.mode == "confirm":
        question = Text(f"{screen.question}?")
        question.truncate(max(1, width - len(ANSWERS)), overflow="ellipsis")
        line = question.append(ANSWERS)
        line.style = "bold yellow"
    elif screen.mode == "filter":
        line = Text.assemble((f"/{screen.here.filter}", "bold"), ("▏ what rows are to hold; Enter, or Esc for all", "dim"))
    elif screen.waits:
        line = Text(f"{screen.waits}: waits for the server" + (f": {model.problem}" if model.problem else ""), style="bold red")
    elif screen.notice:
        line = Text(screen.notice, style="bold")
    elif model.problem and model.overview is not None:
        line = Text(f"{model.problem}; what is shown is old", style="bold red")
    elif screen.is_frozen:
        line = Text("frozen: space to go on", style="bold magenta")
    else:
        line = Text(f"? help  / filter  o sort  Enter detail  q quit  every {screen.seconds:g} s", style="dim")
    line.truncate(width, overflow="ellipsis")
    return line


def _list(screen: Screen, rows: Sequence[Row], width: int, height: int) -> list[Text]:
    page, here = screen.current, screen.here
    if not rows:
        return [Text(f"no row holds {here.filter!r}" if here.filter else page.empty, style="dim")]
    seen = [row.whole() for row in rows[here.top : here.top + max(1, height - 1)]]
    return _columns(page, seen, rows, screen, width)[-height:]


def _columns(page: Page, seen: Sequence[Row], rows: Sequence[Row], screen: Screen, width: int) -> list[Text]:
    """Head and lines; on a narrow terminal the columns that matter most."""
    here = screen.here
    lines = [Text("  ", style="dim"), *(Text(MARK if row.id == here.selected else "  ") for row in seen)]
    left = width - len(MARK)
    for at, column in enumerate(page.columns):
        mark = ("▾" if here.falling else "▴") if at == here.sort and rows[0].order else ""
        cells = [Text(column.name + mark, style="dim"), *(row.cells[at].copy() for row in seen)]
        needs = max(cell.cell_len for cell in cells)
        if not needs:
            continue
        if left < min(needs, LEAST):
            break
        room = min(needs, left)
        for line, cell in zip(lines, cells, strict=True):
            cell.truncate(room, overflow="ellipsis")
            pad = " " * (room - cell.cell_len)
            line.append_text(Text.assemble(pad, cell) if column.justify == "right" else Text.assemble(cell, pad))
            line.append(" " * GAP)
        left -= room + GAP
    for line, row in zip(lines[1:], seen, strict=True):
        if row.id == here.selected:
            line.stylize("bold")
        line.rstrip()
    return lines


def _scrolled(lines: list[Text], screen: Screen, height: int) -> list[Text]:
    screen.scroll = max(0, min(screen.scroll, len(lines) - height))
    return lines[screen.scroll : screen.scroll + height]


def _pair(name: str, value: str, width: int) -> Text:
    return Text.assemble((f"{name:<{width}}" if name else "  ", "dim"), value.expandtabs(4))


def _many(count: int, thing: str) -> str:
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"


def static(model: Model, pages: Sequence[Page] = PAGES) -> RenderableType:
    """All pages below each other, whole: for a file, or a terminal that scrolls."""
    found: list[RenderableType] = [*header(model, 10_000)]
    for page in pages:
        table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="dim", title_justify="left")
        for column in page.columns:
            table.add_column(column.name, justify=column.justify, no_wrap=True)
        rows = [*page.rows(model)]
        for row in rows:
            table.add_row(*map(clean, row.whole().cells))
        found += [Text(), Text(page.name, style="bold"), table if rows else Text(page.empty, style="dim")]
    return Group(*found)
