"""move, as actors have it: what they remember, emit, mark and answer takes effect with the cursor, all or none."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from runnel.errors import StoreRefused
from runnel.store import acts
from runnel.store.acts import Answer
from runnel.store.keys import PartitionKeys
from runnel.store.moves import Bury, Move
from runnel.store.scripts import Call, Token
from tests.integration.scripts.bench import PROCESSOR, Bench
from tests.servers import Server

KEYS = PartitionKeys("shop", "orders", 3)
STATE, DONE, REMINDERS, OUTBOX = (
    each.decode()
    for each in (KEYS.state(PROCESSOR), KEYS.done(PROCESSOR), KEYS.reminders(PROCESSOR), KEYS.outbox(PROCESSOR))
)
DELAYED, ENTRIES = KEYS.delayed.decode(), KEYS.delayed_entries.decode()
ANSWERS = KEYS.answers("ab12").decode()

EVERY: list[Move | Answer] = [
    *acts.save({b"a": b"1", b"\xff": b"\x00\r\n", b"gone": None}),
    *acts.mark([b"8-0", b"9-0"]),
    *acts.unmark([b"7-0"]),
    acts.emit([b"~target", b"x", b"data", b"1"]),
    acts.remind(b"a", b'{"x":9}'),
    acts.remind(b"gone", b""),
    acts.wake(PROCESSOR, b"a", "x", 9, [b"data", b"x"]),
    acts.unwake(PROCESSOR, b"a", "y"),
    Answer("ab12", [b"ask", b"1", b"ok", b"2"]),
    Bury([b"data", b"dead"]),
]


def commit(token: Token, number: int = 1, carried: Sequence[Move | Answer] = EVERY) -> Call[Any]:
    return acts.commit(KEYS, PROCESSOR, token, number, b"5-0", 5, carried)


def before(bench: Bench) -> None:
    """What is there before, and goes."""
    bench.redis.hset(STATE, mapping={"gone": "0", "stays": "0"})
    bench.redis.hset(REMINDERS, "gone", "{}")
    bench.redis.sadd(DONE, "7-0")


async def test_all_that_events_did_takes_effect_with_the_cursor(bench: Bench) -> None:
    token = await bench.take()
    await bench.run(commit(token, 1, [acts.wake(PROCESSOR, b"a", "y", 5, [b"data", b"y"])]))
    before(bench)
    assert await bench.run(commit(token, 2)) == "OK"
    assert bench.cursors == {PROCESSOR: "5-0"}
    assert (bench.slot["number"], bench.slot["count"]) == ("2", "5")
    states: Any = await bench.link.command("HGETALL", STATE)
    assert states == {b"a": b"1", b"\xff": b"\x00\r\n", b"stays": b"0"}
    assert bench.redis.smembers(DONE) == {"8-0", "9-0"}
    assert [fields for _, fields in bench.redis.xrange(OUTBOX)] == [{"~target": "x", "data": "1"}]
    assert bench.redis.hgetall(REMINDERS) == {"a": '{"x":9}'}
    assert bench.redis.zrange(DELAYED, 0, -1, withscores=True) == [("~bill/1:xa", 9)]
    assert bench.redis.hlen(ENTRIES) == 1
    assert [fields for _, fields in bench.redis.xrange(ANSWERS)] == [{"ask": "1", "ok": "2"}]
    assert 0 < bench.redis.pttl(ANSWERS) <= 600_000
    assert bench.dead == [{"data": "dead"}]


async def test_a_commit_of_actors_sent_again_changes_nothing(bench: Bench) -> None:
    token = await bench.take()
    await bench.run(commit(token))
    there = bench.redis.xlen(OUTBOX), bench.redis.xlen(ANSWERS), bench.slot
    bench.redis.hset(STATE, "a", "newer")
    assert await bench.run(commit(token)) == "ALREADY"
    assert bench.redis.hget(STATE, "a") == "newer"
    assert (bench.redis.xlen(OUTBOX), bench.redis.xlen(ANSWERS), bench.slot) == there


async def test_who_lost_the_partition_changes_no_state_and_emits_nothing(bench: Bench) -> None:
    old = await bench.take(b"one")
    bench.expire()
    await bench.take(b"two")
    before(bench)
    there = bench.everything()
    for carried in EVERY:
        assert await bench.run(commit(old, 1, [carried])) == "FENCED"
    assert bench.everything() == there


@pytest.mark.parametrize("key", [STATE, DONE, REMINDERS, OUTBOX, DELAYED, ENTRIES, ANSWERS])
async def test_a_key_of_another_type_fails_before_anything_is_written(bench: Bench, key: str) -> None:
    token = await bench.take()
    bench.redis.set(key, "a string")
    there = bench.everything()
    with pytest.raises(StoreRefused):
        await bench.run(commit(token))
    assert bench.everything() == there


async def test_more_of_everything_than_luas_stack_holds(bench: Bench) -> None:
    token = await bench.take()
    states = {b"k%d" % n: json.dumps({"n": n}).encode() for n in range(9_000)}
    ids = [b"%d-0" % n for n in range(9_000)]
    assert await bench.run(commit(token, 1, [*acts.save(states), *acts.mark(ids)])) == "OK"
    assert bench.redis.hlen(STATE) == bench.redis.scard(DONE) == 9_000
    gone = dict.fromkeys(states, None)
    assert await bench.run(commit(token, 2, [*acts.save(gone), *acts.unmark(ids)])) == "OK"
    assert not bench.redis.exists(STATE, DONE)


async def test_a_full_server_takes_what_actors_did(bench: Bench, any_server: Server) -> None:
    token = await bench.take()
    bench.redis.script_flush()
    any_server.config(maxmemory="1")
    assert await bench.run(commit(token)) == "OK"
    assert bench.redis.hget(STATE, "a") == "1"


def test_it_touches_only_the_keys_that_it_declares(any_server: Server) -> None:
    token = Token(b"1", b"n")
    call = commit(token)
    with any_server.client() as admin:
        slot = {"epoch": "1", "nonce": "n", "number": "0", "history": admin.info("replication")["master_replid"]}
        admin.hset(KEYS.slot(PROCESSOR).decode(), mapping=slot)
    with any_server.client_for_keys(*[key.decode() for key in call.keys]) as narrow:
        assert narrow.eval(call.script.source.decode(), len(call.keys), *call.keys, *call.args) == "OK"
