"""What reset and unregister leave of actors: nothing of what they remember, and no way to deliver an event twice."""

from runnel.store import acts, outbox, scripts
from runnel.store.outbox import Delivered, Emitted, Target
from runnel.store.scripts import Held, Token
from tests.integration.scripts.bench import PROCESSOR, Bench

REMINDER = [b"~to", b"bill", b"~key", b"a"]


async def did(bench: Bench, token: Token, number: int = 1) -> str:
    """A commit of actors with everything that may come with one."""
    target = Target(bench.keys, 100, "block")
    carried = [
        *acts.save({b"a": b"{}", b"b": b"{}"}),
        *acts.mark([b"3-0"]),
        acts.remind(b"a", b'{"later": 9}'),
        acts.wake(PROCESSOR, b"a", "later", 9, REMINDER),
        acts.emit([b"~target", target.field, b"data", b"%d" % number]),
    ]
    return await bench.run(acts.commit(bench.keys, PROCESSOR, token, number, b"1-0", 1, carried))


def there(bench: Bench) -> set[str]:
    """The keys of its actors that are there."""
    start = bench.keys.slot(PROCESSOR).decode() + ":"
    return {key.removeprefix(start) for key in bench.redis.scan_iter(f"{start}*")}


async def emitted(bench: Bench) -> list[Emitted]:
    found = await bench.link.run([outbox.read(bench.keys, PROCESSOR, b"0-0", 10)])
    assert isinstance(found[0], list)
    return [Emitted.of("shop", entry) for entry in found[0]]


async def test_a_look_tells_what_actors_remember_and_emitted(bench: Bench) -> None:
    await did(bench, await bench.take())
    seen = await bench.run(scripts.look(bench.keys, PROCESSOR))
    assert (seen.states, seen.reminding, seen.emitted, seen.stopped) == (2, 1, 1, None)


async def test_a_reset_drops_what_was_folded_with_the_cursor_and_not_what_was_emitted(bench: Bench) -> None:
    token = await bench.take()
    assert await did(bench, token) == "OK"
    assert there(bench) == {"state", "done", "reminders", "outbox"}
    await bench.reset("earliest")
    assert there(bench) == {"outbox"}
    assert [event.fields[1] for event in await emitted(bench)] == [b"1"]
    assert await did(bench, token, 2) == "FENCED", "no state of before comes back"
    assert there(bench) == {"outbox"}


async def test_a_processor_that_is_forgotten_leaves_of_its_actors_only_an_empty_outbox(bench: Bench) -> None:
    token = await bench.take()
    await did(bench, token)
    assert isinstance(await bench.unregister(), Held)
    assert there(bench) == {"state", "done", "reminders", "outbox"}
    await bench.unregister(force=True)
    assert there(bench) == {"outbox"}
    assert bench.redis.xlen(bench.keys.outbox(PROCESSOR)) == 0
    assert await did(bench, token, 2) == "FENCED"


async def test_after_it_was_forgotten_nothing_is_delivered_twice_nor_taken_for_delivered(bench: Bench) -> None:
    """Also where a relay comes late with what it read before, and where the server's clock was set back meanwhile."""
    last = "9999999999999-7"  # of the outbox, by a clock that is ahead
    target = Target(bench.keys, 100, "block")
    bench.redis.xadd(bench.keys.outbox(PROCESSOR).decode(), {b"~target": target.field, b"data": b"old"}, id=last)
    read_before = await emitted(bench)
    assert await bench.run(outbox.deliver(bench.keys, PROCESSOR, read_before)) == Delivered(1, 0)

    await bench.unregister()
    await did(bench, await bench.take(b"anew"))
    assert await bench.run(outbox.deliver(bench.keys, PROCESSOR, read_before)) == Delivered(0, 0)
    assert await bench.run(outbox.deliver(bench.keys, PROCESSOR, await emitted(bench))) == Delivered(1, 0)
    assert bench.payloads == ["old", "1"]


async def test_what_somebody_has_put_in_the_outboxs_place_keeps_nobody_from_forgetting(bench: Bench) -> None:
    await bench.register(PROCESSOR)
    bench.redis.set(bench.keys.outbox(PROCESSOR).decode(), "mine")
    await bench.unregister()
    assert (bench.cursors, bench.redis.get(bench.keys.outbox(PROCESSOR).decode())) == ({}, "mine")
