"""What the command line's log looks like."""

import io
import json
import logging
import sys

import pytest

from runnel import App, Event, Record
from runnel.errors import RecordError, RunnelError
from runnel.logs import JSONLines, Lines, _StandardError


class Thing(Record):
    number: int


def record(message: str = "partition lost", error: BaseException | None = None, **extra: object) -> logging.LogRecord:
    exc_info = None if error is None else (type(error), error, error.__traceback__)
    return logging.getLogger("runnel.x").makeRecord("runnel.x", logging.WARNING, "f", 1, message, (), exc_info, extra=extra)


def failed() -> RunnelError:
    try:
        try:
            raise KeyError("user's")
        except KeyError as error:
            raise RunnelError("ours") from error
    except RunnelError as error:
        return error


def test_a_line_for_people_ends_with_the_fields() -> None:
    line = Lines(colour=False).format(record(partition=3, reason="not in time", names=["a", "b"]))
    assert line.endswith("warning  partition lost  partition=3  reason='not in time'  names=a,b")
    assert "\x1b" not in line


def test_a_line_for_people_is_coloured_on_demand() -> None:
    assert "\x1b[33m" in Lines(colour=True).format(record())


def test_a_line_of_json_has_all_fields() -> None:
    line = json.loads(JSONLines().format(record(partition=3, odd=object)))
    assert line["message"] == "partition lost"
    assert (line["level"], line["logger"], line["partition"]) == ("warning", "runnel.x", 3)
    assert line["time"].endswith("Z")
    assert "exception" not in line


def test_a_worker_of_several_says_its_number_in_each_line() -> None:
    assert "warning  [2] partition lost" in Lines(colour=False, number=2).format(record())
    assert json.loads(JSONLines(number=2).format(record()))["worker_number"] == 2


def test_a_traceback_is_that_of_the_users_error_alone() -> None:
    for line in (Lines(colour=False).format(record(error=failed())), JSONLines().format(record(error=failed()))):
        assert line.count("Traceback") == 1
        assert "user's" in line
        assert "ours" not in line


def test_a_closed_pipe_needs_no_traceback() -> None:
    assert "Traceback" not in Lines(colour=False).format(record(error=BrokenPipeError()))


def test_standard_error_is_looked_up_at_each_line() -> None:
    handler, first, second = _StandardError(), io.StringIO(), io.StringIO()
    before = sys.stderr
    try:
        for sys.stderr in (first, second):
            handler.handle(record())
    finally:
        sys.stderr = before
    assert first.getvalue() == second.getvalue() == "partition lost\n"


async def test_an_event_that_does_not_decode_needs_no_traceback() -> None:
    event = Event(App("x").stream("s", Thing, "number"), 0, "p", b"1-0", [b"data", b"{}"], 1)
    with pytest.raises(RecordError) as raised:
        event.record()
    line = Lines(colour=False).format(record(error=raised.value))
    assert line.splitlines()[1:] == ["RecordError: Thing.number: missing, expected int"]


def test_a_record_that_a_handler_built_wrongly_needs_one() -> None:
    with pytest.raises(RecordError) as raised:
        Thing(number="x")  # type: ignore[arg-type]
    assert "Thing(number=" in Lines(colour=False).format(record(error=raised.value))
