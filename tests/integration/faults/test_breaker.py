"""The circuit breaker on real servers: an outage pauses the processor, and what it meant is done, in order, after it."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from io import StringIO
from typing import Any

import pytest
from attrs import define, field
from rich.console import Console

from runnel import CircuitBreaker, ParkRetry, Reject, Retry
from runnel.operations.status import read_status
from runnel.view.tables import status_view
from runnel.worker import Worker
from tests.integration.faults.harness import World
from tests.integration.faults.shop import Sale
from tests.integration.faults.test_policies import Shop, in_order
from tests.integration.faults.test_retry import Till, actors
from tests.support import wait_until

QUICK = CircuitBreaker(keys=5, share=1, backoff=0.02, max_backoff=0.1)
FOR_EVER = CircuitBreaker(keys=5, backoff=3_600, max_backoff=3_600)
SOON = ParkRetry(backoff=0.05, max_backoff=0.2)
POLICIES = pytest.mark.parametrize("policy", ["park", "dead_letter"])
STYLES = pytest.mark.parametrize("style", ["records", "events", "take", "batches"])


@define(eq=False)
class Database:
    """What handlers need; it may be down."""

    is_down: bool = True
    poison: Callable[[Sale], bool] = lambda sale: False
    tried: int = 0
    booked: defaultdict[int, list[int]] = field(factory=lambda: defaultdict(list))

    def book(self, sale: Sale) -> None:
        self.tried += 1
        if self.is_down or self.poison(sale):
            raise ConnectionError("no database")
        self.booked[sale.key].append(sale.number)

    @property
    def all(self) -> dict[int, list[int]]:
        return {key: in_order(numbers) for key, numbers in self.booked.items()}


async def send(world: World, keys: Iterable[int], numbers: Iterable[int]) -> None:
    await world.stream.send(*(Sale(key=key, number=number) for number in numbers for key in keys))


def till(world: World, database: Database, style: str = "records", **options: Any) -> Till:
    options = {"exception_policy": "park", "lock_expiry": 1, "breaker": QUICK, "park_retry": SOON, **options}
    return Till(world, database.book, style, **options)


def left_the_log(world: World) -> int:
    """How many events are parked or dead letters."""
    partitions = range(world.plan.partition_count)
    return sum(len(world.parked(n)) + len(world.dead(n)) for n in partitions)


def breaker(worker: Worker) -> object:
    return details(worker).get("breaker", "closed")


def details(worker: Worker) -> Any:
    [found] = [each.details for each in actors(worker.snapshot()) if each.name == "till"]
    return found


def count(world: World) -> int:
    return sum(int(world.slot(n).get("count", 0)) for n in range(world.plan.partition_count))


@STYLES
@POLICIES
async def test_an_outage_pauses_the_processor_and_hardly_any_event_leaves_the_log(
    shop: Shop, style: str, policy: str, caplog: pytest.LogCaptureFixture
) -> None:
    world, database = shop(partition_count=4), Database()
    await send(world, range(100), range(3))
    app = till(world, database, style, exception_policy=policy).app
    async with world.worker(app=app) as worker:
        await wait_until(lambda: "circuit breaker open" in caplog.text)
        await wait_until(lambda: breaker(worker) == "open")
        tried = database.tried
        await wait_until(lambda: database.tried > tried + 20, what="it probes")
        assert left_the_log(world) <= QUICK.keys - 1
        await send(world, range(100), range(3, 6))
        database.is_down = False
        await wait_until(lambda: "circuit breaker closed" in caplog.text)
        await wait_until(lambda: count(world) == 600, 20)
        lost = left_the_log(world)
        if policy == "park":
            await wait_until(lambda: not left_the_log(world), 20)
            await wait_until(lambda: len(database.all) == 100 and all(len(each) == 6 for each in database.all.values()))
        assert breaker(worker) == "closed"
    if policy == "park":
        assert database.all == {key: list(range(6)) for key in range(100)}
    else:
        assert lost <= QUICK.keys - 1
        assert sum(map(len, database.all.values())) == 600 - lost
        assert all(numbers == sorted(numbers) for numbers in database.all.values())
    assert caplog.text.count("circuit breaker open") == 1
    assert caplog.text.count("circuit breaker closed") == 1


async def test_three_poison_keys_of_a_thousand_never_open_it(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    world = shop(partition_count=4)
    database = Database(is_down=False, poison=lambda sale: sale.key in (7, 77, 777))
    await send(world, range(1_000), range(5))
    app = till(world, database, breaker=CircuitBreaker(), park_retry=ParkRetry(0.01, 0.01)).app
    async with world.worker(app=app):
        await wait_until(lambda: count(world) == 5_000)
        tried = database.tried
        await wait_until(lambda: database.tried > tried + 5, what="the poison keys are tried again, and fail")
        assert left_the_log(world) == 15
    assert "circuit breaker" not in caplog.text
    assert sum(numbers == list(range(5)) for numbers in database.all.values()) == 997


async def test_parked_keys_that_fail_again_never_open_it(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    world, database = shop(partition_count=1), Database(is_down=False, poison=lambda sale: sale.key < 3)
    for key in range(3):
        await send(world, [key, *range(10, 20)], range(1))
    app = till(world, database, breaker=CircuitBreaker(keys=3), park_retry=ParkRetry(0.001, 0.001)).app
    async with world.worker(app=app):
        await wait_until(lambda: count(world) == 33)
        await wait_until(lambda: database.tried > 33 + 6, what="each fails again")
    assert "circuit breaker" not in caplog.text
    assert left_the_log(world) == 3


@POLICIES
async def test_without_a_breaker_every_event_that_fails_leaves_the_log(shop: Shop, policy: str) -> None:
    world, database = shop(partition_count=2), Database()
    await send(world, range(50), range(2))
    app = till(world, database, exception_policy=policy, breaker=None, park_retry=None).app
    async with world.worker(app=app):
        await wait_until(lambda: count(world) == 100)
    assert left_the_log(world) == 100


async def test_a_worker_stops_during_a_pause_and_the_next_one_begins_with_what_failed(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    world, database = shop(partition_count=4), Database()
    await send(world, range(50), range(2))
    async with world.worker("first", app=till(world, database, breaker=FOR_EVER).app):
        await wait_until(lambda: "circuit breaker open" in caplog.text)
        await wait_until(lambda: database.tried >= FOR_EVER.keys)
        # the partitions of the first worker are handed over, although they wait for an hour
        database.is_down = False
        async with world.worker("second", app=till(world, database).app):
            await wait_until(lambda: len({world.slot(n).get("owner") for n in range(4)}) == 2)
    async with world.worker("third", app=till(world, database).app):
        await wait_until(lambda: count(world) == 100)
        await wait_until(lambda: not left_the_log(world))
    assert database.all == {key: [0, 1] for key in range(50)}


@STYLES
async def test_an_undecodable_stream_opens_it_too(shop: Shop, style: str, caplog: pytest.LogCaptureFixture) -> None:
    world, database = shop(partition_count=1), Database(is_down=False)
    with world.server.client() as client:
        for key in range(20):
            client.xadd(world.keys(0).log.decode(), {"data": "{", "~key": str(key)})
    async with world.worker(app=till(world, database, style).app) as worker:
        await wait_until(lambda: "circuit breaker open" in caplog.text)
        await wait_until(lambda: details(worker).get("pauses", 0) > 3)
        assert left_the_log(world) == QUICK.keys - 1
        assert database.tried == 0


async def test_a_probe_is_one_attempt_whatever_retry_says(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    world, database = shop(partition_count=1), Database()
    await send(world, range(20), range(1))
    app = till(world, database, retry=Retry(attempts=3, backoff=0.001), breaker=FOR_EVER).app
    async with world.worker(app=app):
        await wait_until(lambda: "circuit breaker open" in caplog.text)
    assert database.tried == 3 * FOR_EVER.keys
    probing = CircuitBreaker(keys=1, backoff=0.01, max_backoff=0.01)
    database.tried = 0
    app = till(world, database, retry=Retry(attempts=3, backoff=0.001), breaker=probing, park_retry=None).app
    async with world.worker(app=app):
        await wait_until(lambda: database.tried >= 6)
        database.is_down = False
        await wait_until(lambda: count(world) == 20)
    assert sum(map(len, database.all.values())) == 16


async def test_partitions_without_events_do_not_keep_it_open(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    world, database = shop(partition_count=16), Database()
    keys = [key for key in range(200) if world.partition_of(key) == 3][:8]
    await send(world, keys, range(3))
    async with world.worker(app=till(world, database).app):
        await wait_until(lambda: "circuit breaker open" in caplog.text)
        database.is_down = False
        await wait_until(lambda: "circuit breaker closed" in caplog.text)
        await wait_until(lambda: not left_the_log(world))
        await wait_until(lambda: len(database.all) == 8 and all(len(each) == 3 for each in database.all.values()))
    assert database.all == {key: [0, 1, 2] for key in keys}


async def test_a_partition_that_has_only_parked_events_probes_with_these(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    world, database = shop(partition_count=2), Database()
    (a, *_), (b, *_) = ([key for key in range(100) if world.partition_of(key) == n] for n in range(2))
    await send(world, [a], range(3))
    opens = CircuitBreaker(keys=2, backoff=0.02, max_backoff=0.05)
    async with world.worker(app=till(world, database, breaker=opens).app):
        await wait_until(lambda: len(world.parked(0)) == 3)
        await send(world, [b], range(1))
        await wait_until(lambda: "circuit breaker open" in caplog.text)
        database.poison = lambda sale: sale.key == b
        database.is_down = False
        await wait_until(lambda: database.all.get(a) == [0, 1, 2])


async def test_an_event_that_comes_during_a_pause_waits(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    world, database = shop(partition_count=2), Database()
    there, other = ([key for key in range(100) if world.partition_of(key) == n] for n in range(2))
    await send(world, there[:10], range(1))
    async with world.worker(app=till(world, database, breaker=FOR_EVER).app) as worker:
        await wait_until(lambda: "circuit breaker open" in caplog.text)
        database.is_down = False
        await send(world, other[:1], range(1))
        await wait_until(lambda: partition(worker, 1)["buffered"] == 1)
        await wait_until(lambda: all(partition(worker, n)["paused"] for n in range(2)))
        assert not database.booked
    assert (count(world), database.tried) == (FOR_EVER.keys - 1, FOR_EVER.keys)


async def test_a_partition_that_has_only_parked_events_probes_with_these_whenever_they_are_due(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    world, database, tried = shop(partition_count=2), Database(), list[int]()
    (a, *_), (b, *_) = ([key for key in range(100) if world.partition_of(key) == n] for n in range(2))
    database.is_down, is_sick = False, True

    def poison(sale: Sale) -> bool:
        tried.append(sale.key)
        return sale.key == b or is_sick

    database.poison = poison
    await send(world, [a], range(1))
    opens = CircuitBreaker(keys=2, backoff=0.02, max_backoff=0.05)
    async with world.worker(app=till(world, database, breaker=opens).app) as worker:
        await wait_until(lambda: len(world.parked(0)) == 1)
        await send(world, [b], range(1))
        await wait_until(lambda: "circuit breaker open" in caplog.text)
        await wait_until(lambda: partition(worker, 0)["paused"])
        before = tried.count(a)
        await wait_until(lambda: tried.count(a) >= before + 2, what="it is tried again, in vain")
        is_sick = False
        await wait_until(lambda: database.all.get(a) == [0])


async def test_a_partition_that_can_park_nothing_more_probes_with_what_is_parked(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    world, database = shop(partition_count=2), Database()
    (a, *_), (b, c, *_) = ([key for key in range(100) if world.partition_of(key) == n] for n in range(2))
    await send(world, [a], range(3))
    opens = CircuitBreaker(keys=3, backoff=0.02, max_backoff=0.05)
    async with world.worker(app=till(world, database, breaker=opens, max_parked=1).app) as worker:
        await wait_until(lambda: partition(worker, 0)["paused"])
        await send(world, [b, c], range(1))
        await wait_until(lambda: "circuit breaker open" in caplog.text)
        database.poison = lambda sale: sale.key != a
        database.is_down = False
        await wait_until(lambda: database.all.get(a) == [0, 1, 2])


def partition(worker: Worker, number: int) -> Any:
    running = [each for each in actors(worker.snapshot()) if each.kind == "Partition"]
    found = [each.details for each in running if each.name.startswith(f"{number}.")]
    return defaultdict(int, found[0] if found else {})


async def test_what_a_handler_rejects_never_opens_it(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    world, database = shop(partition_count=1), Database(is_down=False)

    def handle(sale: Sale) -> None:
        if sale.key < 20:
            raise Reject("never")
        database.book(sale)

    await send(world, range(30), range(1))
    app = Till(world, handle, exception_policy="park", breaker=QUICK, park_retry=SOON).app
    async with world.worker(app=app):
        await wait_until(lambda: count(world) == 30)
        await wait_until(lambda: left_the_log(world) == 20)
        assert "circuit breaker" not in caplog.text
        database.is_down = True
        await send(world, range(30, 40), range(1))
        await wait_until(lambda: "circuit breaker open" in caplog.text)
        await wait_until(lambda: left_the_log(world) == 20 + QUICK.keys - 1)


async def test_status_tells_on_which_workers_a_processor_pauses_and_why(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    world, database = shop(partition_count=2), Database()
    await send(world, range(20), range(1))
    app = till(world, database, breaker=CircuitBreaker(keys=5, backoff=0.02, max_backoff=0.3)).app
    async with world.worker(app=app) as worker:

        async def paused() -> dict[str, str]:
            [found] = (await read_status(app)).processors
            return dict(found.breaker_open)

        await wait_until(lambda: "circuit breaker open" in caplog.text)
        await wait_until(paused)
        assert await paused() == {worker.id: "ConnectionError: no database"}
        told = status_view(await read_status(app))
        console = Console(width=200, file=StringIO())
        console.print(told)
        assert f"paused on {worker.id} by its circuit breaker: ConnectionError: no database" in console.file.getvalue()  # type: ignore[attr-defined]
        with world.server.client() as client:
            assert 0 < client.ttl(world.app.keys.paused("till", worker.id).decode()) <= 62
        database.is_down = False
        await wait_until(lambda: "circuit breaker closed" in caplog.text)

        async def goes_on() -> bool:
            return not await paused()

        await wait_until(goes_on)


async def test_a_suspect_that_waits_for_the_end_of_a_pause_holds_up_no_other(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    world, database = shop(partition_count=2), Database(is_down=False, poison=lambda sale: sale.key == sick)
    sick, well = (next(key for key in range(99) if world.partition_of(key) == n) for n in range(2))
    with world.server.client() as client:
        for n in range(2):
            client.hset(world.keys(n).slot("till").decode(), mapping={"number": 0, "crashes": 3})
    await send(world, [sick], [0])
    app = till(world, database, breaker=CircuitBreaker(keys=1, backoff=0.1, max_backoff=0.1)).app
    async with world.worker(app=app):
        await wait_until(lambda: "circuit breaker open" in caplog.text)
        await send(world, [well], [0, 1])
        await wait_until(lambda: database.all == {well: [0, 1]})
