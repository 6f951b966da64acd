"""`runnel doctor`: is all as it must be, and what to do where it is not."""

from typing import Annotated

import typer

from runnel.cli.targets import AppTarget, RedisUrl, example, find

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Wait = Annotated[
    float,
    typer.Option("--wait", metavar="SECONDS", min=0, help="Between two looks at partitions with events to do: do they move?"),
]


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=example("runnel doctor shop:app", "runnel doctor shop:app --json | jq '.findings[].said'"))(doctor)


def doctor(target: AppTarget, wait: Wait = 1.0, json: Json = False, redis_url: RedisUrl = None) -> None:
    """Check the server, and how the app stands on it: what is found, and what to do. Changes nothing.

    Exits with 1 if there is a problem; warnings are none.
    """
    import asyncio

    from runnel.app import App
    from runnel.discovery import discover
    from runnel.operations.doctor import examine
    from runnel.operations.finding import Finding, as_json, check_health
    from runnel.view.doctor import print_findings

    app = find(target, App, redis_url, looks=True)
    if app.settings.autodiscover is not None:
        discover(app.settings.autodiscover)

    async def work() -> tuple[str, list[Finding]]:
        try:
            return app.unchecked_store.where, await examine(app, wait)
        finally:
            await app.close()

    server, findings = asyncio.run(work())
    typer.echo(as_json(app.name, server, findings)) if json else print_findings(app.name, server, findings)
    check_health(findings)
