"""The scripts by which operators trim and delete: never more than they were told, nor what is not done."""

import pytest

from runnel.store import upkeep
from runnel.store.scripts import Held
from runnel.store.upkeep import Changed, Undone
from tests.integration.scripts.bench import PROCESSOR, Bench

IDS = [f"{ms}-{seq}" for ms in (1, 2, 3) for seq in (0, 1)]


async def cut(bench: Bench, below: str = "", keep: int = 0, *, force: bool = False) -> list[str]:
    await bench.run(upkeep.cut(bench.keys, below=below.encode() or None, keep=keep, force=force))
    return bench.ids


@pytest.mark.parametrize(
    ("below", "keep", "cursor", "force", "stay"),
    [
        ("", 0, "2-0", False, IDS[3:]),  # all that is done
        ("2-0", 0, "3-1", False, IDS[2:]),
        ("2-1", 0, "1-0", False, IDS[1:]),  # no further than the slowest
        ("", 2, "3-1", False, IDS[4:]),
        ("", 2, "1-1", False, IDS[2:]),
        ("2-0", 5, "3-1", False, IDS[1:]),  # what both say
        ("", 6, "3-1", False, IDS),
        ("2-0", 0, "0-0", True, IDS[2:]),
        ("", 1, "0-0", True, IDS[5:]),
        ("1-0", 0, "3-1", False, IDS),
        ("4-0", 0, "18446744073709551615-18446744073709551615", False, []),
    ],
)
async def test_what_a_cut_drops(bench: Bench, below: str, keep: int, cursor: str, force: bool, stay: list[str]) -> None:
    await bench.fill(*IDS)
    bench.redis.hset(bench.keys.cursors.decode(), mapping={"fast": "3-1", "slow": cursor})
    assert await cut(bench, below, keep, force=force) == stay


async def test_with_no_processor_registered_nothing_is_done(bench: Bench) -> None:
    await bench.fill(*IDS)
    assert await cut(bench) == IDS
    assert await cut(bench, keep=5, force=True) == IDS[1:]


async def test_a_cut_drops_no_more_than_500_a_call(bench: Bench) -> None:
    await bench.fill(*(f"{n}-0" for n in range(1, 1_202)))
    call = upkeep.cut(bench.keys, keep=1, force=True)
    assert [await bench.run(call) for _ in range(4)] == [500, 500, 200, 0]


async def test_ids_that_are_no_exact_numbers_are_dropped_as_such(bench: Bench) -> None:
    largest = 2**64 - 1
    await bench.fill(f"1-{largest - 1}", f"1-{largest}", "2-0")
    while await bench.run(upkeep.cut(bench.keys, below=b"2-0", force=True)):
        pass
    assert bench.ids == ["2-0"]


# ── erase ──


async def erase(bench: Bench, *processors: str, force: bool = False) -> upkeep.Erased:
    return await bench.run(upkeep.erase(bench.keys, processors, force=force))


async def test_a_partition_that_is_done_is_erased_with_all_that_is_noted_of_it(bench: Bench) -> None:
    await bench.fill("1-0")
    token = await bench.take()
    assert await bench.commit(token, 1, "1-0") == "OK"
    await bench.release(token)
    for key in (bench.keys.state(PROCESSOR), bench.keys.reminders(PROCESSOR), bench.keys.relayed, bench.keys.counts):
        bench.redis.hset(key.decode(), "x", "1")
    assert await erase(bench, PROCESSOR) is None
    assert bench.everything() == {}
    assert await erase(bench, PROCESSOR) is None  # again, as after a lost reply


async def test_one_that_is_owned_is_not_but_by_force_and_its_owner_is_fenced(bench: Bench) -> None:
    await bench.fill("1-0")
    token = await bench.take()
    assert await bench.commit(token, 1, "1-0") == "OK"
    before = bench.everything()
    assert isinstance(await erase(bench, PROCESSOR), Held)
    assert bench.everything() == before
    assert await erase(bench, PROCESSOR, force=True) is None
    assert await bench.commit(token, 2, "1-0") == "FENCED"


async def test_events_that_are_not_done_hold_it(bench: Bench) -> None:
    await bench.register(PROCESSOR)
    await bench.fill("1-0")
    assert await erase(bench, PROCESSOR) == Undone(PROCESSOR, 1)
    bench.redis.hset(bench.keys.cursors.decode(), PROCESSOR, "1-0")
    bench.redis.zadd(bench.keys.delayed.decode(), {"0000000000000001": 5})
    assert await erase(bench, PROCESSOR) == Undone("", 1)
    bench.redis.delete(bench.keys.delayed.decode())
    bench.redis.xadd(bench.keys.outbox(PROCESSOR).decode(), {"x": "y"})
    assert await erase(bench, PROCESSOR) == Undone(PROCESSOR, 1)
    bench.redis.xtrim(bench.keys.outbox(PROCESSOR).decode(), maxlen=0)
    assert await erase(bench, PROCESSOR) is None


async def test_events_that_nobody_is_registered_for_hold_it(bench: Bench) -> None:
    await bench.fill("1-0")
    assert await erase(bench) == Undone("", 1)
    assert await erase(bench, force=True) is None


async def test_a_processor_that_registered_meanwhile_holds_it_even_by_force(bench: Bench) -> None:
    """Its keys are not among those that are declared: they would stay."""
    await bench.register(PROCESSOR)
    await bench.register("late")
    assert await erase(bench, PROCESSOR, force=True) == Changed()
