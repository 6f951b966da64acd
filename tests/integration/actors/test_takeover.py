"""A partition of actors changes hands: what its owner has done and marked is not done again, and its state goes with it."""

import asyncio
import signal
from collections import Counter
from pathlib import Path

import orjson

from runnel import Stream
from tests.integration.actors.bank import bank
from tests.integration.actors.support import Step, all_done, details, held, steps, working
from tests.servers import Server
from tests.support import wait_until


def states(server: Server, stream: Stream[Step], partitions: int = 1) -> dict[str, list[str]]:
    """What each actor has seen."""
    found: dict[str, list[str]] = {}
    for n in range(partitions):
        stored = held(server, stream, "Teller", n).states
        found |= {key: orjson.loads(state)["seen"] for key, state in stored.items()}
    return found


async def test_after_a_kill_the_next_owner_does_what_was_not_marked_and_only_that(valkey: Server, tmp_path: Path) -> None:
    it = bank(valkey.url, tmp_path)
    await it.stream.send(*steps("s", [0], "hold"), *steps("s", [1]), *steps("abcd", range(10)), *steps("z", [0], "hold"))
    await it.stream.send(*steps("r", [0], "remind"), *steps("z", [1]))
    first = it.start(valkey, "first")
    try:
        await wait_until(lambda: len(held(valkey, it.stream, "Teller").marks) == 41, what="all but what holds is marked")
        first.kill()
        first.wait()
    finally:
        first.kill()
        first.wait()
    assert held(valkey, it.stream, "Teller").cursor == "0-0"
    done = {"r 0", *(f"{key} {n}" for key in "abcd" for n in range(10))}
    assert set(it.begun("first")) == done | {"s 0", "z 0"}
    it.let_go()
    async with working(it.app):
        await wait_until(lambda: "r reminder" in it.begun("second"))
        await all_done(valkey, it.stream, "Teller")
    assert sorted(it.begun("second")) == ["r reminder", "s 0", "s 1", "z 0", "z 1"]
    numbers = [str(n) for n in range(10)]
    assert states(valkey, it.stream) == {
        **dict.fromkeys("abcd", numbers),
        **{"s": ["0", "1"], "z": ["0", "1"], "r": ["0", "reminder"]},
    }
    assert not held(valkey, it.stream, "Teller").marks
    assert not held(valkey, it.stream, "Teller").reminders


async def test_an_owner_that_wakes_up_late_changes_no_state(valkey: Server, tmp_path: Path) -> None:
    it = bank(valkey.url, tmp_path)
    await it.stream.send(*steps("s", [0], "hold"), *steps("ab", range(3)), *steps("s", [1]))
    first = it.start(valkey, "first")
    try:
        await wait_until(lambda: len(held(valkey, it.stream, "Teller").marks) == 6)
        first.send_signal(signal.SIGSTOP)
        it.let_go()
        async with working(it.app) as worker:
            await wait_until(lambda: sorted(it.begun("second")) == ["s 0", "s 1"])
            await all_done(valkey, it.stream, "Teller")
            after = held(valkey, it.stream, "Teller")
            first.send_signal(signal.SIGCONT)
            await wait_until(lambda: "partition lost" in (tmp_path / "first.log").read_text())
            await it.stream.send(*steps("s", [2]))
            await all_done(valkey, it.stream, "Teller")
            assert details(worker, "Teller")["done"] >= 3, "it goes on"
    finally:
        first.kill()
        first.wait()
    assert after.states == dict.fromkeys("ab", '{"seen":["0","1","2"]}') | {"s": '{"seen":["0","1"]}'}
    assert states(valkey, it.stream) == {key: ["0", "1", "2"] for key in "abs"}


async def test_a_partition_that_is_handed_over_is_gone_on_with_and_nothing_is_done_twice(
    valkey: Server, tmp_path: Path
) -> None:
    one, two = (bank(valkey.url, tmp_path, name, partition_count=4) for name in ("one", "two"))
    keys = [f"k{n}" for n in range(24)]
    async with working(two.app):
        async with working(one.app) as leaving:
            for n in range(20):
                await one.stream.send(*steps(keys, [n]))
            await wait_until(lambda: one.begun("one") and two.begun("two"))
            sending = asyncio.create_task(send_slowly(one.stream, keys))
            await wait_until(lambda: len(one.begun("one")) + len(two.begun("two")) > 24 * 20)
            leaving.stop()
            await sending
        await all_done(valkey, two.stream, "Teller")
    begun = Counter(one.begun("one") + two.begun("two"))
    assert set(begun.values()) == {1}
    assert states(valkey, two.stream, 4) == {key: [str(n) for n in range(30)] for key in keys}


async def send_slowly(stream: Stream[Step], keys: list[str]) -> None:
    for n in range(20, 30):
        await stream.send(*steps(keys, [n]))
        await asyncio.sleep(0.01)


async def test_marks_of_events_that_are_not_in_the_log_any_more_do_not_stay(valkey: Server, tmp_path: Path) -> None:
    it = bank(valkey.url, tmp_path)
    await it.stream.send(*steps("a", range(4)))
    keys = it.stream.partitions[0]
    with valkey.client() as redis:
        second = redis.xrange(keys.log.decode())[1][0]
        redis.sadd(keys.done("Teller").decode(), "1-0", second)  # never there, and dropped
        redis.xdel(keys.log.decode(), second)
    async with working(it.app):
        await all_done(valkey, it.stream, "Teller")
    assert it.begun("second") == ["a 0", "a 2", "a 3"]
