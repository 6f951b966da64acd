"""A coordinator or a member alone, with a manual clock: what it asks of the server is answered by the test."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from attrs import define, field

from runnel import App, Record
from runnel.actors import Actor, ActorRef, ActorSystem
from runnel.clock import ManualClock
from runnel.processor import Processor
from runnel.roles.coordinator import Coordinator
from runnel.roles.lease import Lease
from runnel.roles.member import Member
from runnel.store.scripts import Acquired, Token
from runnel.telemetry.diary import Diary
from tests.support import wait_until


class Order(Record):
    key: int


def processor(partitions: int = 1) -> Processor:
    """The processor `bill` over `orders`; its leases last for 4 s."""
    app = App("shop", redis_url="redis://127.0.0.1")
    orders = app.stream("orders", record=Order, partition_by="key", partition_count=partitions)

    @app.processor(orders, lock_expiry=4)
    async def bill(events: Any) -> None:
        """Never called."""

    return bill


def acquired(epoch: int = 1, nonce: bytes = b"n") -> Acquired:
    return Acquired(Token(b"%d" % epoch, nonce), b"0-0", 0)


def leases(of: Processor) -> list[Lease]:
    return [Lease.of(of, keys, acquired(), 1e12, "me") for keys in of.stream.partitions]


@define(eq=False)
class FakeLink:
    """A connection whose exchanges wait until the test answers them."""

    asked: list[Sequence[Any]] = field(factory=list)
    waiting: "list[asyncio.Future[list[Any]]]" = field(factory=list)
    over: bool = False
    """Whether the test has ended: what actors still ask on their way out is granted."""

    async def run(self, calls: Sequence[Any], **options: Any) -> list[Any]:
        if self.over:
            return [True for _ in calls]
        answer: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        self.asked.append(calls)
        self.waiting.append(answer)
        return await answer

    async def command(self, *args: Any, **options: Any) -> Any:
        if not self.over:
            await asyncio.Event().wait()

    async def call(self, call: Any, **options: Any) -> Any:
        return True

    async def close(self) -> None:
        """Nothing to close."""

    async def answers(self, *answers: Any) -> None:
        """Answer the exchange that waits, or the next one."""
        await wait_until(lambda: self.waiting)
        self.waiting.pop(0).set_result(list(answers))


@define(eq=False)
class FakeHeart:
    """Beats only in the test's imagination."""

    interval: float = 1.0
    answered_at: float = 0.0
    calls: Sequence[Any] = ()
    leases: Sequence[Lease] = ()
    hurried: int = 0

    def start(self, deliver: Any) -> None:
        """Nothing to start."""

    def beat_now(self) -> None:
        self.hurried += 1

    async def stop(self) -> None:
        """Nothing to stop."""


@define(eq=False)
class Witness(Actor[Any]):
    """Writes down what it is told."""

    told: list[Any]

    async def receive(self, message: Any) -> None:
        self.told.append(message)


@define(eq=False)
class Stage:
    """The actor under test, and what is around it."""

    system: ActorSystem
    clock: ManualClock
    link: FakeLink
    heart: FakeHeart
    told: list[Any]
    witness: "ActorRef[Any]"
    diary: Diary = field(factory=Diary)

    def coordinator(self) -> "ActorRef[Any]":
        halted: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()
        return self.system.spawn(
            lambda: Coordinator(
                worker="me",
                app=App("shop").keys,
                link=self.link,  # type: ignore[arg-type]
                heart=self.heart,  # type: ignore[arg-type]
                make_member=lambda ref: Witness([]),  # type: ignore[arg-type, return-value]
                halted=halted,
                diary=self.diary,
            ),
            name="coordinator",
        )

    def member(self, of: Processor) -> "ActorRef[Any]":
        return self.system.spawn(
            lambda: Member(
                worker="me",
                app=App("shop").keys,
                processors=[of],
                heart=self.heart,  # type: ignore[arg-type]
                open_link=lambda: self.link,  # type: ignore[arg-type, return-value]
                coordinator=self.witness,
                leader=self.witness,
            ),
            name="member",
        )

    def told_of(self, kind: type) -> list[Any]:
        return [message for message in self.told if isinstance(message, kind)]


@asynccontextmanager
async def stage() -> AsyncIterator[Stage]:
    clock, told = ManualClock(), list[Any]()
    system = ActorSystem("test", clock=clock)
    witness = system.spawn(lambda: Witness(told), name="witness", mailbox=10_000)
    link = FakeLink()
    yield Stage(system, clock, link, FakeHeart(), told, witness)
    link.over = True
    await system.stop(grace=0)


