"""The command line: parse, call, print. What it calls stands elsewhere, and knows nothing of it.

Nothing here imports more than typer and the standard library until a command runs, so that `runnel --help` answers at
once. Every error ends here, as one line and an exit code (`failure.py`).
"""

import sys
from collections.abc import Sequence

import typer

from runnel.cli import (
    actor,
    describe,
    doctor,
    kept,
    look,
    pause,
    peek,
    processor,
    replay,
    run,
    send,
    streams,
    timers,
    top,
)
from runnel.cli.failure import report, silence_closed_pipe
from runnel.version import __version__

EPILOG = """\b
Exit codes:
  0  done, or stopped by a signal in order
  1  failed: a record that does not fit, a full stream, a lag above its limit, a problem found, anything else
  2  wrong usage or configuration: an option, module, attribute, setting or server setting
  3  a handler failed under the policy HALT: its event stays the next one
  4  the server cannot be reached, or refused
  130, 143  SIGINT (Ctrl-C) or SIGTERM, in a command that is no worker, or before the worker began;
            or a second one, while a handler blocked the event loop
"""

app = typer.Typer(
    name="runnel",
    help="Strictly ordered event processing on Redis Streams. APP, STREAM, PROCESSOR and ACTOR are written module:attribute.",
    epilog=EPILOG,
    rich_markup_mode=None,  # importing rich would double the time of --help
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
run.add_to(app)
send.add_to(app)
look.add_to(app)
peek.add_to(app)
describe.add_to(app)
streams.add_to(app)
replay.add_to(app)
doctor.add_to(app)
processor.add_to(app)
kept.add_to(app)
actor.add_to(app)
timers.add_to(app)
pause.add_to(app)
top.add_to(app)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"runnel {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Say the version."),
    traceback: bool = typer.Option(False, "--traceback", help="Show the whole traceback of an error."),
) -> None:
    """Options of all commands."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line; answers the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    words, traceback = _without_traceback(words)
    try:
        code = app(words, prog_name="runnel", standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else 1
    except BaseException as error:
        return report(error, traceback=traceback)
    finally:
        silence_closed_pipe()


def _without_traceback(words: list[str]) -> tuple[list[str], bool]:
    """`--traceback` may stand anywhere: one adds it to the end of a line that has just failed."""
    end = words.index("--") if "--" in words else len(words)
    return [word for i, word in enumerate(words) if word != "--traceback" or i > end], "--traceback" in words[:end]
