"""`runnel run` and `runnel worker`: a worker in this process, or several in others; --reload starts them anew."""

import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from enum import StrEnum
from typing import Annotated, Any, NamedTuple

import typer

from runnel.cli.failure import code
from runnel.cli.targets import AppTarget, RedisUrl, example
from runnel.signals import end_with, one_of_several

_Context = AbstractAsyncContextManager[object]


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
Workers = Annotated[
    int, typer.Option("--workers", metavar="N", min=1, help="How many worker processes.", show_default="1")
]
MetricsPort = Annotated[
    int | None,
    typer.Option(
        "--metrics-port",
        metavar="PORT",
        min=0,
        max=65_535,
        help="Serve /metrics, /health/live and /health/ready there; with --workers N there and at the next N-1 ports.",
        show_default=False,
    ),
]
MetricsHost = Annotated[
    str | None, typer.Option("--metrics-host", metavar="ADDRESS", help="At this address.", show_default="127.0.0.1")
]
Tether = Annotated[str | None, typer.Option("--tether", hidden=True)]
"""How a parent starts a worker: its number, and its end of the socket pair."""
Live = Annotated[
    bool | None,
    typer.Option("--live/--no-live", help="The live view; by default on a terminal.", show_default=False),
]


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(epilog=example("runnel run shop:app --reload"))(run)
    app.command(epilog=example("runnel worker shop:app --workers 4 --log-format json --metrics-port 9100"))(worker)


def run(
    target: AppTarget,
    processors: Processors = None,
    workers: Workers = 1,
    live: Live = None,
    reload: Reload = False,
    redis_url: RedisUrl = None,
    log_level: Level = None,
    log_format: Format = None,
    metrics_port: MetricsPort = None,
    metrics_host: MetricsHost = None,
) -> None:
    """Run an app's processors, with a live view on a terminal, until Ctrl-C."""
    if live and workers > 1:
        raise typer.BadParameter("--live shows one worker, not --workers: leave one of them out")
    if live is None:
        live = workers == 1 and _is_terminal() and log_format is not LogFormat.JSON
    options = _Options(target, processors, redis_url, log_level, log_format, metrics_port, metrics_host)
    _start(options, workers, reload, live)


def worker(
    target: AppTarget,
    processors: Processors = None,
    workers: Workers = 1,
    reload: Reload = False,
    redis_url: RedisUrl = None,
    log_level: Level = None,
    log_format: Format = None,
    metrics_port: MetricsPort = None,
    metrics_host: MetricsHost = None,
    tether: Tether = None,
) -> None:
    """Run an app's processors, with plain logs, until SIGINT or SIGTERM."""
    options = _Options(target, processors, redis_url, log_level, log_format, metrics_port, metrics_host)
    if tether is not None:
        _work_in_crew(options, *map(int, tether.split(":")))
    else:
        _start(options, workers, reload, live=False)


class _Options(NamedTuple):
    """What is the same for a worker wherever it runs."""

    target: str
    processors: str | None
    redis_url: str | None
    log_level: LogLevel | None
    log_format: LogFormat | None
    metrics_port: int | None
    metrics_host: str | None

    @property
    def names(self) -> Any:
        """The processors to run."""
        if self.processors is None:
            return "all"
        return [name.strip() for name in self.processors.split(",") if name.strip()]

    def words(self) -> list[str]:
        """The same options again, for a command line."""
        given = {
            "--processors": self.processors,
            "--redis-url": self.redis_url,
            "--log-level": self.log_level,
            "--log-format": self.log_format,
            "--metrics-port": self.metrics_port,
            "--metrics-host": self.metrics_host,
        }
        return [self.target, *(f"{name}={value}" for name, value in given.items() if value is not None)]


def _start(options: _Options, workers: int, reload: bool, live: bool) -> None:
    if reload:
        from runnel.reload import keep_restarting

        raise typer.Exit(keep_restarting([word for word in sys.argv[1:] if word != "--reload"]))
    if workers > 1:
        _check_ports(options, workers)
        raise typer.Exit(_lead_crew(options, workers))
    _work(options, live)


def _check_ports(options: _Options, workers: int) -> None:
    """Say at once, and once, what each worker would find by itself."""
    first = options.metrics_port
    if not first:
        return
    last = first + workers - 1
    if last > 65_535:
        raise typer.BadParameter(f"--metrics-port: {workers} workers need as many ports, up to {last}: begin lower")
    from runnel.monitoring.server import check_ports

    check_ports(options.metrics_host or "127.0.0.1", range(first, last + 1))


def _work(options: _Options, live: bool) -> None:
    from runnel.worker import Worker

    work = Worker(_load(options))
    monitors = _monitors(work)

    def contexts() -> Sequence[_Context]:
        if not live:
            return monitors
        from runnel.view.live import LiveView

        return (*monitors, LiveView(work))

    work.start(options.names, within=lambda: _noted(*contexts()))


def _monitors(work: Any, number: int | None = None) -> Sequence[_Context]:
    """What serves the worker's metrics, if that is asked for."""
    if work.app.settings.metrics_port is None:
        return ()
    from runnel.monitoring.monitor import monitor_of

    found = monitor_of(work, number)
    return () if found is None else (found,)


@asynccontextmanager
async def _noted(*contexts: _Context) -> AsyncIterator[None]:
    """While the worker runs, note for later signals what they are to end the process with."""
    end_with(0)
    try:
        async with AsyncExitStack() as stack:
            for context in contexts:
                await stack.enter_async_context(context)
            yield
    except Exception as error:
        end_with(code(error))
        raise


def _work_in_crew(options: _Options, number: int, channel: int) -> None:
    from runnel.crew.tether import Tether
    from runnel.worker import Worker

    one_of_several(number)
    app = _load(options, number)
    work = Worker(app)
    tether, monitors = Tether(work, channel), _monitors(work, number)
    log = f"{options.log_level or app.settings.log_level} {options.log_format or app.settings.log_format}"
    work.start(options.names, within=lambda: _noted(tether, *monitors), ready=lambda: tether.say(log))


def _lead_crew(options: _Options, workers: int) -> int:
    from runnel.cli.failure import HALTED, SERVER, USAGE
    from runnel.crew.decision import Crew, supervision_of
    from runnel.crew.parent import lead
    from runnel.logs import configure

    def command(number: int, channel: int) -> Sequence[str]:
        traceback = ["--traceback"] if "--traceback" in sys.argv else []
        return [sys.executable, "-m", "runnel", "worker", *options.words(), *traceback, f"--tether={number}:{channel}"]

    def heard(log: str) -> None:
        """The app may say how to log, and it is the workers that load it."""
        level, style = log.split()
        configure(level, "json" if style == "json" else "console")

    heard(f"{options.log_level or 'info'} {options.log_format or 'console'}")
    crew = Crew(
        size=workers,
        final=frozenset({HALTED}),
        final_at_first=frozenset({USAGE, SERVER}),
        strategy=supervision_of(workers),
    )
    return lead(crew, command, heard)


def _load(options: _Options, number: int | None = None) -> Any:
    """The app, with the options' server; and logging, as the options say or else the app."""
    from runnel.app import App
    from runnel.discovery import load
    from runnel.logs import configure

    level, style = options.log_level, options.log_format
    configure(level or "info", style.value if style else "console", number)
    app = load(options.target, App)
    given = {
        "redis_url": options.redis_url,
        "metrics_port": options.metrics_port,
        "metrics_host": options.metrics_host,
    }
    app.override(**{name: value for name, value in given.items() if value is not None})
    configure(level or app.settings.log_level, style.value if style else app.settings.log_format, number)
    return app


def _is_terminal() -> bool:
    import os

    return sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"
