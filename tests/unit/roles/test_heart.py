"""The heart: it never dies in silence, and misses no call to beat."""

import asyncio
import threading
from typing import Any

from attrs import define, field

from runnel.clock import SystemClock
from runnel.errors import StoreRefused
from runnel.roles.heart import Beat, Heart, MissedBeat
from tests.support import wait_until


@define(eq=False)
class FakeBlockingLink:
    """Answers at once, or fails as it is told to."""

    errors: list[Exception] = field(factory=list)
    beats: int = 0

    def run(self, calls: Any) -> list[Any]:
        self.beats += 1
        if self.errors:
            raise self.errors.pop(0)
        return []

    def close(self) -> None:
        """Nothing to close."""


def heart_of(link: FakeBlockingLink, interval: float) -> Heart:
    return Heart(link, SystemClock(), interval)  # type: ignore[arg-type]


async def test_it_goes_on_after_any_error_and_tells_of_it() -> None:
    errors = [StoreRefused("NOAUTH"), AttributeError("an answer of another version")]
    heart, told = heart_of(FakeBlockingLink(errors=list(errors)), 0.01), list[Any]()
    heart.start(told.append)
    await wait_until(lambda: len(told) >= 3)
    await heart.stop()
    assert [message.error for message in told[:2] if isinstance(message, MissedBeat)] == errors
    assert isinstance(told[2], Beat)


async def test_a_call_to_beat_is_heard_whenever_it_comes() -> None:
    """Also between the end of a wait and what follows it: `wait` says then that nothing was set."""
    link = FakeBlockingLink()
    heart = heart_of(link, 3600)

    class LateEvent(threading.Event):
        """As if the call came just after the time of the wait was up."""

        def wait(self, timeout: float | None = None) -> bool:
            super().wait(0.01 if timeout is None else min(timeout, 0.01))
            return False

    heart._wake = LateEvent()
    heart.start(lambda _: None)
    await wait_until(lambda: link.beats == 1)
    heart.beat_now()
    await wait_until(lambda: link.beats == 2)
    await heart.stop()


async def test_no_thread_is_left() -> None:
    heart = heart_of(FakeBlockingLink(), 0.01)
    before = threading.active_count()
    heart.start(lambda _: None)
    await heart.stop()
    await asyncio.sleep(0)
    assert not any(thread.name == "runnel-heart" for thread in threading.enumerate())
    assert threading.active_count() <= before + 1  # the loop's executor, which waited for the thread
