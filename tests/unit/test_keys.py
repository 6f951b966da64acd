"""Keys: nobody shares one, and those of a partition share a slot."""

import inspect
import itertools
import string
from typing import Any

import pytest
from attrs import asdict
from hypothesis import example, given
from hypothesis import strategies as st
from redis.crc import key_slot

from runnel import App, ConfigurationError, Events, Record
from runnel.store import membership, moves, outbox, pausing, scripts, timing, upkeep
from runnel.store.keys import AppKeys, PartitionKeys, decoded, encoded
from runnel.store.outbox import Emitted, Target
from runnel.store.scripts import SCRIPTS, Call, Token

TRICKY = ":{}~%./-_ 0199\x00\né\U0001f600\ud800"
names = st.text(st.sampled_from(TRICKY) | st.characters(), min_size=1, max_size=8)
declared = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8)
"""Names that streams and processors may have."""

partitions = st.builds(PartitionKeys, names, names, st.integers(0, 12))

SAFE = set(string.ascii_letters + string.digits + "_.-%")


def keys_of(keys: PartitionKeys, name: str) -> dict[tuple[str, ...], bytes]:
    """All keys of a partition with one processor and one producer, by what they are."""
    return {
        ("log",): keys.log,
        ("cursors",): keys.cursors,
        ("counts",): keys.counts,
        ("delayed",): keys.delayed,
        ("delayed entries",): keys.delayed_entries,
        ("relayed",): keys.relayed,
        ("slot", name): keys.slot(name),
        ("dead", name): keys.dead(name),
        ("parked", name): keys.parked(name),
        ("parked keys", name): keys.parked_keys(name),
        ("released keys", name): keys.released_keys(name),
        ("tries", name): keys.tries(name),
        ("outbox", name): keys.outbox(name),
        ("producer", name): keys.producer(name),
    }


def calls_of(keys: PartitionKeys, name: str) -> list[Call[Any]]:
    """A call of every script."""
    token = Token(b"1", b"n")
    made: list[Call[Any]] = [
        scripts.append(keys, name, 1, [b"data"], [b"x"], cap=1, overflow="block"),
        scripts.acquire(keys, name, worker="w", nonce=b"n", lease=1, start="latest"),
        scripts.renew(keys, name, token, 1),
        scripts.release(keys, name, token),
        scripts.commit(keys, name, token, 1, b"0-0", 0),
        moves.move(keys, name, token, 1, b"0-0", 0, []),
        moves.parked(keys, name),
        moves.release_keys(keys, name, [b"k"]),
        moves.revive(keys, name, [(b"k", b"1-0")]),
        moves.reopen(keys, name),
        moves.suspect(keys, name, token, b"1-0"),
        pausing.pause(keys, name, reason="", by=""),
        pausing.resume(keys, name),
        scripts.trim(keys),
        scripts.register(keys, name, "latest"),
        scripts.unregister(keys, name, force=True),
        scripts.reset(keys, name, "latest"),
        scripts.measure(keys, b"0-0"),
        scripts.look(keys, name),
        timing.delay(keys, name, 1, [b"data"], [b"x"], after=1, cap=1, overflow="block"),
        timing.promote(keys),
        timing.cancel(keys, [1]),
        outbox.deliver(PartitionKeys("a", "b", 1), name, [Emitted(b"1-0", Target(keys, 1, "block"), [b"data", b"1"])]),
        timing.delayed(keys),
        upkeep.cut(keys),
        upkeep.erase(keys, [name, f"{name}2"], force=True),
        upkeep.permitted(keys, AppKeys(keys.app)),
    ]
    return made


def calls_of_app(keys: AppKeys, stream: str, processor: str) -> list[Call[Any]]:
    """A call of every script on an app's own keys."""
    assignment, about = keys.assignment(stream, processor), membership.About(processors={processor: stream})
    return [
        membership.heartbeat(keys, "w", about, lease=1, assignments=[(assignment, 0)]),
        membership.assign(keys, assignment, ("w",), replaces=0, membership=1),
        membership.elect(keys, "w", b"n", lease=1),
        membership.leave(keys, "w", b"n"),
        membership.roll(keys),
        membership.report(keys, "worker", b"{}", lease=1),
        timing.tick(keys, processor, Token(b"1", b"n"), due=1, claim=b"c"),
    ]


def keys_of_app(keys: AppKeys, stream: str, processor: str) -> list[bytes]:
    """All keys of an app that belong to no partition."""
    return [
        *(keys.streams, keys.members, keys.workers, keys.membership, keys.leader, keys.control, keys.ticks, keys.delaying),
        *(keys.assignment(stream, processor), keys.paused(processor, "worker"), keys.report("worker")),
    ]


def test_every_script_is_looked_at() -> None:
    made = [*calls_of(PartitionKeys("a", "b", 1), "p"), *calls_of_app(AppKeys("a"), "b", "p")]
    assert {call.script.name for call in made} == set(SCRIPTS)


@given(partitions, names, partitions, names)
@example(PartitionKeys("a", "b:1", 2), "p", PartitionKeys("a:b", "1", 2), "p")
@example(PartitionKeys("a", "b", 1), "p:proc:q", PartitionKeys("a", "b", 1), "p")
@example(PartitionKeys("a}", "b", 1), "p", PartitionKeys("a", "b", 1), "p")
@example(PartitionKeys("a", "b", 1), "~", PartitionKeys("a", "b", 1), "%7E")
@example(PartitionKeys("a", "b", 1), "log", PartitionKeys("a", "b", 1), "cursors")
@example(PartitionKeys("a", "b", 1), "A", PartitionKeys("a", "b", 1), "a")
def test_no_two_things_share_a_key(one: PartitionKeys, name: str, other: PartitionKeys, other_name: str) -> None:
    ours = {((one.app, one.stream, one.number), *what): key for what, key in keys_of(one, name).items()}
    theirs = {((other.app, other.stream, other.number), *what): key for what, key in keys_of(other, other_name).items()}
    for (what, key), (other_what, other_key) in itertools.product(ours.items(), theirs.items()):
        assert (key == other_key) == (what == other_what)


@given(partitions, names, names, names)
def test_apps_share_no_key_with_each_other_nor_with_partitions(
    keys: PartitionKeys, name: str, app: str, other_app: str
) -> None:
    of_app, of_other = (keys_of_app(AppKeys(each), keys.stream, name) for each in (app, other_app))
    assert len(set(of_app)) == len(of_app)
    assert set(of_app) & set(of_other) == (set(of_app) if app == other_app else set())
    assert not set(of_app) & set(keys_of(keys, name).values())


@given(partitions, names)
def test_what_goes_with_a_stream_is_all_that_lasts(keys: PartitionKeys, name: str) -> None:
    """Whoever adds a key says there that a stream that is deleted takes it along."""
    methods = [found for found in vars(PartitionKeys).values() if inspect.isfunction(found)]
    of_processor = [found for found in methods if list(inspect.signature(found).parameters) == ["self", "processor"]]
    lasting = {found(keys, name) for found in of_processor if inspect.signature(found).return_annotation is bytes}
    assert len(lasting) > 8
    assert set(keys.of_processor(name)) == lasting
    plain = {value for value in asdict(keys).values() if isinstance(value, bytes)}
    assert set(keys.of_stream) == plain


@given(names, names, names, names, names)
@example("a", "b:c", "d", "b", "c:d")
def test_no_two_processors_share_an_assignment(app: str, stream: str, name: str, other: str, other_name: str) -> None:
    keys = AppKeys(app)
    assert (keys.assignment(stream, name) == keys.assignment(other, other_name)) == ((stream, name) == (other, other_name))


@given(partitions, names, names)
def test_all_keys_of_a_partition_are_in_one_slot(keys: PartitionKeys, name: str, other: str) -> None:
    every = [*keys_of(keys, name).values(), *keys_of(keys, other).values()]
    assert len({key_slot(key) for key in every}) == 1


@given(partitions, names)
def test_every_script_keeps_to_one_slot(keys: PartitionKeys, name: str) -> None:
    slot = key_slot(keys.log)
    for call in calls_of(keys, name):
        assert {key_slot(key) for key in call.keys} == {slot}
        assert len(set(call.keys)) == len(call.keys)


@given(names, declared, declared)
def test_the_keys_of_an_app_are_in_one_slot(app: str, stream: str, name: str) -> None:
    assert len({key_slot(key) for key in keys_of_app(AppKeys(app), stream, name)}) == 1
    for call in calls_of_app(AppKeys(app), stream, name):
        assert set(call.keys) <= set(keys_of_app(AppKeys(app), stream, name))
        assert len(set(call.keys)) == len(call.keys)


@given(names)
def test_a_name_comes_back_from_its_key(name: str) -> None:
    assert decoded(encoded(name)) == name
    assert set(encoded(name)) <= SAFE


@pytest.mark.parametrize(
    ("name", "stored"), [("bill", "bill"), ("a:b", "a%3Ab"), ("{x}", "%7Bx%7D"), ("~", "%7E"), ("é", "%C3%A9")]
)
def test_names_are_percent_encoded(name: str, stored: str) -> None:
    assert PartitionKeys("shop", "orders", 3).slot(name) == f"{{shop:orders:3}}:proc:{stored}".encode()


def test_keys_are_spelled_as_documented() -> None:
    keys = PartitionKeys("shop", "orders", 3)
    assert (keys.log, keys.cursors, keys.counts) == (
        b"{shop:orders:3}:log",
        b"{shop:orders:3}:cursors",
        b"{shop:orders:3}:counts",
    )
    assert keys.producer("p") == b"{shop:orders:3}:producer:p"
    assert AppKeys("shop").streams == b"{shop}:streams"
    assert AppKeys("shop").assignment("orders", "bill") == b"{shop}:assignment:orders:bill"


def test_partitions_of_a_stream_spread_over_slots() -> None:
    assert len({key_slot(PartitionKeys("shop", "orders", n).log) for n in range(16)}) > 12



class Thing(Record):
    number: int


def test_names_are_valid_unicode() -> None:
    app = App("shop")
    with pytest.raises(ConfigurationError, match="valid Unicode"):
        app.stream("orders \ud800", record=Thing, partition_by="number")

    async def till(events: Events[Thing]) -> None: ...

    with pytest.raises(ConfigurationError, match="valid Unicode"):
        app.processor(app.stream("orders", record=Thing, partition_by="number"), name="till \ud800")(till)
