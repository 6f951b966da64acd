"""Arguments and options that several commands share."""

from typing import Annotated, Any, TypeVar

import typer

from runnel.signals import interrupt

AppTarget = Annotated[str, typer.Argument(metavar="APP", help="The app: module:attribute.", show_default=False)]
StreamTarget = Annotated[str, typer.Argument(metavar="STREAM", help="The stream: module:attribute.", show_default=False)]
ProcessorTarget = Annotated[
    str, typer.Argument(metavar="PROCESSOR", help="The processor: module:attribute.", show_default=False)
]
RedisUrl = Annotated[
    str | None,
    typer.Option(
        "--redis-url", metavar="URL", help="The server, instead of what the app or RUNNEL_REDIS_URL says.", show_default=False
    ),
]

T = TypeVar("T")


def example(*lines: str) -> str:
    """The end of a command's help: how it is used."""
    return "\b\nExample:\n" + "\n".join(f"  {line}" for line in lines)


def ending(yes: bool, found: int, none: str) -> str:
    """The last line of a command that shows its plan first.

    Args:
        yes: Whether it did what the plan says.
        found: How much there was to do.
        none: What to say if it was nothing, so that a slip of the pen does not look like a success.
    """
    if not found:
        return f"{none}: nothing is changed."
    return "Done." if yes else "Nothing is changed yet: --yes does it."


def find(target: str, kind: type[T], redis_url: str | None, *, looks: bool = False) -> T:
    """The app, stream or processor that a short command is about; only errors of the log are shown.

    Args:
        target: As the command line names it.
        kind: What it must be.
        redis_url: A server other than the app's.
        looks: Whether the command is about what is there: no embedded server is begun for it.

    Raises:
        ConfigurationError: There is none.
    """
    from runnel.discovery import app_of, load
    from runnel.logs import configure

    configure("error", "console")
    found = load(target, kind)
    interrupt()  # what follows is run by asyncio
    app = app_of(found)  # type: ignore[arg-type]
    if redis_url is not None:
        app.override(redis_url=redis_url)
    if looks:
        from runnel.store.client import check_is_there

        check_is_there(app.settings.redis_url)
    return found


def find_any(target: str, redis_url: str | None) -> tuple[Any, Any]:
    """What a command is about that takes an app, a stream, a processor or an actor; and its app.

    Raises:
        ConfigurationError: It is none of these.
    """
    from runnel.discovery import app_of, load_any

    found = find(target, type(load_any(target)), redis_url, looks=True)
    return app_of(found), found


def find_unnamed(target: str, kind: type[T], redis_url: str | None) -> T:
    """As `find`, where `--name` was not given, with which it would be an app.

    Raises:
        ConfigurationError: There is none, or it is an app.
    """
    from runnel.app import App
    from runnel.discovery import load_any
    from runnel.errors import ConfigurationError

    is_app = isinstance(load_any(target), App)
    try:
        return find(target, kind, redis_url, looks=True)
    except ConfigurationError as error:
        if is_app:
            raise ConfigurationError(f"{error}; with an app, give --name NAME") from None
        raise
