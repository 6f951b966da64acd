"""From an error to a line and an exit code."""

import pytest

from runnel.cli.failure import code, line
from runnel.errors import (
    ConfigurationError,
    HandlerFailed,
    RecordError,
    RunnelError,
    StoreRefused,
    StoreUnavailable,
    StreamFull,
)


def caused(error: RunnelError, cause: BaseException) -> RunnelError:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (RecordError("x"), 1),
        (StreamFull("x"), 1),
        (ValueError("x"), 1),
        (ConfigurationError("x"), 2),
        (SyntaxError("x"), 2),
        (HandlerFailed("x"), 3),
        (caused(HandlerFailed("x"), StoreUnavailable("x")), 3),
        (StoreUnavailable("x"), 4),
        (StoreRefused("x"), 4),
        (caused(RunnelError("x"), StoreRefused("x")), 4),
        (KeyboardInterrupt(), 130),
        (ExceptionGroup("x", [ConfigurationError("x"), StoreRefused("y")]), 2),
    ],
)
def test_the_exit_code_says_who_must_act(error: BaseException, expected: int) -> None:
    assert code(error) == expected


def test_a_message_of_several_lines_becomes_one() -> None:
    assert line(ConfigurationError("this\n  and that")) == "this and that"


def test_the_line_says_where_in_the_users_code() -> None:
    with pytest.raises(ValueError, match="x") as raised:
        int("x")
    said = line(caused(HandlerFailed("event 1 failed"), raised.value))
    assert f"event 1 failed ({__file__}:" in said
    assert "test_the_line_says_where_in_the_users_code" in said
