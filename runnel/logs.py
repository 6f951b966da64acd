"""Logging as the command line sets it up: lines for people, or JSON. Nothing else in Runnel configures logging.

It gets the records of the logger tree "runnel" and writes them to standard error, looked up at each line, so that a
live view that has taken its place shows them above itself.
"""

import logging
import os
import sys
import time
import traceback
from contextvars import ContextVar
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import orjson

from runnel.errors import RecordError, RunnelError

OF_WORKER: ContextVar[str] = ContextVar("runnel_worker", default="")
"""In what a worker runs: its id, which each of its lines has, also those of parts that do not know whose they are."""

STANDARD = frozenset({*vars(logging.makeLogRecord({})), "message", "asctime", "taskName"})
"""What every record has; the rest was given as `extra`."""

_OURS = str(Path(__file__).parent) + os.sep
_DECODING = {str(Path(_OURS, "handling", "event.py")), str(Path(_OURS, "handling", "events.py"))}

_WORKER = "runnel.worker"
"""Who says that a worker starts, and which."""

log = logging.getLogger("runnel.cli")
"""For what a command itself has to say."""


def configure(level: str, style: Literal["console", "json"], number: int | None = None) -> None:
    """Send Runnel's log to standard error, at `level` and above; each line with the `number` of the worker, if it has one."""
    handler = _StandardError()
    handler.setFormatter(JSONLines(number) if style == "json" else Lines(colour=_colour(), number=number))
    logger = logging.getLogger("runnel")
    logger.handlers[:] = [handler]
    logger.setLevel(level.upper())
    logger.propagate = False


def is_json() -> bool:
    """Whether `configure` has made the log JSON."""
    return any(isinstance(handler.formatter, JSONLines) for handler in logging.getLogger("runnel").handlers)


def fields_of(record: logging.LogRecord) -> dict[str, Any]:
    """What was given as `extra`, and the worker, if a worker logs it."""
    fields = {name: value for name, value in vars(record).items() if name not in STANDARD}
    return fields if "worker" in fields or not OF_WORKER.get() else {**fields, "worker": OF_WORKER.get()}


class JSONLines(logging.Formatter):
    """A record as one line of JSON with all its fields."""

    def __init__(self, number: int | None = None) -> None:
        super().__init__()
        self._number = {} if number is None else {"worker_number": number}

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": _utc(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **self._number,
            **fields_of(record),
        }
        if (trace := trace_of(record)) is not None:
            line["exception"] = trace
        return orjson.dumps(line, default=str, option=orjson.OPT_NON_STR_KEYS).decode()


class Lines(logging.Formatter):
    """A record as a line for people: time, level, message, key=value; a traceback, if there is one, below."""

    def __init__(self, *, colour: bool, number: int | None = None) -> None:
        super().__init__()
        self._colour = colour
        self._number = "" if number is None else f"[{number}] "

    def format(self, record: logging.LogRecord) -> str:
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        said = fields_of(record)
        if said.get("worker") == OF_WORKER.get() and record.name != _WORKER:
            said.pop("worker", None)  # who runs it in a terminal has read that in the first line
        fields = "  ".join(f"{name}={_short(value)}" for name, value in said.items())
        head = f"{self._dim(clock)} {self._level(record)} {self._number}{record.getMessage()}"
        line = f"{head}  {self._dim(fields)}" if fields else head
        trace = trace_of(record)
        return line if trace is None else f"{line}\n{trace}"

    def _level(self, record: logging.LogRecord) -> str:
        name = f"{record.levelname.lower():<8}"
        if not self._colour:
            return name
        number = 31 if record.levelno >= logging.ERROR else 33 if record.levelno >= logging.WARNING else 32
        return f"\x1b[{number}m{name}\x1b[0m"

    def _dim(self, text: str) -> str:
        return f"\x1b[2m{text}\x1b[0m" if self._colour and text else text


def trace_of(record: logging.LogRecord) -> str | None:
    """The record's traceback, from the user's own code on: how Runnel came to call it tells nobody anything.

    Of an event that does not decode only the line that says so: nobody's code failed.
    """
    error = record.exc_info[1] if record.exc_info else None
    while isinstance(error, RunnelError) and error.__cause__ is not None and not _is_undecodable(error):
        error = error.__cause__
    if error is not None and _is_undecodable(error):
        return f"{type(error).__name__}: {error}"
    if error is None or isinstance(error, BrokenPipeError):  # whoever read our output has gone
        return None
    return "".join(traceback.format_exception(type(error), error, users(error.__traceback__))).rstrip()


def _is_undecodable(error: BaseException) -> bool:
    """Whether it arose in decoding an event, and not where a handler built a record."""
    frames = (frame.f_code.co_filename for frame, _ in traceback.walk_tb(error.__traceback__))
    return isinstance(error, RecordError) and not _DECODING.isdisjoint(frames)


def users(trace: TracebackType | None) -> TracebackType | None:
    """The part of a traceback that begins where Runnel called the user's code; all of it, if it never did."""
    start = trace
    while start is not None and start.tb_frame.f_code.co_filename.startswith(_OURS):
        start = start.tb_next
    return start or trace


class _StandardError(logging.StreamHandler[Any]):
    """Writes to what `sys.stderr` is now."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> Any:
        return sys.stderr

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        if not isinstance(sys.exc_info()[1], BrokenPipeError):
            super().handleError(record)


def _short(value: object) -> str:
    if isinstance(value, list | tuple):
        return ",".join(map(_short, value))
    text = " ".join(str(value).split())
    return repr(text) if " " in text else text


def _utc(moment: float) -> str:
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(moment))
    return f"{whole}.{int(moment * 1000) % 1000:03}Z"


def _colour() -> bool:
    return sys.stderr.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
