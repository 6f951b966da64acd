"""`runnel top`: the live view of an app, from any terminal."""

from typing import Annotated

import typer

from runnel.cli.targets import AppTarget, RedisUrl, example, find

Once = Annotated[bool, typer.Option("--once", help="Print everything once, and end.")]
Json = Annotated[bool, typer.Option("--json", help="With --once: print JSON.")]


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=example("runnel top shop:app", "runnel top shop:app --once --json | jq .lag"))(top)


def top(target: AppTarget, once: Once = False, json: Json = False, redis_url: RedisUrl = None) -> None:
    """Show an app's workers, actors, partitions, keys, timers and failures, live. Runs no worker; ? shows the keys."""
    import asyncio
    import os
    import sys

    from runnel.app import App

    found = find(target, App, redis_url, looks=True)
    is_terminal = sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"
    if once or json or not is_terminal:
        from runnel.view.top import once as print_once

        asyncio.run(print_once(found, json=json))
    else:
        from runnel.view.top import Top

        asyncio.run(Top(found).run())
