"""`runnel describe`: all that is known of an app, a stream, a processor or an actor."""

from typing import Annotated

import typer

from runnel.cli.targets import RedisUrl, example, find_any

Target = Annotated[
    str,
    typer.Argument(metavar="TARGET", help="An app, stream, processor or actor: module:attribute.", show_default=False),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=example("runnel describe shop:orders", "runnel describe shop:printer --json"))(describe)


def describe(target: Target, json: Json = False, redis_url: RedisUrl = None) -> None:
    """Show what the code says of an app, stream, processor or actor, and how it stands on the server. Changes nothing."""
    import asyncio

    from runnel.operations import describe as describing
    from runnel.view.describe import print_description

    app, found = find_any(target, redis_url)

    async def work() -> describing.Description:
        async with app:
            return await describing.describe(found)

    description = asyncio.run(work())
    typer.echo(description.to_json()) if json else print_description(description)
