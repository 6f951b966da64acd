"""Each policy × how the function iterates × which event fails × how: where it goes, in which order, and that nothing is lost.

A world of one partition, with events of two keys, the even and the odd numbers. A first worker meets the event that fails,
until its policy has done with it. Then the cause is mended, an operator does what there is to do, newer events come, and a
second worker does what is left.
"""

from collections.abc import Callable, Iterable
from typing import Any

import pytest
from attrs import define, field

from runnel.errors import HandlerFailed
from runnel.operations.release import carry_out, make_plan
from runnel.store import moves
from runnel.store.scripts import Call
from tests.integration.faults.harness import World
from tests.integration.faults.shop import Sale
from tests.integration.faults.test_failing_handlers import has_ended, spoil
from tests.integration.faults.test_policies import NOTED, expected, handler, in_order
from tests.integration.faults.test_retry import Till, is_single, partition_details
from tests.servers import Server
from tests.support import wait_until

POLICIES = pytest.mark.parametrize("policy", ["halt", "quarantine", "ignore", "dead_letter", "park"])
STYLES = pytest.mark.parametrize("style", ["records", "events", "batches"])
ERRORS = pytest.mark.parametrize("error", ["exception", "timeout", "undecodable"])
LONG = pytest.mark.long
PLACES = pytest.mark.parametrize(
    "place", [pytest.param(0, id="first", marks=LONG), pytest.param(5, id="middle"), pytest.param(11, id="last", marks=LONG)]
)

COUNT, MORE, BATCH = 12, 4, 4
LIMIT = 0.1
"""Seconds that an event may take: the others must not, on a machine that has more to do."""


@define(eq=False)
class Case:
    """One combination, and what was seen of it."""

    world: World
    policy: str
    style: str
    place: int
    error: str
    raw: list[tuple[str, dict[str, str]]] = field(factory=list)

    @property
    def batch(self) -> int:
        """How many events fail together, at most."""
        return 1 if is_single(self.style) else BATCH

    @property
    def before(self) -> list[int]:
        """What lies before the event that fails."""
        return list(range(self.place))

    async def send(self, numbers: Iterable[int]) -> None:
        await self.world.stream.send(*(Sale(key=number % 2, number=number) for number in numbers))

    async def send_the_backlog(self) -> None:
        await self.send(self.before)
        if self.error == "undecodable":
            spoil(self.world, "{broken", key=self.place % 2)
        else:
            await self.send([self.place])
        await self.send(range(self.place + 1, COUNT))
        self.raw = self.world.raw_log()

    def till(self, handle: Callable[[Sale], Any], limit: float | None = None) -> Till:
        return Till(self.world, handle, self.style, exception_policy=self.policy, timeout=limit)

    async def fail(self) -> list[int]:
        """A first worker meets the event that fails; what it has done, once its policy has done with that."""
        till = self.till(handler(self.place, self.error), LIMIT if self.error == "timeout" else None)
        if self.policy == "halt":
            with pytest.raises(HandlerFailed, match=expected(self.error)):
                async with self.world.worker(app=till.app) as worker:
                    await wait_until(lambda: has_ended(worker))
        else:
            async with self.world.worker(app=till.app) as worker:
                await wait_until(self.has_been_treated, what="the policy has done with it")
                if self.policy == "ignore":
                    assert partition_details(worker)["dropped"] == COUNT - len(in_order(till.done))
        assert not self.world.slot(0)["owner"]
        return in_order(till.done)

    def has_been_treated(self) -> bool:
        slot = self.world.slot(0)
        if self.policy == "quarantine":
            return "stopped" in slot and not slot["owner"]
        return slot.get("count") == str(COUNT)

    def check_where_it_is(self, done: list[int]) -> None:
        """What is done, and what of the rest lies where, after the first worker."""
        dead, parked, count = self.world.dead(), self.world.parked(), int(self.world.slot(0)["count"])
        if self.policy in ("halt", "quarantine"):
            assert done == list(range(count))
            assert self.place - self.batch < count <= self.place
            assert ("stopped" in self.world.slot(0)) == (self.policy == "quarantine")
            assert expected(self.error) in self.world.slot(0).get("stopped", expected(self.error))
        gone = [number for number in range(COUNT) if number not in done]
        if self.policy == "ignore":
            assert self.place in gone
            assert gone == list(range(gone[0], gone[0] + len(gone)))
            assert len(gone) <= (1 if self.error == "undecodable" else self.batch)
        if self.policy == "dead_letter":
            assert done == [number for number in range(COUNT) if number != self.place]
        if self.policy == "park":
            assert gone == list(range(self.place, COUNT, 2))
        assert [kept["~id"] for kept in dead] == [self.raw[n][0] for n in gone if self.policy == "dead_letter"]
        assert [kept["~id"] for kept in parked] == [self.raw[n][0] for n in gone if self.policy == "park"]
        for kept in dead + parked[:1]:
            assert kept["~error"].startswith(expected(self.error))
        for n, kept in zip(gone, dead + parked, strict=False):
            assert without_notes(kept) == self.raw[n][1]

    async def operate(self, till: Till) -> None:
        """The cause is mended, and an operator does what the policy leaves to do."""
        keys = self.world.keys(0)
        if self.error == "undecodable":
            for stream in (keys.log, keys.dead("till"), keys.parked("till")):
                self.world.mend(self.place, stream.decode())
        key = b"%d" % (self.place % 2)
        match self.policy:
            case "quarantine":
                till.app.override(redis_url=self.world.server.url)
                processor = till.app.processors["till"]
                plan = await make_plan(till.app, processor)
                assert [each.partition for each in plan.stopped] == [0]
                await carry_out(till.app, processor, plan)
            case "dead_letter":
                [entry] = self.world.ids(keys.dead("till").decode())
                assert await self.run(moves.revive(keys, "till", [(key, entry.encode())])) == 1
            case "park":
                assert await self.run(moves.release_keys(keys, "till", [key])) == 1

    async def run(self, call: Call[int]) -> int:
        link = (await self.world.app.open()).link()
        try:
            return await link.call(call)
        finally:
            await link.close()

    async def finish(self) -> list[int]:
        """A second worker does what is left; what it has done."""
        till = self.till(lambda sale: None)
        await self.operate(till)
        await self.send(range(COUNT, COUNT + MORE))
        async with self.world.worker(app=till.app):
            await wait_until(lambda: self.world.slot(0)["count"] == str(COUNT + MORE), what="all is committed")
            await wait_until(lambda: not (self.world.parked() or self.world.dead()), what="nothing is kept any more")
        return till.done


async def go_through(case: Case) -> None:
    """The whole story of a case."""
    await case.send_the_backlog()
    first = await case.fail()
    case.check_where_it_is(first)
    second = await case.finish()
    together = first + second
    assert len(set(together)) == len(together), "nothing is done twice"
    dropped = [] if case.policy != "ignore" else [number for number in range(COUNT) if number not in first]
    assert sorted(together + dropped) == list(range(COUNT + MORE)), "nothing is lost"
    for parity in (0, 1):
        of_key = [number for number in together if number % 2 == parity]
        if case.policy == "dead_letter" and parity == case.place % 2:
            of_key.remove(case.place)  # others went on without it: it has lost its place
        assert of_key == sorted(of_key), "each key is in order"
    if case.policy == "dead_letter":
        newer = second.index(COUNT + case.place % 2)
        assert second.index(case.place) < newer, "what runs again runs before anything newer of its key"


def without_notes(kept: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in kept.items() if name not in NOTED}


@POLICIES
@STYLES
@PLACES
@ERRORS
async def test_an_event_that_fails_goes_where_its_policy_says_in_order_and_none_is_lost(
    make_world: Callable[..., World], valkey: Server, policy: str, style: str, place: int, error: str
) -> None:
    await go_through(Case(make_world(valkey, partition_count=1), policy, style, place, error))


@POLICIES
@pytest.mark.parametrize("style", ["records", "take"])
async def test_so_it_does_on_every_kind_of_server_and_in_undecoded_batches(
    make_world: Callable[..., World], server: Server, policy: str, style: str
) -> None:
    await go_through(Case(make_world(server, partition_count=1), policy, style, place=6, error="exception"))


@POLICIES
@ERRORS
@pytest.mark.parametrize("style", ["plain records", "plain batches"])
async def test_so_it_does_in_plain_functions(
    make_world: Callable[..., World], valkey: Server, policy: str, error: str, style: str
) -> None:
    await go_through(Case(make_world(valkey, partition_count=1), policy, style, place=6, error=error))
