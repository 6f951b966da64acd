"""Middleware around a processor's events: in order, with the real errors, and nothing lost by one that is broken."""

import asyncio
import copy
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from attrs import define, field

from runnel import App, ExceptionPolicy, Middleware, Record, Worker
from runnel.errors import ConfigurationError, RunnelError, StreamFull
from runnel.middleware import RateLimitMiddleware
from tests.servers import Server
from tests.support import wait_until

STYLES = pytest.mark.parametrize("style", ["records", "raw", "take", "take records"])
SICK = 2
"""The number of the event at which things go wrong; of batches of two, it begins one."""


class Order(Record):
    number: int
    key: int = 0


def numbers(item: Any) -> list[int]:
    """Of what middleware gets, or the function."""
    items = item if isinstance(item, list) else [item]
    return [thing.number if isinstance(thing, Order) else thing.record().number for thing in items]


async def nothing(numbers: list[int]) -> bool:
    return False


@define(eq=False)
class Shop:
    """An app with one processor. `handle` gets what the function gets, and says whether it leaves its loop."""

    app: App
    server: Server
    style: str = "records"
    handle: Callable[[list[int]], Any] = nothing
    begun: list[int] = field(factory=list)
    done: list[int] = field(factory=list)
    partitions: int = 1
    events: Any = None

    def declare(self, *middleware: Middleware, policy: str = "ignore", **options: Any) -> Any:
        self.app.processor(
            self.stream(), name="till", middleware=middleware, exception_policy=ExceptionPolicy(policy), **options
        )(self.till)

    def stream(self) -> Any:
        return self.app.stream("orders", record=Order, partition_by="key", partition_count=self.partitions)

    async def till(self, events: Any) -> None:
        self.events = events
        match self.style:
            case "records":
                items = events.records()
            case "raw":
                items = events
            case "take":
                items = events.take(2, within=0.01)
            case _:
                items = events.take(2, within=0.01).records()
        async for item in items:
            self.begun += numbers(item)
            if await self.handle(numbers(item)):
                return
            self.done += numbers(item)

    async def send(self, count: int, key: int = 0) -> None:
        await self.stream().send(*[Order(number=n, key=key) for n in range(count)])

    @property
    def is_let_go(self) -> bool:
        return bool(self.events._source.position.closing)

    def committed(self, partition: int = 0) -> int:
        with self.server.client() as client:
            return int(client.hget(self.stream().partitions[partition].slot("till").decode(), "count") or 0)

    @asynccontextmanager
    async def working(self) -> AsyncIterator[Worker]:
        worker = Worker(self.app)
        task = asyncio.create_task(worker.run())
        try:
            yield worker
        finally:
            worker.stop()
            await task


MakeShop = Callable[..., Shop]


@pytest.fixture
async def make_shop(valkey: Server) -> AsyncIterator[MakeShop]:
    shops: list[Shop] = []

    def make(style: str = "records", **options: Any) -> Shop:
        shops.append(Shop(App("shop", redis_url=valkey.url), valkey, style, **options))
        return shops[-1]

    yield make
    for shop in shops:
        await shop.app.close()


class Spy(Middleware):
    """Notes all that it sees, also in an `except` and a `finally` that take turns of the loop."""

    def __init__(self, name: str, seen: list[Any]) -> None:
        self.name = name
        self.seen = seen

    async def handler(self, parent: AsyncIterator[Any], **kwargs: Any) -> AsyncIterator[Any]:
        self.seen.append((self.name, "begins"))
        try:
            async for item in parent:
                self.seen.append((self.name, "gets", *numbers(item)))
                try:
                    yield item
                    self.seen.append((self.name, "is done with", *numbers(item)))
                except BaseException as error:
                    await asyncio.sleep(0)
                    self.seen.append((self.name, error if isinstance(error, Exception) else type(error)))
                    raise
                finally:
                    await asyncio.sleep(0)
                    self.seen.append((self.name, "finally"))
        finally:
            self.seen.append((self.name, "ends"))


def open_at_the_end(seen: list[Any], name: str) -> int:
    """How many pipelines of a spy were begun and not ended."""
    return seen.count((name, "begins")) - seen.count((name, "ends"))


def units(style: str, count: int) -> list[tuple[int, ...]]:
    """What events of these numbers come in."""
    size = 2 if style.startswith("take") else 1
    return [tuple(range(n, n + size)) for n in range(0, count, size)]


# ── in order ──


@STYLES
async def test_several_nest_around_each_event_the_first_nearest_to_the_log(make_shop: MakeShop, style: str) -> None:
    shop, seen = make_shop(style), list[Any]()

    async def handle(found: list[int]) -> bool:
        seen.append(("function", *found))
        return False

    shop.handle = handle
    shop.declare(Spy("outer", seen), Spy("inner", seen))
    await shop.send(4)
    async with shop.working():
        await wait_until(lambda: shop.committed() == 4)
    around = [
        event
        for unit in units(style, 4)
        for event in (
            *(("outer", "gets", *unit), ("inner", "gets", *unit), ("function", *unit)),
            *(("inner", "is done with", *unit), ("inner", "finally"), ("outer", "is done with", *unit), ("outer", "finally")),
        )
    ]
    assert [event for event in seen if event[1] not in ("begins", "ends")] == around
    assert seen[-2:] == [("outer", "ends"), ("inner", "ends")]  # at an orderly stop their loops end as any loop does


@STYLES
async def test_all_see_the_real_error_the_one_nearest_to_the_function_first(make_shop: MakeShop, style: str) -> None:
    shop, seen, error = make_shop(style), list[Any](), ValueError("no change")

    async def handle(found: list[int]) -> bool:
        if SICK in found:
            raise error
        return False

    shop.handle = handle
    shop.declare(Spy("outer", seen), Spy("inner", seen))
    await shop.send(6)
    async with shop.working():
        await wait_until(lambda: shop.committed() == 6)
    at = seen.index(("inner", error))
    assert seen[at : at + 6] == [
        *(("inner", error), ("inner", "finally"), ("inner", "ends")),
        *(("outer", error), ("outer", "finally"), ("outer", "ends")),
    ]
    assert seen.count(("inner", error)) == seen.count(("outer", error)) == 1
    assert SICK not in shop.done


@STYLES
async def test_an_error_of_the_store_in_the_function_is_one_like_any_other(make_shop: MakeShop, style: str) -> None:
    """Middleware that passes it on has not failed to keep the event: the policy decides."""
    shop, seen = make_shop(style), list[Any]()

    async def handle(found: list[int]) -> bool:
        if SICK in found:
            raise StreamFull("of another stream")
        return False

    shop.handle = handle
    shop.declare(Spy("only", seen))
    await shop.send(6)
    async with shop.working():
        await wait_until(lambda: shop.committed() == 6)
    assert shop.begun.count(SICK) == 1


class Failing(Middleware):
    """Fails an event, before or after the function has had it."""

    def __init__(self, when: str) -> None:
        self.when = when

    async def handler(self, parent: AsyncIterator[Any], **kwargs: Any) -> AsyncIterator[Any]:
        async for item in parent:
            if self.when == "before" and SICK in numbers(item):
                raise ValueError("not this one")
            yield item
            if self.when == "after" and SICK in numbers(item):
                raise ValueError("not this one")


@STYLES
@pytest.mark.parametrize("when", ["before", "after"])
async def test_what_a_middleware_raises_over_an_event_fails_it(make_shop: MakeShop, style: str, when: str) -> None:
    shop, seen = make_shop(style), list[Any]()
    shop.declare(Spy("outer", seen), Failing(when), Spy("inner", seen))
    await shop.send(6)
    async with shop.working():
        await wait_until(lambda: shop.committed() == 6)
    assert (SICK in shop.begun) == (when == "after")
    assert [str(event[1]) for event in seen if event[0] == "outer" and isinstance(event[1], Exception)] == ["not this one"]
    assert open_at_the_end(seen, "outer") == open_at_the_end(seen, "inner") == 0


# ── stopping, and giving away ──


@STYLES
async def test_at_an_orderly_stop_the_event_under_way_ends_as_any(make_shop: MakeShop, style: str) -> None:
    shop, seen, go = make_shop(style), list[Any](), asyncio.Event()

    async def handle(found: list[int]) -> bool:
        await go.wait()
        return False

    shop.handle = handle
    shop.declare(Spy("only", seen))
    await shop.send(4)
    async with shop.working() as worker:
        await wait_until(lambda: shop.begun)
        worker.stop()
        await wait_until(lambda: shop.is_let_go)
        go.set()
    first = units(style, 4)[0]
    rest = [("only", "is done with", *first), ("only", "finally"), ("only", "ends")]
    assert seen == [("only", "begins"), ("only", "gets", *first), *rest]
    assert shop.committed() == len(first)


@STYLES
async def test_an_event_that_is_cut_off_is_left_undone_and_every_finally_runs(make_shop: MakeShop, style: str) -> None:
    shop, seen = make_shop(style), list[Any]()

    async def handle(found: list[int]) -> bool:
        await asyncio.Event().wait()
        return False

    shop.handle = handle
    shop.declare(Spy("outer", seen), Spy("inner", seen), grace_period=0)
    await shop.send(4)
    async with shop.working() as worker:
        await wait_until(lambda: shop.begun)
        worker.stop()
    assert seen[-6:] == [
        *(("inner", GeneratorExit), ("inner", "finally"), ("inner", "ends")),
        *(("outer", GeneratorExit), ("outer", "finally"), ("outer", "ends")),
    ]
    assert shop.committed() == 0


@STYLES
async def test_when_a_partition_is_given_away_its_middleware_ends_and_the_next_owner_goes_on(
    make_shop: MakeShop, style: str
) -> None:
    first, second = make_shop(style, partitions=2), make_shop(style, partitions=2)
    seen, go = list[Any](), asyncio.Event()

    async def handle(found: list[int]) -> bool:
        await go.wait()
        return False

    first.handle = handle
    first.declare(Spy("first", seen))
    second.declare(Spy("second", seen))
    here = next(key for key in range(100) if first.stream().hash(key) != first.stream().hash(0))
    for key in (0, here):
        await first.send(4, key)
    async with first.working():
        await wait_until(lambda: len(first.begun) == 2 * len(units(style, 4)[0]))
        async with second.working() as other:
            await wait_until(lambda: open_at_the_end(seen, "first") == 2 and _has_joined(other))
            go.set()
            await wait_until(lambda: first.committed(0) + first.committed(1) == 8)
            await wait_until(lambda: ("second", "begins") in seen)
            assert seen.count(("first", "ends")) == 1  # of the partition that was given away
    assert sorted(first.done + second.done) == sorted([*range(4)] * 2)
    assert open_at_the_end(seen, "first") == open_at_the_end(seen, "second") == 0
    assert not [event for event in seen if event[1] is GeneratorExit]


def _has_joined(worker: Worker) -> bool:
    return worker.snapshot() is not None


@STYLES
async def test_a_wait_for_the_rate_does_not_delay_a_stop(make_shop: MakeShop, style: str) -> None:
    shop, seen = make_shop(style), list[Any]()
    burst = len(units(style, 4)[0])
    shop.declare(RateLimitMiddleware(0.0001, burst=burst), Spy("inner", seen), grace_period=600)
    await shop.send(4)
    async with shop.working() as worker:
        await wait_until(lambda: shop.committed() == burst)
        worker.stop()
    assert len(shop.begun) == burst == shop.committed()
    other = make_shop(style)
    other.declare()
    async with other.working():
        await wait_until(lambda: other.committed() == 4)
    assert other.done == list(range(burst, 4))


@STYLES
async def test_a_wait_for_the_rate_does_not_delay_a_hand_over(make_shop: MakeShop, style: str) -> None:
    burst = len(units(style, 4)[0])
    first, second = make_shop(style, partitions=2), make_shop(style, partitions=2)
    first.declare(RateLimitMiddleware(0.0001, burst=burst), grace_period=600)
    second.declare()
    here = next(key for key in range(100) if first.stream().hash(key) != first.stream().hash(0))
    for key in (0, here):
        await first.send(4, key)
    async with first.working():
        await wait_until(lambda: first.committed(0) == first.committed(1) == burst)
        async with second.working():
            await wait_until(lambda: second.done)
            await wait_until(lambda: first.committed(0) + first.committed(1) == 4 + burst)
    assert second.done == list(range(burst, 4))
    assert len(first.done) == 2 * burst


@STYLES
async def test_a_loop_that_the_function_broke_off_ends_with_the_function(make_shop: MakeShop, style: str) -> None:
    shop, seen = make_shop(style), list[Any]()

    async def till(events: Any) -> None:
        async for _ in events.records():
            break
        await shop.till(events)

    shop.app.processor(shop.stream(), name="till", middleware=[Spy("only", seen)])(till)
    await shop.send(4)
    async with shop.working():
        await wait_until(lambda: shop.committed() == 4)
    assert shop.done == list(range(4))
    assert seen.count(("only", GeneratorExit)) == 1
    assert open_at_the_end(seen, "only") == 0


# ── broken ──


class Sick(Middleware):
    """Breaks its contract at an event, until it is healed."""

    def __init__(self) -> None:
        self.healed = False

    def strikes(self, item: Any) -> bool:
        return not self.healed and SICK in numbers(item)


class NeverYields(Sick):
    async def handler(self, parent: AsyncIterator[Any], **kwargs: Any) -> AsyncIterator[Any]:
        async for item in parent:
            if self.healed:
                yield item


class LeavesOut(Sick):
    async def handler(self, parent: AsyncIterator[Any], **kwargs: Any) -> AsyncIterator[Any]:
        async for item in parent:
            if not self.strikes(item):
                yield item


class YieldsTwice(Sick):
    async def handler(self, parent: AsyncIterator[Any], **kwargs: Any) -> AsyncIterator[Any]:
        async for item in parent:
            yield item
            if self.strikes(item):
                yield item


class YieldsACopy(Sick):
    async def handler(self, parent: AsyncIterator[Any], **kwargs: Any) -> AsyncIterator[Any]:
        async for item in parent:
            yield copy.copy(item) if self.strikes(item) else item


class YieldsBeforeItGets(Sick):
    async def handler(self, parent: AsyncIterator[Any], **kwargs: Any) -> AsyncIterator[Any]:
        if not self.healed:
            yield "hello"
        async for item in parent:
            yield item


class ChangesTheBatch(Sick):
    async def handler(self, parent: AsyncIterator[Any], **kwargs: Any) -> AsyncIterator[Any]:
        async for item in parent:
            if self.strikes(item):
                item.pop()
            yield item


class SwallowsTheError(Sick):
    async def handler(self, parent: AsyncIterator[Any], **kwargs: Any) -> AsyncIterator[Any]:
        async for item in parent:
            try:
                yield item
            except Exception:
                if self.healed:
                    raise


class TriesAgain(Sick):
    async def handler(self, parent: AsyncIterator[Any], **kwargs: Any) -> AsyncIterator[Any]:
        async for item in parent:
            try:
                yield item
            except Exception:
                yield item


class SwallowsTheExit(Sick):
    async def handler(self, parent: AsyncIterator[Any], **kwargs: Any) -> AsyncIterator[Any]:
        async for item in parent:
            try:
                yield item
            except GeneratorExit:
                if self.healed:
                    raise


class YieldsAtTheExit(Sick):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Any] = []

    async def handler(self, parent: AsyncIterator[Any], **kwargs: Any) -> AsyncIterator[Any]:
        try:
            async for item in parent:
                try:
                    yield item
                except GeneratorExit:
                    if self.healed:
                        raise
                    yield item
        finally:
            self.seen.append("sick ends")


class GivesACoroutine(Sick):
    def handler(self, parent: AsyncIterator[Any], **kwargs: Any) -> AsyncIterator[Any]:
        async def coroutine() -> None: ...

        return self.passing(parent) if self.healed else coroutine()  # type: ignore[return-value]

    async def passing(self, parent: AsyncIterator[Any]) -> AsyncIterator[Any]:
        async for item in parent:
            yield item


class GivesItsParent(GivesACoroutine):
    def handler(self, parent: AsyncIterator[Any], **kwargs: Any) -> AsyncIterator[Any]:
        return self.passing(parent) if self.healed else parent


class TakesNoEvents(GivesACoroutine):
    def handler(self, parent: AsyncIterator[Any], **kwargs: Any) -> AsyncIterator[Any]:
        if not self.healed:
            raise TypeError("unexpected keyword argument 'events'")
        return self.passing(parent)


class RaisesBeforeItsFirst(Sick):
    async def handler(self, parent: AsyncIterator[Any], **kwargs: Any) -> AsyncIterator[Any]:
        if not self.healed:
            raise OSError("no database")
        async for item in parent:
            yield item


class EndsEarly(Sick):
    async def handler(self, parent: AsyncIterator[Any], **kwargs: Any) -> AsyncIterator[Any]:
        async for item in parent:
            yield item
            if self.strikes(item):
                return


class EndsWithAnEventInHand(Sick):
    async def handler(self, parent: AsyncIterator[Any], **kwargs: Any) -> AsyncIterator[Any]:
        async for item in parent:
            if self.strikes(item):
                return
            yield item


class EndsAtOnce(Sick):
    async def handler(self, parent: AsyncIterator[Any], **kwargs: Any) -> AsyncIterator[Any]:
        if not self.healed:
            return
        async for item in parent:
            yield item


@define
class Case:
    kind: type[Sick]
    says: str
    committed: int = 2
    """How many events before it are done."""
    function: str = "goes on"
    """What the function does at the event."""
    error: type[RunnelError] = ConfigurationError
    log: str = "middleware is broken"


CASES = [
    Case(NeverYields, "asked for the next event without yielding", committed=0),
    Case(LeavesOut, "asked for the next event without yielding"),
    Case(YieldsTwice, "twice"),
    Case(YieldsACopy, "not what it got last"),
    Case(YieldsBeforeItGets, "yielded a str that is not what it got last", committed=0),
    Case(ChangesTheBatch, "changed the batch that it got, of 2 events"),
    Case(SwallowsTheError, "swallowed ValueError and went on", function="fails"),
    Case(TriesAgain, "swallowed ValueError and went on", function="fails"),
    Case(SwallowsTheExit, "swallowed GeneratorExit", function="leaves"),
    Case(YieldsAtTheExit, "swallowed GeneratorExit", function="leaves"),
    Case(GivesACoroutine, "no asynchronous generator", committed=0),
    Case(GivesItsParent, "no asynchronous generator", committed=0),
    Case(TakesNoEvents, "no handler that can be called: unexpected keyword", committed=0),
    Case(
        RaisesBeforeItsFirst,
        "failed outside of an event: OSError: no database",
        committed=0,
        error=RunnelError,
        log="middleware failed outside of an event",
    ),
    Case(EndsEarly, "ended before its events did"),
    Case(EndsWithAnEventInHand, "ended before its events did"),
    Case(EndsAtOnce, "ended before its events did", committed=0),
]


def combinations() -> Iterator[Any]:
    for case in CASES:
        for style in ("records", "raw", "take", "take records"):
            if case.kind is not ChangesTheBatch or style.startswith("take"):
                marks = [pytest.mark.long] if style in ("raw", "take records") and case.kind is not ChangesTheBatch else []
                yield pytest.param(case, style, id=f"{case.kind.__name__}-{style}", marks=marks)


@pytest.mark.parametrize(("case", "style"), [*combinations()])
async def test_a_broken_middleware_is_named_and_nothing_is_lost(
    make_shop: MakeShop, case: Case, style: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Under the policy that would drop a failed event; between others, which end in order."""
    shop, seen, sick = make_shop(style), list[Any](), case.kind()

    async def handle(found: list[int]) -> bool:
        if SICK in found and not sick.healed and case.function == "fails":
            raise ValueError("no change")
        return SICK in found and not sick.healed and case.function == "leaves"

    shop.handle = handle
    shop.declare(Spy("outer", seen), sick, Spy("inner", seen))
    await shop.send(6)
    async with shop.working():
        await wait_until(lambda: _failures(caplog))
        await wait_until(lambda: shop.committed() == case.committed)
        sick.healed = True
        again = len(shop.begun)
        await wait_until(lambda: shop.committed() == 6)
    failures = _failures(caplog)
    assert {type(failure) for failure in failures} == {case.error}
    for failure in failures:
        assert str(failure).startswith(f"middleware {case.kind.__name__} ")
        assert case.says in str(failure)
    assert [record.message for record in caplog.records].count(case.log) == len(failures)
    assert shop.begun[again:] == list(range(case.committed, 6))
    assert "dropped" not in caplog.text
    assert not [event for event in seen if event[0] == "outer" and isinstance(event[1], Exception)]  # nothing has failed
    assert open_at_the_end(seen, "outer") == open_at_the_end(seen, "inner") == 0
    for spy in ("outer", "inner"):
        assert seen.count((spy, "finally")) == len([event for event in seen if event[:2] == (spy, "gets")])


def _failures(caplog: pytest.LogCaptureFixture) -> list[BaseException | None]:
    return [record.exc_info[1] for record in caplog.records if record.message == "actor failed" and record.exc_info]


@STYLES
async def test_a_function_that_swallows_the_error_of_a_broken_middleware_hides_it_from_nobody(
    make_shop: MakeShop, style: str, caplog: pytest.LogCaptureFixture
) -> None:
    shop, sick = make_shop(style), LeavesOut()

    async def till(events: Any) -> None:
        try:
            await shop.till(events)
        except Exception:
            pass

    shop.app.processor(shop.stream(), name="till", middleware=[sick])(till)
    await shop.send(6)
    async with shop.working():
        await wait_until(lambda: _failures(caplog))
        sick.healed = True
        await wait_until(lambda: shop.committed() == 6)
    assert shop.done == list(range(6))


async def test_one_that_swallows_an_error_but_ends_leaves_the_policy_its_decision(make_shop: MakeShop) -> None:
    class Quiet(Middleware):
        async def handler(self, parent: AsyncIterator[Any], **kwargs: Any) -> AsyncIterator[Any]:
            try:
                async for item in parent:
                    yield item
            except Exception:
                pass

    shop, seen = make_shop(), list[Any]()

    async def handle(found: list[int]) -> bool:
        if found == [4]:
            raise ValueError("no change")
        return False

    shop.handle = handle
    shop.declare(Spy("outer", seen), Failing("before"), Quiet())
    await shop.send(6)
    async with shop.working():
        await wait_until(lambda: shop.committed() == 6)
    assert shop.done == [0, 1, 3, 5]
    errors = [str(event[1]) for event in seen if isinstance(event[1], Exception)]
    assert errors == ["not this one", "no change"]


@pytest.mark.parametrize("kind", [SwallowsTheExit, YieldsAtTheExit])
async def test_one_that_swallows_the_exit_is_named_at_a_stop_too_and_delays_nothing(
    make_shop: MakeShop, kind: type[Sick], caplog: pytest.LogCaptureFixture
) -> None:
    shop, seen, sick = make_shop(), list[Any](), kind()
    if isinstance(sick, YieldsAtTheExit):
        sick.seen = seen

    async def handle(found: list[int]) -> bool:
        await asyncio.Event().wait()
        return False

    shop.handle = handle
    shop.declare(Spy("outer", seen), sick, grace_period=0)
    await shop.send(1)
    async with shop.working() as worker:
        await wait_until(lambda: shop.begun)
        worker.stop()
    [line] = [record for record in caplog.records if record.message == "middleware is broken"]
    assert vars(line)["middleware"] == kind.__name__
    assert {"app": "shop", "stream": "orders", "processor": "till", "partition": 0}.items() <= vars(line).items()
    assert not _failures(caplog)
    assert shop.committed() == 0
    assert seen[-3:] == [("outer", GeneratorExit), ("outer", "finally"), ("outer", "ends")]
    assert kind is SwallowsTheExit or seen[-4] == "sick ends"  # it is brought to its end before those around it
