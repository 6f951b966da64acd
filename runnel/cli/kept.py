"""`runnel dead` and `runnel parked`: events that a processor keeps aside, and what to do about them."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Literal

import typer

from runnel.cli.targets import ProcessorTarget, RedisUrl, ending, example, find

Partitions = Annotated[
    list[int] | None, typer.Option("--partition", metavar="N", help="Only this one; can be repeated.", show_default=False)
]
Keys = Annotated[
    list[str] | None, typer.Option("--key", metavar="KEY", help="Only of this key; can be repeated.", show_default=False)
]
Error = Annotated[
    str | None,
    typer.Option("--error", metavar="TEXT", help="Only what failed with an error that contains it.", show_default=False),
]
Since = Annotated[
    str | None,
    typer.Option("--since", metavar="WHEN", help="Only from then on: ISO 8601, seconds since 1970, -1h.", show_default=False),
]
Limit = Annotated[int | None, typer.Option("--limit", metavar="N", min=1, help="At most so many.", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do it; without this only the plan is shown.")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="As `list` shows it: partition/id.", show_default=False)]

Where = Literal["dead", "parked"]


def add_to(app: typer.Typer) -> None:
    """Add the groups."""
    dead = typer.Typer(help="Dead letters: look at them, run them again, drop them.", rich_markup_mode=None)
    add = _adder(dead, "dead")
    add("list", "--since -1h", _lister("dead", "Show dead letters, in the order in which they failed."))
    add("show", "3/1595369377000-0", _shower("dead", "Show all that is known of a dead letter, with the end of its traceback."))
    about = "Run dead letters again, by this processor only, before newer events."
    add("retry", "--error TimeoutError --yes", _doer("dead", "retry_dead", "run again", about))
    add("discard", "--key 42 --yes", _doer("dead", "discard_dead", "dropped", "Drop dead letters."))
    add("export", "> letters.jsonl", export)
    app.add_typer(dead, name="dead")

    parked = typer.Typer(help="Parked events: look at them, let their keys run again, drop them.", rich_markup_mode=None)
    add = _adder(parked, "parked")
    add("list", "--partition 3", _lister("parked", "Show parked events, of each partition in order."))
    add("show", "3/1595369377000-0", _shower("parked", "Show all that is known of a parked event."))
    about = "Let parked keys run again, in order."
    add("release", "--key 42 --yes", _doer("parked", "release_parked", "run again with all of their keys", about))
    about = "Drop parked events; what is behind them stays."
    add("discard", "--key 42 --limit 1 --yes", _doer("parked", "discard_parked", "dropped", about))
    app.add_typer(parked, name="parked")


def _adder(group: typer.Typer, where: Where) -> Callable[[str, str, Callable[..., None]], object]:
    """Adds commands to a group, each with an example of its words."""
    return lambda name, words, command: group.command(name, epilog=example(f"runnel {where} {name} shop:bill {words}"))(command)


def _lister(where: Where, about: str) -> Callable[..., None]:
    def command(
        target: ProcessorTarget,
        partition: Partitions = None,
        key: Keys = None,
        error: Error = None,
        since: Since = None,
        limit: Limit = None,
        json: Json = False,
        redis_url: RedisUrl = None,
    ) -> None:
        from runnel.operations.kept import as_json
        from runnel.view.kept import print_kept

        found = _found(where, target, redis_url, partition, key, error, since, limit)
        typer.echo(as_json(found)) if json else print_kept(found)

    command.__doc__ = about
    return command


def _shower(where: Where, about: str) -> Callable[..., None]:
    def command(target: ProcessorTarget, name: Name, json: Json = False, redis_url: RedisUrl = None) -> None:
        import asyncio

        from runnel.discovery import app_of
        from runnel.operations.kept import as_json, find_one
        from runnel.processor import Processor
        from runnel.view.kept import print_one

        processor = find(target, Processor, redis_url)

        async def work() -> Any:
            async with app_of(processor) as app:
                return await find_one(app, processor, where, name)

        found = asyncio.run(work())
        typer.echo(as_json([found])) if json else print_one(found)

    command.__doc__ = about
    return command


def _doer(where: Where, deed: str, done: str, about: str) -> Callable[..., None]:
    def command(
        target: ProcessorTarget,
        partition: Partitions = None,
        key: Keys = None,
        error: Error = None,
        since: Since = None,
        limit: Limit = None,
        yes: Yes = False,
        json: Json = False,
        redis_url: RedisUrl = None,
    ) -> None:
        from runnel.operations import kept
        from runnel.view.kept import print_kept

        carry_out: Callable[..., Awaitable[int]] = getattr(kept, deed)

        def show(found: list[Any]) -> None:
            if json:
                typer.echo(kept.as_json(found))
            else:
                print_kept(found, f"{len(found):,} {'is' if len(found) == 1 else 'are'} {done}:")

        found = _found(where, target, redis_url, partition, key, error, since, limit, show, carry_out if yes else None)
        if not json:
            typer.echo(ending(yes, len(found), "No such event"))

    command.__doc__ = about
    return command


def export(
    target: ProcessorTarget,
    partition: Partitions = None,
    key: Keys = None,
    error: Error = None,
    since: Since = None,
    limit: Limit = None,
    redis_url: RedisUrl = None,
) -> None:
    """Print dead letters as lines of JSON."""
    from runnel.operations.kept import as_line

    for each in _found("dead", target, redis_url, partition, key, error, since, limit):
        typer.echo(as_line(each))


def _found(
    where: Where,
    target: str,
    redis_url: str | None,
    partition: list[int] | None,
    key: list[str] | None,
    error: str | None,
    since: str | None,
    limit: int | None,
    show: Callable[[list[Any]], None] = lambda found: None,
    carry_out: Callable[..., Awaitable[int]] | None = None,
) -> list[Any]:
    """What is chosen; shown, and then treated so, if it is wanted."""
    import asyncio

    from runnel.discovery import app_of
    from runnel.operations import kept
    from runnel.processor import Processor

    processor = find(target, Processor, redis_url)

    async def work() -> list[Any]:
        async with app_of(processor) as app:
            await app.compare_stream(processor.stream)
            begins = await kept.since_of(app, since)
            choice = kept.Choice(partitions=partition or (), keys=key or (), error=error, since=begins, limit=limit)
            found = await kept.find(app, processor, where, choice)
            show(found)
            if carry_out is not None:
                await carry_out(app, processor, found)
            return found

    return asyncio.run(work())
