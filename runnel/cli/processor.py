"""`runnel processor reset`, `runnel processor release` and `runnel processor delete`."""

from typing import Annotated

import typer

from runnel.cli.targets import ProcessorTarget, RedisUrl, ending, example, find, find_unnamed

Start = Annotated[
    str,
    typer.Option(
        "--start",
        metavar="WHERE",
        help="earliest, latest, an entry's id (ms-seq: what is after it runs again), "
        "or a time: ISO 8601, seconds since 1970 (milliseconds, if 100000000000 or more), or back from now: -1h, -30m, -2d.",
        show_default=False,
    ),
]
Partitions = Annotated[
    list[int] | None, typer.Option("--partition", metavar="N", help="Only this one; can be repeated.", show_default=False)
]

Json = Annotated[bool, typer.Option("--json", help="Print the plan as JSON, and whether it was done.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do it; without this only the plan is shown.")]


def add_to(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(help="Change where a processor is, let it go on, or forget it.", rich_markup_mode=None)
    group.callback()(_group)
    group.command(epilog=example("runnel processor reset shop:bill --start -1h --yes"))(reset)
    group.command(epilog=example("runnel processor release shop:bill --partition 3 --yes"))(release)
    lines = ("runnel processor delete shop:bill", "runnel processor delete shop:app --name old --yes")
    group.command(epilog=example(*lines))(delete)
    app.add_typer(group, name="processor")


def _group() -> None:
    """Change where a processor is, or forget it."""


def reset(
    target: ProcessorTarget,
    start: Start,
    partition: Partitions = None,
    yes: Yes = False,
    json: Json = False,
    redis_url: RedisUrl = None,
) -> None:
    """Set a processor's cursor back, so that events run again, or ahead, so that they are skipped.

    Workers that run it go on from there by themselves.
    """
    import asyncio

    from runnel.discovery import app_of
    from runnel.operations.reset import as_json, carry_out, make_plan
    from runnel.processor import Processor
    from runnel.view.tables import print_plan

    processor = find(target, Processor, redis_url, looks=True)
    app = app_of(processor)

    async def work() -> None:
        async with app:
            store = await app.open()
            await app.compare_stream(processor.stream)
            plan = await make_plan(store, processor, start, partition or ())
            if not json:
                print_plan(plan)
            done = False
            try:
                if yes:
                    await carry_out(store, plan)
                    done = True
            finally:  # also when it fails half-way: where the cursors were is needed to undo it
                if json:
                    typer.echo(as_json(plan, done=done))

    asyncio.run(work())
    if not json:
        _say(yes)


def release(
    target: ProcessorTarget, partition: Partitions = None, yes: Yes = False, redis_url: RedisUrl = None
) -> None:
    """Let quarantined partitions go on, with the event that failed.

    A worker takes them up by itself.
    """
    import asyncio

    from runnel.discovery import app_of
    from runnel.operations.release import carry_out, make_plan
    from runnel.processor import Processor
    from runnel.view.tables import print_release

    processor = find(target, Processor, redis_url)
    app = app_of(processor)

    async def work() -> int:
        async with app:
            await app.compare_stream(processor.stream)
            plan = await make_plan(app, processor, partition or ())
            print_release(plan)
            if yes:
                await carry_out(app, processor, plan)
            return len(plan.stopped)

    typer.echo(ending(yes, asyncio.run(work()), "None is quarantined"))


def delete(
    target: Annotated[
        str,
        typer.Argument(metavar="PROCESSOR", help="The processor, or the app if --name is given.", show_default=False),
    ],
    name: Annotated[
        str | None,
        typer.Option("--name", metavar="NAME", help="The name of one that is not in the code any more.", show_default=False),
    ] = None,
    stream: Annotated[
        str | None, typer.Option("--stream", metavar="NAME", help="With --name: only on this stream.", show_default=False)
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Also while a worker runs it, which is fenced.")] = False,
    yes: Yes = False,
    redis_url: RedisUrl = None,
) -> None:
    """Forget a processor: its cursors go, and no event waits for it any more.

    For one that is gone from the code, or has another name there: give the app and --name.
    """
    import asyncio

    from runnel.app import App
    from runnel.discovery import app_of
    from runnel.errors import ConfigurationError
    from runnel.operations.unregister import carry_out, make_plan
    from runnel.processor import Processor
    from runnel.view.tables import print_removal

    if name is None:
        if stream is not None:
            raise ConfigurationError("--stream goes with --name; a processor of the code has its stream")
        processor = find_unnamed(target, Processor, redis_url)
        app, name, stream = app_of(processor), processor.options.name, processor.stream.name
    else:
        app = find(target, App, redis_url, looks=True)

    async def work(name: str) -> bool:
        async with app:
            plan = await make_plan(app, name, stream)
            print_removal(plan)
            if yes:
                await carry_out(await app.open(), plan, force=force)
            return bool(plan.owners)

    if asyncio.run(work(name)) and not (yes or force):
        typer.echo("Nothing is changed yet: --yes would be refused while a worker runs it, --yes --force does it even so.")
    else:
        _say(yes)


def _say(yes: bool) -> None:
    typer.echo(ending(yes, 1, ""))
