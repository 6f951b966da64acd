"""Arguments and options that several commands share."""

from typing import Annotated

import typer

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
