"""acquire, renew, release: one owner at a time, however late a copy of a call arrives."""

from collections.abc import Callable

import pytest

from runnel.clock import SystemClock
from runnel.store.client import Store
from runnel.store.scripts import Acquired, Held, Token
from tests.integration.scripts.bench import PROCESSOR, Bench
from tests.servers import Server
from tests.support import wait_until

# ── taking ──


async def test_the_first_to_come_owns_the_partition(bench: Bench) -> None:
    answer = await bench.acquire(b"one")
    assert answer == Acquired(Token(b"1", b"one"), b"0-0", 0)


async def test_acquire_registers_a_processor_before_all_that_is_there(bench: Bench) -> None:
    await bench.fill("1-0", "2-0", "3-0")
    bench.redis.xtrim(bench.keys.log, minid="2-0", approximate=False)
    assert await bench.acquire(b"one") == Acquired(Token(b"1", b"one"), b"0-0", 1)
    assert bench.cursors == {PROCESSOR: "0-0"}


async def test_acquire_registers_a_processor_behind_all_that_is_there(bench: Bench) -> None:
    await bench.fill("1-0", "2-0")
    assert await bench.acquire(b"one", start="latest") == Acquired(Token(b"1", b"one"), b"2-0", 2)
    assert bench.cursors == {PROCESSOR: "2-0"}


async def test_a_processor_that_has_a_cursor_goes_on_there_whatever_its_start(bench: Bench) -> None:
    await bench.fill("1-0", "2-0")
    token = await bench.take(b"one")
    await bench.commit(token, 1, "1-0", 1)
    await bench.release(token)
    assert await bench.acquire(b"two", start="latest") == Acquired(Token(b"2", b"two"), b"1-0", 1)


async def test_others_hear_who_holds_it_and_for_how_long(bench: Bench) -> None:
    await bench.take(b"one", worker="first", lease=60)
    before = bench.everything()
    answer = await bench.acquire(b"two", worker="second")
    assert isinstance(answer, Held)
    assert (answer.owner, 59 < answer.left <= 60) == ("first", True)
    assert bench.everything() == before


async def test_the_same_nonce_gets_the_same_answer(bench: Bench) -> None:
    first = await bench.acquire(b"one")
    assert await bench.acquire(b"one") == first
    assert bench.slot["epoch"] == "1"


async def test_the_same_nonce_after_commits_leaves_their_chain_alone(bench: Bench) -> None:
    token = await bench.take(b"one")
    await bench.commit(token, 1, "1-0", 1)
    await bench.commit(token, 2, "2-0", 2)
    assert await bench.acquire(b"one") == Acquired(token, b"2-0", 2)
    assert await bench.commit(token, 2, "2-0", 2) == "ALREADY"
    assert await bench.commit(token, 3, "3-0", 3) == "OK"


async def test_the_same_nonce_begins_the_lease_anew(bench: Bench) -> None:
    await bench.take(b"one", lease=1)
    await bench.take(b"one", lease=100)
    answer = await bench.acquire(b"two")
    assert isinstance(answer, Held)
    assert answer.left > 99


async def test_a_lease_that_ran_out_goes_to_the_next_under_a_higher_epoch(bench: Bench) -> None:
    old = await bench.take(b"one")
    bench.expire()
    new = await bench.take(b"two", worker="second")
    assert new == Token(b"2", b"two")
    assert (bench.slot["owner"], bench.slot["number"]) == ("second", "0")
    assert await bench.commit(old, 1, "1-0") == "FENCED"


async def test_a_lease_runs_out_by_the_servers_clock(bench: Bench) -> None:
    await bench.take(b"one", lease=0.03)

    async def taken() -> bool:
        return isinstance(await bench.acquire(b"two"), Acquired)

    await wait_until(taken)


async def test_processors_own_a_partition_independently(bench: Bench) -> None:
    one = await bench.take(b"one")
    other = await bench.take(b"two", processor="ship")
    assert (one.epoch, other.epoch) == (b"1", b"1")
    assert await bench.commit(one, 1, "1-0") == "OK"
    assert bench.cursors == {PROCESSOR: "1-0", "ship": "0-0"}


async def test_a_late_acquire_of_a_former_owner_does_not_revive_its_token(bench: Bench) -> None:
    """The epoch is what tells two terms under one nonce apart."""
    old = await bench.take(b"one")
    await bench.release(old)
    second = await bench.take(b"two")
    await bench.release(second)
    assert await bench.take(b"one") == Token(b"3", b"one")  # a copy that was under way for long; nobody waits for it
    assert await bench.commit(old, 1, "1-0") == "FENCED"
    assert not await bench.renew(old)
    assert not await bench.release(old)


async def test_two_owners_of_one_epoch_are_told_apart_by_their_nonces(bench: Bench) -> None:
    """After a failover that lost an acquire, the next one is given the same epoch."""
    lost = Token(b"1", b"lost")
    await bench.take(b"one")
    assert await bench.commit(lost, 1, "1-0") == "FENCED"
    assert not await bench.renew(lost)
    assert not await bench.release(lost)


# ── keeping ──


async def test_renewing_prolongs_the_lease(bench: Bench) -> None:
    token = await bench.take(b"one", lease=1)
    assert await bench.renew(token, 100)
    answer = await bench.acquire(b"two")
    assert isinstance(answer, Held)
    assert answer.left > 99


async def test_a_lease_that_ran_out_may_be_renewed_while_nobody_took_the_partition(bench: Bench) -> None:
    token = await bench.take(b"one")
    bench.expire()
    assert await bench.renew(token)
    assert isinstance(await bench.acquire(b"two"), Held)


async def test_a_renewal_after_a_takeover_is_refused_and_changes_nothing(bench: Bench) -> None:
    token = await bench.take(b"one")
    bench.expire()
    await bench.take(b"two")
    before = bench.everything()
    assert not await bench.renew(token)
    assert bench.everything() == before


# ── giving back ──


async def test_a_released_partition_is_free_at_once(bench: Bench) -> None:
    token = await bench.take(b"one")
    assert await bench.release(token)
    assert bench.slot["owner"] == ""
    assert await bench.take(b"two") == Token(b"2", b"two")


async def test_a_renewal_that_arrives_after_the_release_holds_nothing(bench: Bench) -> None:
    token = await bench.take(b"one")
    await bench.release(token)
    assert not await bench.renew(token)
    assert await bench.commit(token, 1, "1-0") == "FENCED"
    assert isinstance(await bench.acquire(b"two"), Acquired)


async def test_a_release_that_arrives_after_a_takeover_takes_nothing_away(bench: Bench) -> None:
    token = await bench.take(b"one")
    bench.expire()
    await bench.take(b"two")
    assert not await bench.release(token)
    assert isinstance(await bench.acquire(b"three"), Held)


async def test_a_release_that_is_sent_again_says_that_the_token_is_void(bench: Bench) -> None:
    token = await bench.take(b"one")
    await bench.release(token)
    assert not await bench.release(token)


async def test_an_empty_nonce_is_no_token(bench: Bench) -> None:
    """A released slot has an empty nonce: who shows one must not own it."""
    token = await bench.take(b"one")
    await bench.release(token)
    void = Token(token.epoch, b"")
    assert await bench.commit(void, 1, "1-0") == "FENCED"
    assert not await bench.renew(void)


# ── another history ──


@pytest.mark.parametrize("kind", ["valkey", "redis7"])
@pytest.mark.parametrize("kill", [False, True])
async def test_after_a_restart_of_the_server_a_token_is_void_and_its_partition_free(
    own_server: Callable[..., Server], kind: str, kill: bool
) -> None:
    server = own_server(kind)
    store = Store(server.url, SystemClock())
    await store.open()
    with server.client() as client:
        bench = Bench(store.link(), client)
        token = await bench.take(b"one", lease=1_000)
        await bench.commit(token, 1, "1-0")
        await bench.link.close()
        client.close()
        server.restart(kill=kill)

        before = bench.everything()
        assert await bench.commit(token, 2, "2-0") == "FENCED"
        assert not await bench.renew(token)
        assert not await bench.release(token)
        assert bench.everything() == before
        assert await bench.acquire(b"two") == Acquired(Token(b"2", b"two"), b"1-0", 1)
    await store.close()


async def test_after_a_restart_the_same_nonce_is_a_new_term(own_server: Callable[..., Server]) -> None:
    server = own_server()
    store = Store(server.url, SystemClock())
    await store.open()
    with server.client() as client:
        bench = Bench(store.link(), client)
        old = await bench.take(b"one", lease=1_000)
        await bench.link.close()
        client.close()
        server.restart(kill=True)
        assert await bench.take(b"one") == Token(b"2", b"one")
        assert await bench.commit(old, 1, "1-0") == "FENCED"
    await store.close()
