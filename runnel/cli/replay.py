"""`runnel replay`: a range of a stream's events through a processor once more, under another name, or under its own."""

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from runnel.cli.targets import RedisUrl, StreamTarget, example, find

By = Annotated[
    str,
    typer.Option("--processor", metavar="PROCESSOR", help="Of the stream: module:attribute.", show_default=False),
]
As = Annotated[
    str | None,
    typer.Option(
        "--as",
        metavar="NAME",
        help="Run them under this name, in this process. Without it the processor itself is set back.",
        show_default=False,
    ),
]
From = Annotated[
    str,
    typer.Option(
        "--from",
        metavar="WHERE",
        help="The first: earliest, an entry's id (ms-seq), or a time: ISO 8601, seconds since 1970, or -1h, -30m, -2d.",
    ),
]
To = Annotated[
    str | None,
    typer.Option("--to", metavar="WHERE", help="The last: an id, or a time.", show_default="the last one that is there now"),
]
Key = Annotated[str | None, typer.Option("--key", metavar="KEY", help="Only events of this key.", show_default=False)]
Partition = Annotated[int | None, typer.Option("--partition", metavar="N", help="Only this one.", show_default=False)]
Yes = Annotated[bool, typer.Option("--yes", help="Do it; without this only the plan is shown.")]
Json = Annotated[bool, typer.Option("--json", help="Print the plan, and with --yes what was done, as JSON.")]


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    lines = (
        "runnel replay shop:orders --processor shop:bill --from -1d --to -1h --as bill2 --yes",
        "runnel replay shop:orders --processor shop:bill --from -1d",
    )
    app.command(epilog=example(*lines))(replay)


def replay(
    target: StreamTarget,
    processor: By,
    name: As = None,
    begin: From = "earliest",
    to: To = None,
    key: Key = None,
    partition: Partition = None,
    yes: Yes = False,
    json: Json = False,
    redis_url: RedisUrl = None,
) -> None:
    """Run a range of a stream's events through a processor once more.

    With --as NAME in this process, beside all else: cursors, and what actors remember, stay as they are. Without it, the
    processor is set back to the first of them, and its workers run all from there on again.
    """
    from runnel.errors import ConfigurationError
    from runnel.processor import Processor
    from runnel.stream import Stream

    stream = find(target, Stream, redis_url, looks=True)
    found = find(processor, Processor, redis_url, looks=True)
    if found.stream.name != stream.name:
        raise ConfigurationError(f"{processor} is a processor of stream {found.stream.name!r}, not of {stream.name!r}")
    if name is not None:
        _beside(found, name, begin, to, key, partition, yes, json)
    elif to is not None or key is not None:
        raise ConfigurationError("--to and --key go with --as NAME: a processor that is set back runs all from there on")
    else:
        _again(found, begin, partition, yes, json)


def _again(processor: Any, begin: str, partition: int | None, yes: bool, json: bool) -> None:
    import asyncio

    from runnel.discovery import app_of
    from runnel.operations import reset
    from runnel.operations.replay import start_before
    from runnel.view.tables import print_plan

    async def work() -> reset.Plan:
        async with app_of(processor) as app:
            store = await app.open()
            await app.compare_stream(processor.stream)
            partitions = () if partition is None else (partition,)
            plan = await reset.make_plan(store, processor, start_before(begin), partitions)
            if not json:
                print_plan(plan)
            if yes:
                await reset.carry_out(store, plan)
            return plan

    plan = asyncio.run(work())
    if json:
        typer.echo(reset.as_json(plan, done=yes))
    else:
        typer.echo("Done." if yes else "Nothing is changed yet: --yes does it.")


def _beside(
    processor: Any, name: str, begin: str, to: str | None, key: str | None, partition: int | None, yes: bool, json: bool
) -> None:
    import asyncio

    from runnel.discovery import app_of
    from runnel.operations.peek import Choice
    from runnel.operations.replay import Range, as_json, find_range
    from runnel.replaying import Outcome, check, done_as_json, replay
    from runnel.view.replay import done_line, print_range

    async def work() -> tuple[Range, Outcome | None]:
        this = asyncio.current_task()
        assert this is not None
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, this.cancel)  # or the sandbox would stay
        async with app_of(processor) as app:
            choice = Choice(partition=partition, key=key, begin=begin)
            events = await find_range(app, processor.stream, choice, to)
            if not json:
                print_range(events, processor.options.name, name)
            if not yes:
                return events, None
            with _bar(events.entries) as advance:
                return events, await replay(app, processor, name, events, advance)

    try:
        events, outcome = asyncio.run(work())
    except asyncio.CancelledError:
        print("runnel: terminated", file=sys.stderr)
        raise typer.Exit(128 + signal.SIGTERM) from None
    if outcome is None:
        typer.echo(as_json(events, processor.options.name, name) if json else "Nothing is run yet: --yes does it.")
        return
    typer.echo(done_as_json(outcome) if json else done_line(outcome, key))
    check(outcome)


@contextmanager
def _bar(total: int) -> Iterator[Callable[[int], object]]:
    """A progress bar on standard error, when that is a terminal."""
    if not sys.stderr.isatty():
        yield lambda done: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("events", total=total)
        yield lambda done: bar.update(task, completed=done)
