"""`runnel status` and `runnel lag`: how an app stands."""

from typing import Annotated

import typer

from runnel.cli.targets import AppTarget, RedisUrl, example, find

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Above = Annotated[
    int | None,
    typer.Option("--fail-above", metavar="N", min=0, help="Exit with 1 if a processor's lag is above.", show_default=False),
]
AboveAge = Annotated[
    float | None,
    typer.Option(
        "--fail-above-age",
        metavar="SECONDS",
        min=0,
        help="Exit with 1 if a processor's oldest event has waited longer.",
        show_default=False,
    ),
]


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(epilog=example("runnel status shop:app", "runnel status shop:app --json | jq .lag"))(status)
    app.command(epilog=example("runnel lag shop:app --fail-above 1000 --fail-above-age 60"))(lag)


def status(target: AppTarget, json: Json = False, redis_url: RedisUrl = None) -> None:
    """Show who owns each partition, and how far behind it is. Needs no worker, changes nothing."""
    import asyncio

    from runnel.app import App
    from runnel.operations.status import read_status
    from runnel.operations.status_json import as_json
    from runnel.view.tables import print_status

    found = asyncio.run(read_status(find(target, App, redis_url, looks=True)))
    if json:
        typer.echo(as_json(found))
    else:
        print_status(found)


def lag(
    target: AppTarget,
    json: Json = False,
    fail_above: Above = None,
    fail_above_age: AboveAge = None,
    redis_url: RedisUrl = None,
) -> None:
    """Show how far behind each processor is, in a line. Needs no worker, changes nothing.

    With --fail-above or --fail-above-age it is a check for your monitoring.
    """
    import asyncio

    from runnel.app import App
    from runnel.operations.status import check_lag, read_status
    from runnel.operations.status_json import lag_as_json
    from runnel.view.tables import print_lag

    found = asyncio.run(read_status(find(target, App, redis_url, looks=True)))
    if json:
        typer.echo(lag_as_json(found))
    else:
        print_lag(found)
    check_lag(found, fail_above, fail_above_age)
