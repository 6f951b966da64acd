"""Each key's events strictly in order, one at a time; those of different keys side by side, up to `key_concurrency`."""

import asyncio
import threading
import time
from collections import Counter, defaultdict
from typing import Any

import pytest
from attrs import define, field

from runnel import Actor, App, Context, ExceptionPolicy, Record
from tests.integration.actors.support import Step, all_done, details, held, make_app, steps, working
from tests.servers import Server
from tests.support import wait_until


@define
class Ledger:
    """What handlers note when they begin and end."""

    running: Counter[str] = field(factory=Counter)
    most: int = 0
    overlaps: list[str] = field(factory=list)
    done: dict[str, list[int]] = field(factory=lambda: defaultdict(list))
    order: list[tuple[str, int]] = field(factory=list)

    def begin(self, key: str) -> None:
        self.running[key] += 1
        if self.running[key] > 1:
            self.overlaps.append(key)
        self.most = max(self.most, self.running.total())

    def end(self, step: Step) -> None:
        self.running[step.key] -= 1
        self.done[step.key].append(step.number)
        self.order.append((step.key, step.number))


HALT, DEAD_LETTER = ExceptionPolicy.HALT, ExceptionPolicy.DEAD_LETTER
"""Under the second, which has a circuit breaker, events are chosen by another, slower, way."""


@pytest.mark.parametrize(("concurrency", "policy"), [(1, HALT), (3, DEAD_LETTER), (64, HALT)])
async def test_a_key_at_a_time_in_order_and_so_many_keys_at_once(
    valkey: Server, concurrency: int, policy: ExceptionPolicy
) -> None:
    app, stream = make_app(valkey)
    ledger, full = Ledger(), asyncio.Event()

    @app.actor(stream, key_concurrency=concurrency, exception_policy=policy)
    async def handle(step: Step) -> None:
        ledger.begin(step.key)
        if ledger.running.total() == concurrency:
            full.set()
        await full.wait()
        for _ in range(len(ledger.order) % 4):
            await asyncio.sleep(0)
        await asyncio.sleep(0.001 if len(ledger.order) % 8 == 0 else 0)
        ledger.end(step)

    keys = [f"k{n}" for n in range(concurrency + 20)]
    await stream.send(*(step for numbers in ([0, 1], [2, 3]) for key in keys for step in steps([key], numbers)))
    async with working(app):
        await all_done(valkey, stream, "handle")
    assert not ledger.overlaps
    assert ledger.most == concurrency
    assert ledger.done == {key: [0, 1, 2, 3] for key in keys}


async def test_with_one_at_a_time_the_order_is_the_logs(valkey: Server) -> None:
    app, stream = make_app(valkey)
    ledger = Ledger()

    @app.actor(stream, key_concurrency=1)
    async def handle(step: Step) -> None:
        await asyncio.sleep(0.001 if step.key == "a" else 0)
        ledger.end(step)

    await stream.send(*(sent := steps("abc", range(20))))
    async with working(app):
        await all_done(valkey, stream, "handle")
    assert ledger.order == [(step.key, step.number) for step in sent]


async def test_a_slow_key_holds_up_no_other_and_what_is_done_behind_it_is_marked(valkey: Server) -> None:
    app, stream = make_app(valkey)
    ledger, go = Ledger(), asyncio.Event()

    @app.actor(stream, key_concurrency=2)
    async def handle(step: Step) -> None:
        if step.do == "wait":
            await go.wait()
        ledger.end(step)

    await stream.send(*steps("s", [0], "wait"), *steps("s", [1, 2]), *steps("abc", range(100)))
    async with working(app) as worker:
        await wait_until(lambda: len(ledger.order) == 300)
        await wait_until(lambda: len(held(valkey, stream, "handle").marks) == 300)
        found = held(valkey, stream, "handle")
        assert found.cursor == "0-0"
        assert "s" not in ledger.done
        assert details(worker, "handle")["ahead"] == 300
        go.set()
        await all_done(valkey, stream, "handle")
    assert ledger.done == {"s": [0, 1, 2], **{key: list(range(100)) for key in "abc"}}


async def test_behind_a_slow_key_so_many_events_are_done_as_may_be_marked(valkey: Server) -> None:
    app, stream = make_app(valkey)
    done, go = list[int](), asyncio.Event()

    @app.actor(stream)
    async def handle(step: Step) -> None:
        if step.do == "wait":
            await go.wait()
        done.append(step.number)

    await stream.send(*steps("s", [0], "wait"), *steps("a", range(3_000)))
    async with working(app) as worker:
        await wait_until(lambda: len(done) > 700)
        await wait_until(lambda: len(held(valkey, stream, "handle").marks) == len(done))
        assert len(done) <= 1_024, "more would have to be marked, and looked through by the next owner"
        assert details(worker, "handle")["buffered"] <= 1_024
        go.set()
        await all_done(valkey, stream, "handle")
    assert sorted(done) == [0, *range(3_000)]


async def test_plain_functions_run_in_threads_in_the_order_of_their_keys(valkey: Server) -> None:
    app, stream = make_app(valkey)
    ledger, lock, threads = Ledger(), threading.Lock(), set[int]()
    side_by_side = threading.Event()

    class Seen(Record):
        numbers: tuple[int, ...] = ()

    @app.actor(stream, key_concurrency=4)
    class Account(Actor[Step, Seen]):
        def receive(self, step: Step) -> None:
            with lock:
                ledger.begin(step.key)
                threads.add(threading.get_ident())
                if ledger.most == 4:
                    side_by_side.set()
            assert side_by_side.wait(20)
            time.sleep(0.0005)
            self.state.numbers += (step.number,)
            with lock:
                ledger.end(step)

    await stream.send(*steps("abcdef", range(12)))
    async with working(app):
        await all_done(valkey, stream, "Account")
    assert threading.get_ident() not in threads
    assert not ledger.overlaps
    assert ledger.most == 4
    numbers = ",".join(map(str, range(12)))
    assert held(valkey, stream, "Account").states == dict.fromkeys("abcdef", f'{{"numbers":[{numbers}]}}')


async def test_a_function_may_ask_for_the_context_and_what_it_gets_is_of_its_event(valkey: Server) -> None:
    app, stream = make_app(valkey)
    seen = list[Any]()

    @app.actor(stream)
    async def handle(step: Step, ctx: Context) -> None:
        before = ctx.key, ctx.event.id, ctx.attempt
        await asyncio.sleep(0.001)
        assert before == (ctx.key, ctx.event.id, ctx.attempt)
        seen.append((step.key, *before))

    ids = await stream.send(*(sent := steps("ab", range(3))))
    async with working(app):
        await all_done(valkey, stream, "handle")
    assert sorted(seen) == sorted((step.key, step.key, id_, 1) for step, id_ in zip(sent, ids, strict=True))


async def test_two_kinds_of_actors_each_have_all_events_at_their_own_pace(valkey: Server) -> None:
    app, stream = make_app(valkey)
    ledgers, go = {"slow": Ledger(), "fast": Ledger()}, asyncio.Event()
    for name in ledgers:
        declare(app, stream, name, ledgers[name], go)
    await stream.send(*steps("ab", range(10)))
    async with working(app):
        await all_done(valkey, stream, "fast")
        assert not ledgers["slow"].done
        go.set()
        await all_done(valkey, stream, "slow")
    assert ledgers["slow"].done == ledgers["fast"].done == {key: list(range(10)) for key in "ab"}


def declare(app: App, stream: Any, name: str, ledger: Ledger, go: asyncio.Event) -> None:
    @app.actor(stream, name=name)
    async def handle(step: Step) -> None:
        if name == "slow":
            await go.wait()
        ledger.end(step)
