"""Time and CPU time of this process, per event."""

import time

from attrs import define

from benchmarks.process import Figures


@define
class Stopwatch:
    """Runs from the first `start`."""

    _since: tuple[float, float] | None = None
    _seconds: float = 0.0
    _cpu: float = 0.0

    def start(self) -> None:
        """Start, if it does not run."""
        if self._since is None:
            self._since = time.perf_counter(), time.process_time()

    def stop(self) -> None:
        """Note the times since the start."""
        assert self._since is not None
        wall, cpu = self._since
        self._seconds, self._cpu = time.perf_counter() - wall, time.process_time() - cpu

    def figures(self, events: int) -> Figures:
        """Events a second, and microseconds of this process's CPU an event."""
        return {"rate": events / self._seconds, "cpu": 1e6 * self._cpu / events}
