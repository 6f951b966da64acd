"""Each policy × shape of actor × how an event fails: where the event goes, that it leaves no trace, and that others go on."""

import json
from typing import Any

import pytest
from attrs import frozen

from runnel import Retry
from runnel.errors import HandlerFailed
from runnel.operations.release import carry_out, make_plan
from tests.integration.actors.shapes import LIMIT, SHAPES, Zoo
from tests.integration.actors.support import Held, Step, held, make_app, working
from tests.servers import Server
from tests.support import wait_until

FAILURES = ["exception", "on_start", "too long", "cancelled", "exit", "state", "emit", "reminder", "broken"]
"""How the second event of the key of this name fails; `on_start`: the first."""

COUNT = 4
TWICE = Retry(attempts=2, backoff=0.01)


@frozen
class Case:
    """One actor."""

    shape: str
    policy: str
    key_concurrency: int

    @property
    def name(self) -> str:
        return f"{self.policy}.{self.shape.replace(' ', '_')}.{self.key_concurrency}"

    @property
    def options(self) -> dict[str, Any]:
        retry = TWICE if self.key_concurrency > 1 else None
        return {
            "exception_policy": self.policy,
            "key_concurrency": self.key_concurrency,
            "retry": retry,
            "timeout": LIMIT,
        }

    def tries(self, failure: str) -> int:
        """How often an event is tried that fails like this."""
        return 1 if self.key_concurrency == 1 or failure == "broken" else 2


def failing(failure: str) -> int:
    return 0 if failure == "on_start" else 1


async def send_all(server: Server, steps: Any, keys: list[str]) -> None:
    """The events of all keys, number by number; each key's name says how it fails."""
    for number in range(COUNT):
        for key in keys:
            failure = key.partition("/")[0]
            if number == failing(failure) and failure == "broken":
                log = steps.partitions[steps.hash(key)].log
                with server.client() as client:
                    client.xadd(log, {"data": "{broken", "~key": key})
            else:
                await steps.send(Step(key=key, number=number, do=failure if number == failing(failure) else ""))


def spared(failure: str, policy: str) -> list[int]:
    """The events that are done of a key with one that fails."""
    first = failing(failure)
    return [number for number in range(COUNT) if (number < first if policy == "park" else number != first)]


def emitted(server: Server, zoo: Zoo) -> dict[tuple[str, str], list[int]]:
    """Actor and key → the numbers it has emitted."""
    found: dict[tuple[str, str], list[int]] = {}
    with server.client() as client:
        for _, fields in client.xrange(zoo.out.partitions[0].log.decode()):
            step = zoo.out.deserialize({name.encode(): value.encode() for name, value in fields.items()})
            found.setdefault((step.key, step.do), []).append(step.number)
    return found


def kept(server: Server, key: bytes) -> list[dict[str, str]]:
    with server.client() as client:
        return [fields for _, fields in client.xrange(key.decode())]


def count_of(server: Server, zoo: Zoo, name: str, partition: int = 0) -> int:
    with server.client() as client:
        return int(client.hget(zoo.steps.partitions[partition].slot(name).decode(), "count") or 0)


def check_traces(case: Case, key: str, done: list[int], now: Held, sent: dict[tuple[str, str], list[int]]) -> None:
    """State, reminders and what was emitted are those of the events that are done, once each, and of no others."""
    where = f"{case.name} {key}"
    assert sent.get((case.name, key), []) == done, where
    if "class" in case.shape:
        assert json.loads(now.states.get(key, '{"numbers": []}')) == {"numbers": done}, where
        assert sorted(json.loads(now.reminders.get(key, "{}"))) == [f"{number}" for number in done], where


async def test_an_event_that_fails_leaves_no_trace_goes_where_its_policy_says_and_all_else_is_done(
    valkey: Server,
) -> None:
    app, steps = make_app(valkey)
    zoo = Zoo.of(app, steps)
    policies = ["ignore", "dead_letter", "park"]
    cases = [  # every policy with every shape, and both of them with and without concurrency and a retry
        Case(shape, policy, (1, 16)[(i + j) % 2]) for i, shape in enumerate(SHAPES) for j, policy in enumerate(policies)
    ]
    for case in cases:
        zoo.add(case.shape, case.name, **case.options)
    await send_all(valkey, steps, FAILURES)
    total = len(FAILURES) * COUNT
    async with working(app):
        await wait_until(lambda: all(count_of(valkey, zoo, case.name) == total for case in cases), 20, "all is done")
        wanted = sum(len(spared(key, case.policy)) for case in cases for key in FAILURES)
        await wait_until(lambda: sum(map(len, emitted(valkey, zoo).values())) >= wanted, what="all is delivered")
    sent = emitted(valkey, zoo)
    for case in cases:
        now = held(valkey, steps, case.name)
        assert not now.marks
        for key in FAILURES:
            check_traces(case, key, spared(key, case.policy), now, sent)
            check_where_it_is(valkey, zoo, case, key)


def check_where_it_is(server: Server, zoo: Zoo, case: Case, key: str) -> None:
    keys, where = zoo.steps.partitions[0], f"{case.name} {key}"
    dead = [fields for fields in kept(server, keys.dead(case.name)) if fields["~key"] == key]
    parked = [fields for fields in kept(server, keys.parked(case.name)) if fields["~key"] == key]
    assert len(dead) == (case.policy == "dead_letter"), where
    assert len(parked) == (COUNT - failing(key) if case.policy == "park" else 0), where
    for fields in (dead + parked)[:1]:
        assert fields["~attempts"] == f"{case.tries(key)}", where
        assert fields["~error"].startswith(error(key, case.shape)), fields["~error"]
    assert [fields["~id"] for fields in parked] == sorted(fields["~id"] for fields in parked)
    tried = zoo.begun[case.name].count((key, failing(key)))
    assert tried == (0 if key in ("broken",) or (key == "on_start" and "class" in case.shape) else case.tries(key)), where


def error(failure: str, shape: str) -> str:
    said = {
        "exception": "ValueError: exception",
        "on_start": "ValueError: on_start",
        "too long": "TimedOut: took longer than 0.6 s",
        "cancelled": "RuntimeError: ",
        "exit": "RuntimeError: ",
        "state": "RecordError: ",
        "emit": "RecordError: ",
        "reminder": "RecordError: " if "class" in shape else "ValueError: reminder",
        "broken": "RecordError: ",
    }
    return said[failure]


# ── policies that stop ──

STOPPING = ["exception", "too long", "state", "broken"]
"""How the second event of the failing key in each partition fails."""

NUMBERS = list(range(COUNT))


def keys_of(steps: Any, names: list[str]) -> list[str]:
    """Keys that begin with these names, the n-th one of the n-th partition."""
    return [next(f"{name}/{i}" for i in range(1_000) if steps.hash(f"{name}/{i}") == n) for n, name in enumerate(names)]


def all_are_done(server: Server, zoo: Zoo, case: Case) -> bool:
    found = [held(server, zoo.steps, case.name, n) for n in range(zoo.steps.partition_count)]
    return all(each.is_done for each in found)


def check_all_once(server: Server, zoo: Zoo, case: Case, keys: list[str]) -> None:
    """Every event has taken effect once, in its key's order."""
    sent = emitted(server, zoo)
    for key in keys:
        now = held(server, zoo.steps, case.name, zoo.steps.hash(key))
        check_traces(case, key, NUMBERS, now, sent)
        # Without repetitions: a handler that has failed may have come to its end.
        assert list(dict.fromkeys(zoo.numbers(case.name, key))) == NUMBERS, f"{case.name} {key}"


async def mend(server: Server, zoo: Zoo, keys: list[str]) -> None:
    """Put what decodes in the place of what does not."""
    zoo.mended = True
    with server.client() as client:
        for n in range(zoo.steps.partition_count):
            log = zoo.steps.partitions[n].log.decode()
            entries = client.xrange(log)
            client.delete(log)
            for xid, fields in entries:
                sound = f'{{"key": "{fields["~key"]}", "number": 1, "do": ""}}'
                client.xadd(log, fields if "number" in fields["data"] else fields | {"data": sound}, id=xid)


async def test_a_quarantined_partition_has_lost_nothing_and_does_nothing_twice_once_it_is_released(
    valkey: Server,
) -> None:
    app, steps = make_app(valkey, partition_count=len(STOPPING))
    zoo = Zoo.of(app, steps)
    cases = [Case(shape, "quarantine", (1, 16)[i % 2]) for i, shape in enumerate(SHAPES)]
    for case in cases:
        zoo.add(case.shape, case.name, **case.options)
    bad, good = keys_of(steps, STOPPING), keys_of(steps, ["good"] * len(STOPPING))
    await send_all(valkey, steps, bad + good)
    processors = [app.processors[case.name] for case in cases]

    def stopped() -> int:
        with valkey.client() as client:
            slots = [keys.slot(case.name).decode() for case in cases for keys in steps.partitions]
            return sum(bool(client.hget(slot, "stopped")) and not client.hget(slot, "owner") for slot in slots)

    async with working(app):
        await wait_until(lambda: stopped() == len(cases) * len(STOPPING), what="all are quarantined")
        for case in cases:
            for key in bad:
                now = held(valkey, steps, case.name, steps.hash(key))
                check_traces(case, key, [0], now, {(case.name, key): [0]})  # it may not be delivered yet
        await mend(valkey, zoo, bad)
        for processor in processors:
            await carry_out(app, processor, await make_plan(app, processor))
        await wait_until(lambda: all(all_are_done(valkey, zoo, case) for case in cases), what="all is done")
        await wait_until(lambda: sum(map(len, emitted(valkey, zoo).values())) >= len(cases) * len(bad + good) * COUNT)
    for case in cases:
        check_all_once(valkey, zoo, case, bad + good)


@pytest.mark.parametrize("shape", SHAPES)
async def test_a_worker_that_halts_loses_nothing_and_the_next_one_does_nothing_twice(valkey: Server, shape: str) -> None:
    case = Case(shape, "halt", 16)
    zoos = []
    for _ in range(2):
        app, steps = make_app(valkey)
        zoos.append(Zoo.of(app, steps))
        zoos[-1].add(shape, case.name, **case.options)
    first, second = zoos
    keys = ["exception", "good", "better"]
    await send_all(valkey, first.steps, keys)
    with pytest.raises(HandlerFailed, match="ValueError: exception"):
        async with working(first.app) as worker:
            await wait_until(lambda: worker.stopping)
    now = held(valkey, first.steps, case.name)
    check_traces(case, "exception", [0], now, {(case.name, "exception"): [0]})  # it may not be delivered yet
    second.mended = True
    second.done[case.name] += first.done[case.name]
    async with working(second.app):
        await wait_until(lambda: all_are_done(valkey, second, case), what="all is done")
        await wait_until(lambda: sum(map(len, emitted(valkey, second).values())) >= len(keys) * COUNT)
    check_all_once(valkey, second, case, keys)
