"""`runnel pause`, `runnel resume` and `runnel restart`: what operators do to processors that run."""

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from runnel.cli.targets import ProcessorTarget, RedisUrl, ending, example, find

Partitions = Annotated[
    list[int] | None, typer.Option("--partition", metavar="N", help="Only this one; can be repeated.", show_default=False)
]
Reason = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Shown to whoever looks.", show_default=False)]
Worker = Annotated[
    str | None, typer.Option("--worker", metavar="ID", help="Only what this worker runs.", show_default=False)
]
Wait = Annotated[
    float,
    typer.Option("--wait", metavar="SECONDS", min=0, help="How long to wait for events under way to finish."),
]
Json = Annotated[bool, typer.Option("--json", help="Print the plan as JSON, and whether it was done.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do it; without this only the plan is shown.")]


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    examples = example("runnel pause shop:bill --reason 'the bank is down' --yes", "runnel pause shop:bill --partition 3 --yes")
    app.command(epilog=examples)(pause)
    app.command(epilog=example("runnel resume shop:bill --yes"))(resume)
    app.command(epilog=example("runnel restart shop:bill --partition 3 --yes"))(restart)


def pause(
    target: ProcessorTarget,
    partition: Partitions = None,
    reason: Reason = "",
    wait: Wait = 15.0,
    yes: Yes = False,
    json: Json = False,
    redis_url: RedisUrl = None,
) -> None:
    """Pause a processor, or some of its partitions, until it is resumed: also over restarts of workers and the server.

    Events under way are finished first. Nothing is lost: events are kept, and wait.
    """
    import asyncio

    from runnel.discovery import app_of
    from runnel.operations import pause as operations
    from runnel.processor import Processor
    from runnel.view.pausing import print_plan

    processor = find(target, Processor, redis_url, looks=True)
    app = app_of(processor)

    async def work() -> Sequence[int]:
        async with app:
            await app.compare_stream(processor.stream)
            plan = await operations.make_plan(app, processor, partition or ())
            if not json:
                print_plan(plan, _title("Pause", processor, len(plan.partitions)))
            if yes:
                await operations.pause(app, processor, partition or (), reason=reason)
            if json:
                typer.echo(operations.as_json(plan, done=yes))
            owned = await operations.let_go(app, processor, partition or (), patience=wait) if yes else ()
            return [each.partition for each in owned]

    owned = asyncio.run(work())
    if not json:
        _say(yes, owned, "Done, but events are under way in")


def resume(
    target: ProcessorTarget,
    partition: Partitions = None,
    yes: Yes = False,
    json: Json = False,
    redis_url: RedisUrl = None,
) -> None:
    """Let a paused processor, or some of its partitions, go on from where it stopped. Workers take it up at once."""
    import asyncio

    from runnel.discovery import app_of
    from runnel.operations import pause as operations
    from runnel.processor import Processor
    from runnel.view.pausing import print_plan

    processor = find(target, Processor, redis_url, looks=True)
    app = app_of(processor)

    async def work() -> int:
        async with app:
            await app.compare_stream(processor.stream)
            plan = await operations.make_plan(app, processor, partition or ())
            if not json:
                print_plan(plan, _title("Resume", processor, len(plan.paused)))
            if yes:
                await operations.resume(app, processor, partition or ())
            if json:
                typer.echo(operations.as_json(plan, done=yes))
            return len(plan.paused)

    found = asyncio.run(work())
    if not json:
        typer.echo(ending(yes, found, "None is paused"))


def restart(
    target: ProcessorTarget,
    partition: Partitions = None,
    worker: Worker = None,
    wait: Wait = 15.0,
    yes: Yes = False,
    json: Json = False,
    redis_url: RedisUrl = None,
) -> None:
    """Have partitions begin anew on the workers that run them, as for a handler that hangs. The event under way is finished
    first; when its grace period is over it is cut off, and runs again.
    """
    import asyncio

    from attrs import evolve

    from runnel.discovery import app_of
    from runnel.operations import pause as operations
    from runnel.operations import restart as restarting
    from runnel.processor import Processor
    from runnel.view.pausing import print_plan

    processor = find(target, Processor, redis_url, looks=True)
    app = app_of(processor)

    async def work() -> tuple[int, Sequence[int]]:
        async with app:
            await app.compare_stream(processor.stream)
            plan = await operations.make_plan(app, processor, partition or ())
            restarting.check_worker(plan, worker)
            plan = evolve(plan, partitions=restarting.meant(plan, worker))
            if json:
                typer.echo(operations.as_json(plan, done=yes))
            else:
                print_plan(plan, _title("Restart", processor, len(plan.partitions)))
            if not yes:
                return len(plan.partitions), ()
            left = await restarting.restart(app, processor, partition or (), worker=worker, patience=wait)
            return len(plan.partitions), [each.partition for each in left]

    found, waiting = asyncio.run(work())
    if json:
        return
    if found:
        _say(yes, waiting, "Not begun anew yet, since events are under way:")
    else:
        typer.echo(ending(yes, found, "No worker runs any"))


def _title(deed: str, processor: Any, count: int) -> str:
    return f"{deed} {processor.options.name} on {processor.stream.name}: {count} {'partition' if count == 1 else 'partitions'}"


def _say(yes: bool, undone: Sequence[int], how: str) -> None:
    if undone:
        typer.echo(f"{how} partition{'' if len(undone) == 1 else 's'} {', '.join(map(str, undone))}.")
    else:
        typer.echo(ending(yes, 1, ""))
