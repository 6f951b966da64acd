"""What it costs that a worker reports of itself each second: its CPU time an event, with reports and without, in turn.

nice -n -19 python -m benchmarks.reports [EVENTS] [ALTERNATIONS]
"""

import asyncio
import statistics
import sys
import tempfile
import time

from benchmarks.orders import Order, orders
from benchmarks.process import Figures, Process
from benchmarks.product import fill
from runnel import Events, Worker
from runnel.roles import telemetry

NEVER = 1e9


async def measured(url: str, events: int, run: str, reports: bool) -> Figures:
    """Process a backlog; microseconds of processor an event, from the first event to the last, and the share of reports."""
    if not reports:
        telemetry.INTERVAL = telemetry.BLINK = NEVER
    spent, receive = 0.0, telemetry.Telemetry.receive

    async def timed(self: telemetry.Telemetry, message: telemetry.Look) -> None:
        nonlocal spent
        start = time.thread_time()
        await receive(self, message)
        spent += time.thread_time() - start

    telemetry.Telemetry.receive = timed  # type: ignore[method-assign]
    app, stream = orders(url)
    worker = Worker(app)
    done, began = 0, 0.0

    @app.processor(stream, name=f"reports.{run}")
    async def processor(events_: Events[Order]) -> None:
        nonlocal done, began
        began = began or time.process_time()
        async for _ in events_.records():
            done += 1
            if done == events:
                worker.stop()

    await worker.run()
    took = time.process_time() - began
    return {"us": took / events * 1e6, "share": spent / took}


def main(events: int = 300_000, alternations: int = 7) -> None:
    """Print the medians, and the ratio of each pair."""
    with tempfile.TemporaryDirectory() as folder:
        url = f"embedded://{folder}"
        asyncio.run(_with_server(url, events, alternations))


async def _with_server(url: str, events: int, alternations: int) -> None:
    app, _ = orders(url)
    async with app:  # the server lives as long as its last user
        await fill(url, events)
        pairs = []
        for n in range(alternations):
            with_reports = await _once(url, events, f"{n}.with", True)
            pairs.append((with_reports, await _once(url, events, f"{n}.without", False)))
    ratios = sorted(on / off for on, off in pairs)
    print("with    ", statistics.median(on for on, _ in pairs), "µs an event")
    print("without ", statistics.median(off for _, off in pairs), "µs an event")
    print("ratio   ", statistics.median(ratios), ratios)


async def _once(url: str, events: int, run: str, reports: bool) -> float:
    role = Process("reports.measured", {"url": url, "events": events, "run": run, "reports": reports})
    figures = await asyncio.to_thread(role.figures)
    if reports:
        print(f"of the worker's CPU time, making reports took {figures['share']:.2%}")
    return figures["us"]


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
