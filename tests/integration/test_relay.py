"""The relay on real servers: what is emitted arrives once and in order, whichever relays, connections and servers fail."""

import asyncio
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from attrs import define, field

from runnel.actors import ActorRef, ActorSystem
from runnel.clock import ManualClock, SystemClock
from runnel.roles.outbox import ODD, REFUSES
from runnel.roles.relay import AGAIN, Deliver, Relay, RelayMessage
from runnel.store.client import Store
from runnel.store.keys import PartitionKeys
from runnel.store.link import Link
from runnel.store.outbox import LARGEST, PAGE, TARGET, Target
from runnel.store.script import SCRIPTS, Call
from tests.proxy import Proxy
from tests.servers import Server
from tests.support import wait_until

SOURCES = [PartitionKeys("shop", "sales", n) for n in range(4)]
TARGETS = [PartitionKeys("shop", "alerts", n) for n in range(3)]
BILL = "bill"


@define(eq=False)
class World:
    """A server with outboxes and logs, and any number of relays."""

    redis: Any
    open_link: Callable[[], Link]
    system: ActorSystem
    clock: ManualClock
    emitted: dict[tuple[PartitionKeys, PartitionKeys], list[str]] = field(factory=lambda: defaultdict(list))
    links: list[Link] = field(factory=list)
    actors: list[Relay] = field(factory=list)

    def relay(self, open_link: Callable[[], Link] | None = None) -> "ActorRef[RelayMessage]":
        actor = Relay(BILL, (open_link or self.open_link)())
        self.actors.append(actor)
        return self.system.spawn(lambda: actor, name=f"relay-{len(self.actors)}", mailbox=2**16)

    def emit(self, source: PartitionKeys, target: PartitionKeys, value: str | None = None, *, pad: int = 0) -> None:
        """As a commit does."""
        value = value or f"{source.number}-{sum(map(len, self.emitted.values()))}"
        fields: dict[Any, Any] = {TARGET: Target(target, 100_000, "block").field, "data": value, "pad": "." * pad}
        self.redis.xadd(source.outbox(BILL), fields)
        self.emitted[source, target].append(value)

    def emit_many(self, count: int, sources: Sequence[PartitionKeys] = SOURCES) -> None:
        for n in range(count):
            self.emit(sources[n % len(sources)], TARGETS[n % len(TARGETS)])

    def arrived(self, target: PartitionKeys) -> list[str]:
        return [fields["data"] for _, fields in self.redis.xrange(target.log)]

    def waiting(self) -> int:
        return sum(self.redis.xlen(source.outbox(BILL)) for source in SOURCES)

    def check(self) -> None:
        """Each event is there once, in the order of its outbox, and no other."""
        for target in TARGETS:
            arrived = self.arrived(target)
            for source in SOURCES:
                assert [value for value in arrived if value.startswith(f"{source.number}-")] == self.emitted[source, target]
            assert len(arrived) == sum(len(self.emitted[source, target]) for source in SOURCES)

    async def delivered(self) -> None:
        """Wait until all is."""
        await wait_until(lambda: self.waiting() == 0, what="all is delivered")
        self.check()

    async def forgotten(self, *relays: Relay) -> None:
        """Wait until these relays, or all, have nothing left to do."""
        await wait_until(lambda: all(not relay.outboxes for relay in relays or self.actors))


@asynccontextmanager
async def world_of(server: Server, url: str | None = None) -> AsyncIterator[World]:
    store = Store(url or server.url, SystemClock())
    await store.open()
    clock = ManualClock()
    with server.client() as client:
        async with ActorSystem("test", clock=clock) as system:
            yield World(client, store.link, system, clock)
    await store.close()


@pytest.fixture
async def world(valkey: Server) -> AsyncIterator[World]:
    async with world_of(valkey) as world:
        yield world


@pytest.fixture
async def proxied(valkey: Server) -> AsyncIterator[tuple[World, Proxy]]:
    """A world whose relays go through a proxy; what the test looks at does not."""
    async with Proxy(valkey.url) as proxy, world_of(valkey, proxy.url) as world:
        yield world, proxy


def calls(name: str) -> Callable[[bytes], bool]:
    """Recognises a request with this script."""
    return lambda request: SCRIPTS[name].sha in request


def command(name: bytes) -> Callable[[bytes], bool]:
    """Recognises a request with this plain command, which also stands in sources of scripts."""
    return lambda request: b"\r\n%s\r\n" % name in request


def tell(relay: "ActorRef[RelayMessage]", *sources: PartitionKeys) -> None:
    for source in sources or SOURCES:
        relay.tell_nowait(Deliver(source))


def size_of(call: Any) -> int:
    """Bytes of a call, about."""
    return sum(len(arg) for arg in (call.args if isinstance(call, Call) else call.words) if isinstance(arg, bytes))


@define(eq=False)
class Recorder:
    """A connection that writes down what it is asked."""

    link: Link
    asked: list[Sequence[Any]] = field(factory=list)

    async def run(self, calls: Sequence[Any], **options: Any) -> Any:
        self.asked.append(calls)
        return await self.link.run(calls, **options)

    async def close(self) -> None:
        await self.link.close()

    @property
    def pages(self) -> list[int]:
        """How many entries each read asked for."""
        return [call.words[5] for calls in self.asked for call in calls if not isinstance(call, Call) and len(call.words) == 6]


# ── all is well ──


async def test_what_is_emitted_arrives_once_and_in_order_and_leaves_the_outbox(server: Server) -> None:
    async with world_of(server) as world:
        world.emit_many(3000)
        relay = world.relay()
        tell(relay)
        await world.delivered()
        await world.forgotten()
        assert world.actors[0].statistics() == {"relayed": 3000, "waiting": 0, "failing": 0}


async def test_it_goes_on_while_more_is_emitted(world: World) -> None:
    relay = world.relay()
    for _ in range(50):
        world.emit_many(12)
        tell(relay)
        await asyncio.sleep(0)
    await world.delivered()
    world.emit(SOURCES[0], TARGETS[0])
    tell(relay, SOURCES[0])
    await world.delivered()


async def test_an_outbox_that_nobody_told_of_is_not_looked_at(world: World) -> None:
    world.emit_many(4)
    tell(world.relay(), SOURCES[0])
    await wait_until(lambda: world.waiting() == 3)
    await world.forgotten()
    tell(world.relay(), *SOURCES[1:])
    await world.delivered()


async def test_what_one_exchange_asks_for_is_bounded_in_events_and_in_bytes(world: World) -> None:
    recorder = Recorder(world.open_link())
    relay = world.relay(lambda: recorder)  # type: ignore[arg-type, return-value]
    world.emit_many(PAGE * 2, SOURCES[:1])
    tell(relay, SOURCES[0])
    await world.delivered()
    await world.forgotten()
    assert recorder.pages[:2] == [16, PAGE], "nothing is known of their size at first"
    for n in range(9):  # the first one is asked for alone, the others together
        tell(relay, PartitionKeys("shop", "sales", n))
    await wait_until(lambda: recorder.pages[-8:] == [PAGE // 2] * 8)
    await world.forgotten()
    recorder.asked.clear()
    for _ in range(12):
        world.emit(SOURCES[1], TARGETS[0], pad=LARGEST // 3)
    tell(relay, SOURCES[1])
    await world.delivered()
    await world.forgotten()
    assert recorder.pages[0] == PAGE
    assert max(recorder.pages[1:]) <= 3
    assert all(sum(map(size_of, calls)) < 2 * LARGEST for calls in recorder.asked)


async def test_a_full_server_does_not_hold_it_up(world: World, valkey: Server) -> None:
    world.emit_many(100)
    valkey.config(maxmemory="1")
    tell(world.relay())
    await world.delivered()


# ── several relays, and what comes late ──


async def test_relays_of_several_workers_at_once(server: Server) -> None:
    async with world_of(server) as world:
        relays = [world.relay() for _ in range(3)]
        for _ in range(30):
            world.emit_many(40)
            for relay in relays:
                tell(relay)
            await asyncio.sleep(0)
        await world.delivered()
        await world.forgotten()
        assert sum(relay.relayed for relay in world.actors) == 1200, "each counts what it has delivered itself"


async def test_a_relay_that_ends_between_delivering_and_removing(proxied: tuple[World, Proxy]) -> None:
    world, proxy = proxied
    world.emit_many(20)
    proxy.keep_next_request(command(b"XDEL"))
    first = world.relay()
    tell(first)
    await wait_until(lambda: proxy.late == 1)
    await first.stop(grace=0)
    assert sum(len(world.arrived(target)) for target in TARGETS) > 0
    assert world.waiting() == 20
    tell(world.relay())
    await world.delivered()
    world.emit_many(20)  # what the first one wanted to remove is not there any more, and other events are
    proxy.let_go()
    await wait_until(lambda: proxy.late_replies)
    assert world.waiting() == 20
    tell(world.relay())
    await world.delivered()


async def test_a_page_that_arrives_late_changes_nothing(proxied: tuple[World, Proxy]) -> None:
    world, proxy = proxied
    world.emit_many(8)
    tell(world.relay())
    await world.delivered()  # the server knows the script
    world.emit_many(20)
    proxy.keep_next_request(calls("deliver"))
    first = world.relay()
    tell(first)
    await wait_until(lambda: proxy.late == 1)
    await first.stop(grace=0)
    assert world.waiting() == 20
    world.emit_many(20)
    tell(world.relay())
    await world.delivered()
    proxy.let_go()
    await wait_until(lambda: proxy.late_replies)
    world.check()


async def test_the_next_owners_relay_delivers_what_the_last_one_left(world: World) -> None:
    world.emit_many(40)
    first = world.relay()
    tell(first)
    await first.stop(grace=0)
    tell(world.relay())
    await world.delivered()


# ── a server that is away ──


@pytest.mark.parametrize("lost", [calls("deliver"), command(b"XDEL"), command(b"XRANGE")], ids=["deliver", "remove", "read"])
async def test_an_answer_that_is_lost(proxied: tuple[World, Proxy], lost: Callable[[bytes], bool]) -> None:
    world, proxy = proxied
    relay = world.relay()
    tell(relay)
    await world.forgotten()
    for _ in range(5):
        world.emit_many(40)
        proxy.lose_next_reply(lost)
        tell(relay)
        await resumes(world)
    assert proxy.lost == 5
    world.check()


async def resumes(world: World) -> None:
    """Let the pauses after errors pass, and wait until all is delivered."""

    def all_delivered() -> bool:
        world.clock.advance(0.5)
        return world.waiting() == 0 and all(not relay.outboxes for relay in world.actors)

    await wait_until(all_delivered)


async def test_connections_that_break_again_and_again(proxied: tuple[World, Proxy]) -> None:
    world, proxy = proxied
    relays = [world.relay(), world.relay()]
    for _ in range(20):
        world.emit_many(60)
        for relay in relays:
            tell(relay)
        await asyncio.sleep(0.001)
        proxy.cut()
        world.clock.advance(0.1)
    await resumes(world)
    world.check()


async def test_a_server_that_is_away_is_waited_for_and_that_is_said_once(
    proxied: tuple[World, Proxy], caplog: pytest.LogCaptureFixture
) -> None:
    world, proxy = proxied
    relay = world.relay()
    for _ in range(2):
        caplog.clear()
        proxy.refuse = True
        proxy.cut()
        world.emit_many(40)
        tell(relay)
        for failures in (1, 2, 3, 4):
            await wait_until(lambda failures=failures: world.actors[0].failures == failures)
            world.clock.advance(1)
        assert [record.message for record in logged(caplog)] == ["emitted events cannot be delivered, trying again"]
        proxy.refuse = False
        await resumes(world)
        world.check()


async def test_a_server_that_is_killed_and_comes_back(own_server: Any) -> None:
    server: Server = own_server()
    async with world_of(server) as world:
        world.emit_many(2000)
        tell(world.relay())
        await wait_until(lambda: world.actors[0].relayed > 0)
        server.restart(kill=True)
        await resumes(world)
        world.check()


# ── what is refused, and what is not understood ──


async def test_a_target_of_the_wrong_type_holds_up_no_other(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.redis.set(TARGETS[0].log, "mine")
    recorder = Recorder(world.open_link())
    relay = world.relay(lambda: recorder)  # type: ignore[arg-type, return-value]
    for round_ in range(1, 4):
        world.emit_many(240)
        tell(relay)
        await wait_until(lambda: [world.redis.xlen(target.log) for target in TARGETS[1:]] == [80 * round_] * 2)  # noqa: B023
        await tried_again(world, recorder)
    [record] = logged(caplog)
    assert (record.message, record.levelno) == (REFUSES, logging.WARNING)
    assert record.key == TARGETS[0].log.decode()  # type: ignore[attr-defined]
    assert "WRONGTYPE" in record.error  # type: ignore[attr-defined]
    assert world.actors[0].statistics() == {"relayed": 480, "waiting": 4, "failing": 1}
    assert world.waiting() == 240
    world.redis.delete(TARGETS[0].log)
    await resumes(world)
    world.check()
    assert world.actors[0].statistics() == {"relayed": 720, "waiting": 0, "failing": 0}


async def test_a_refusal_that_comes_again_is_said_again(world: World, caplog: pytest.LogCaptureFixture) -> None:
    relay = world.relay()
    for _ in range(2):
        world.redis.delete(TARGETS[0].relayed)
        world.redis.set(TARGETS[0].relayed, "mine")
        world.emit_many(24)
        tell(relay)
        await wait_until(lambda: world.actors[0].troubles)
        world.redis.delete(TARGETS[0].relayed)
        await resumes(world)
    assert [record.message for record in logged(caplog)] == [REFUSES] * 2
    world.check()


async def test_an_entry_that_is_not_understood_holds_up_its_own_outbox_only(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.emit_many(24)
    odd = world.redis.xadd(SOURCES[0].outbox(BILL), {"what": "ever"})
    world.emit_many(24)
    recorder = Recorder(world.open_link())
    relay = world.relay(lambda: recorder)  # type: ignore[arg-type, return-value]
    tell(relay)
    for _ in range(3):
        await wait_until(lambda: [world.redis.xlen(each.outbox(BILL)) for each in SOURCES[1:]] == [0, 0, 0])
        await tried_again(world, recorder)
        world.emit_many(3, SOURCES[1:])
        tell(relay)
    [record] = logged(caplog)
    assert (record.message, record.levelno) == (ODD, logging.ERROR)
    assert record.key == SOURCES[0].outbox(BILL).decode()  # type: ignore[attr-defined]
    assert odd in record.error  # type: ignore[attr-defined]
    assert len(recorder.asked) < 40, "it does not spin"
    assert world.redis.xdel(record.key, odd) == 1  # type: ignore[attr-defined]
    await resumes(world)
    world.check()


async def test_an_outbox_of_the_wrong_type_holds_up_no_other(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.redis.set(SOURCES[0].outbox(BILL), "mine")
    world.emit_many(30, SOURCES[1:])
    recorder = Recorder(world.open_link())
    tell(world.relay(lambda: recorder))  # type: ignore[arg-type, return-value]
    await wait_until(lambda: [world.redis.xlen(each.outbox(BILL)) for each in SOURCES[1:]] == [0, 0, 0])
    for _ in range(3):
        await tried_again(world, recorder)
    assert len(logged(caplog)) == 1
    world.redis.delete(SOURCES[0].outbox(BILL))
    await resumes(world)
    world.check()


async def tried_again(world: World, recorder: Recorder) -> None:
    """Let the relay try again what was refused, and wait until it has."""
    await wait_until(lambda: world.actors[0].resting and not world.actors[0].travelling)
    before = len(recorder.asked)
    world.clock.advance(AGAIN)
    await wait_until(lambda: len(recorder.asked) > before and not world.actors[0].travelling)


def logged(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.name == "runnel.roles.relay"]
