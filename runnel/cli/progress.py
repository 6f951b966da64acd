"""A progress bar on standard error, when that is a terminal."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import BinaryIO

from attrs import frozen


@frozen
class Shown:
    """What shows how far it is.

    Attributes:
        advance: Told the events sent, and the bytes read, since it was last called.
        say: Prints a line on standard error, above the bar.
    """

    advance: Callable[[int, int], None]
    say: Callable[[str], None]


@contextmanager
def progress(source: BinaryIO) -> Iterator[Shown]:
    """Show how much of `source` is sent."""
    if not sys.stderr.isatty():
        yield Shown(lambda events, size: None, lambda text: print(text, file=sys.stderr, flush=True))
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    total = os.fstat(source.fileno()).st_size or None  # a pipe has no size
    columns = (
        TextColumn("{task.fields[events]:,} events"),
        BarColumn(),
        TextColumn("{task.fields[rate]:,.0f}/s"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=total, events=0, rate=0.0)

        def advance(events: int, size: int) -> None:
            state = bar.tasks[task]
            done = state.fields["events"] + events
            bar.update(task, advance=size, events=done, rate=done / (state.elapsed or 1))

        yield Shown(advance, lambda text: bar.console.print(text, markup=False, highlight=False))
