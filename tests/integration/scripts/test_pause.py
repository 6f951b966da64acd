"""A partition that is paused: nobody acquires it, its owner keeps it until it gives it back, and nothing else changes."""

import pytest

from runnel.store import pausing, scripts
from runnel.store.scripts import Acquired, Paused
from tests.integration.scripts.bench import PROCESSOR, Bench
from tests.servers import Server


@pytest.fixture
def any_server(valkey: Server) -> Server:
    """One kind does: `test_every_script.py` has them all."""
    return valkey


async def pause(bench: Bench, reason: str = "new database", by: str = "ann") -> float:
    return await bench.run(pausing.pause(bench.keys, PROCESSOR, reason=reason, by=by))


async def resume(bench: Bench) -> bool:
    return await bench.run(pausing.resume(bench.keys, PROCESSOR))


async def test_nobody_acquires_it_until_it_is_resumed(bench: Bench) -> None:
    since = await pause(bench)
    paused = Paused("new database", "ann", since)
    assert await bench.acquire() == paused
    assert (await bench.run(scripts.look(bench.keys, PROCESSOR))).paused == paused
    assert await bench.acquire(processor="other") != paused
    assert await resume(bench)
    assert isinstance(await bench.acquire(), Acquired)
    assert (await bench.run(scripts.look(bench.keys, PROCESSOR))).paused is None
    assert not await resume(bench)


async def test_pausing_what_never_ran_registers_nothing_and_leaves_nothing(bench: Bench) -> None:
    await pause(bench)
    await bench.acquire(start="latest")
    assert not bench.cursors
    assert await resume(bench)
    assert not bench.redis.keys()


async def test_its_owner_keeps_it_commits_and_is_told(bench: Bench) -> None:
    await bench.fill("1-0", "2-0")
    token = await bench.take()
    assert await bench.renew(token) is True
    since = await pause(bench)
    deadline = bench.slot["deadline"]
    assert await bench.renew(token, 90) == Paused("new database", "ann", since)
    assert int(bench.slot["deadline"]) > int(deadline)
    assert await bench.commit(token, 1, "1-0") == "OK"
    assert await bench.release(token)
    assert isinstance(await bench.acquire(b"two"), Paused)


async def test_an_acquire_whose_answer_was_lost_is_answered_although_it_was_paused_meanwhile(bench: Bench) -> None:
    await bench.fill("1-0")
    token = await bench.take()
    await pause(bench)
    assert await bench.take() == token  # or nobody would give it back, and its owner would count as crashed
    assert await bench.release(token)
    await resume(bench)
    answer = await bench.acquire(b"two")
    assert isinstance(answer, Acquired)
    assert answer.crashes == 0


async def test_an_owner_that_is_void_is_fenced_paused_or_not(bench: Bench) -> None:
    token = await bench.take()
    await pause(bench)
    await bench.reset("earliest")
    assert await bench.renew(token) is False


async def test_a_quarantined_one_is_that_first(bench: Bench) -> None:
    bench.redis.hset(bench.keys.slot(PROCESSOR).decode(), "stopped", "no")
    await pause(bench)
    assert await bench.acquire() == scripts.Stopped("no")


async def test_paused_again_it_has_the_new_reason_and_the_old_moment(bench: Bench) -> None:
    since = await pause(bench)
    bench.redis.hset(bench.keys.slot(PROCESSOR).decode(), "paused", '{"reason":"a","by":"b","since":1000}')
    assert since > 1
    assert await pause(bench, reason="häm \udcff", by="bob") == 1
    assert await bench.acquire() == Paused("häm ?", "bob", 1)


async def test_paused_again_without_a_reason_it_keeps_the_one_it_has(bench: Bench) -> None:
    since = await pause(bench)
    assert await pause(bench, reason="", by="bob") == since
    assert await bench.acquire() == Paused("new database", "ann", since)
    bench.redis.hset(bench.keys.slot(PROCESSOR).decode(), "paused", '{"reason":"","by":"ann","since":1000}')
    await pause(bench, reason="", by="bob")
    assert await bench.acquire() == Paused("", "bob", 1)


async def test_a_mark_that_somebody_has_set_by_hand_pauses_too(bench: Bench) -> None:
    for mark in ("because", "7", '{"reason": 1}'):
        bench.redis.hset(bench.keys.slot(PROCESSOR).decode(), "paused", mark)
        assert await bench.acquire() == Paused(mark, "", 0)
        assert await pause(bench) > 1
        await resume(bench)


async def test_a_reset_leaves_it_paused_and_unregistering_forgets_it(bench: Bench) -> None:
    await bench.register(PROCESSOR)
    await pause(bench)
    await bench.reset("latest")
    assert isinstance(await bench.acquire(), Paused)
    await bench.unregister()
    assert isinstance(await bench.acquire(), Acquired)
