"""From an error to one line on standard error and an exit code."""

import os
import sys
import traceback as tracebacks
from pathlib import Path
from typing import Protocol, runtime_checkable

import typer

from runnel.errors import ConfigurationError, HandlerFailed, RunnelError, StoreError
from runnel.signals import prefix

GENERAL, USAGE, HALTED, SERVER = 1, 2, 3, 4
INTERRUPTED = 130

_OURS = (str(Path(__file__).parent.parent) + os.sep, str(Path(os.__file__).parent) + os.sep)
"""How the paths of code begin that a user of Runnel did not write: of Runnel itself, and of the standard library."""


@runtime_checkable
class Misused(Protocol):
    """What typer raises for a wrong command line; it does not export the class."""

    def format_message(self) -> str:
        """What was wrong."""


def report(error: BaseException, *, traceback: bool) -> int:
    """Print an error; answers the exit code."""
    if isinstance(root(error), BrokenPipeError):
        return GENERAL  # whoever read our output has gone, and need not be told
    if "runnel.logs" in sys.modules and _say_in_json(error, traceback):
        return code(error)
    if traceback:
        tracebacks.print_exception(error)
    print(f"{prefix()}{line(error)}", file=sys.stderr)
    return code(error)


def _say_in_json(error: BaseException, traceback: bool) -> bool:
    """Where the log is JSON, so is its last line: whoever collects it parses all of standard error."""
    from runnel.logs import is_json, log

    if not is_json():
        return False
    more = {"traceback": "".join(tracebacks.format_exception(error))} if traceback else {}
    log.critical(line(error), extra={"exit_code": code(error), **more})
    return True


def line(error: BaseException) -> str:
    """What happened, in one line."""
    match error:
        case KeyboardInterrupt() | typer.Abort():
            said = "interrupted"
        case Misused():
            said = _usage(error.format_message(), error.__cause__)
        case RunnelError():
            said = f"{error}{place(error)}"
        case BaseExceptionGroup():
            said = "; ".join(line(each) for each in error.exceptions)
        case SyntaxError():
            said = f"{error.filename}:{error.lineno}: {type(error).__name__}: {error.msg}"
        case _:
            said = f"{type(error).__name__}: {error}{place(error)}; --traceback shows more"
    return " ".join(said.split())


def _usage(said: str, cause: BaseException | None) -> str:
    """What typer says of a wrong command line, or what it has pydantic say: that does not tell the value."""
    said = said.replace("Value error, ", "")  # before what a choice says
    wrong = cause.errors() if cause is not None and hasattr(cause, "errors") else []
    if not wrong or "Input should be" not in said:
        return said
    return said.partition(", unable to parse")[0].replace("Input should be", f"{wrong[0]['input']!r} should be", 1)


def code(error: BaseException) -> int:
    """The exit code that says who must act."""
    from asyncio import CancelledError

    match error:
        case KeyboardInterrupt() | typer.Abort() | CancelledError():
            return INTERRUPTED
        case Misused() | ConfigurationError() | SyntaxError() | ImportError():
            return USAGE
        case HandlerFailed():
            return HALTED
        case StoreError():
            return SERVER
        case RunnelError() if error.__cause__ is not None:
            return code(error.__cause__)
        case BaseExceptionGroup():
            return code(error.exceptions[0])
        case _:
            return GENERAL


def root(error: BaseException) -> BaseException:
    """The error that an error of ours was raised from, if it was."""
    return root(error.__cause__) if isinstance(error, RunnelError) and error.__cause__ is not None else error


def place(error: BaseException) -> str:
    """Where, in code that is not Runnel's, the error arose; nothing if nowhere."""
    frames = [frame for frame in tracebacks.extract_tb(root(error).__traceback__) if _is_users(frame.filename)]
    if not frames:
        return ""
    last = frames[-1]
    return f" ({last.filename}:{last.lineno}, in {last.name})"


def _is_users(filename: str) -> bool:
    installed = f"{os.sep}site-packages{os.sep}" in filename or filename.startswith(_OURS)
    return os.path.isabs(filename) and not installed  # compiled code names its source as it was built


def silence_closed_pipe() -> None:
    """Whoever read our output may have gone: then drop what is left, or the interpreter complains when it ends."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        except ValueError:
            pass
