"""`runnel stream`: the streams of an app; describe, trim and delete one."""

from typing import Annotated

import typer

from runnel.cli.targets import AppTarget, RedisUrl, StreamTarget, example, find, find_unnamed

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do it; without this only the plan is shown.")]
To = Annotated[
    str | None,
    typer.Option(
        "--to",
        metavar="WHERE",
        help="What was sent from then on stays: an entry's id (ms-seq), or a time: ISO 8601, seconds since 1970, "
        "or back from now: -1h, -30m, -2d.",
        show_default=False,
    ),
]
Length = Annotated[
    int | None,
    typer.Option("--length", metavar="N", min=0, help="So many of each partition stay, the newest.", show_default=False),
]
ForceTrim = Annotated[bool, typer.Option("--force", help="Also events that some processor has not done.")]
ForceDelete = Annotated[bool, typer.Option("--force", help="Also while a worker runs it, and though events are not done.")]
Name = Annotated[
    str | None, typer.Option("--name", metavar="NAME", help="The name of one that is not in the code.", show_default=False)
]
Deleted = Annotated[
    str, typer.Argument(metavar="STREAM", help="The stream, or the app if --name is given.", show_default=False)
]


def add_to(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(help="Streams: list, describe, trim or delete them.", rich_markup_mode=None)
    group.command("list", epilog=example("runnel stream list shop:app"))(show)
    group.command(epilog=example("runnel stream describe shop:orders"))(describe)
    group.command(epilog=example("runnel stream trim shop:orders --to -7d --yes"))(trim)
    group.command(epilog=example("runnel stream delete shop:orders", "runnel stream delete shop:app --name letters"))(delete)
    app.add_typer(group, name="stream")


def show(target: AppTarget, json: Json = False, redis_url: RedisUrl = None) -> None:
    """List the streams that the app declares, or that the server remembers of it."""
    import asyncio

    from runnel.app import App
    from runnel.operations.streams import StreamStatus, list_as_json, list_streams
    from runnel.view import streams as view

    app = find(target, App, redis_url, looks=True)

    async def work() -> list[StreamStatus]:
        async with app:
            return await list_streams(app)

    found = asyncio.run(work())
    typer.echo(list_as_json(app.name, found)) if json else view.show(view.list_view(found))


def describe(target: StreamTarget, json: Json = False, redis_url: RedisUrl = None) -> None:
    """Show all that is known of a stream, as `runnel describe` does."""
    from runnel.cli.describe import describe as describe_any
    from runnel.stream import Stream

    find(target, Stream, redis_url, looks=True)
    describe_any(target, json, redis_url)


def trim(
    target: StreamTarget,
    to: To = None,
    length: Length = None,
    force: ForceTrim = False,
    yes: Yes = False,
    json: Json = False,
    redis_url: RedisUrl = None,
) -> None:
    """Drop the oldest events of a stream: of those that every processor has done, all, or as --to and --length say."""
    import asyncio

    from runnel.discovery import app_of
    from runnel.operations import streams
    from runnel.stream import Stream
    from runnel.view import streams as view

    stream = find(target, Stream, redis_url, looks=True)

    async def work() -> tuple[streams.TrimPlan, int | None]:
        async with app_of(stream) as app:
            plan = await streams.plan_trim(app, stream, to, length, force=force)
            if not json:
                view.show(view.trim_view(plan))
            return plan, await streams.carry_out_trim(app, stream, plan) if yes else None

    plan, dropped = asyncio.run(work())
    if json:
        typer.echo(streams.trim_as_json(plan, dropped))
    else:
        typer.echo("Nothing is changed yet: --yes does it." if dropped is None else f"Done: {dropped:,} dropped.")


def delete(
    target: Deleted,
    name: Name = None,
    force: ForceDelete = False,
    yes: Yes = False,
    json: Json = False,
    redis_url: RedisUrl = None,
) -> None:
    """Delete a stream: its events, and all that processors and producers have noted of it.

    For one that is gone from the code: give the app and --name.
    """
    import asyncio

    from runnel.app import App
    from runnel.discovery import app_of
    from runnel.operations import erasing
    from runnel.stream import Stream
    from runnel.view import streams as view

    if name is None:
        stream = find_unnamed(target, Stream, redis_url)
        app, name = app_of(stream), stream.name
    else:
        app = find(target, App, redis_url, looks=True)

    async def work(name: str) -> erasing.ErasurePlan:
        async with app:
            plan = await erasing.make_plan(app, name)
            if not json:
                view.show(view.erasure_view(plan, force=force))
            if yes:
                await erasing.carry_out(app, plan, force=force)
            return plan

    plan = asyncio.run(work(name))
    if json:
        typer.echo(erasing.as_json(plan, done=yes))
    else:
        typer.echo("Done." if yes else "Nothing is changed yet: --yes does it.")
