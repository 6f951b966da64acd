"""How far a thread is with its events: what it counts comes to the position, whenever the event loop looks."""

from collections.abc import Callable
from typing import Any

import pytest
from attrs import define, field

from runnel import LeaseLost, TimedOut
from runnel.clock import ManualClock
from runnel.handling.position import Position
from runnel.handling.progress import MOST, PACE, Chunk, Progress


@define(eq=False)
class Both:
    """The partition and the way to the event loop in one: what is called there waits until `turn`."""

    clock: ManualClock = field(factory=ManualClock)
    position: Position = field(factory=lambda: Position(b"0-0", 0, entries=[(b"%d-0" % n, []) for n in range(1, 10)]))
    attempt: int = 1
    over: bool = False
    calls: list[Callable[[], object]] = field(factory=list)

    def call(self, callback: Callable[[], object]) -> bool:
        self.calls.append(callback)
        return True

    def turn(self) -> None:
        calls, self.calls = self.calls, []
        for callback in calls:
            callback()


def does(progress: Progress, events: int = 1) -> None:
    for _ in range(events):
        progress.begin()
        assert progress.done(more=True)


def lent(kind: type[Progress] = Progress, limit: float | None = None) -> tuple[Any, Any]:
    both: Any = Both()
    progress = kind(both, both, limit)
    progress.lend()
    return both, progress


def test_the_event_loop_is_called_once_and_then_looks_by_itself_while_the_thread_gets_along() -> None:
    both, progress = lent()
    does(progress, 3)
    assert len(both.calls) == 1
    assert both.position.at == 0
    both.turn()
    assert both.position.at == 3
    does(progress, 2)
    assert not both.calls
    both.clock.advance(PACE)
    assert both.position.at == 5
    both.clock.advance(PACE)  # nothing is done meanwhile: it looks no more, and is called for the next
    does(progress)
    assert both.calls


def test_what_is_done_just_as_the_event_loop_stops_looking_is_seen() -> None:
    class Interleaved(Progress):
        """The thread does an event at the very moment after a look that found nothing."""

        then: Callable[[], None] | None = None

        def _settle(self) -> bool:
            found = super()._settle()
            if self.then is not None and not found:
                then, self.then = self.then, None
                then()
            return found

    both, progress = lent(Interleaved)
    does(progress)
    both.turn()
    progress.then = lambda: does(progress)
    both.clock.advance(10 * PACE)
    both.turn()
    assert both.position.at == 2


def test_once_nobody_waits_for_the_thread_what_it_does_moves_nothing() -> None:
    both, progress = lent()
    does(progress, 2)
    progress.take_back()
    assert both.position.at == 2
    does(progress)  # it looked whether anybody waits just before
    progress.begin()
    both.over = True
    with pytest.raises(LeaseLost):
        progress.done(more=True)
    both.turn()
    both.clock.advance(1)
    assert both.position.at == 2


@pytest.mark.parametrize(("takes", "cross"), [(0.0, MOST), (0.0002, 3), (1.0, 1)])
async def test_as_many_events_cross_at_once_as_are_decoded_before_others_need_the_event_loop(
    takes: float, cross: int
) -> None:
    both: Any = Both()
    both.position.take_in([(b"%d-0" % n, []) for n in range(10, 100)])
    progress = Progress(both, both, None)

    def slowly(xid: bytes, fields: list[bytes]) -> bytes:
        both.clock.advance(takes)
        return xid

    assert len(await Chunk(both, progress, slowly).next()) == cross
    assert both.position.out == 1


def test_each_event_that_takes_too_long_is_told_of_once() -> None:
    both, progress = lent(limit=10.0)
    told: list[float] = []
    progress.on_late = lambda: told.append(both.clock.monotonic())
    progress.watch_the_time()
    does(progress)
    progress.begin()
    both.clock.advance(100)
    assert len(told) == 1
    with pytest.raises(TimedOut):
        progress.done(more=True)
    progress.end()
    both.clock.advance(100)
    assert len(told) == 1
