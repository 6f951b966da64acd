"""The monitor of a worker: serves its metrics and its health over HTTP while the worker runs.

It beats in the event loop, and reads the worker's board in the server's threads. It costs nothing for an event.
"""

import asyncio
import logging
from collections.abc import Iterator
from types import TracebackType

import orjson
from attrs import define, field

from runnel.clock import Timer
from runnel.errors import ConfigurationError
from runnel.monitoring.beat import BEAT, LoopBeat
from runnel.monitoring.health import Health, Verdict
from runnel.monitoring.metrics import Sample, samples
from runnel.monitoring.server import Answer, HttpServer, Page
from runnel.worker import Worker

log = logging.getLogger(__name__)

HIGHEST = 65_535


@define(eq=False)
class Monitor:
    """Serves `/metrics`, `/health/live` and `/health/ready` while the `async with` lasts, in which the worker is to run.

    Args:
        worker: Of which worker.
        host: The address to listen at.
        port: The port; 0: any that is free, see `url`.

    Raises:
        ConfigurationError: `runnel[metrics]` is not installed, or, when it is entered, it cannot listen there.
    """

    worker: Worker
    host: str = "127.0.0.1"
    port: int = 0
    _metrics: Page = field(init=False)
    _beat: LoopBeat = field(init=False)
    _timer: Timer | None = None
    _server: HttpServer | None = None

    def __attrs_post_init__(self) -> None:
        try:
            from runnel.monitoring.exposition import Exposition
        except ImportError:
            raise ConfigurationError("--metrics-port needs prometheus-client: pip install 'runnel[metrics]'") from None
        if self.port > HIGHEST:
            raise ConfigurationError(f"metrics cannot be served at port {self.port}: ports end at {HIGHEST}")
        self._metrics = Exposition(self._samples)
        self._beat = LoopBeat(self._now)

    @property
    def url(self) -> str:
        """Where it is; empty when it does not serve."""
        return "" if self._server is None else self._server.url

    async def __aenter__(self) -> "Monitor":
        pages: dict[str, Page] = {
            "/metrics": self._metrics,
            "/health/live": lambda _: _told(self.health().live()),
            "/health/ready": lambda _: _told(self.health().ready()),
        }
        self._server = HttpServer(self.host, self.port, pages)
        self.worker.board.is_read = True
        self._turn()
        self._server.start()
        log.info("metrics and health are served", extra={"url": self.url})
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._server is not None:
            await asyncio.to_thread(self._server.stop)

    def health(self) -> Health:
        """How it is now; from any thread."""
        now, board, settings = self._now, self.worker.board, self.worker.app.settings
        seen, report = board.seen, board.report
        processors = () if report is None else report.processors
        return Health(
            now=now,
            beat_age=self._beat.age(now),
            blocked_after=settings.health_blocked_after,
            loop_lag=self._beat.lag(now),
            stopping=self.worker.stopping,
            joined=board.has_joined,
            server_up=board.server_answers(),
            standstills=() if seen is None else seen.standstills,
            stalled_after=settings.health_stalled_after,
            open_breakers={each.processor for each in processors if each.breaker != "closed"},
            paused=0 if seen is None else sum(each.paused for each in seen.standings),
        )

    @property
    def _now(self) -> float:
        return self.worker.app.clock.monotonic()

    def _turn(self) -> None:
        self._beat.turned(self._now)
        self._timer = self.worker.app.clock.call_later(BEAT, self._turn)

    def _samples(self) -> Iterator[Sample]:
        return samples(self.worker.app.name, self.worker.board, self.health())


def monitor_of(worker: Worker, number: int | None = None) -> Monitor | None:
    """The monitor that the app's settings ask for; None: they ask for none.

    Args:
        worker: Of which worker.
        number: Of several workers, which, from 1: each has a port of its own, one after the other.
    """
    settings = worker.app.settings
    if settings.metrics_port is None:
        return None
    port = settings.metrics_port
    return Monitor(worker, settings.metrics_host, port + (0 if number is None else number - 1) if port else 0)


def _told(verdict: Verdict) -> Answer:
    body = orjson.dumps({"status": verdict.status, "reason": verdict.reason}) + b"\n"
    return Answer(200 if verdict.ok else 503, "application/json", body)
