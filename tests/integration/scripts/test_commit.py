"""commit: the links of a chain, each taken up once, under a token that is still the slot's."""

import pytest

from tests.integration.scripts.bench import PROCESSOR, Bench


async def test_a_commit_moves_the_cursor(bench: Bench) -> None:
    token = await bench.take()
    assert await bench.commit(token, 1, "5-0", 17) == "OK"
    assert bench.cursors == {PROCESSOR: "5-0"}
    assert (bench.slot["count"], bench.slot["number"]) == ("17", "1")


async def test_a_commit_that_is_sent_again_is_known_and_changes_nothing(bench: Bench) -> None:
    token = await bench.take()
    await bench.commit(token, 1, "5-0")
    before = bench.everything()
    assert await bench.commit(token, 1, "5-0") == "ALREADY"
    assert bench.everything() == before


async def test_a_copy_that_arrives_after_the_next_commit_is_refused(bench: Bench) -> None:
    """A comparison with the former cursor would let it in, where a commit may leave the cursor as it is."""
    token = await bench.take()
    await bench.commit(token, 1, "5-0")
    await bench.commit(token, 2, "5-0")
    before = bench.everything()
    assert await bench.commit(token, 1, "5-0") == "CONFLICT"
    assert bench.everything() == before


@pytest.mark.parametrize("number", [0, 2, 3, 10])
async def test_the_chain_has_no_gaps(bench: Bench, number: int) -> None:
    token = await bench.take()
    before = bench.everything()
    answer = await bench.commit(token, number, "5-0")
    assert answer == ("ALREADY" if number == 0 else "CONFLICT")
    assert bench.everything() == before


async def test_numbers_are_compared_as_numbers(bench: Bench) -> None:
    token = await bench.take()
    for number in range(1, 12):
        assert await bench.commit(token, number, f"{number}-0") == "OK"
    assert await bench.commit(token, 11, "11-0") == "ALREADY"
    assert await bench.commit(token, 9, "9-0") == "CONFLICT"


async def test_each_term_begins_its_own_chain(bench: Bench) -> None:
    first = await bench.take(b"one")
    await bench.commit(first, 1, "1-0", 1)
    await bench.commit(first, 2, "2-0", 2)
    bench.expire()
    second = await bench.take(b"two")
    assert await bench.commit(first, 3, "9-0", 9) == "FENCED"
    assert await bench.commit(second, 1, "3-0", 3) == "OK"
    assert bench.cursors == {PROCESSOR: "3-0"}


async def test_a_commit_after_the_lease_ran_out_counts_while_nobody_took_the_partition(bench: Bench) -> None:
    """The owner stands down by its own clock; if one commit was late, no harm is done: nobody else began."""
    token = await bench.take()
    bench.expire()
    assert await bench.commit(token, 1, "1-0") == "OK"


async def test_without_a_term_nothing_can_be_committed(bench: Bench) -> None:
    token = await bench.take()
    bench.redis.delete(bench.keys.slot(PROCESSOR))
    before = bench.everything()
    assert await bench.commit(token, 1, "1-0") == "FENCED"
    assert bench.everything() == before


async def test_a_commit_of_another_history_is_refused(bench: Bench) -> None:
    token = await bench.take()
    bench.redis.hset(bench.keys.slot(PROCESSOR), "history", "0" * 40)
    before = bench.everything()
    assert await bench.commit(token, 1, "1-0") == "FENCED"
    assert not await bench.renew(token)
    assert not await bench.release(token)
    assert bench.everything() == before


async def test_the_history_is_the_servers_replication_id(bench: Bench) -> None:
    await bench.take()
    assert bench.slot["history"] == bench.redis.info("replication")["master_replid"]
