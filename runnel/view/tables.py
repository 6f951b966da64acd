"""Tables that commands print: plain functions from results to what rich renders."""

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from runnel.reset import Move, Plan
from runnel.status import PartitionStatus, ProcessorStatus, Status


def print_status(status: Status) -> None:
    """Print how an app stands."""
    Console(highlight=False).print(status_view(status), soft_wrap=False)


def print_plan(plan: Plan) -> None:
    """Print what a reset does."""
    Console(highlight=False).print(plan_view(plan))


def status_view(status: Status) -> RenderableType:
    """An app: a table for each processor, and totals."""
    lag = sum(each.lag for each in status.processors)
    head = Text(f"{status.app} on {status.server}: ", style="bold")
    head.append("caught up" if not lag else f"{lag:,} events to do", style="green" if not lag else "yellow")
    return Group(head, *(_processor(each) for each in status.processors))


def _processor(status: ProcessorStatus) -> RenderableType:
    count = len(status.partitions)
    table = _table("partition", "lag", "cursor", "owner", "epoch", "lease left")
    for each in status.partitions:
        table.add_row(*_partition(each))
    owned = f"{status.owned} of {count} partitions owned by {_many(status.owners, 'worker')}"
    title = Text.assemble("\n", (status.processor, "bold"), f" on {status.stream}: lag {status.lag:,}, {owned}")
    return Group(title, table)


def _partition(status: PartitionStatus) -> tuple[RenderableType, ...]:
    return (
        str(status.partition),
        Text(f"{status.lag:,}", style="yellow" if status.lag else ""),
        status.cursor or Text("never ran", style="dim"),
        status.owner or Text("-", style="dim"),
        str(status.epoch),
        f"{status.lease_left:.1f} s" if status.owner else Text("-", style="dim"),
    )


def plan_view(plan: Plan) -> RenderableType:
    """What a reset does, partition by partition, and in all."""
    table = _table("partition", "cursor now", "cursor then", "run again", "skipped", "owner")
    for each in plan.moves:
        table.add_row(*_move(each))
    said = [f"{_many(plan.again, 'event')} run again"] if plan.again else []
    said += [f"{_many(plan.skipped, 'event')} are never run"] if plan.skipped else []
    title = Text(f"Reset of {plan.processor} on {plan.stream}: {' and '.join(said) or 'no event is affected'}", "bold")
    parts: list[RenderableType] = [title, table]
    if owners := sorted({each.owner for each in plan.moves if each.owner}):
        parts.append(Text(f"Running workers go on from there: {', '.join(owners)}"))
    return Group(*parts)


def _move(move: Move) -> tuple[RenderableType, ...]:
    return (
        str(move.keys.number),
        move.cursor_now or Text("never ran", style="dim"),
        move.cursor_then,
        f"{move.again:,}",
        Text(f"{move.skipped:,}", style="red" if move.skipped else ""),
        move.owner or Text("-", style="dim"),
    )


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in columns:
        numeric = name in ("partition", "lag", "epoch", "run again", "skipped", "lease left")
        table.add_column(name, justify="right" if numeric else "left", header_style="dim", no_wrap=True)
    return table


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"
