"""`runnel actor`: what actors remember, and saying something to one."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

import typer

from runnel.cli.targets import RedisUrl, example, find

Target = Annotated[
    str, typer.Argument(metavar="ACTOR", help="The actors' class or function: module:attribute.", show_default=False)
]
Key = Annotated[str, typer.Argument(metavar="KEY", help="The key of one of them.", show_default=False)]
Partitions = Annotated[
    list[int] | None, typer.Option("--partition", metavar="N", help="Only this one; can be repeated.", show_default=False)
]
Limit = Annotated[int, typer.Option("--limit", metavar="N", min=1, help="At most so many.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Message = Annotated[
    str, typer.Argument(metavar="TYPE", help="The name of the message's class, one that a method @handles.", show_default=False)
]
Data = Annotated[str, typer.Argument(metavar="[JSON]", help="The message, as an object.")]
Timeout = Annotated[
    float | None,
    typer.Option("--timeout", metavar="SECONDS", min=0.001, help="How long to wait for the answer.", show_default="30"),
]


def add_to(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(help="Handler actors: look at what they remember, ask and tell one.", rich_markup_mode=None)
    group.command("show", epilog=example("runnel actor show shop:Account 42"))(show)
    group.command("list", epilog=example("runnel actor list shop:Account --limit 20"))(list_them)
    group.command("ask", epilog=example("runnel actor ask shop:Account 42 GetBalance"))(ask)
    group.command("tell", epilog=example("runnel actor tell shop:Account 42 Deposit '{\"amount\": 5}'"))(tell)
    app.add_typer(group, name="actor")


def show(target: Target, key: Key, json: Json = False, redis_url: RedisUrl = None) -> None:
    """Show what the actor of a key remembers, as it is committed, what it is to be reminded of, and what waits for it.

    Needs no worker, changes nothing.
    """
    from runnel.operations import actors
    from runnel.view.actors import print_actor

    found = _looking(target, redis_url, lambda app, processor: actors.show(app, processor, key))
    typer.echo(actors.as_json(found)) if json else print_actor(found)


def list_them(
    target: Target, partition: Partitions = None, limit: Limit = 100, json: Json = False, redis_url: RedisUrl = None
) -> None:
    """Show which keys have a state, and how many there are. Needs no worker, changes nothing."""
    from runnel.operations import actors
    from runnel.view.actors import print_actors

    processor, (found, total) = _looking(
        target,
        redis_url,
        lambda app, processor: _with(processor, actors.find(app, processor, partition or (), limit)),
    )
    typer.echo(actors.list_as_json(processor, found, total)) if json else print_actors(found, total)


async def _with(processor: Any, found: Awaitable[Any]) -> Any:
    return processor, await found


def ask(
    target: Target,
    key: Key,
    message: Message,
    data: Data = "{}",
    timeout: Timeout = None,
    redis_url: RedisUrl = None,
) -> None:
    """Have the actor of a key handle a message, in order with its events, and print what it returns, as JSON."""
    import orjson

    from runnel.operations import messages
    from runnel.operations.actors import pretty

    answer = _saying(
        target, redis_url, message, data, lambda app, processor, said: messages.ask(app, processor, key, said, timeout)
    )
    typer.echo(pretty(orjson.loads(answer)))


def tell(target: Target, key: Key, message: Message, data: Data = "{}", redis_url: RedisUrl = None) -> None:
    """Have the actor of a key handle a message, in order with its events; print the id of its entry in the log."""
    from runnel.operations import messages

    typer.echo(
        _saying(target, redis_url, message, data, lambda app, processor, said: messages.tell(app, processor, key, said))
    )


def _looking(target: str, redis_url: str | None, work: Callable[[Any, Any], Awaitable[Any]]) -> Any:
    """What `work` finds, of the app and the processor; its stream is as the server knows it."""
    import asyncio

    from runnel.discovery import app_of
    from runnel.processor import Processor

    processor = find(target, Processor, redis_url, looks=True)

    async def look() -> Any:
        async with app_of(processor) as app:
            await app.compare_stream(processor.stream)
            return await work(app, processor)

    return asyncio.run(look())


def _saying(
    target: str, redis_url: str | None, type_name: str, data: str, work: Callable[[Any, Any, Any], Awaitable[Any]]
) -> Any:
    """What comes of saying this to an actor; a message that does not fit is said before the server is asked."""
    import asyncio

    from runnel.discovery import app_of
    from runnel.operations.messages import message_of
    from runnel.processor import Processor

    processor = find(target, Processor, redis_url)
    message = message_of(processor, type_name, data)

    async def say() -> Any:
        async with app_of(processor) as app:
            return await work(app, processor, message)

    return asyncio.run(say())
