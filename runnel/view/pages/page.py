"""What a page of the view is: columns, and the rows that a model has for them. Plain data."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

from attrs import field, frozen
from rich.console import RenderableType
from rich.text import Text

from runnel.view.model import Model


@frozen(kw_only=True)
class Target:
    """What an action is about."""

    processor: str | None = None
    partition: int | None = None
    worker: str | None = None
    key: str | None = None


@frozen(kw_only=True)
class Row:
    """A line.

    Attributes:
        id: By which it is the same line in the next picture.
        cells: One a column.
        order: What it is sorted by, one a column; a page whose rows have none keeps its order.
        target: What actions on it are about.
        detail: What Enter shows: names and values.
        make: Makes the whole row, where there may be thousands and only those in sight are written out; None: this is it.
    """

    id: str
    cells: tuple[Text, ...] = ()
    order: tuple[Any, ...] = ()
    target: Target = field(factory=Target)
    detail: tuple[tuple[str, Any], ...] = ()
    make: "Callable[[], Row] | None" = None

    def whole(self) -> "Row":
        """With its cells and its detail."""
        return self if self.make is None else self.make()


@frozen
class Column:
    """Of a page."""

    name: str
    justify: Literal["left", "right"] = "left"


@frozen(kw_only=True)
class Page:
    """Of the view.

    Attributes:
        rows: Makes its rows.
        sort: The column by which it is sorted at first; None: in the rows' own order.
        empty: What is said where there are no rows.
    """

    name: str
    columns: Sequence[Column]
    rows: Callable[[Model], Iterable[Row]]
    sort: int | None = None
    falling: bool = False
    empty: str = "nothing"
    about: str = ""


Renderable = RenderableType


def right(*names: str) -> list[Column]:
    """Columns of numbers."""
    return [Column(name, "right") for name in names]


def left(*names: str) -> list[Column]:
    """Columns of text."""
    return [Column(name) for name in names]
