"""The table of results."""

from collections.abc import Sequence
from statistics import median

from rich.console import Console
from rich.table import Table

from benchmarks.result import Result

VERDICT = {True: "[green]yes[/]", False: "[red]no[/]", None: ""}


def print_table(console: Console, results: Sequence[Result]) -> None:
    """Medians of all runs; the ratio is the median of the runs' ratios, with the least and the greatest.

    The last column compares CPU time an event of the client.
    """
    table = Table(title="Runnel against raw loops: median of the runs (least–greatest)")
    for name in ("measurement", "unit"):
        table.add_column(name)
    for name in ("raw", "ours", "ratio", "goal", "ok?", "CPU"):
        table.add_column(name, justify="right", no_wrap=True)
    for result in results:
        table.add_row(
            result.name,
            result.unit,
            _figure(result.raw),
            _figure(result.ours) if result.raw else _figure_and_range(result.ours),
            _ratio(result.ratios),
            "" if result.goal is None else str(result.goal),
            VERDICT[result.is_met],
            f"{median(result.cpu):.2f}×" if result.cpu else "",
        )
    console.print(table)


def _figure(values: Sequence[float]) -> str:
    if not values:
        return ""
    middle = median(values)
    return f"{middle:,.0f}" if middle >= 100 else f"{middle:.3g}"


def _figure_and_range(values: Sequence[float]) -> str:
    return _figure(values) if len(values) < 2 else f"{_figure(values)} ({min(values):.3g}–{max(values):.3g})"


def _ratio(ratios: Sequence[float]) -> str:
    return f"{median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f})" if ratios else ""
