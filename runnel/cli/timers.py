"""`runnel timers`: the app's jobs, delayed events and reminders, and cancelling delayed events."""

from typing import Annotated, Any

import typer

from runnel.cli.targets import AppTarget, RedisUrl, ending, example, find

Ids = Annotated[
    list[str] | None, typer.Argument(metavar="[ID]...", help="As `list` shows it: stream/partition/number.", show_default=False)
]
Stream = Annotated[str | None, typer.Option("--stream", metavar="NAME", help="Only of this stream.", show_default=False)]
Keys = Annotated[
    list[str] | None, typer.Option("--key", metavar="KEY", help="Only of this key; can be repeated.", show_default=False)
]
Limit = Annotated[int, typer.Option("--limit", metavar="N", min=1, help="At most so many, those first that are due first.")]
Most = Annotated[
    int | None, typer.Option("--limit", metavar="N", min=1, help="Only the first due of them.", show_default=False)
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do it; without this only the plan is shown.")]


def add_to(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(help="Timers, crontabs and delayed events: look at them, cancel delayed events.", rich_markup_mode=None)
    group.command("list", epilog=example("runnel timers list shop:app --stream orders"))(show)
    group.command("cancel", epilog=example("runnel timers cancel shop:app --key 42 --yes"))(cancel)
    app.add_typer(group, name="timers")


def show(
    target: AppTarget,
    stream: Stream = None,
    key: Keys = None,
    limit: Limit = 100,
    json: Json = False,
    redis_url: RedisUrl = None,
) -> None:
    """Show the app's jobs, with their next due times, delayed events and actors' reminders, first due first."""
    import asyncio

    from runnel.app import App
    from runnel.discovery import discover
    from runnel.timing import timers
    from runnel.view.timers import print_timers

    app = find(target, App, redis_url, looks=True)
    if app.settings.autodiscover is not None:
        discover(app.settings.autodiscover)
    choice = timers.Choice(stream=stream, keys=key or (), limit=limit)

    async def work() -> Any:
        async with app:
            return await timers.jobs_of(app), *await timers.find(app, choice)

    jobs, events, total = asyncio.run(work())
    typer.echo(timers.as_json(jobs, events, total)) if json else print_timers(jobs, events, total)


def cancel(
    target: AppTarget,
    ids: Ids = None,
    stream: Stream = None,
    key: Keys = None,
    limit: Most = None,
    yes: Yes = False,
    json: Json = False,
    redis_url: RedisUrl = None,
) -> None:
    """Take delayed events back that are not in the log yet: those given, or all of a stream or key. Reminders stay."""
    import asyncio

    from runnel.app import App
    from runnel.errors import ConfigurationError
    from runnel.timing import timers
    from runnel.view.timers import print_cancelling

    if not (ids or stream or key):
        raise ConfigurationError("say which delayed events: give their ids, or --stream, or --key")
    app = find(target, App, redis_url, looks=True)
    choice = timers.Choice(ids=ids or (), stream=stream, keys=key or (), limit=limit, limit_events=True)

    async def work() -> tuple[int, int]:
        async with app:
            found, _ = await timers.find(app, choice)
            events, reminders = timers.split(found)
            if json:
                typer.echo(timers.as_json((), events, len(events)))
            else:
                print_cancelling(events, len(reminders))
            return len(events), await timers.cancel(app, events) if yes else 0

    planned, done = asyncio.run(work())
    if json:
        return
    if not yes or done == planned:
        typer.echo(ending(yes, planned, "No such delayed event"))
    else:
        typer.echo(f"Done, but for {planned - done:,} that came into the log meanwhile.")
