"""Which signals reach the event loop, and when one ends the process instead."""

import os
import signal
from collections.abc import Callable, Iterator

import pytest

from runnel.signals import BLOCKED, Received

INT, TERM, HUP = signal.SIGINT, signal.SIGTERM, signal.SIGHUP


class Loop:
    """An event loop that gets round to what it was told only when asked to."""

    def __init__(self) -> None:
        self.now = 100.0
        self.told: list[Callable[[], object]] = []

    def time(self) -> float:
        return self.now

    def call_soon_threadsafe(self, callback: Callable[[], object]) -> object:
        self.told.append(callback)
        return None

    def goes_on(self) -> None:
        while self.told:
            self.told.pop(0)()


class Ended(Exception):
    pass


class World:
    def __init__(self) -> None:
        self.loop = Loop()
        self.stops = 0
        self.received = Received(self.loop, self._stop)

    def _stop(self) -> None:
        self.stops += 1

    def signalled(self, number: signal.Signals, after: float = 0.0) -> None:
        self.loop.now += after
        signal.raise_signal(number)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    def end(code: int) -> None:
        raise Ended(code)

    monkeypatch.setattr(os, "_exit", end)
    world = World()
    with world.received:
        yield world


def test_each_signal_is_a_call_in_the_loop(world: World) -> None:
    for number in (INT, TERM, INT):
        world.signalled(number, after=60)
        world.loop.goes_on()
    assert world.stops == 3


def test_signals_in_quick_succession_end_nothing_by_themselves(world: World) -> None:
    for number in (INT, TERM, INT):
        world.signalled(number, after=BLOCKED / 3)
    world.loop.goes_on()
    assert world.stops == 3


def test_a_signal_that_finds_the_loop_blocked_ends_the_process(
    world: World, capfd: pytest.CaptureFixture[str]
) -> None:
    world.signalled(INT)
    world.signalled(INT, after=BLOCKED)
    with pytest.raises(Ended, match="143"):
        world.signalled(TERM, after=0.1)
    assert capfd.readouterr().err == "runnel: ended at once: a handler blocks the event loop\n"


def test_what_was_delivered_is_not_waited_for(world: World) -> None:
    world.signalled(INT)
    world.loop.goes_on()
    world.signalled(INT, after=BLOCKED * 2)
    world.loop.goes_on()
    assert world.stops == 2


def test_a_hangup_counts_but_never_as_a_second_signal(world: World) -> None:
    world.signalled(HUP)
    world.signalled(HUP, after=BLOCKED * 2)
    world.loop.goes_on()
    assert world.stops == 1
    world.signalled(HUP)
    world.signalled(TERM)
    world.loop.goes_on()
    assert world.stops == 2


def test_a_hangup_that_is_ignored_stays_so() -> None:
    before = signal.signal(HUP, signal.SIG_IGN)
    try:
        world = World()
        with world.received:
            world.signalled(HUP)
        world.loop.goes_on()
        assert world.stops == 0
        assert signal.getsignal(HUP) is signal.SIG_IGN
    finally:
        signal.signal(HUP, before)
