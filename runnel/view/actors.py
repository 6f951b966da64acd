"""Tables of actors: plain functions from results to what rich renders."""

import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import orjson
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from runnel.operations.actors import ActorStatus, Remembered, pretty, text
from runnel.view.tables import UNCUT, age


def print_actor(status: ActorStatus) -> None:
    """Print how one stands, and its state as JSON."""
    console = _console()
    console.print(actor_view(status))
    if status.remembered.state is not None:
        # As it is: whoever copies it wants no line broken.
        console.print(Text(pretty(status.remembered.as_dict()["state"])), soft_wrap=True)
    if status.unreadable is not None:
        console.print(Text(f"The code that is here cannot read this state: {status.unreadable}", "red"))


def print_actors(found: Sequence[Remembered], total: int) -> None:
    """Print them, a line each."""
    _console().print(actors_view(found, total))


def _console() -> Console:
    return Console(highlight=False, width=None if sys.stdout.isatty() else UNCUT)


def actor_view(status: ActorStatus) -> RenderableType:
    """All but the state itself."""
    remembered = status.remembered
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    waiting = f"{status.waiting:,} {_events(status.waiting)}" if status.looked_through else f"{status.waiting:,} or more events"
    lines = {
        "key": text(remembered.key),
        "actor": f"{status.processor} on {status.stream}, partition {remembered.partition}",
        "owner": status.owner or "nobody: no worker runs this partition",
        "waiting": waiting,
        "parked": f"{status.parked:,} {_events(status.parked)}" if status.parked else "no",
        **{f"reminder {name}": _due(due, status.now) for name, due in sorted(remembered.reminders.items())},
        "state": "none: its next event finds the initial one" if remembered.state is None else "",
    }
    for name, said in lines.items():
        style = "red" if name == "parked" and status.parked else "yellow" if name == "owner" and not status.owner else ""
        table.add_row(Text(name, style="dim"), Text(said, style=style, overflow="fold"))
    return table


def actors_view(found: Sequence[Remembered], total: int) -> RenderableType:
    """A line for each, and how many there are."""
    if not found:
        return Text("no key has a state", style="dim")
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("partition", "key", "next reminder (UTC)", "state"):
        table.add_column(name, header_style="dim", no_wrap=name != "key", justify="right" if name == "partition" else "left")
    for each in found:
        state = orjson.dumps(each.as_dict()["state"]).decode()
        table.add_row(str(each.partition), Text(text(each.key), overflow="fold"), _next(each.reminders), Text(state))
    more = [Text(f"… of {total:,}", style="dim")] if total > len(found) else []
    return Group(table, *more)


def _next(reminders: Mapping[str, int]) -> str:
    return _when(min(reminders.values())) if reminders else "-"


def _due(due: int, now: float) -> str:
    left = due / 1000 - now
    return f"{_when(due)} UTC, {f'in {age(left)}' if left > 0 else 'due'}"


def _when(moment: int) -> str:
    return datetime.fromtimestamp(moment / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _events(count: int) -> str:
    return "event" if count == 1 else "events"
