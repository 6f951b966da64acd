"""`runnel send` and `runnel sendmany`."""

import sys
from collections.abc import Callable
from typing import Annotated

import typer

from runnel.cli.targets import RedisUrl, StreamTarget, example, find
from runnel.errors import ConfigurationError, StreamFull


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(epilog=example("runnel send shop:orders '{\"order_id\": 1, \"amount\": 99}'"))(send)
    lines = ("runnel sendmany shop:orders orders.jsonl", "zcat orders.gz | runnel sendmany shop:orders -")
    app.command(epilog=example(*lines))(sendmany)


def send(
    target: StreamTarget,
    record: Annotated[str, typer.Argument(metavar="JSON", help="The record, as an object.", show_default=False)],
    key: Annotated[
        str | None, typer.Option("--key", help="Its partition key, instead of what partition_by says.", show_default=False)
    ] = None,
    redis_url: RedisUrl = None,
) -> None:
    """Send one record, and print the id of its event."""
    import asyncio

    from runnel.discovery import app_of
    from runnel.operations.bulk import parse
    from runnel.stream import Stream

    stream = find(target, Stream, redis_url)
    app = app_of(stream)
    built = parse(stream, record)

    async def work() -> list[str]:
        async with app:
            return await stream.send(built, key=key)

    for event_id in asyncio.run(work()):
        typer.echo(event_id)


def sendmany(
    target: StreamTarget,
    file: Annotated[str, typer.Argument(metavar="FILE", help="JSON Lines; - is standard input.", show_default=False)],
    from_line: Annotated[int, typer.Option("--from-line", min=1, help="Begin at this line, to go on after a failure.")] = 1,
    skip: Annotated[
        str, typer.Option("--skip", metavar="LINES", help="Leave out these lines, like 3-5,9.", show_default=False)
    ] = "",
    redis_url: RedisUrl = None,
) -> None:
    """Send one record for each line of a file, in order.

    A line that is no record of the stream stops it; all lines before it are sent then, and it says where to go on.
    """
    import asyncio

    from runnel.cli.progress import progress
    from runnel.discovery import app_of
    from runnel.operations.account import NO_LINES, Lines
    from runnel.operations.bulk import send_lines
    from runnel.stream import Stream

    stream = find(target, Stream, redis_url)
    app = app_of(stream)
    left_out = Lines.read(skip) if skip else NO_LINES
    try:
        source = sys.stdin.buffer if file == "-" else open(file, "rb")  # noqa: SIM115
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be read: {error.strerror}") from None

    async def work() -> int:
        async with app:
            with progress(source) as shown:
                return await send_lines(
                    stream,
                    source.fileno(),
                    from_line=from_line,
                    skip=left_out,
                    advance=shown.advance,
                    on_full=_once(lambda full: shown.say(f"runnel: waiting for room: {full}")),
                )

    with source:
        sent = asyncio.run(work())
    typer.echo(f"{sent:,} {'event' if sent == 1 else 'events'} sent", err=True)


def _once(say: Callable[[StreamFull], None]) -> Callable[[StreamFull], None]:
    """Say it the first time only: a partition may be full many times while a file is sent."""
    said = False

    def once(full: StreamFull) -> None:
        nonlocal said
        if not said:
            said = True
            say(full)

    return once
