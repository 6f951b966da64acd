"""What holds for every script: declared keys only, a full server, a server that does not know it."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import redis

from runnel.errors import StoreRefused
from runnel.store import membership, moves, outbox, pausing, scripts, timing, upkeep
from runnel.store.keys import AppKeys, PartitionKeys
from runnel.store.moves import Bury, Hold, Move, Park, Stop, Unpark
from runnel.store.outbox import Emitted, Target
from runnel.store.scripts import SCRIPTS, Appended, Call, Token
from tests.integration.scripts.bench import PROCESSOR, Bench
from tests.servers import Server

KEYS = PartitionKeys("shop", "orders", 3)
APP = AppKeys("shop")
EVERY_MOVE: list[Move] = [
    Bury([b"data", b"1"]),
    Park(b"k", [b"data", b"1"]),
    Unpark(b"k", b"1-0"),
    Hold(b"k", wait=60),
    Stop("broken"),
]
ASSIGNMENT = APP.assignment("orders", PROCESSOR)


def calls(token: Token) -> Mapping[str, Call[Any]]:
    """One call of every script that does something, in an order in which each can."""
    made: list[Call[Any]] = [
        scripts.register(KEYS, "late", "earliest"),
        scripts.acquire(KEYS, PROCESSOR, worker="w", nonce=token.nonce, lease=60, start="latest"),
        scripts.renew(KEYS, PROCESSOR, token, 60),
        moves.suspect(KEYS, PROCESSOR, token, b"1-0"),
        scripts.commit(KEYS, PROCESSOR, token, 1, b"1-0", 1),
        moves.move(KEYS, PROCESSOR, token, 2, b"1-0", 1, EVERY_MOVE),
        moves.parked(KEYS, PROCESSOR),
        moves.release_keys(KEYS, PROCESSOR, [b"k"]),
        moves.revive(KEYS, PROCESSOR, [(b"k", b"1-0")]),
        moves.reopen(KEYS, PROCESSOR),
        pausing.pause(KEYS, PROCESSOR, reason="new database", by="ann"),
        pausing.resume(KEYS, PROCESSOR),
        scripts.append(KEYS, "till", 1, [b"data"], [b"x"], cap=2, overflow="drop_oldest"),
        scripts.trim(KEYS),
        scripts.measure(KEYS, b"0-0"),
        scripts.look(KEYS, PROCESSOR),
        scripts.release(KEYS, PROCESSOR, token),
        scripts.reset(KEYS, PROCESSOR, "earliest"),
        scripts.unregister(KEYS, PROCESSOR, force=False),
        timing.delay(KEYS, "till.late", 1, [b"data"], [b"x"], after=0, cap=2, overflow="block"),
        timing.delayed(KEYS),
        timing.promote(KEYS),
        timing.cancel(KEYS, [1]),
        outbox.deliver(KEYS, PROCESSOR, [Emitted(b"1-0", Target(KEYS, 1, "drop_oldest"), [b"data", b"1"])]),
        upkeep.permitted(KEYS, APP),
        upkeep.cut(KEYS, keep=1),
        upkeep.erase(KEYS, [PROCESSOR, "late", "ship"], force=True),
        membership.heartbeat(APP, "w", membership.About(), lease=60, assignments=[(ASSIGNMENT, 0)]),
        membership.assign(APP, ASSIGNMENT, ("w",), replaces=0, membership=1, notice=b"n"),
        membership.elect(APP, "w", b"n", lease=60),
        timing.tick(APP, "nightly", Token(b"1", b"n"), due=1, claim=b"c"),
        membership.roll(APP),
        membership.report(APP, "w", b"{}", lease=10),
        membership.leave(APP, "w", b"n"),
    ]
    return {call.script.name: call for call in made}


def test_every_script_is_tried() -> None:
    assert set(calls(Token(b"1", b"n"))) == set(SCRIPTS)


@pytest.mark.parametrize("name", sorted(SCRIPTS))
def test_a_script_touches_only_the_keys_that_it_declares(any_server: Server, name: str) -> None:
    with any_server.client() as admin:
        admin.xadd(KEYS.log, {"data": "1"}, id="1-0")
        admin.xadd(KEYS.log, {"data": "2"}, id="2-0")
        admin.hset(KEYS.cursors.decode(), "ship", "1-0")
        sequence = calls(Token(b"1", b"n"))
        for before, call in sequence.items():
            if before == name:
                break
            admin.eval(call.script.source.decode(), len(call.keys), *call.keys, *call.args)
    with any_server.client_for_keys(*[key.decode() for key in sequence[name].keys]) as narrow:
        call = sequence[name]
        narrow.eval(call.script.source.decode(), len(call.keys), *call.keys, *call.args)


@pytest.mark.parametrize("name", sorted(SCRIPTS))
async def test_a_server_that_does_not_know_a_script_is_given_it(bench: Bench, name: str) -> None:
    sequence = calls(Token(b"1", b"n"))
    for before, call in sequence.items():
        bench.redis.script_flush()
        await bench.run(call)
        if before == name:
            break
    assert [bool(known) for known in bench.redis.script_exists(SCRIPTS[name].sha.decode())] == [True]


async def test_scripts_flushed_between_any_two_calls_change_nothing(bench: Bench) -> None:
    token = await bench.take()
    for number in range(1, 6):
        bench.redis.script_flush()
        assert isinstance(await bench.append(b"%d" % number, sequence=number), Appended)
        bench.redis.script_flush()
        assert await bench.commit(token, number, bench.ids[-1], number) == "OK"
    assert bench.payloads == ["1", "2", "3", "4", "5"]


async def test_one_exchange_may_hold_known_and_unknown_scripts(bench: Bench) -> None:
    token = await bench.take()
    await bench.renew(token)
    bench.redis.script_flush()
    bench.redis.script_load(SCRIPTS["trim"].source.decode())
    run: list[Call[Any]] = [
        scripts.commit(KEYS, PROCESSOR, token, 1, b"1-0", 1),
        scripts.trim(KEYS),
        scripts.renew(KEYS, PROCESSOR, token, 60),
    ]
    assert await bench.link.run(run) == ["OK", 0, True]


@pytest.fixture
def full(any_server: Server) -> Callable[[], None]:
    """Makes the server refuse whatever needs memory."""
    return lambda: any_server.config(maxmemory="1")


async def test_a_full_server_refuses_to_append_and_takes_everything_else(
    bench: Bench, full: Callable[[], None]
) -> None:
    token = await bench.take()
    await bench.append(b"a", b"b", sequence=1)
    [first, _] = bench.ids
    bench.redis.script_flush()  # that a script is unknown must not matter either
    full()
    with pytest.raises(StoreRefused, match="full"):
        await bench.append(b"c", sequence=2)
    assert await bench.renew(token)
    assert await bench.run(moves.suspect(KEYS, PROCESSOR, token, b"1-0"))
    assert await bench.commit(token, 1, first, 1) == "OK"
    assert await bench.move(token, 2, first, *EVERY_MOVE) == "OK"
    assert await bench.run(moves.release_keys(KEYS, PROCESSOR, [b"k"])) == 1
    assert await bench.run(moves.reopen(KEYS, PROCESSOR))
    assert await bench.run(pausing.pause(KEYS, PROCESSOR, reason="", by="ann"))
    assert await bench.run(pausing.resume(KEYS, PROCESSOR))
    assert await bench.trim() == 1
    assert await bench.release(token)
    assert await bench.take(b"two") == Token(b"2", b"two")
    assert await bench.register("late")
    assert await bench.reset("latest") == bench.ids[-1].encode()
    assert (await bench.run(scripts.look(KEYS, PROCESSOR))).length == 1
    assert await bench.run(scripts.measure(KEYS, b"0-0")) == (1, bench.ids[-1].encode(), 2)
    assert await bench.unregister("late") is None
    for call in list(calls(token).values())[-7:]:
        assert await bench.run(call), call.script.name


async def test_a_server_that_has_room_again_appends_under_the_same_sequence(
    bench: Bench, any_server: Server, full: Callable[[], None]
) -> None:
    full()
    with pytest.raises(StoreRefused):
        await bench.append(b"a", sequence=1)
    any_server.config(maxmemory="0")
    assert isinstance(await bench.append(b"a", sequence=1), Appended)
    assert bench.payloads == ["a"]


async def test_a_key_of_the_wrong_type_is_named_as_the_servers_refusal(bench: Bench) -> None:
    bench.redis.set(bench.keys.log, "mine")
    with pytest.raises(StoreRefused, match="WRONGTYPE"):
        await bench.append(b"a", sequence=1)


def test_the_cluster_node_refuses_a_script_whose_keys_do_not_share_a_slot(cluster_node: Server) -> None:
    call = scripts.trim(KEYS)
    keys = (call.keys[0], PartitionKeys("shop", "orders", 4).cursors)
    with cluster_node.client() as client, pytest.raises(redis.ResponseError, match=r"CROSSSLOT|same slot"):
        client.eval(call.script.source.decode(), 2, *keys)
