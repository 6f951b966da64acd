"""`runnel processor reset`."""

from typing import Annotated

import typer

from runnel.cli.targets import ProcessorTarget, RedisUrl, find

Start = Annotated[
    str,
    typer.Option(
        "--start",
        metavar="WHERE",
        help="earliest, latest, an entry's id (ms-seq: what is after it runs again), "
        "or a time: ISO 8601, seconds since 1970, or back from now: -1h, -30m, -2d.",
        show_default=False,
    ),
]
Partitions = Annotated[
    list[int] | None, typer.Option("--partition", metavar="N", help="Only this one; can be repeated.", show_default=False)
]


def add_to(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(help="Change where a processor is.", rich_markup_mode=None)
    group.callback()(_group)
    group.command()(reset)
    app.add_typer(group, name="processor")


def _group() -> None:
    """Change where a processor is."""


def reset(
    target: ProcessorTarget,
    start: Start,
    partition: Partitions = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without this only the plan is shown.")] = False,
    redis_url: RedisUrl = None,
) -> None:
    """Set a processor's cursor back, so that events run again, or ahead, so that they are skipped.

    Workers that run it go on from there by themselves.
    """
    import asyncio

    from runnel.discovery import app_of
    from runnel.processor import Processor
    from runnel.reset import carry_out, make_plan
    from runnel.view.tables import print_plan

    processor = find(target, Processor, redis_url)
    app = app_of(processor)

    async def work() -> None:
        async with app:
            store = await app.open()
            plan = await make_plan(store, processor, start, partition or ())
            print_plan(plan)
            if yes:
                await carry_out(store, plan)

    asyncio.run(work())
    typer.echo("Done." if yes else "Nothing is changed yet: --yes does it.")
