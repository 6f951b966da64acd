"""How long an actor takes to answer, in another process: against one raw hop, from a sender to a blocked reader."""

from collections.abc import Iterable

from benchmarks.latency import Latencies, paced
from benchmarks.measurements import Size, alternate, each
from benchmarks.orders import PARTITIONS, Order, order, orders
from benchmarks.process import Figures, background, fresh
from benchmarks.result import Goal, Result
from benchmarks.server import Server
from runnel import Actor, Record, Worker

KEYS = 100


class Balance(Record):
    """What an actor remembers."""

    total: int = 0


def _actors(url: str) -> tuple[Worker, type[Actor[Order, Balance]]]:
    app, stream = orders(url)

    @app.actor(stream)
    class Account(Actor[Order, Balance]):
        async def receive(self, order: Order) -> int:
            self.state.total += order.amount
            return self.state.total

    return Worker(app), Account


async def answer(url: str) -> Figures:
    """Be the worker, until the process is killed."""
    worker, _ = _actors(url)
    await worker.run()
    return {}


async def ask(url: str, events: int, rate: float) -> Figures:
    """Ask one actor after the other; each changes its state, so each answer follows a commit."""
    worker, account = _actors(url)
    latencies, numbers = Latencies(events), iter(range(events))

    async def one(now: int) -> None:
        key = next(numbers) % KEYS
        await account.ask(key, order(key, 1))
        latencies.arrived(now)

    async with worker.app:
        for key in range(PARTITIONS):  # until the worker is there
            await account.ask(key, order(key, 1), timeout=60)
        await paced(events, rate, one)
    return latencies.figures()


def asking(server: Server, size: Size) -> Iterable[Result]:
    """Ask, and one hop, in the same moments of the machine."""
    events = size.paced

    def hop(_: int) -> Figures:
        server.flush()
        with background("raw.receive_paced", url=server.raw_url, events=events) as receiver:
            receiver.wait_ready()
            fresh("raw.send_paced", url=server.raw_url, events=events, rate=size.rate)
            return receiver.figures()

    def round_trip(_: int) -> Figures:
        server.flush()
        with background("asking.answer", url=server.url):
            return fresh("asking.ask", url=server.url, events=events, rate=size.rate)

    found = alternate(size.runs, {"raw": hop, "ours": round_trip})
    for percentile, goal in (("p50", Goal(4, at_most=True)), ("p99", None)):
        yield Result(
            name=f"ask and its answer, {percentile}",
            unit="ms",
            raw=each(found["raw"], percentile),
            ours=each(found["ours"], percentile),
            goal=goal,
        )
