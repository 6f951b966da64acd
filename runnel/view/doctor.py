"""What `runnel doctor` prints: plain functions from findings to what rich renders."""

import sys
from collections.abc import Sequence

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from runnel.operations.finding import Finding, count
from runnel.view.tables import UNCUT

STYLES = {"ok": "green", "warning": "yellow", "problem": "red"}


def print_findings(app: str, server: str, findings: Sequence[Finding]) -> None:
    """Print them, a line each, and below it what to do."""
    Console(highlight=False, width=None if sys.stdout.isatty() else UNCUT).print(findings_view(app, server, findings))


def findings_view(app: str, server: str, findings: Sequence[Finding]) -> RenderableType:
    """A line for each finding, and below it what to do; first how many there are."""
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    for each in findings:
        table.add_row(Text(each.check), Text(each.level, STYLES[each.level]), Text(each.said, overflow="fold"))
        if each.advice:
            table.add_row("", "", Text(f"→ {each.advice}", "dim", overflow="fold"))
    return Group(Text(f"{app} on {server}: {_summary(findings)}", "bold"), table)


def _summary(findings: Sequence[Finding]) -> str:
    problems, warnings = count(findings, "problem"), count(findings, "warning")
    said = [f"{problems} {'problem' if problems == 1 else 'problems'}"] if problems else []
    said += [f"{warnings} {'warning' if warnings == 1 else 'warnings'}"] if warnings else []
    return ", ".join(said) or "all is well"
