"""The tree of actors, of all workers."""

from collections.abc import Iterable

from rich.text import Text

from runnel.operations.status import WorkerStatus
from runnel.telemetry.report import ActorReport, Report
from runnel.view import words
from runnel.view.model import Model
from runnel.view.pages.others import worker_detail
from runnel.view.pages.page import Page, Row, Target, left, right


def rows(model: Model) -> Iterable[Row]:
    """A worker, and below it its actors."""
    for worker in model.workers:
        report = model.report(worker.worker)
        yield _worker(worker, report)
        if report is not None:
            for at, actor in enumerate(report.actors):
                yield _actor(worker.worker, actor, _line(report.actors, at))
            if report.hidden:
                yield Row(id=f"{worker.worker}/…", cells=(Text(f"└ … and {report.hidden:,} more", "dim"), *_blank(9)))


def _blank(count: int) -> tuple[Text, ...]:
    return (Text(""),) * count


def _worker(worker: WorkerStatus, report: Report | None) -> Row:
    name = Text(worker.worker, style="bold")
    if worker.leads:
        name.append(" leads", style="cyan")
    said = report.state if report is not None else "no report"
    return Row(
        id=worker.worker,
        cells=(name, words.state(said), *_blank(8)),
        target=Target(worker=worker.worker),
        detail=worker_detail(worker, report),
    )


def _line(actors: tuple[ActorReport, ...], at: int) -> str:
    """The lines of the tree before an actor's name."""
    depth = actors[at].depth
    marks = ["└ " if _is_last(actors, at, depth) else "├ "]
    marks += ["  " if _is_last(actors, at, above) else "│ " for above in range(depth - 1, -1, -1)]
    return "".join(reversed(marks))


def _is_last(actors: tuple[ActorReport, ...], at: int, depth: int) -> bool:
    """Whether nothing of this depth follows below the same parent."""
    for other in actors[at + 1 :]:
        if other.depth <= depth:
            return other.depth < depth
    return True


def _actor(worker: str, actor: ActorReport, line: str) -> Row:
    parts = actor.path.split("/")
    processor = parts[1] if len(parts) > 1 else ""
    number = actor.name.partition(".")[0]
    is_partition = actor.kind in ("Partition", "KeyedPartition") and number.isdigit()
    error = words.error(actor.error)
    return Row(
        id=f"{worker}/{actor.path}",
        cells=(
            Text.assemble((line, "dim"), actor.name),
            words.state(actor.state),
            words.mailbox(actor.mailbox, actor.capacity),
            words.rate(actor.rate),
            words.quantile(actor.p50),
            words.quantile(actor.p99),
            Text("" if actor.at is None else actor.at),
            words.age(actor.age) if actor.age is not None and actor.age >= 1 else Text(""),
            words.bad(actor.restarts),
            error if error.plain else Text(actor.details, style="dim"),
        ),
        target=Target(
            worker=worker,
            processor=processor.removesuffix("~") if is_partition else None,
            partition=int(number) if is_partition else None,
        ),
        detail=(
            ("path", actor.path),
            ("kind", actor.kind),
            ("state", actor.state),
            ("worker", worker),
            ("mailbox", f"{actor.mailbox} of {actor.capacity}"),
            ("handled", f"{actor.processed:,}"),
            ("rate", f"{actor.rate:,.1f}/s"),
            ("p50", words.quantile(actor.p50).plain),
            ("p99", words.quantile(actor.p99).plain),
            ("in hand", actor.at or "-"),
            ("for", words.age(actor.age).plain),
            ("restarts", f"{actor.restarts}"),
            ("last error", actor.error or "-"),
            *[("", part) for part in actor.details.split("  ")],
        ),
    )


ACTORS = Page(
    name="actors",
    columns=[
        *left("actor", "state", "mailbox"),
        *right("rate/s", "p50", "p99"),
        *left("in hand"),
        *right("age", "restarts"),
        *left(""),
    ],
    rows=rows,
    empty="no worker runs: start one with `runnel run`",
    about="workers, and the actors of each: what they are at, their mailboxes, how fast they are, what failed last",
)
