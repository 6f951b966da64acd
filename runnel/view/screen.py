"""What is on the screen, and what a key does to it. Plain data and plain decisions: no terminal, no rich, no clock.

A key is a string, as `keyboard.py` reads it: a character, or a name such as "up", "enter", "esc".
"""

from collections.abc import Sequence
from typing import Literal

from attrs import define, field, frozen

from runnel.view.pages import PAGES
from runnel.view.pages.page import Page, Row, Target

INTERVALS = (0.25, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Seconds between two pictures: + and - go through these."""

ACTIONS: dict[str, tuple[str, str]] = {
    "P": ("pause", "pause {what} until it is resumed"),
    "U": ("resume", "resume {what}"),
    "R": ("restart", "restart {what}: its event may run again"),
    "L": ("release", "release what is parked of {what}"),
}

Mode = Literal["list", "detail", "filter", "help", "confirm"]


@frozen(kw_only=True)
class Act:
    """To be done, since somebody said so."""

    what: str
    target: Target


@frozen
class Quit:
    """The view is to end."""


Effect = Act | Quit | None


@define
class Shown:
    """What one page shows: each keeps its own."""

    selected: str | None = None
    at: int = 0
    """Where the selected row was: should it go, the next one takes its place."""
    top: int = 0
    sort: int | None = None
    falling: bool = False
    filter: str = ""


@define(eq=False)
class Screen:
    """Of one view.

    Attributes:
        page: Which page.
        mode: What the keys mean.
        is_frozen: Whether the picture stands still.
        interval: Which of `INTERVALS`.
        asked: What is to be confirmed.
        notice: What was done, or why not.
        waits: What is being done, and has had no answer of the server yet.
        scroll: How far a detail, or the help, is scrolled.
    """

    page: int = 0
    mode: Mode = "list"
    is_frozen: bool = False
    interval: int = 2
    asked: Act | None = None
    notice: str = ""
    waits: str = ""
    scroll: int = 0
    stops: str = ""
    """What quitting does, where that has to be confirmed."""
    shown: list[Shown] = field(factory=lambda: [Shown(sort=page.sort, falling=page.falling) for page in PAGES])

    @property
    def current(self) -> Page:
        """The page."""
        return PAGES[self.page]

    @property
    def here(self) -> Shown:
        """What it shows."""
        return self.shown[self.page]

    @property
    def seconds(self) -> float:
        """Between two pictures."""
        return INTERVALS[self.interval]

    # ── rows ──

    def chosen(self, rows: Sequence[Row]) -> list[Row]:
        """The rows that pass the filter, sorted."""
        here, wanted = self.here, self.here.filter.lower()
        found = [row for row in rows if not wanted or wanted in " ".join(cell.plain for cell in row.whole().cells).lower()]
        column = here.sort
        if column is not None and all(row.order for row in found):
            found.sort(key=lambda row: row.order[column], reverse=here.falling)
        return found

    def place(self, rows: Sequence[Row], height: int) -> int:
        """Where the selected row is, and have it in sight: of `height` lines."""
        here = self.here
        at = next((n for n, row in enumerate(rows) if row.id == here.selected), here.at)
        here.at = max(0, min(at, len(rows) - 1))
        here.selected = rows[here.at].id if rows else None
        here.top = max(min(here.top, here.at), here.at - height + 1, 0)
        here.top = max(0, min(here.top, len(rows) - height))
        return here.at

    # ── keys ──

    def press(self, key: str, rows: Sequence[Row], height: int = 10) -> Effect:
        """A key, while these rows are chosen, on `height` lines."""
        self.notice = ""
        match self.mode:
            case "filter":
                self._type(key)
                return None
            case "confirm":
                return self._confirm(key)
            case "help" | "detail":
                return self._leave(key, rows, height)
        return self._list(key, rows, height)

    def _list(self, key: str, rows: Sequence[Row], height: int) -> Effect:
        here = self.here
        if key.isdigit() and 1 <= int(key) <= len(PAGES):
            self.page = int(key) - 1
        elif key in ("tab", "right"):
            self.page = (self.page + 1) % len(PAGES)
        elif key in ("backtab", "left"):
            self.page = (self.page - 1) % len(PAGES)
        elif by := _steps(key, height):
            self._step(by, rows)
        elif key == "enter":
            if rows and rows[here.at].whole().detail:
                self.mode, self.scroll = "detail", 0
        elif key == "esc":
            here.filter = ""
        elif key == "/":
            self.mode = "filter"
        elif key in ("o", "O"):
            self._sort(key, rows)
        elif key == " ":
            self.is_frozen = not self.is_frozen
        elif key in ("+", "="):
            self.interval = max(0, self.interval - 1)
        elif key == "-":
            self.interval = min(len(INTERVALS) - 1, self.interval + 1)
        elif key == "?":
            self.mode, self.scroll = "help", 0
        elif key == "q":
            return self._quit()
        elif key in ACTIONS:
            self._ask(key, rows)
        return None

    def _quit(self) -> Effect:
        if not self.stops:
            return Quit()
        self.mode, self.asked = "confirm", None
        return None

    def _step(self, by: int, rows: Sequence[Row]) -> None:
        here = self.here
        here.at = max(0, min(here.at + by, len(rows) - 1))
        here.selected = rows[here.at].id if rows else None

    def _sort(self, key: str, rows: Sequence[Row]) -> None:
        """The next column; O: the other way round."""
        here = self.here
        if not rows or not rows[0].order:
            self.notice = "this page has an order of its own"
            return
        if key == "O":
            here.falling = not here.falling
        else:
            here.sort = (0 if here.sort is None else here.sort + 1) % len(rows[0].order)
            here.falling = bool(self.current.columns[here.sort].justify == "right")
        if here.sort is not None:  # the column may not be in sight
            name = self.current.columns[here.sort].name or "error"
            self.notice = f"sorted by {name}, {'falling' if here.falling else 'rising'}"

    def _ask(self, key: str, rows: Sequence[Row]) -> None:
        what = ACTIONS[key][0]
        target = rows[self.here.at].target if rows else Target()
        if target.processor is None:
            self.notice = f"{what}: choose a partition, or a key, first"
        elif what == "restart" and target.partition is None:
            self.notice = f"{what}: choose a partition first"
        else:
            self.mode, self.asked = "confirm", Act(what=what, target=target)

    @property
    def question(self) -> str:
        """What is to be confirmed, in words."""
        if self.asked is None:
            return self.stops
        said = next(text for what, text in ACTIONS.values() if what == self.asked.what)
        return said.format(what=named(self.asked.target))

    def _confirm(self, key: str) -> Effect:
        asked, self.asked, self.mode = self.asked, None, "list"
        if key not in ("y", "Y", "enter"):
            self.notice = "nothing done"
            return None
        return Quit() if asked is None else asked

    def _type(self, key: str) -> None:
        here = self.here
        if key == "enter":
            self.mode = "list"
        elif key == "esc":
            self.mode, here.filter = "list", ""
        elif key == "backspace":
            here.filter = here.filter[:-1]
        elif len(key) == 1 and key.isprintable():
            here.filter += key

    def _leave(self, key: str, rows: Sequence[Row], height: int) -> Effect:
        if key in ("esc", "enter", "?", "backspace"):
            self.mode = "list"
        elif key == "q":
            return self._quit()
        elif by := _steps(key, height):
            self.scroll = max(0, self.scroll + by)
        elif self.mode == "detail" and key in ACTIONS:
            self._ask(key, rows)
        return None


_FAR = 10**9
_STEPS = {"j": 1, "down": 1, "k": -1, "up": -1, "g": -_FAR, "home": -_FAR, "G": _FAR, "end": _FAR}


def _steps(key: str, height: int) -> int:
    """How many rows down a key goes; 0: it is no such key."""
    return {"pgdn": height, "pgup": -height}.get(key, _STEPS.get(key, 0))


def named(target: Target) -> str:
    """What an action is about, in words."""
    if target.key is not None:
        return f"key {target.key!r} of {target.processor}"
    if target.partition is not None:
        return f"partition {target.partition} of {target.processor}"
    return f"{target.processor}"


HELP = (
    ("1 … 7, tab, ← →", "pages"),
    ("j k, ↑ ↓, g G, PgUp PgDn", "rows"),
    ("Enter, Esc", "into a row, and out of it"),
    ("/", "show only rows that hold a text; Esc: all"),
    ("o, O", "sort by the next column; the other way round"),
    ("space", "freeze, and go on"),
    ("+ -", "faster, slower"),
    ("P U", "pause and resume a partition"),
    ("R", "restart the actor of a partition"),
    ("L", "release what is parked of a partition, or a key"),
    ("?", "this help"),
    ("q", "quit"),
)
