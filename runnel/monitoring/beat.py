"""The event loop's beat: when it last turned, and by how much it was late at worst of late. Pure; time is a parameter."""

from collections import deque

from attrs import define, field

BEAT = 0.1
"""Seconds from one beat to the next."""

WINDOW = 30.0
"""Seconds for which a late beat is remembered: longer than most intervals of scraping."""


@define(eq=False)
class LoopBeat:
    """Written by the event loop, read by other threads.

    Args:
        at: When it last turned.
    """

    at: float
    _worst: deque[tuple[float, float]] = field(factory=deque)
    """Late beats of the window, each with when it was, the worst first: what comes later and is worse drops those before."""

    def turned(self, now: float) -> None:
        """It turns now; `BEAT` seconds after the last time, if nothing held it up."""
        late = max(0.0, now - self.at - BEAT)
        self.at = now
        while self._worst and self._worst[-1][1] <= late:
            self._worst.pop()
        self._worst.append((now, late))
        while now - self._worst[0][0] > WINDOW:
            self._worst.popleft()

    def age(self, now: float) -> float:
        """Seconds since it last turned."""
        return max(0.0, now - self.at)

    def lag(self, now: float) -> float:
        """By how many seconds it was late at worst; if it is late now, that counts too."""
        try:
            worst = self._worst[0][1]
        except IndexError:
            worst = 0.0  # it has not turned yet, or just replaces what there is
        return max(worst, self.age(now) - BEAT)
