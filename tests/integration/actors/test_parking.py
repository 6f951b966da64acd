"""Parked keys of actors: the event that failed and all later ones of its key wait, in order, and then run with its state."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from runnel import Actor, KeyParked, ParkRetry, Record, Retry
from runnel.errors import HandlerFailed
from runnel.roles import keyed
from runnel.roles.runners import Runners
from runnel.store import moves
from tests.integration.actors.support import Step, details, held, make_app, steps, working
from tests.servers import Server
from tests.support import wait_until


@pytest.fixture(autouse=True)
def looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """At what is parked."""
    monkeypatch.setattr(keyed, "LOOK", 0.02)


class Seen(Record):
    numbers: str = ""


class Till:
    """An app with an actor called `till`, which remembers what it has handled."""

    def __init__(self, server: Server, handle: Callable[[Step], Any], *, policy: str = "park", **options: Any) -> None:
        self.server = server
        self.app, self.stream = make_app(server)
        self.begun: list[tuple[str, int]] = []
        till = self

        class Actors(Actor[Step, Seen]):
            async def receive(self, step: Step) -> str:
                till.begun.append((step.key, step.number))
                self.state.numbers += f"{step.number} "
                if asyncio.iscoroutine(found := handle(step)):
                    await found
                return self.state.numbers

        options = {"key_concurrency": 4, "exception_policy": policy, **options}
        self.actors: Any = self.app.actor(self.stream, name="till", **options)(Actors)

    def begun_of(self, key: str) -> list[int]:
        return [number for of, number in self.begun if of == key]

    def remembered(self, key: str) -> list[int]:
        found = held(self.server, self.stream, "till").states.get(key, '{"numbers":""}')
        return [int(number) for number in found.removeprefix('{"numbers":"').removesuffix('"}').split()]

    def parked(self) -> list[str]:
        """Keys and numbers of the parked events."""
        with self.server.client() as client:
            found = [fields for _, fields in client.xrange(self.stream.partitions[0].parked("till"))]
        read = [self.stream.deserialize({name.encode(): text.encode() for name, text in fields.items()}) for fields in found]
        return [f"{step.key}{step.number}" for step in read]

    def dead(self) -> list[dict[str, str]]:
        with self.server.client() as client:
            return [fields for _, fields in client.xrange(self.stream.partitions[0].dead("till"))]

    async def release(self, *keys: str) -> int:
        link = (await self.app.open()).link()
        try:
            return await link.call(moves.release_keys(self.stream.partitions[0], "till", [key.encode() for key in keys]))
        finally:
            await link.close()

    async def committed(self) -> None:
        await wait_until(lambda: held(self.server, self.stream, "till").is_done, what="all of the log is committed")

    async def nothing_parked(self) -> None:
        await wait_until(lambda: not self.parked(), what="nothing is parked")


def fails(broken: list[bool]) -> Callable[[Step], None]:
    """A handler that fails on demand while something is broken."""

    def handle(step: Step) -> None:
        if step.do == "fail" and broken:
            raise ValueError("no change")

    return handle


async def test_a_released_key_runs_again_in_order_with_its_state_and_its_newer_events_wait(valkey: Server) -> None:
    broken, going = [True], asyncio.Event()

    async def handle(step: Step) -> None:
        fails(broken)(step)
        if step.key == "a" and step.number == 5:
            await going.wait()

    till = Till(valkey, handle)
    async with working(till.app) as worker:
        await till.stream.send(*steps("ab", range(3)), *steps("ab", [3], do="fail")[:1], *steps("ab", range(4, 8)))
        await till.committed()
        assert till.remembered("a") == [0, 1, 2]
        assert till.remembered("b") == [0, 1, 2, 4, 5, 6, 7]
        assert till.parked() == ["a3", "a4", "a5", "a6", "a7"]
        with pytest.raises(KeyParked, match="'a' is parked"):
            await till.actors.ask("a", Step(key="a", number=100))
        assert (details(worker, "till")["parked"], details(worker, "till")["parked_keys"]) == (5, 1)
        broken.clear()
        assert await till.release("a") == 1
        await wait_until(lambda: ("a", 5) in till.begun)
        # Its events run, and others go on beside them: both those that wait already and those that come now.
        await till.stream.send(*steps("ab", range(8, 12)))
        going.set()
        await till.committed()
        await till.nothing_parked()
        assert await till.actors.ask("a", Step(key="a", number=100)) == "0 1 2 3 4 5 6 7 8 9 10 11 100 "
    assert till.begun_of("a") == [0, 1, 2, 3, *range(3, 12), 100]
    assert till.remembered("b") == [0, 1, 2, *range(4, 12)]


async def test_a_key_that_runs_again_does_not_hold_up_those_in_hand(valkey: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    broken, resting, others_done = [True], asyncio.Event(), asyncio.Event()
    quiet = Runners.quiet

    async def told(self: Runners, within: float | None = None) -> None:
        resting.set()
        await quiet(self, within)

    async def handle(step: Step) -> None:
        fails(broken)(step)
        if step.key == "a":
            await others_done.wait()
        elif step.number == 0:
            await resting.wait()
        elif step.number == 4:
            others_done.set()

    till = Till(valkey, handle, key_concurrency=1)
    async with working(till.app):
        await till.stream.send(*steps("a", [0], do="fail"))
        await till.committed()
        monkeypatch.setattr(Runners, "quiet", told)
        await till.stream.send(*steps("b", range(5)))
        await wait_until(lambda: till.begun_of("b"))
        broken.clear()
        await till.release("a")
        await till.nothing_parked()
    assert till.begun[1:] == [("b", 0), ("a", 0), ("b", 1), ("b", 2), ("b", 3), ("b", 4)]


async def test_a_partition_whose_parked_events_are_too_many_pauses_and_does_not_try_in_vain(valkey: Server) -> None:
    broken, bad = [True], list[int]()

    def handle(step: Step) -> None:
        if step.do == "fail":
            bad.append(step.number)
        fails(broken)(step)

    till = Till(valkey, handle, max_parked=2)
    async with working(till.app) as worker:
        await till.stream.send(*steps("a", range(2), do="fail"), *steps("c", [7], do="fail"), *steps("b", range(5)))
        await wait_until(lambda: details(worker, "till").get("paused"))
        await wait_until(lambda: till.parked() == ["a0", "a1"])
        assert bad.count(7) == 1  # and it is not tried again as long as there is no room
        broken.clear()
        await till.release("a")
        await till.nothing_parked()
        await till.committed()
    assert till.remembered("a") == [0, 1]
    assert till.remembered("c") == [7]
    assert till.remembered("b") == list(range(5))
    assert till.begun_of("b") == list(range(5))


async def test_a_parked_key_runs_again_by_itself_and_fails_again_in_order_until_it_is_well(valkey: Server) -> None:
    broken = [True]
    till = Till(valkey, fails(broken), park_retry=ParkRetry(backoff=0.01, max_backoff=0.02), retry=Retry(attempts=2, backoff=0))
    async with working(till.app):
        await till.stream.send(*steps("ab", [0]), *steps("a", [1], do="fail"), *steps("ab", range(2, 5)))
        await wait_until(lambda: till.begun_of("a").count(1) >= 6)
        assert till.remembered("a") == [0]
        assert till.remembered("b") == [0, 2, 3, 4]
        assert till.parked() == ["a1", "a2", "a3", "a4"]
        broken.clear()
        await till.nothing_parked()
    assert till.remembered("a") == [0, 1, 2, 3, 4]
    assert [n for n in till.begun_of("a") if n != 1] == [0, 2, 3, 4]


@pytest.mark.parametrize("policy", ["ignore", "dead_letter", "halt"])
async def test_parked_events_that_fail_under_another_policy_go_where_it_says(valkey: Server, policy: str) -> None:
    broken = [True]
    first = Till(valkey, fails(broken))
    await first.stream.send(*steps("a", [0]), *steps("a", [1], do="fail"), *steps("ab", [2]))
    async with working(first.app):
        await first.committed()
        assert first.parked() == ["a1", "a2"]
        await first.release("a")  # the next owner has it run again, if this one does not
        await wait_until(lambda: first.begun_of("a").count(1) == 2)
        await wait_until(lambda: not released(first))
    await first.release("a")
    await first.app.close()
    till = Till(valkey, fails(broken), policy=policy)
    if policy == "halt":
        with pytest.raises(HandlerFailed, match="no change"):
            async with working(till.app) as worker:
                await wait_until(lambda: worker.stopping)
        assert till.parked() == ["a1", "a2"]
        assert till.remembered("a") == [0]
        return
    async with working(till.app):
        await till.nothing_parked()
    assert till.remembered("a") == [0, 2]
    assert [each["~key"] for each in till.dead()] == ["a"] * (policy == "dead_letter")


def released(till: Till) -> Any:
    with till.server.client() as client:
        return client.smembers(till.stream.partitions[0].released_keys("till").decode())


async def test_an_operator_who_changes_something_while_a_key_runs_again_does_not_upset_the_count(valkey: Server) -> None:
    """Of parked events: as many as are done by then are not there any more, and must not be taken off once more."""
    broken = {0, 3}

    def handle(step: Step) -> None:
        if step.number in broken:
            raise ValueError("no change")

    till = Till(valkey, handle, retry=Retry(attempts=2, backoff=0.3, jitter=0))
    async with working(till.app) as worker:
        await till.stream.send(*steps("ab", [0]), *steps("a", range(1, 5)))
        await wait_until(lambda: len(till.parked()) == 6)
        broken.remove(0)
        await till.release("a")
        await wait_until(lambda: till.begun_of("a").count(3) == 1)
        with valkey.client() as client:
            client.hincrby(till.stream.partitions[0].slot("till").decode(), "operated", 1)
        await wait_until(lambda: till.begun_of("a").count(3) == 2)
        await wait_until(lambda: till.parked() == ["b0", "a3", "a4"])
        await wait_until(lambda: details(worker, "till")["parked"] == 3)


@pytest.mark.parametrize("command", ["XRANGE", "HMGET"])
async def test_a_server_that_is_away_when_a_key_is_to_run_again_costs_nothing(
    valkey: Server, failing: dict[str, int], command: str
) -> None:
    """What is parked cannot be read, or the state."""
    broken = [True]
    till = Till(valkey, fails(broken), park_retry=ParkRetry(backoff=0.02, max_backoff=0.02), idle_timeout=0.02)
    async with working(till.app) as worker:
        await till.stream.send(*steps("a", [0]), *steps("a", [1], do="fail"), *steps("ab", [2]))
        await wait_until(lambda: till.begun_of("a").count(1) == 2)
        await wait_until(lambda: not details(worker, "till")["active"])
        failing[command] = 2
        broken.clear()
        await till.nothing_parked()
        assert not failing[command]
        assert details(worker, "till")["parked"] == 0
    assert till.remembered("a") == [0, 1, 2]
    assert till.begun_of("b") == [2]
