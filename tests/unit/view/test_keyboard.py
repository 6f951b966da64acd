"""What a terminal sends, as keys."""

import os
import pty
import termios

import pytest

from runnel.view.keyboard import Keyboard, decoded
from tests.support import wait_until


@pytest.mark.parametrize(
    ("sent", "keys"),
    [
        ("jk", ["j", "k"]),
        ("\x1b[A\x1b[B\x1bOC\x1b[D", ["up", "down", "right", "left"]),
        ("\x1b[5~\x1b[6~\x1b[H\x1b[F", ["pgup", "pgdn", "home", "end"]),
        ("\x1b", ["esc"]),
        ("\t\x1b[Z\r\x7f ", ["tab", "backtab", "enter", "backspace", " "]),
        ("\x1b[15~q", ["q"]),
        ("\x1b[1;5Aq", ["q"]),
        ("\x1b\x1b", ["esc", "esc"]),
        ("ä", ["ä"]),
        ("\x00\x01", []),
        ("\x1b[", []),
    ],
)
def test_keys_are_decoded(sent: str, keys: list[str]) -> None:
    assert decoded(sent) == keys


async def test_keys_come_one_by_one_without_echo_and_the_terminal_is_left_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = pty.openpty()
    monkeypatch.setattr(os, "tcgetpgrp", lambda fd: os.getpgrp())  # a terminal of its own would need a session of its own
    before = termios.tcgetattr(theirs)
    pressed: list[str] = []
    with os.fdopen(theirs, "rb", buffering=0) as stream:
        async with Keyboard(pressed.append, stream):
            assert not termios.tcgetattr(theirs)[3] & (termios.ICANON | termios.ECHO)
            os.write(ours, b"q\x1b[A")
            await wait_until(lambda: pressed == ["q", "up"], what="both keys")
        assert termios.tcgetattr(theirs) == before
    os.close(ours)


async def test_what_is_no_terminal_gives_no_keys() -> None:
    with open(os.devnull) as stream:  # noqa: ASYNC230 - it answers at once
        async with Keyboard(print, stream) as keyboard:
            assert keyboard._saved is None
