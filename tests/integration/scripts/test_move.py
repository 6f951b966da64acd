"""move: a commit that carries events out of the log, or parked ones that have run, all or none; and what operators do."""

import pytest

from runnel.errors import StoreRefused
from runnel.store import moves, scripts
from runnel.store.moves import Bury, Hold, Move, Park, Stop, Unpark
from runnel.store.scripts import Acquired, ParkedNow, Stopped, Token, Tries
from tests.integration.scripts.bench import PROCESSOR, Bench

A1, A2, B1 = ([b"data", name] for name in (b"a1", b"a2", b"b1"))


async def parked_ids(bench: Bench) -> list[bytes]:
    return [entry.encode() for entry, _ in bench.parked_entries]


# ── the chain ──


async def test_a_move_and_a_commit_are_links_of_one_chain(bench: Bench) -> None:
    token = await bench.take()
    assert await bench.commit(token, 1, "1-0", 1) == "OK"
    assert await bench.move(token, 2, "2-0", Bury(A1), count=2) == "OK"
    assert await bench.commit(token, 3, "3-0", 3) == "OK"
    assert bench.cursors == {PROCESSOR: "3-0"}
    assert (bench.slot["count"], bench.slot["number"]) == ("3", "3")


async def test_a_move_that_is_sent_again_is_known_and_changes_nothing(bench: Bench) -> None:
    token = await bench.take()
    carried: list[Move] = [Bury(A1), Park(b"b", B1)]
    assert await bench.move(token, 1, "2-0", *carried) == "OK"
    before = bench.everything()
    assert await bench.move(token, 1, "2-0", *carried) == "ALREADY"
    assert bench.everything() == before


@pytest.mark.parametrize("number", [2, 10])
async def test_a_move_that_is_not_the_next_of_the_chain_changes_nothing(bench: Bench, number: int) -> None:
    token = await bench.take()
    before = bench.everything()
    assert await bench.move(token, number, "2-0", Bury(A1), Stop("no")) == "CONFLICT"
    assert bench.everything() == before


async def test_who_lost_the_partition_moves_nothing(bench: Bench) -> None:
    old = await bench.take(b"one")
    bench.expire()
    await bench.take(b"two")
    before = bench.everything()
    for carried in (Bury(A1), Park(b"a", A1), Unpark(b"a", b"1-0"), Hold(b"a"), Stop("no")):
        assert await bench.move(old, 1, "2-0", carried) == "FENCED"
    assert bench.everything() == before


# ── dead letters, parked events ──


async def test_dead_letters_lie_in_the_order_in_which_they_came(bench: Bench) -> None:
    token = await bench.take()
    await bench.move(token, 1, "2-0", Bury([*A1, b"~error", b"no change"]), Bury(A2), count=2)
    assert bench.dead == [{"data": "a1", "~error": "no change"}, {"data": "a2"}]


async def test_parked_events_keep_their_order_and_their_keys_are_known(bench: Bench) -> None:
    token = await bench.take()
    await bench.move(token, 1, "1-0", Park(b"a", A1))
    await bench.move(token, 2, "3-0", Park(b"b", B1), Park(b"a", A2))
    assert [fields["data"] for _, fields in bench.parked_entries] == ["a1", "b1", "a2"]
    assert bench.redis.hgetall(bench.keys.parked_keys(PROCESSOR)) == {"a": "2", "b": "1"}
    assert await bench.parked() == ParkedNow(3, 0, frozenset({b"a", b"b"}), frozenset())


async def test_bytes_and_keys_of_any_kind_stay_as_they_are(bench: Bench) -> None:
    token = await bench.take()
    key, value = b"\xff\x00 key\r\n", bytes(range(256))
    assert await bench.move(token, 1, "1-0", Park(key, [b"data", value]), Bury([b"data", value])) == "OK"
    assert (await bench.parked()).keys == {key}
    [[_, fields]] = await bench.link.command("XRANGE", bench.keys.parked(PROCESSOR), "-", "+")
    assert fields == [b"data", value]
    [[_, fields]] = await bench.link.command("XRANGE", bench.keys.dead(PROCESSOR), "-", "+")
    assert fields == [b"data", value]


async def test_a_key_is_free_when_its_last_parked_event_has_run(bench: Bench) -> None:
    token = await bench.take()
    await bench.move(token, 1, "3-0", Park(b"a", A1), Park(b"b", B1), Park(b"a", A2))
    assert await bench.run(moves.release_keys(bench.keys, PROCESSOR, [b"a", b"b", b"c"])) == 2
    a1, b1, a2 = await parked_ids(bench)
    assert await bench.move(token, 2, "3-0", Unpark(b"a", a1)) == "OK"
    assert await bench.parked() == ParkedNow(2, 1, frozenset({b"a", b"b"}), frozenset({b"a", b"b"}))
    assert await bench.move(token, 3, "3-0", Unpark(b"a", a2)) == "OK"
    assert await bench.parked() == ParkedNow(1, 1, frozenset({b"b"}), frozenset({b"b"}))
    assert await parked_ids(bench) == [b1]


async def test_a_parked_event_that_an_operator_dropped_meanwhile_counts_once(bench: Bench) -> None:
    token = await bench.take()
    await bench.move(token, 1, "3-0", Park(b"a", A1), Park(b"a", A2))
    a1, _ = await parked_ids(bench)
    assert await bench.run(moves.discard_parked(bench.keys, PROCESSOR, [(b"a", a1), (b"a", a1)])) == 1
    assert await bench.move(token, 2, "3-0", Unpark(b"a", a1)) == "OK"
    assert await bench.parked() == ParkedNow(1, 1, frozenset({b"a"}), frozenset())


async def test_a_key_that_failed_again_is_held(bench: Bench) -> None:
    token = await bench.take()
    await bench.move(token, 1, "3-0", Park(b"a", A1))
    await bench.run(moves.release_keys(bench.keys, PROCESSOR, [b"a"]))
    assert await bench.move(token, 2, "3-0", Hold(b"a", operated=1, tried=2)) == "OK"
    assert await bench.parked() == ParkedNow(1, 1, frozenset({b"a"}), frozenset(), {b"a": Tries(2, None)})


async def test_a_release_that_came_while_a_key_ran_in_vain_still_stands(bench: Bench) -> None:
    token = await bench.take()
    await bench.move(token, 1, "3-0", Park(b"a", A1))
    await bench.run(moves.release_keys(bench.keys, PROCESSOR, [b"a"]))
    assert await bench.move(token, 2, "3-0", Hold(b"a", operated=0, tried=1)) == "OK"
    assert (await bench.parked()).released == {b"a"}


async def test_when_a_key_is_tried_next_goes_by_the_servers_clock(bench: Bench) -> None:
    token = await bench.take()
    earliest, _ = bench.redis.time()
    assert await bench.move(token, 1, "3-0", Park(b"a", A1), Hold(b"a", tried=3, wait=90.25)) == "OK"
    now = await bench.parked()
    found = now.tries[b"a"]
    assert found.due is not None
    assert found.tried == 3
    assert earliest + 90.25 <= found.due <= now.now + 90.25
    assert await bench.acquire() == Acquired(token, b"3-0", 1, now)


async def test_a_hold_that_is_sent_again_does_not_put_off_the_next_try(bench: Bench) -> None:
    token = await bench.take()
    await bench.move(token, 1, "3-0", Park(b"a", A1))
    await bench.move(token, 2, "3-0", Hold(b"a", tried=1, wait=60))
    before = await bench.parked()
    assert await bench.move(token, 2, "3-0", Hold(b"a", tried=1, wait=600)) == "ALREADY"
    assert await bench.parked() == before


async def test_of_a_key_whose_events_are_all_gone_nothing_stays(bench: Bench) -> None:
    token = await bench.take()
    await bench.move(token, 1, "3-0", Park(b"a", A1), Hold(b"a", wait=60), Park(b"b", B1), Hold(b"b", wait=60))
    a1, b1 = await parked_ids(bench)
    assert await bench.move(token, 2, "3-0", Unpark(b"a", a1), Hold(b"a", wait=0)) == "OK"
    assert set((await bench.parked()).tries) == {b"b"}
    assert await bench.run(moves.discard_parked(bench.keys, PROCESSOR, [(b"b", b1)])) == 1
    assert await bench.parked() == ParkedNow(0, 1)


async def test_discarding_the_last_event_of_a_key_frees_it(bench: Bench) -> None:
    token = await bench.take()
    await bench.move(token, 1, "3-0", Park(b"a", A1), Park(b"b", B1))
    await bench.run(moves.release_keys(bench.keys, PROCESSOR, [b"a"]))
    a1, b1 = await parked_ids(bench)
    assert await bench.run(moves.discard_parked(bench.keys, PROCESSOR, [(b"a", a1), (b"a", b"9-9")])) == 1
    assert await bench.parked() == ParkedNow(1, 2, frozenset({b"b"}), frozenset())
    assert await parked_ids(bench) == [b1]


@pytest.mark.parametrize("key", ["dead", "parked", "parked_keys", "released_keys", "tries"])
async def test_a_key_of_another_type_fails_before_anything_is_written(bench: Bench, key: str) -> None:
    token = await bench.take()
    bench.redis.set(getattr(bench.keys, key)(PROCESSOR), "mine")
    before = bench.everything()
    with pytest.raises(StoreRefused, match="WRONGTYPE"):
        await bench.move(token, 1, "3-0", Bury(A1), Park(b"a", A1))
    assert bench.everything() == before


async def test_as_much_as_one_commit_may_carry(bench: Bench) -> None:
    token = await bench.take()
    carried = [Park(b"%d" % n, [b"data", bytes(5_000)]) for n in range(moves.MOST)]
    assert await bench.move(token, 1, "3-0", *carried) == "OK"
    assert (await bench.parked()).events == moves.MOST


# ── the next owner ──


async def test_an_owner_is_told_what_is_parked(bench: Bench) -> None:
    token = await bench.take(b"one")
    await bench.move(token, 1, "3-0", Park(b"a", A1), Park(b"b", B1), Park(b"a", A2))
    await bench.run(moves.release_keys(bench.keys, PROCESSOR, [b"b"]))
    expected = ParkedNow(3, 1, frozenset({b"a", b"b"}), frozenset({b"b"}))
    again = await bench.acquire(b"one")
    assert again == Acquired(token, b"3-0", 1, expected)
    await bench.release(token)
    assert await bench.acquire(b"two") == Acquired(Token(b"2", b"two"), b"3-0", 1, expected)


async def test_nobody_acquires_a_partition_that_is_stopped_until_it_is_released(bench: Bench) -> None:
    token = await bench.take(b"one")
    assert await bench.move(token, 1, "1-0", Stop("ValueError: no change")) == "OK"
    assert await bench.acquire(b"one") == Stopped("ValueError: no change")
    assert await bench.renew(token)
    await bench.release(token)
    before = bench.everything()
    assert await bench.acquire(b"two") == Stopped("ValueError: no change")
    assert bench.everything() == before
    assert (await bench.run(scripts.look(bench.keys, PROCESSOR))).stopped == "ValueError: no change"
    assert await bench.run(moves.reopen(bench.keys, PROCESSOR))
    assert not await bench.run(moves.reopen(bench.keys, PROCESSOR))
    assert await bench.acquire(b"two") == Acquired(Token(b"2", b"two"), b"1-0", 1)


async def test_a_look_tells_how_many_are_parked_and_dead(bench: Bench) -> None:
    token = await bench.take()
    await bench.move(token, 1, "3-0", Park(b"a", A1), Park(b"b", B1), Park(b"a", A2), Bury(A1))
    seen = await bench.run(scripts.look(bench.keys, PROCESSOR))
    assert (seen.parked, seen.parked_keys, seen.dead, seen.stopped) == (3, 2, 1, None)


async def test_a_reset_drops_what_is_parked_and_keeps_dead_letters(bench: Bench) -> None:
    token = await bench.take()
    await bench.move(token, 1, "3-0", Park(b"a", A1), Hold(b"a", wait=60), Bury(A2))
    await bench.run(moves.release_keys(bench.keys, PROCESSOR, [b"a"]))
    await bench.reset("earliest")
    assert await bench.parked() == ParkedNow(0, 1)
    assert bench.dead == [{"data": "a2"}]


async def test_a_processor_that_is_deleted_leaves_nothing(bench: Bench) -> None:
    token = await bench.take()
    await bench.move(token, 1, "3-0", Park(b"a", A1), Hold(b"a", wait=60), Bury(A2))
    await bench.run(moves.release_keys(bench.keys, PROCESSOR, [b"a"]))
    await bench.release(token)
    await bench.unregister()
    assert not [key for key in bench.everything() if ":proc:" in key]


# ── dead letters that run again ──


async def test_dead_letters_that_are_to_run_again_move_behind_the_parked_events_of_released_keys(bench: Bench) -> None:
    token = await bench.take()
    await bench.move(token, 1, "3-0", Bury([*A1, b"~id", b"1-0"]), Bury(B1), Park(b"a", A2))
    a1, _ = [entry.encode() for entry, _ in bench.redis.xrange(bench.keys.dead(PROCESSOR))]
    assert await bench.run(moves.revive(bench.keys, PROCESSOR, [(b"a", a1), (b"a", a1), (b"a", b"9-9")])) == 1
    assert bench.dead == [{"data": "b1"}]
    assert [fields for _, fields in bench.parked_entries] == [{"data": "a2"}, {"data": "a1", "~id": "1-0"}]
    assert await bench.parked() == ParkedNow(2, 1, frozenset({b"a"}), frozenset({b"a"}))
    assert bench.redis.hgetall(bench.keys.parked_keys(PROCESSOR)) == {"a": "2"}
