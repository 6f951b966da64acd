"""What the scripts know of owners that were lost: how many in a row, which event ran alone, and which one was the end of it."""

from collections.abc import Callable

import pytest

from runnel.clock import SystemClock
from runnel.store import moves, scripts
from runnel.store.client import Store
from runnel.store.moves import Park
from runnel.store.scripts import Acquired, Look, Token
from tests.integration.scripts.bench import PROCESSOR, Bench
from tests.servers import Server

PARKED = Park(b"k", [b"data", b"1", b"~id", b"1-0"])


async def acquired(bench: Bench, nonce: bytes) -> Acquired:
    answer = await bench.acquire(nonce)
    assert isinstance(answer, Acquired)
    return answer


async def lose(bench: Bench, *nonces: bytes) -> None:
    """Owners that come one after the other and are lost."""
    for nonce in nonces:
        await acquired(bench, nonce)
        bench.expire()


async def suspect(bench: Bench, token: Token, entry: bytes = b"1-0") -> bool:
    return await bench.run(moves.suspect(bench.keys, PROCESSOR, token, entry))


async def look(bench: Bench) -> Look:
    return await bench.run(scripts.look(bench.keys, PROCESSOR))


def known(answer: Acquired) -> tuple[int, bytes | None]:
    return answer.crashes, answer.culprit


# ── the count ──


async def test_owners_that_are_lost_are_counted_while_events_wait(bench: Bench) -> None:
    await bench.fill("1-0")
    counts = []
    for nonce in (b"one", b"two", b"three"):
        counts.append((await acquired(bench, nonce)).crashes)
        bench.expire()
    assert counts == [0, 1, 2]


async def test_the_same_nonce_does_not_count_twice(bench: Bench) -> None:
    await bench.fill("1-0")
    await lose(bench, b"one", b"two")
    first = await acquired(bench, b"three")
    assert await acquired(bench, b"three") == first
    bench.expire()
    assert await acquired(bench, b"three") == first
    assert first.crashes == 2


async def test_an_owner_that_is_lost_where_nothing_waits_is_none(bench: Bench) -> None:
    await bench.fill("1-0")
    token = await bench.take(b"one")
    await bench.commit(token, 1, "1-0")
    bench.expire()
    await lose(bench, b"two")
    assert known(await acquired(bench, b"three")) == (0, None)


async def test_a_parked_event_is_one_that_waits(bench: Bench) -> None:
    """It may have been released."""
    token = await bench.take(b"one")
    await bench.move(token, 1, "1-0", PARKED)
    await bench.release(token)
    await lose(bench, b"two")
    assert (await acquired(bench, b"three")).crashes == 1


async def test_a_log_that_is_something_else_is_no_reason_to_refuse(bench: Bench) -> None:
    await lose(bench, b"one")
    bench.redis.delete(bench.keys.log)
    bench.redis.set(bench.keys.log, "mine")
    assert known(await acquired(bench, b"two")) == (0, None)


async def test_behind_the_highest_id_of_all_nothing_waits(bench: Bench) -> None:
    await bench.fill("1-0")
    token = await bench.take(b"one")
    await bench.commit(token, 1, "18446744073709551615-18446744073709551615")
    bench.expire()
    assert (await acquired(bench, b"two")).crashes == 0


async def test_a_commit_begins_the_count_anew(bench: Bench) -> None:
    """Whatever it carries. The owner was lost nevertheless: it is the first at what comes next."""
    await bench.fill("1-0", "2-0")
    await lose(bench, b"one", b"two")
    token = (await acquired(bench, b"three")).token
    await bench.commit(token, 1, "1-0")
    assert (await look(bench)).crashes == 0
    bench.expire()
    assert (await acquired(bench, b"four")).crashes == 1


async def test_whoever_gives_the_partition_back_has_not_died_of_it(bench: Bench) -> None:
    await bench.fill("1-0")
    await lose(bench, b"one", b"two")
    await bench.release((await acquired(bench, b"three")).token)
    assert (await look(bench)).crashes == 0
    assert (await acquired(bench, b"four")).crashes == 0


async def test_whoever_gives_back_what_it_has_lost_is_counted(bench: Bench) -> None:
    """As one whose handler has blocked for so long that it stood down by its own clock."""
    await bench.fill("1-0")
    token = (await acquired(bench, b"one")).token
    assert await bench.run(scripts.release(bench.keys, PROCESSOR, token, "lost"))
    assert not await bench.renew(token)
    assert (await acquired(bench, b"two")).crashes == 1


async def test_whoever_gives_it_back_before_it_has_run_anything_proves_nothing(bench: Bench) -> None:
    await bench.fill("1-0")
    await lose(bench, b"one", b"two")
    token = (await acquired(bench, b"three")).token
    assert await bench.run(scripts.release(bench.keys, PROCESSOR, token, "idle"))
    assert (await acquired(bench, b"four")).crashes == 2


async def test_a_reset_begins_anew(bench: Bench) -> None:
    await bench.fill("1-0")
    await lose(bench, b"one", b"two")
    await suspect(bench, (await acquired(bench, b"three")).token)
    bench.expire()
    await acquired(bench, b"four")
    await bench.reset("earliest")
    assert not {"crashes", "suspect", "culprit"} & set(bench.slot)
    assert known(await acquired(bench, b"five")) == (0, None)


# ── suspect and culprit ──


async def test_an_event_that_was_out_alone_when_its_owner_was_lost_is_the_culprit(bench: Bench) -> None:
    await bench.fill("1-0")
    assert await suspect(bench, (await acquired(bench, b"one")).token)
    assert (await look(bench)).suspect == "1-0"
    bench.expire()
    assert known(await acquired(bench, b"two")) == (1, b"1-0")
    assert bench.slot["suspect"] == ""


async def test_it_stays_the_culprit_until_a_commit(bench: Bench) -> None:
    await bench.fill("1-0", "2-0")
    await suspect(bench, (await acquired(bench, b"one")).token)
    bench.expire()
    await lose(bench, b"two")
    answer = await acquired(bench, b"three")
    assert known(answer) == (2, b"1-0")
    await bench.release(answer.token)
    answer = await acquired(bench, b"four")
    assert known(answer) == (0, b"1-0")
    await bench.commit(answer.token, 1, "1-0")
    bench.expire()
    assert known(await acquired(bench, b"five")) == (1, None)


async def test_a_suspect_that_is_done_is_none_any_more(bench: Bench) -> None:
    await bench.fill("1-0", "2-0")
    token = (await acquired(bench, b"one")).token
    await suspect(bench, token)
    await bench.commit(token, 1, "1-0")
    assert (await look(bench)).suspect is None
    bench.expire()
    assert known(await acquired(bench, b"two")) == (1, None)


async def test_a_suspect_whose_owner_gives_the_partition_back_is_none_any_more(bench: Bench) -> None:
    await bench.fill("1-0")
    token = (await acquired(bench, b"one")).token
    await suspect(bench, token)
    await bench.release(token)
    await lose(bench, b"two")
    assert known(await acquired(bench, b"three")) == (1, None)


async def test_only_the_owner_notes_a_suspect(bench: Bench) -> None:
    await bench.fill("1-0")
    old = (await acquired(bench, b"one")).token
    bench.expire()
    new = (await acquired(bench, b"two")).token
    before = bench.everything()
    assert not await suspect(bench, old)
    assert bench.everything() == before
    await bench.release(new)
    assert not await suspect(bench, new)


async def test_a_note_that_arrives_after_the_commit_blames_nobody(bench: Bench) -> None:
    await bench.fill("1-0", "2-0")
    token = (await acquired(bench, b"one")).token
    await bench.commit(token, 1, "1-0")
    await suspect(bench, token)
    bench.expire()
    assert known(await acquired(bench, b"two")) == (1, None)


@pytest.mark.parametrize("kill", [False, True])
async def test_a_restart_of_the_server_is_no_crash_of_the_owner(own_server: Callable[..., Server], kill: bool) -> None:
    """Nobody knows whether the event was its end: it runs alone once more."""
    server = own_server()
    store = Store(server.url, SystemClock())
    await store.open()
    with server.client() as client:
        bench = Bench(store.link(), client)
        await bench.fill("1-0")
        await lose(bench, b"one", b"two")
        await suspect(bench, (await acquired(bench, b"three")).token)
        await bench.link.close()
        client.close()
        server.restart(kill=kill)
        assert known(await acquired(bench, b"four")) == (2, None)
        await bench.link.close()
    await store.close()
