"""`runnel status`."""

from typing import Annotated

import typer

from runnel.cli.targets import AppTarget, RedisUrl, find


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(status)


def status(
    target: AppTarget,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    redis_url: RedisUrl = None,
) -> None:
    """Show who owns each partition, and how far behind it is. Needs no worker, changes nothing."""
    import asyncio

    from runnel.app import App
    from runnel.status import Status, as_json, read_status
    from runnel.view.tables import print_status

    app = find(target, App, redis_url)

    async def work() -> Status:
        async with app:
            return await read_status(app)

    found = asyncio.run(work())
    if json:
        typer.echo(as_json(found))
    else:
        print_status(found)
