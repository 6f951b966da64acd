"""`runnel status`."""

from typing import Annotated

import typer

from runnel.cli.targets import AppTarget, RedisUrl


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
    from runnel.discovery import load
    from runnel.status import Status, as_json, read_status
    from runnel.view.tables import print_status

    app = load(target, App)
    if redis_url is not None:
        app.override(redis_url=redis_url)

    async def work() -> Status:
        async with app:
            return await read_status(app)

    found = asyncio.run(work())
    if json:
        typer.echo(as_json(found))
    else:
        print_status(found)
