"""`runnel run` and `runnel worker`: one worker in this process, or, with --reload, in a child that is started anew."""

import sys
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from enum import StrEnum
from typing import Annotated

import typer

from runnel.cli.failure import code
from runnel.cli.targets import AppTarget, RedisUrl
from runnel.signals import end_with


class LogLevel(StrEnum):
    """How much is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    CRITICAL = "critical"


class LogFormat(StrEnum):
    """How it is written."""

    CONSOLE = "console"
    JSON = "json"


Processors = Annotated[
    str | None, typer.Option("--processors", metavar="A,B", help="Run only these.", show_default=False)
]
Reload = Annotated[
    bool, typer.Option("--reload", help="Start anew when a .py file below the current folder changes.")
]
Level = Annotated[LogLevel | None, typer.Option("--log-level", help="How much is logged.", show_default="info")]
Format = Annotated[LogFormat | None, typer.Option("--log-format", help="Lines, or JSON.", show_default="console")]
Live = Annotated[
    bool | None,
    typer.Option("--live/--no-live", help="The live view; by default on a terminal.", show_default=False),
]


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(run)
    app.command()(worker)


def run(
    target: AppTarget,
    processors: Processors = None,
    live: Live = None,
    reload: Reload = False,
    redis_url: RedisUrl = None,
    log_level: Level = None,
    log_format: Format = None,
) -> None:
    """Run an app's processors, with a live view on a terminal, until Ctrl-C."""
    if live is None:
        live = _is_terminal() and log_format is not LogFormat.JSON
    _work(target, processors, live, reload, redis_url, log_level, log_format)


def worker(
    target: AppTarget,
    processors: Processors = None,
    reload: Reload = False,
    redis_url: RedisUrl = None,
    log_level: Level = None,
    log_format: Format = None,
) -> None:
    """Run an app's processors, with plain logs, until SIGINT or SIGTERM."""
    _work(target, processors, False, reload, redis_url, log_level, log_format)


def _work(
    target: str,
    processors: str | None,
    live: bool,
    reload: bool,
    redis_url: str | None,
    log_level: LogLevel | None,
    log_format: LogFormat | None,
) -> None:
    if reload:
        from runnel.reload import keep_restarting

        raise typer.Exit(keep_restarting([word for word in sys.argv[1:] if word != "--reload"]))

    from contextlib import nullcontext
    from functools import partial

    from runnel.app import App
    from runnel.discovery import load
    from runnel.logs import configure
    from runnel.worker import Worker

    configure(log_level or "info", log_format.value if log_format else "console")
    app = load(target, App)
    if redis_url is not None:
        app.override(redis_url=redis_url)
    configure(log_level or app.settings.log_level, log_format.value if log_format else app.settings.log_format)
    work = Worker(app)
    within = nullcontext
    if live:
        from runnel.view.live import LiveView

        within = partial(LiveView, work)  # type: ignore[assignment]
    work.start("all" if processors is None else _names(processors), within=lambda: _noted(within()))


@asynccontextmanager
async def _noted(context: AbstractAsyncContextManager[object]) -> AsyncIterator[None]:
    """While the worker runs, note for later signals what they are to end the process with."""
    end_with(0)
    try:
        async with context:
            yield
    except Exception as error:
        end_with(code(error))
        raise


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _is_terminal() -> bool:
    import os

    return sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"
