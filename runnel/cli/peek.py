"""`runnel peek` and `runnel tail`: the events of a stream, decoded."""

import sys
from typing import Annotated

import typer

from runnel.cli.targets import RedisUrl, StreamTarget, example, find

Partition = Annotated[int | None, typer.Option("--partition", metavar="N", help="Only of this one.", show_default=False)]
Key = Annotated[str | None, typer.Option("--key", metavar="KEY", help="Only of this key.", show_default=False)]
From = Annotated[
    str,
    typer.Option(
        "--from",
        metavar="WHERE",
        help="Where to begin: earliest, latest (the last ones), an entry's id (ms-seq), or a time: ISO 8601, "
        "seconds since 1970, or back from now: -1h, -30m, -2d.",
    ),
]
Count = Annotated[int, typer.Option("--count", "-n", metavar="N", min=1, max=1_000, help="At most so many events.")]
Last = Annotated[int, typer.Option("--lines", "-n", metavar="N", min=0, max=1_000, help="How many of the last events.")]
Search = Annotated[
    int, typer.Option("--search", metavar="N", min=1, help="With --key: look at so many events of its partition, at most.")
]
Follow = Annotated[bool, typer.Option("-f", "--follow", help="Go on with new events as they come, until Ctrl-C.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
JsonLines = Annotated[bool, typer.Option("--json", help="Print lines of JSON.")]


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(epilog=example("runnel peek shop:orders --from -10m", "runnel peek shop:orders --key 42 --json"))(peek)
    app.command(epilog=example("runnel tail shop:orders -n 20 -f", "runnel tail shop:orders -f --json | jq .record"))(tail)


def peek(
    target: StreamTarget,
    partition: Partition = None,
    key: Key = None,
    begin: From = "earliest",
    count: Count = 10,
    search: Search = 10_000,
    json: Json = False,
    redis_url: RedisUrl = None,
) -> None:
    """Show events of a stream, the oldest first. Takes none away, changes nothing."""
    import asyncio

    from runnel.discovery import app_of
    from runnel.operations.peek import Choice, Page, as_json
    from runnel.operations.peek import peek as look
    from runnel.stream import Stream
    from runnel.view.events import print_page

    stream = find(target, Stream, redis_url, looks=True)
    choice = Choice(partition=partition, key=key, begin=begin, count=count, searched=search)

    async def work() -> Page:
        async with app_of(stream) as app:
            return await look(app, stream, choice)

    page = asyncio.run(work())
    typer.echo(as_json(page)) if json else print_page(page)


def tail(
    target: StreamTarget,
    follow: Follow = False,
    lines: Last = 10,
    partition: Partition = None,
    key: Key = None,
    search: Search = 10_000,
    json: JsonLines = False,
    redis_url: RedisUrl = None,
) -> None:
    """Show the last events of a stream, a line each, and with -f new ones as they come. Changes nothing."""
    import asyncio

    from runnel.discovery import app_of
    from runnel.operations import peek as reading
    from runnel.stream import Stream
    from runnel.view.events import line

    stream = find(target, Stream, redis_url, looks=True)
    choice = reading.Choice(partition=partition, key=key, begin="latest", count=lines, searched=search)
    shown = reading.as_line if json else line

    def say(text: str) -> None:
        print(f"runnel: {text}", file=sys.stderr, flush=True)

    async def work() -> None:
        async with app_of(stream) as app:
            page = await reading.peek(app, stream, choice)
            for event in page.events:
                typer.echo(shown(event))
            if follow:
                async for event in reading.follow(app, stream, choice, page.after, say):
                    typer.echo(shown(event))

    asyncio.run(work())
