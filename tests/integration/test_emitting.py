"""What actors emit, in real workers: it goes round in circles through full partitions, and survives its worker."""

import asyncio
from collections import defaultdict
from typing import Any

import pytest

from runnel import Actor, App, Context, Event, ExceptionPolicy, Record, RecordError, Reject
from runnel.worker import Worker
from tests.integration.test_jobs import actor, working
from tests.servers import Server
from tests.support import wait_until


class Hop(Record):
    key: int
    left: int


class Note(Record):
    key: int
    text: str


class Count(Record):
    hops: int = 0


def circle(server: Server, seen: dict[str, list[tuple[int, int]]], *, to: int | None = None) -> tuple[App, Any]:
    """Two kinds of actors, each of which passes what it gets on to the other, through partitions that hold two events."""
    app = App("shop", redis_url=server.url, default_lock_expiry=1.0, default_partition_count=2, default_partition_size=2)
    pings = app.stream("pings", record=Hop, partition_by="key")
    pongs = app.stream("pongs", record=Hop, partition_by="key")

    class Passes(Actor[Hop, Count]):
        async def receive(self, hop: Hop) -> None:
            self.state.hops += 1
            seen[type(self).__name__].append((hop.key, hop.left))
            if hop.left:
                self.emit(pongs if type(self).__name__ == "Ping" else pings, Hop(key=hop.key, left=hop.left - 1))

    @app.actor(pings)
    class Ping(Passes):
        pass

    @app.actor(pongs)
    class Pong(Passes):
        pass

    return app, pings


async def test_a_circle_of_full_partitions_does_not_stand_still(server: Server) -> None:
    seen: dict[str, list[tuple[int, int]]] = defaultdict(list)
    app, pings = circle(server, seen)
    async with working(app) as worker:
        await asyncio.gather(*(pings.send(Hop(key=key, left=30)) for key in range(12)))
        await wait_until(lambda: sum(map(len, seen.values())) == 12 * 31, timeout=30)
        for kind, parity in (("Ping", 0), ("Pong", 1)):
            for key in range(12):
                assert [left for of, left in seen[kind] if of == key] == list(range(30 - parity, -1, -2))
        await wait_until(lambda: details(worker, "Ping")["waiting"] == details(worker, "Pong")["waiting"] == 0)
        assert details(worker, "Ping")["relayed"] == details(worker, "Pong")["relayed"] == 12 * 15


def details(worker: Worker, processor: str) -> dict[str, object]:
    found = actor(worker, processor, "relay")
    assert found is not None
    return dict(found.details)


async def test_what_a_worker_left_in_its_outbox_is_delivered_by_the_next_one(valkey: Server) -> None:
    seen: dict[str, list[tuple[int, int]]] = defaultdict(list)
    app, pings = circle(valkey, seen)
    with valkey.client() as redis:
        log = pings.partitions[0].log
        async with working(app):
            await wait_until(lambda: redis.hexists(pings.partitions[0].cursors.decode(), "Ping"))
        # As if it had been killed between the commit and the relay.
        target = '["pings", 0, 2, "block"]'
        redis.xadd(pings.partitions[1].outbox("Ping"), {"~target": target, "data": '{"key": 7, "left": 0}', "~key": "7"})
        app, pings = circle(valkey, seen)
        async with working(app):
            await wait_until(lambda: seen["Ping"] == [(7, 0)])
            await wait_until(lambda: redis.xlen(pings.partitions[1].outbox("Ping")) == 0)
            assert redis.xlen(log) == 1


async def test_what_is_emitted_has_the_key_and_headers_that_it_was_given_and_its_place(valkey: Server) -> None:
    app = App("shop", redis_url=valkey.url, default_lock_expiry=1.0)
    hops = app.stream("hops", record=Hop, partition_by="key", partition_count=4)
    notes = app.stream("notes", record=Hop, partition_by="key", partition_count=4)

    @app.actor(hops)
    async def pass_on(hop: Hop, ctx: Context) -> None:
        ctx.emit(notes, *(Hop(key=hop.key, left=n) for n in range(3)), key="all", headers={"from": ctx.key})
        ctx.emit(notes, Hop(key=hop.key, left=3), key="all")

    async with working(app):
        await hops.send(*(Hop(key=7, left=n) for n in range(5)))
        log = notes.partitions[notes.hash("all")].log.decode()
        with valkey.client() as redis:
            await wait_until(lambda: redis.xlen(log) == 5 * 4)
            found = [Event(notes, 0, "", xid.encode(), flat(fields), 1) for xid, fields in redis.xrange(log)]
        assert [each.record().left for each in found] == [0, 1, 2, 3] * 5
        assert [each.headers for each in found] == [*[{"from": "7"}] * 3, {}] * 5
        assert {each.key for each in found} == {"all"}


def flat(fields: dict[str, str]) -> list[bytes]:
    return [part.encode() for field in fields.items() for part in field]


async def test_what_one_commit_cannot_carry_is_not_emitted_even_if_its_handler_goes_on(valkey: Server) -> None:
    app = App("shop", redis_url=valkey.url, default_lock_expiry=1.0)
    hops = app.stream("hops", record=Hop, partition_by="key", partition_count=1)
    notes = app.stream("notes", record=Note, partition_by="key", partition_count=1)

    @app.actor(hops, exception_policy=ExceptionPolicy.IGNORE)
    async def pass_on(hop: Hop, ctx: Context) -> None:
        ctx.emit(notes, Note(key=hop.left, text="first"))
        with pytest.raises(RecordError, match="an event emitted more than 1000 records, or 1048576 bytes"):
            ctx.emit(notes, *(Note(key=1, text="") for _ in range(1_000)))
        with pytest.raises(RecordError, match="an event emitted more than 1000 records, or 1048576 bytes"):
            ctx.emit(notes, Note(key=1, text="x" * 2**20))
        if hop.left == 0:
            raise Reject("not this one")
        ctx.emit(notes, *(Note(key=1, text="") for _ in range(999)))

    async with working(app):
        await hops.send(*(Hop(key=1, left=left) for left in (0, 1, 2)))
        log = notes.partitions[0].log.decode()
        with valkey.client() as redis:
            await wait_until(lambda: redis.xlen(log) >= 2_000)
            firsts = [fields["data"] for _, fields in redis.xrange(log) if "first" in fields["data"]]
            assert redis.xlen(log) == 2_000
        assert firsts == ['{"key":1,"text":"first"}', '{"key":2,"text":"first"}']
