"""Tables that commands print: plain functions from results to what rich renders."""

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Literal

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from runnel.handling.position import id_parts
from runnel.operations.release import ReleasePlan
from runnel.operations.reset import HIGHEST_SEQUENCE, Move, Plan
from runnel.operations.status import PartitionStatus, ProcessorStatus, Status, WorkerStatus
from runnel.operations.unregister import RemovalPlan
from runnel.view.pausing import paused_lines

UNCUT = 10_000
"""Columns of what is no terminal: whoever reads it gets each row as a line, uncut."""

YEAR_9999 = 253_370_764_800_000
"""Milliseconds at which the last year begins that has a date here; a sender may choose any id."""

NUMERIC = ("partition", "lag", "oldest", "owned", "workers", "epoch", "run again", "skipped", "lease left")


def print_status(status: Status) -> None:
    """Print how an app stands."""
    _print(status_view(status))


def print_lag(status: Status) -> None:
    """Print how far behind an app's processors are."""
    _print(lag_view(status))


def print_plan(plan: Plan) -> None:
    """Print what a reset does."""
    _print(plan_view(plan))


def _print(view: RenderableType) -> None:
    Console(highlight=False, width=None if sys.stdout.isatty() else UNCUT).print(view)


def status_view(status: Status) -> RenderableType:
    """An app: a table for each processor, and totals."""
    head = Text(f"{status.app} on {status.server}: ", style="bold")
    if status.lag:
        head.append(f"{_many(status.lag, 'event')} to do", style="yellow")
    else:
        head.append("caught up", style="green")
    return Group(head, *(_processor(each) for each in status.processors), _workers(status.workers))


def lag_view(status: Status) -> RenderableType:
    """An app: a line for each processor."""
    table = _table("processor", "stream", "lag", "oldest", "owned", "workers")
    for each in status.processors:
        owned = f"{each.owned}/{len(each.partitions)}"
        table.add_row(each.processor, each.stream, _lag(each.lag), _age(each.oldest_age), owned, str(each.owners))
    return table


def _workers(workers: Sequence[WorkerStatus]) -> RenderableType:
    if not workers:
        return Text("\nno worker is running", style="yellow")
    table = _table("worker", "runs", "lease left", "")
    for each in workers:
        runs = ", ".join(each.processors) or Text("stopping", style="yellow")
        left = f"{each.left:.1f} s" if each.left > 0 else Text(f"lost {-each.left:.0f} s ago", style="yellow")
        table.add_row(each.worker, runs, left, "leader" if each.leads else "")
    return Group(Text(f"\n{_many(len(workers), 'worker')}", style="bold"), table)


def _processor(status: ProcessorStatus) -> RenderableType:
    count = len(status.partitions)
    table = _table("partition", "lag", "oldest", "cursor", "owner", "epoch", "lease left")
    for each in status.partitions:
        table.add_row(*_partition(each))
    owned = f"{status.owned} of {count} partitions owned by {_many(status.owners, 'worker')}"
    behind = f"lag {status.lag:,}" if status.oldest_age is None else f"lag {status.lag:,}, oldest {age(status.oldest_age)}"
    title = Text.assemble("\n", (status.processor, "bold"), f" on {status.stream}: {behind}, {owned}")
    return Group(title, table, *_actors(status), *_troubles(status))


def _actors(status: ProcessorStatus) -> list[Text]:
    """What there is of actors, if there is anything."""
    said = [f"{_many(status.states, 'actor')} with a state"] if status.states else []
    said += [f"{_many(status.emitted, 'emitted event')} on the way"] if status.emitted else []
    return [Text(", ".join(said))] if said else []


def _troubles(status: ProcessorStatus) -> list[Text]:
    """What of a processor waits for an operator, a line each."""
    keys = sum(each.parked_keys for each in status.partitions)
    said = [f"{_many(status.parked, 'event')} of {_many(keys, 'key')} parked"] if status.parked else []
    said += [_many(status.dead, "dead letter")] if status.dead else []
    lines = [Text(", ".join(said), style="yellow")] if said else []
    for each in status.partitions:
        if each.stopped is not None:
            lines.append(Text(f"partition {each.partition} is quarantined: {_line(each.stopped)}", style="red"))
        elif each.crashes:
            lines.append(Text(f"partition {each.partition}: {_crashes(each)}", style="yellow"))
    lines += [Text(said, style="yellow") for said in paused_lines(status.partitions)]
    for worker, error in status.breaker_open.items():
        lines.append(Text(f"paused on {worker} by its circuit breaker: {_line(error)}", style="red"))
    return lines


def _line(error: str) -> str:
    """The first line of an error, for a table."""
    return error.partition("\n")[0]


def _crashes(status: PartitionStatus) -> str:
    lost = f"{_many(status.crashes, 'worker')} lost in a row at its next event"
    return lost if status.suspect is None else f"{lost}, which runs alone now: {status.suspect}"


def _partition(status: PartitionStatus) -> tuple[RenderableType, ...]:
    return (
        str(status.partition),
        _lag(status.lag),
        _age(status.oldest_age),
        status.cursor or Text("never ran", style="dim"),
        _owner(status),
        str(status.epoch),
        f"{status.lease_left:.1f} s" if status.owner else Text("-", style="dim"),
    )


def _owner(status: PartitionStatus) -> RenderableType:
    if status.stopped is not None:
        return Text("quarantined", style="red")
    if status.paused is not None:
        return Text("paused" if status.owner is None else f"paused; {status.owner} is letting go", style="yellow")
    return status.owner or Text("-", style="dim")


def plan_view(plan: Plan) -> RenderableType:
    """What a reset does, partition by partition, and in all."""
    table = _table("partition", "cursor now", "cursor then", "run again", "skipped", "owner")
    for each in plan.moves:
        table.add_row(*_move(each))
    said = [f"{_many(plan.again, 'event')} {'runs' if plan.again == 1 else 'run'} again"] if plan.again else []
    said += [f"{_many(plan.skipped, 'event')} {'is' if plan.skipped == 1 else 'are'} never run"] if plan.skipped else []
    dropped = _dropped(plan)
    nothing = "no event runs again" if dropped or plan.trimmed else "no event is affected"
    title = Text(f"Reset of {plan.processor} on {plan.stream}: {' and '.join(said) or nothing}", "bold")
    title.append(f"; drops {dropped}" if dropped else "", "red")
    parts: list[RenderableType] = [title, table]
    if plan.trimmed:
        lost = ", and what is dropped of actors does not come back from them" if plan.states or plan.reminding else ""
        are = "is" if plan.trimmed == 1 else "are"
        gone = f"{_many(plan.trimmed, 'event')} {are} no longer in the log and cannot run again{lost}"
        parts.append(Text(gone, "red"))
    if plan.parked:
        are = "is" if plan.parked == 1 else "are"
        parts.append(Text(f"{_many(plan.parked, 'parked event')} {are} dropped: behind the new cursor they run again", "red"))
    parts += _forgotten(plan)
    if owners := sorted({each.owner for each in plan.moves if each.owner}):
        parts.append(Text(f"Running workers go on from there: {', '.join(owners)}"))
    return Group(*parts)


def _dropped(plan: Plan) -> str:
    """What is lost, but for events."""
    said = _of_actors(plan)
    said += [_many(plan.parked, "parked event")] if plan.parked else []
    return " and ".join([", ".join(said[:-1]), said[-1]] if len(said) > 1 else said)


def print_release(plan: ReleasePlan) -> None:
    """Print which quarantined partitions go on."""
    _print(release_view(plan))


def release_view(plan: ReleasePlan) -> RenderableType:
    """Which partitions go on, why they were quarantined, and from where they go on."""
    count = len(plan.stopped)
    said = f"{_many(count, 'partition')} {'goes' if count == 1 else 'go'} on"
    title = Text(f"Release of {plan.processor} on {plan.stream}: {said}", "bold")
    table = _table("partition", "cursor", "lag", "quarantined because")
    for each in plan.stopped:
        table.add_row(str(each.partition), each.cursor or "-", _lag(each.lag), Text(_line(each.stopped or ""), overflow="fold"))
    return Group(title, table) if plan.stopped else title


def print_removal(plan: RemovalPlan) -> None:
    """Print what is forgotten of a processor."""
    _print(removal_view(plan))


def removal_view(plan: RemovalPlan) -> RenderableType:
    """What is forgotten of a processor, partition by partition, and what follows from it."""
    table = _table("stream", "partition", "cursor", "lag", "owner")
    for each in plan.removals:
        owner = each.owner or Text("-", style="dim")
        table.add_row(each.keys.stream, str(each.keys.number), each.cursor, _lag(each.lag), owner)
    undone = f"{_many(plan.lag, 'event')} that it has not done" if plan.lag else "nothing, it is caught up"
    if plan.kept:
        undone += f", and of {_many(plan.kept, 'parked event or dead letter')}"
    parts: list[RenderableType] = [
        Text(f"Delete {plan.processor} on {', '.join(plan.streams)}: lets go of {undone}", "bold"),
        table,
        *_forgotten(plan),
    ]
    if plan.emitted:
        parts.append(Text(f"{_many(plan.emitted, 'emitted event')} on the way to other partitions: dropped", "red"))
    if plan.owners:
        parts.append(
            Text(
                f"Run by {', '.join(plan.owners)}: stop it first. With --force it is fenced, but while it runs it "
                "registers the processor again, from its start"
            )
        )
    if plan.left_alone:
        parts.append(
            Text(
                f"No other processor is registered on {', '.join(plan.left_alone)}: until one is, "
                "nothing there counts as done, and what is full stays full"
            )
        )
    return Group(*parts)


def _forgotten(plan: Plan | RemovalPlan) -> list[RenderableType]:
    """What goes of actors, if anything does."""
    said = _of_actors(plan)
    return [Text(f"Drops {' and '.join(said)}: these actors begin anew", "red")] if said else []


def _of_actors(plan: Plan | RemovalPlan) -> list[str]:
    said = [f"the state of {_many(plan.states, 'key')}"] if plan.states else []
    return said + ([f"the reminders of {_many(plan.reminding, 'key')}"] if plan.reminding else [])


def _move(move: Move) -> tuple[RenderableType, ...]:
    return (
        str(move.keys.number),
        move.cursor_now or Text("never ran", style="dim"),
        cursor(move.cursor_then),
        f"{move.again:,}",
        Text(f"{move.skipped:,}", style="red" if move.skipped else ""),
        move.owner or Text("-", style="dim"),
    )


def _table(*columns: str) -> Table:
    """Where the terminal is narrow, text goes on in the next line of its column: of an id no part may be missing."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in columns:
        numeric = name in NUMERIC
        justify: Literal["left", "right"] = "right" if numeric else "left"
        table.add_column(name, justify=justify, header_style="dim", no_wrap=numeric, overflow="fold")
    return table


def cursor(entry_id: str) -> str:
    """A cursor that a moment led to, behind all that can have been sent before it, as that moment; others as they are."""
    ms, seq = id_parts(entry_id)
    if seq != HIGHEST_SEQUENCE or ms >= YEAR_9999:
        return entry_id
    moment = datetime.fromtimestamp((ms + 1) // 1000, UTC).replace(microsecond=(ms + 1) % 1000 * 1000, tzinfo=None)
    return f"before {moment.isoformat(timespec='milliseconds').removesuffix('.000')}Z"


def age(seconds: float) -> str:
    """A time in the one or two units that tell it: 0.4 s, 12 s, 3 min 05 s, 2 h 10 min, 4 d 3 h."""
    whole = int(seconds)
    if seconds < 10:
        return f"{seconds:.1f} s"
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    if whole < 86_400:
        return f"{whole // 3600} h {whole % 3600 // 60:02} min"
    return f"{whole // 86_400:,} d {whole % 86_400 // 3600} h"


def _age(seconds: float | None) -> Text:
    return Text("-", style="dim") if seconds is None else Text(age(seconds))


def _lag(count: int) -> Text:
    return Text(f"{count:,}", style="yellow" if count else "")


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"
