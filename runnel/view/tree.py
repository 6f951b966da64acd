"""A worker's tree of actors as rich renders it: pure functions from snapshots."""

import re
from collections.abc import Sequence

from attrs import evolve, frozen
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from runnel.actors import ActorSnapshot
from runnel.actors.snapshot import State

BAR = 8
"""Cells of a mailbox bar."""

GAP = 2
"""Cells between columns."""

LEAST = 15
"""A column that would have to be narrower than this, and than it needs, is left out."""

_STYLES = {
    State.IDLE: "dim",
    State.RUNNING: "green",
    State.BLOCKED: "yellow",
    State.WAITING: "yellow",
    State.STARTING: "cyan",
    State.RESTARTING: "yellow",
    State.BACKOFF: "red",
    State.STOPPING: "magenta",
    State.STOPPED: "dim",
}


@frozen(kw_only=True)
class Heading:
    """What stands above the tree."""

    app: str
    server: str
    worker: str
    done: int
    rate: float
    elapsed: float


@frozen(kw_only=True)
class Row:
    """A line of the tree: an actor, or several like it that had no room of their own."""

    indent: str
    actors: tuple[ActorSnapshot, ...]

    @property
    def name(self) -> str:
        """What is shown as its name."""
        first = self.actors[0]
        kind = re.sub("(?<=[a-z])(?=[A-Z])", " ", first.kind).lower()
        return first.name if len(self.actors) == 1 else f"{len(self.actors)} {kind}s"


def view(heading: Heading, tree: ActorSnapshot | None, width: int, height: int) -> RenderableType:
    """Everything, no more than `height` lines of `width` cells."""
    head = heading_view(heading)
    if tree is None:
        return Group(head, Text("starting", style="dim"))
    lines = rows(tree, height - 4)
    hidden = _count(tree) - sum(not each.is_resident for row in lines for each in row.actors)
    more = [Text(f"… and {hidden} more", style="dim", no_wrap=True, overflow="ellipsis")] if hidden else []
    return Group(head, table(lines, width), *more)


def heading_view(heading: Heading) -> RenderableType:
    """App, server, worker; events done."""
    first = Text.assemble(
        (heading.app, "bold"), "  ", heading.server, "  ", (heading.worker, "dim"), no_wrap=True, overflow="ellipsis"
    )
    second = Text.assemble(
        (f"{heading.done:,}", "bold green"),
        f" {'event' if heading.done == 1 else 'events'} done, {heading.rate:,.0f}/s, up {_duration(heading.elapsed)}",
        no_wrap=True,
        overflow="ellipsis",
    )
    return Group(first, second)


def rows(tree: ActorSnapshot, most: int) -> list[Row]:
    """The lines of a tree. Where they would be more than `most`, residents have none; then brothers of one kind share a line.

    Where they still are, the last are left out, and one line more, for how many that are.
    """
    alone = _without_residents(tree)
    for shown, fold in ((tree, False), (alone, False), (alone, True)):
        found = _rows(shown, "", "", fold=fold)
        if len(found) <= most:
            return found
    return found[: max(1, most - 1)]


def _without_residents(tree: ActorSnapshot) -> ActorSnapshot:
    return evolve(tree, children=tuple(_without_residents(each) for each in tree.children if not each.is_resident))


def _count(tree: ActorSnapshot) -> int:
    """Residents are not counted: only the busiest of them are here anyway."""
    return sum(map(_count, tree.children), start=not tree.is_resident)


def _rows(actor: ActorSnapshot, indent: str, below: str, *, fold: bool) -> list[Row]:
    found = [Row(indent=indent, actors=(actor,))]
    groups = _brothers(actor.children) if fold else [(child,) for child in actor.children]
    for i, group in enumerate(groups):
        last = i == len(groups) - 1
        mine, deeper = below + ("└ " if last else "├ "), below + ("  " if last else "│ ")
        if len(group) == 1:
            found += _rows(group[0], mine, deeper, fold=fold)
        else:
            found.append(Row(indent=mine, actors=group))
    return found


def _brothers(children: Sequence[ActorSnapshot]) -> list[tuple[ActorSnapshot, ...]]:
    """Childless ones of one kind together; the rest alone."""
    groups: dict[str, list[ActorSnapshot]] = {}
    for child in children:
        groups.setdefault(child.path if child.children else child.kind, []).append(child)
    return [tuple(group) for group in groups.values()]


def table(lines: Sequence[Row], width: int) -> RenderableType:
    """The tree's lines; on a narrow terminal the columns that matter most."""
    columns: dict[str, list[Text]] = {
        "actor": [Text.assemble((row.indent, "dim"), row.name) for row in lines],
        "state": [state(row) for row in lines],
        "mailbox": [mailbox(row) for row in lines],
        "messages": [Text(f"{sum(each.processed for each in row.actors):,}") for row in lines],
        "restarts": [restarts(row) for row in lines],
        "": [details(row) for row in lines],
    }
    grid = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="dim")
    left, shown = width, []
    for name, cells in columns.items():
        needs = max(len(name), *(cell.cell_len for cell in cells)) + GAP
        if left < min(needs, LEAST):
            break
        for cell in cells:
            cell.truncate(max(1, left - GAP), overflow="ellipsis")
        left -= needs
        shown.append(cells)
        grid.add_column(name, no_wrap=True, justify="right" if name in ("messages", "restarts") else "left")
    for at in range(len(lines)):
        grid.add_row(*(cells[at] for cells in shown))
    return grid


def state(row: Row) -> Text:
    """What the actors are at, and for how long if that is worth a look."""
    if len(row.actors) > 1:
        counted = {each.state: 0 for each in row.actors}
        for each in row.actors:
            counted[each.state] += 1
        return Text(", ").join(Text(f"{n} {name}", style=_STYLES[name]) for name, n in counted.items())
    [actor] = row.actors
    age = actor.message_age
    return Text(actor.state + (f" {_duration(age)}" if age is not None and age >= 1 else ""), style=_STYLES[actor.state])


def mailbox(row: Row) -> Text:
    """How full the mailboxes are: a bar, and the fullest one's numbers."""
    fullest = max(row.actors, key=lambda each: each.mailbox_depth / (each.mailbox_capacity or 1))
    depth, capacity = fullest.mailbox_depth, fullest.mailbox_capacity
    if not capacity:
        return Text("")
    filled = min(BAR, -(-BAR * depth // capacity))
    style = "red" if depth >= capacity else "green" if depth else "dim"
    return Text.assemble(("█" * filled, style), ("·" * (BAR - filled), "dim"), f" {depth}/{capacity}")


def restarts(row: Row) -> Text:
    """How often they failed and began anew."""
    count = sum(each.restarts for each in row.actors)
    return Text(str(count) if count else "", style="red")


def details(row: Row) -> Text:
    """The last error, if there is one; what the actor says of itself."""
    errors = [each.last_error for each in row.actors if each.last_error]
    if errors:
        return Text(errors[-1], style="red")
    if len(row.actors) > 1:
        return Text("")
    return Text("  ".join(f"{name} {_value(value)}" for name, value in row.actors[0].details.items()), style="dim")


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _duration(seconds: float) -> str:
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"
