"""Processors that are plain functions: in threads, in order, one a partition, and none that outlives its lease goes on."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from runnel import ConfigurationError, ExceptionPolicy, LeaseLost, Middleware, Retry, SyncEvents
from runnel.actors.snapshot import State
from runnel.errors import HandlerFailed
from tests.integration.faults.harness import World
from tests.integration.faults.ledger import Order
from tests.integration.faults.shop import Sale, declare_stream, make_app
from tests.integration.faults.test_failing_handlers import has_ended
from tests.integration.faults.test_retry import actors
from tests.support import wait_until

Shop = Callable[..., World]
FOR_EVER = 600.0
STYLES = pytest.mark.parametrize("style", ["records", "events", "take", "batches"])


def items_of(events: SyncEvents[Sale], style: str) -> Iterator[list[Sale]]:
    """What the function gets, each as a list of records."""
    match style:
        case "records":
            yield from ([sale] for sale in events.records())
        case "events":
            yield from ([event.record()] for event in events)
        case "take":
            yield from ([event.record() for event in batch] for batch in events.take(4, within=0.01))
        case _:
            yield from events.take(4, within=0.01).records()


class Till:
    """An app with a plain function, whose handler can be held up at an event."""

    def __init__(self, world: World, style: str = "records", hold: int | None = None, **options: Any) -> None:
        self.begun: list[Sale] = []
        self.done: list[Sale] = []
        self.ends: list[BaseException | None] = []
        """How the function's calls ended."""
        self.going = threading.Event()
        self.app = make_app(world.plan)
        self.stream = declare_stream(self.app, world.plan)
        self._style = style
        self._hold = hold
        self.processor = self.app.processor(
            self.stream, name="till", **{"lock_expiry": FOR_EVER, "grace_period": FOR_EVER, **options}
        )(self.till)

    def till(self, events: SyncEvents[Sale]) -> None:
        try:
            for sales in items_of(events, self._style):
                self.begun += sales
                self.handle(sales)
                self.done += sales
        except BaseException as error:
            self.ends.append(error)
            raise
        self.ends.append(None)

    def handle(self, sales: list[Sale]) -> None:
        if self._hold in [sale.number for sale in sales]:
            assert self.going.wait(20)

    @property
    def numbers(self) -> list[int]:
        """Of what is begun."""
        return [sale.number for sale in self.begun]


@contextmanager
def let_go_at_the_end(till: Till) -> Iterator[None]:
    """Whatever happens, no thread stays in its handler."""
    try:
        yield
    finally:
        till.going.set()


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("till/")]


@pytest.fixture(autouse=True)
async def _no_thread_is_left() -> AsyncIterator[None]:
    yield
    await wait_until(lambda: not threads(), what="every thread has left its function")


# ── order, and what is done ──


@STYLES
async def test_each_partition_has_a_thread_and_its_events_come_in_order(shop: Shop, style: str) -> None:
    world, used = shop(partition_count=4), set[threading.Thread]()
    till = Till(world, style)
    handle = till.handle

    def noting(sales: list[Sale]) -> None:
        used.add(threading.current_thread())
        handle(sales)

    till.handle = noting  # type: ignore[method-assign]
    await world.send(range(20), range(50))
    async with world.worker(app=till.app):
        await world.all_done()
        assert len(threads()) <= 4
    for key in range(20):
        assert [sale.number for sale in till.done if sale.key == key] == list(range(50))
    assert len(till.done) == 1000
    assert len(used) == 4
    assert threading.main_thread() not in used
    assert till.ends == [None] * 4


async def test_a_handler_that_waits_does_not_hold_up_the_event_loop(shop: Shop) -> None:
    world = shop(partition_count=1)
    till, seen = Till(world, hold=0), list[int]()

    @till.app.processor(till.stream, name="other", lock_expiry=FOR_EVER)
    async def other(events: Any) -> None:
        async for sale in events.records():
            seen.append(sale.number)

    await world.send([1], range(10))
    with let_go_at_the_end(till):
        async with world.worker(app=till.app):
            await wait_until(lambda: till.numbers == [0])
            await wait_until(lambda: seen == list(range(10)))
            assert till.numbers == [0]
            till.going.set()
            await world.all_done()


@STYLES
async def test_an_event_is_done_when_the_loop_comes_back_and_not_before(shop: Shop, style: str) -> None:
    """Though several have crossed to the thread at once."""
    world = shop(partition_count=1)
    till = Till(world, style, hold=9)
    await world.send([1], range(20))
    done = 8 if style in ("take", "batches") else 9
    with let_go_at_the_end(till):
        async with world.worker(app=till.app):
            await wait_until(lambda: 9 in till.numbers)
            await wait_until(lambda: world.slot(0).get("count") == str(done), what="what is done is committed meanwhile")
            assert world.slot(0)["count"] == str(done)
            till.going.set()
            await world.all_done()
    assert [sale.number for sale in till.done] == list(range(20))


@pytest.mark.parametrize("leave", ["return", "break"])
async def test_return_and_break_leave_the_event_undone(shop: Shop, leave: str) -> None:
    world, begun, ends = shop(partition_count=1), list[int](), list[str]()
    app = make_app(world.plan)

    @app.processor(declare_stream(app, world.plan), name="till", lock_expiry=FOR_EVER)
    def till(events: SyncEvents[Sale]) -> None:
        for sale in events.records():
            begun.append(sale.number)
            if sale.number == 2 and begun.count(2) < 2:
                if leave == "return":
                    return
                break
        ends.append("end")

    await world.send([1], range(5))
    async with world.worker(app=app):
        await world.all_done()
    assert begun == [0, 1, 2, 2, 3, 4]
    assert len(ends) == (1 if leave == "return" else 2)


async def test_a_loop_in_a_loop_goes_on_with_the_event_that_was_left(shop: Shop) -> None:
    world, begun = shop(partition_count=1), list[Any]()
    app = make_app(world.plan)

    @app.processor(declare_stream(app, world.plan), name="till", lock_expiry=FOR_EVER)
    def till(events: SyncEvents[Sale]) -> None:
        for sale in events.records():
            begun.append(sale.number)
            if sale.number == 2:
                break
        for batch in events.take(2, within=0.01).records():
            begun.append([sale.number for sale in batch])
            if len(begun) == 5:
                break
        for event in events:
            begun.append(event.record().number)

    await world.send([1], range(8))
    async with world.worker(app=app):
        await world.all_done()
    assert begun == [0, 1, 2, [2, 3], [4, 5], 4, 5, 6, 7]


async def test_a_function_may_wait_for_what_needs_the_event_loop(shop: Shop) -> None:
    world = shop(partition_count=1)
    app = make_app(world.plan)
    sent = app.stream("copies", record=Sale, partition_by="key", partition_count=1)
    ids: list[str] = []

    @app.processor(declare_stream(app, world.plan), name="till", lock_expiry=FOR_EVER)
    def till(events: SyncEvents[Sale]) -> None:
        for sale in events.records():
            ids.extend(events.run(sent.send(sale)))

    await world.send([1], range(3))
    async with world.worker(app=app):
        await world.all_done()
    with world.server.client() as client:
        assert len(ids) == client.xlen(sent.partitions[0].log.decode()) == 3


# ── failures ──


async def test_what_the_thread_raises_is_the_error_that_policy_and_middleware_see(shop: Shop) -> None:
    world, seen = shop(partition_count=1), list[Any]()

    class Spy(Middleware):
        async def handler(self, parent: AsyncIterator[Any], **kwargs: Any) -> AsyncIterator[Any]:
            async for event in parent:
                seen.append(event.record().number)
                try:
                    yield event
                    seen.append("done")
                except Exception as error:
                    seen.append((repr(error), kwargs["events"].tries_again(error)))
                    raise

    till = Till(world, middleware=[Spy()], retry=Retry(attempts=2, backoff=0), exception_policy="ignore")

    def handle(sales: list[Sale]) -> None:
        if sales[0].number == 1:
            raise ValueError("no change")

    till.handle = handle  # type: ignore[method-assign]
    await world.send([1], range(3))
    async with world.worker(app=till.app):
        await world.all_done()
    error = "ValueError('no change')"
    assert seen == [0, "done", 1, (error, True), 1, (error, False), 2, "done"]
    assert [sale.number for sale in till.done] == [0, 2]


class Swallowing(Middleware):
    async def handler(self, parent: AsyncIterator[Any], **kwargs: Any) -> AsyncIterator[Any]:
        async for event in parent:
            try:
                yield event
            except ValueError:
                pass


class Greedy(Middleware):
    async def handler(self, parent: AsyncIterator[Any], **kwargs: Any) -> AsyncIterator[Any]:
        async for event in parent:
            if event.record().number != 2:
                yield event


@pytest.mark.parametrize(("kind", "what"), [(Swallowing, "swallowed ValueError and went on"), (Greedy, "without yielding")])
async def test_a_middleware_that_is_broken_is_named_and_nothing_is_lost(
    shop: Shop, kind: type[Middleware], what: str, caplog: pytest.LogCaptureFixture
) -> None:
    world, fixed = shop(partition_count=1), list[bool]()
    till = Till(world, middleware=[kind()], exception_policy="ignore")

    def handle(sales: list[Sale]) -> None:
        if sales[0].number == 2 and not fixed:
            raise ValueError("no change")

    till.handle = handle  # type: ignore[method-assign]
    await world.send([1], range(5))
    async with world.worker(app=till.app):
        await wait_until(lambda: f"middleware {kind.__name__} " in caplog.text and what in caplog.text)
    assert world.slot(0)["count"] == "2"
    assert [sale.number for sale in till.done] == [0, 1]


@pytest.mark.parametrize("then", ["swallow", "return", "go on"])
async def test_an_event_that_took_too_long_has_failed_whatever_the_function_makes_of_it(shop: Shop, then: str) -> None:
    world, begun = shop(partition_count=1), list[int]()
    app = make_app(world.plan)

    @app.processor(declare_stream(app, world.plan), name="till", lock_expiry=FOR_EVER, timeout=0.05)
    def till(events: SyncEvents[Sale]) -> None:
        for _ in range(2):
            try:
                for sale in events.records():
                    begun.append(sale.number)
                    if sale.number == 1:
                        threading.Event().wait(0.1)
                        if then == "return":
                            return
            except TimeoutError:
                if then == "swallow":
                    return

    await world.send([1], range(3))
    with pytest.raises(HandlerFailed, match=r"event sales/0/\S+ failed: TimedOut: took longer than 0.05 s"):
        async with world.worker(app=app) as worker:
            await wait_until(lambda: has_ended(worker))
    assert begun == [0, 1]
    assert world.slot(0)["count"] == "1"


async def test_an_event_that_takes_too_long_is_told_of_while_its_thread_hangs(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    world = shop(partition_count=1)
    till = Till(world, hold=1, timeout=0.05, exception_policy="ignore")
    await world.send([1], range(3))
    with let_go_at_the_end(till):
        async with world.worker(app=till.app):
            await wait_until(lambda: "an event takes longer than its timeout" in caplog.text)
            assert till.numbers == [0, 1]
            till.going.set()
            await world.all_done()
    [said] = [record for record in caplog.records if record.message.startswith("an event takes longer")]
    assert vars(said)["entry"] == world.sent[Order(1, 1)]
    assert till.numbers == [0, 1, 2]


async def test_a_function_that_is_to_be_awaited_after_all_is_named(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    world = shop(partition_count=1)
    app = make_app(world.plan)

    async def till(events: Any) -> None: ...

    app.processor(declare_stream(app, world.plan), name="till")(lambda events: till(events))
    await world.send([1], range(3))
    async with world.worker(app=app):
        await wait_until(lambda: "processor 'till' returned something to be awaited: declare it with" in caplog.text)
    assert len(world.uncommitted()) == 3


def test_a_generator_is_refused_where_it_is_declared(shop: Shop) -> None:
    world = shop(partition_count=1)
    app = make_app(world.plan)

    def till(events: Any) -> Any:
        yield

    with pytest.raises(ConfigurationError, match="processor 'till' has a `yield`"):
        app.processor(declare_stream(app, world.plan))(till)


# ── partitions that are let go ──


@STYLES
async def test_a_thread_that_waits_for_events_ends_at_once_when_its_partition_is_let_go(shop: Shop, style: str) -> None:
    world = shop(partition_count=1)
    till = Till(world, style)
    await world.send([1], range(3))
    async with world.worker(app=till.app):
        await world.all_done()
        stopped_at = time.monotonic()
    assert time.monotonic() - stopped_at < 5
    assert till.ends == [None]
    assert not world.slot(0)["owner"]


@STYLES
async def test_an_event_under_way_is_finished_and_committed_and_no_other_is_begun(shop: Shop, style: str) -> None:
    world = shop(partition_count=1)
    till = Till(world, style, hold=5)
    await world.send([1], range(60))
    with let_go_at_the_end(till):
        async with world.worker(app=till.app) as worker:
            await wait_until(lambda: 5 in till.numbers)
            begun = till.numbers
            going_on = asyncio.create_task(go_on_once_it_is_let_go(worker, till.going))
        await going_on
    assert till.numbers == begun
    assert world.slot(0)["count"] == str(len(begun))
    assert till.ends == [None]


async def go_on_once_it_is_let_go(worker: Any, going: threading.Event) -> None:
    await wait_until(lambda: is_let_go(worker), what="the partition is to be let go")
    going.set()


def is_let_go(worker: Any) -> bool:
    """Whether the partition is told to stop."""
    return [each.state for each in actors(worker.snapshot()) if each.kind == "Partition"] == [State.STOPPING]


async def test_partitions_move_to_a_worker_that_comes_and_back_in_order_and_nothing_is_repeated(shop: Shop) -> None:
    world = shop(style="plain", lock_expiry=2, partition_count=8)
    events = iter(range(1000))

    async def send_until(condition: Callable[[], bool]) -> None:
        while not condition():
            await world.send(range(16), [next(events)])

    def owned(worker: Any) -> int:
        return sum(each.kind == "Partition" for each in actors(worker.snapshot()))

    async with world.worker("first") as first:
        await send_until(lambda: owned(first) == 8)
        async with world.worker("second") as second:
            await send_until(lambda: owned(first) == owned(second) == 4 and bool(world.ledger.lines("second")))
        await send_until(lambda: owned(first) == 8)
        await world.all_done()
    world.check()
    assert not world.ledger.repeated()


@STYLES
async def test_a_thread_that_takes_longer_than_its_grace_begins_nothing_more_and_commits_nothing(
    shop: Shop, style: str
) -> None:
    world = shop(partition_count=1)
    till = Till(world, style, hold=5, grace_period=0.1)
    await world.send([1], range(60))
    with let_go_at_the_end(till):
        async with world.worker(app=till.app):
            await wait_until(lambda: 5 in till.numbers)
        begun = till.numbers
        assert not world.slot(0)["owner"]
        till.going.set()
        await wait_until(lambda: till.ends)
    assert isinstance(till.ends[0], LeaseLost)
    assert till.numbers == begun
    assert world.slot(0)["count"] == str(begun.index(5) if style in ("records", "events") else 4)


async def test_a_function_that_fails_behind_its_loop_at_a_stop_has_failed_no_event(shop: Shop) -> None:
    """Though the next one has crossed to its thread: under IGNORE it would be lost."""
    world, begun, going = shop(partition_count=1), list[int](), threading.Event()
    app = make_app(world.plan)

    @app.processor(declare_stream(app, world.plan), name="till", exception_policy=ExceptionPolicy.IGNORE, lock_expiry=FOR_EVER)
    def till(events: SyncEvents[Sale]) -> None:
        for sale in events.records():
            begun.append(sale.number)
            if sale.number == 5:
                assert going.wait(20)
        raise ValueError("behind the loop")

    await world.send([1], range(10))
    async with world.worker(app=app) as worker:
        await wait_until(lambda: 5 in begun)
        going_on = asyncio.create_task(go_on_once_it_is_let_go(worker, going))
    await going_on
    assert begun == list(range(6))
    assert world.slot(0)["count"] == "6"


async def test_who_takes_a_partition_anew_waits_for_the_thread_of_before(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    """In one process an event is never in two handlers at once."""
    world = shop(partition_count=1)
    till = Till(world, hold=5)
    await world.send([1], range(10))
    with let_go_at_the_end(till):
        async with world.worker(app=till.app) as worker:
            await wait_until(lambda: 5 in till.numbers)
            worker.stop()  # and again at the end: at once
        async with world.worker(app=till.app):
            await wait_until(lambda: "has not returned: waiting for its thread" in caplog.text)
            stopped_at = time.monotonic()
        assert time.monotonic() - stopped_at < 5, "nor does a stop wait for it"
        async with world.worker(app=till.app):
            await wait_until(lambda: caplog.text.count("has not returned: waiting for its thread") == 2)
            assert till.numbers == list(range(6))
            till.going.set()
            await world.all_done()
    assert till.numbers == [*range(6), *range(5, 10)]
    assert isinstance(till.ends[0], LeaseLost)


async def test_a_stop_at_once_leaves_a_thread_that_waits_for_events_nothing_to_wait_for(shop: Shop) -> None:
    world = shop(partition_count=1)
    till = Till(world, grace_period=0)
    await world.send([1], range(3))
    async with world.worker(app=till.app) as worker:
        await world.all_done()
        worker.stop()
        worker.stop()
    await wait_until(lambda: till.ends)


@pytest.mark.parametrize("crash", ["handler", "commit sent"])
async def test_what_a_killed_worker_had_not_committed_is_done_by_the_next(shop: Shop, crash: str) -> None:
    world = shop(style="plain", prefetch_count=16)
    await world.send(range(8), range(20))
    first = world.start("first", crash=crash, nth=2)
    assert await first.ended() < 0
    world.start("second")
    await world.all_done()
    world.check()
