"""How numbers, times and states are written in views: short, and the same everywhere. Pure functions."""

from collections.abc import Sequence
from datetime import datetime

from rich.text import Text

BAR = 8
"""Cells of a mailbox bar."""

SENDERS_OWN = 20 * 365 * 86_400
"""Seconds: no event is as old as that, since Redis had no streams then."""

SPARKS = "▁▂▃▄▅▆▇█"

STYLES = {
    "idle": "dim",
    "running": "green",
    "replaying": "green",
    "starting": "cyan",
    "blocked": "yellow",
    "restarting": "yellow",
    "retrying": "yellow",
    "waiting": "yellow",
    "draining": "magenta",
    "stopping": "magenta",
    "paused": "magenta",
    "parked": "red",
    "quarantined": "red",
    "fenced": "red",
    "backoff": "red",
    "unowned": "red",
    "stopped": "dim",
}


def state(name: str) -> Text:
    """A state, in its colour."""
    return Text(name, style=STYLES.get(name, ""))


def number(value: float | None) -> Text:
    """A count; nothing where there is none."""
    return Text("" if value is None else f"{value:,.0f}")


def rate(value: float) -> Text:
    """Something a second."""
    if not value:
        return Text("-", style="dim")
    return Text(f"{value:,.1f}" if value < 10 else f"{value:,.0f}")


def lag(value: int) -> Text:
    """How many events are not done."""
    return Text(f"{value:,}", style="yellow" if value else "dim")


def bad(value: int) -> Text:
    """A count of what should not be."""
    return Text(f"{value:,}" if value else "-", style="red" if value else "dim")


def took(seconds: float | None) -> Text:
    """A duration that is short, most times."""
    if seconds is None:
        return Text("-", style="dim")
    if seconds < 0.001:
        return Text(f"{seconds * 1_000_000:.0f} µs")
    return Text(f"{seconds * 1000:.1f} ms" if seconds < 1 else f"{seconds:.2f} s")


def quantile(seconds: float | None) -> Text:
    """A quantile of durations, which is right within an eighth: it has two digits."""
    if seconds is None:
        return Text("-", style="dim")
    told = float(f"{seconds:.1e}")
    value, unit = (told, "s") if told >= 1 else (told * 1e3, "ms") if told >= 0.001 else (told * 1e6, "µs")
    return Text(f"{value:.1f} {unit}" if value < 9.95 else f"{value:.0f} {unit}")


def age(seconds: float | None) -> Text:
    """How long ago, or for how long."""
    return Text("-", style="dim") if seconds is None else Text(duration(seconds))


def waited(seconds: float | None) -> Text:
    """How long ago an event was sent, by its id; nothing for an id that is no moment, but a number that its sender chose."""
    return age(None if seconds is None or seconds > SENDERS_OWN else seconds)


def duration(seconds: float) -> str:
    """A duration in at most two units."""
    whole = int(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    if whole < 86_400:
        return f"{whole // 3600} h {whole % 3600 // 60:02} min"
    return f"{whole // 86_400} d {whole % 86_400 // 3600:02} h"


def size(count: int) -> str:
    """Bytes."""
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count} {unit}" if unit == "B" else f"{count:.0f} {unit}"
        count = count // 1024 if count >= 1024 * 1024 else round(count / 1024)
    return f"{count:,} GiB"


def clock(moment: float) -> str:
    """The time of day of a moment since the epoch, where this terminal is."""
    return datetime.fromtimestamp(moment).strftime("%H:%M:%S")


def mailbox(depth: int, capacity: int) -> Text:
    """How full it is: a bar, and numbers."""
    if not capacity:
        return Text("")
    filled = min(BAR, -(-BAR * depth // capacity))
    style = "red" if depth >= capacity else "green" if depth else "dim"
    return Text.assemble(("█" * filled, style), ("·" * (BAR - filled), "dim"), f" {depth}/{capacity}")


def sparkline(values: Sequence[float]) -> str:
    """A small curve."""
    highest = max(values, default=0.0)
    if not highest:
        return SPARKS[0] * len(values)
    return "".join(SPARKS[min(len(SPARKS) - 1, int(value / highest * (len(SPARKS) - 1) + 0.5))] for value in values)


def error(text: str | None) -> Text:
    """An error, in one line."""
    return Text(" ".join((text or "").split()), style="red")
