"""Due times on real servers: ticks are claimed once, delayed events move once, in order, none early."""

from typing import Any

import pytest
from attrs import define

from runnel.errors import StoreRefused
from runnel.store import acts, membership, timing
from runnel.store.keys import AppKeys
from runnel.store.scripts import Overflow, Token
from runnel.store.timing import Promoted, PutAside, Tick
from tests.integration.scripts.bench import PROCESSOR, Bench

APP = AppKeys("shop")
HOUR = 3_600_000


# ── ticks ──


@define(eq=False)
class Term:
    """A term of leadership."""

    bench: Bench
    token: Token

    async def tick(self, due: int | None = None, claim: bytes = b"c", ahead: float = 0.0) -> Tick:
        return await self.bench.run(timing.tick(APP, "nightly", self.token, due=due, claim=claim, ahead=ahead))


async def lead(bench: Bench, worker: str = "one", *, lease: float = 60.0) -> Term:
    elected = await bench.run(membership.elect(APP, worker, worker.encode(), lease=lease))
    assert elected.leader == worker
    return Term(bench, Token(b"%d" % elected.epoch, worker.encode()))


async def step_down(bench: Bench, worker: str = "one") -> None:
    await bench.run(membership.leave(APP, worker, worker.encode()))


async def test_a_job_counts_from_when_it_is_first_asked_for(bench: Bench) -> None:
    term = await lead(bench)
    first = await term.tick()
    assert (first.answer, first.last) == ("LAST", first.now)
    await step_down(bench)
    again = await (await lead(bench, "two")).tick(ahead=60.0)
    assert (again.answer, again.last) == ("LAST", first.last)
    assert again.now >= first.now + 60_000


async def test_a_due_time_is_claimed_once(bench: Bench) -> None:
    term = await lead(bench)
    due = (await term.tick()).last + 1
    assert (await term.tick(due, b"a", ahead=1)).answer == "OK"
    assert (await term.tick(due, b"b", ahead=1)).answer == "TAKEN"
    await step_down(bench)
    second = await lead(bench, "two")
    assert (await second.tick(due, b"c", ahead=1)).answer == "TAKEN"
    assert (await second.tick(due - 1, b"d", ahead=1)).answer == "TAKEN", "nor is one before it"
    assert (await second.tick(due + 1, b"e", ahead=1)).answer == "OK"


async def test_due_times_are_compared_as_numbers(bench: Bench) -> None:
    term = await lead(bench)
    bench.redis.hset(APP.ticks, "nightly", "999 ")
    assert (await term.tick(1000, b"a")).answer == "OK"


async def test_none_is_claimed_early_and_then_nothing_is_noted(bench: Bench) -> None:
    term = await lead(bench)
    start = await term.tick()
    early = await term.tick(start.now + HOUR)
    assert (early.answer, early.last) == ("EARLY", start.last)
    assert (await term.tick(start.now + HOUR, ahead=3600)).answer == "OK"


async def test_a_claim_sent_again_gets_the_same_answer(bench: Bench) -> None:
    term = await lead(bench)
    due = (await term.tick()).last + 1
    assert (await term.tick(due, b"mine", ahead=1)).answer == "OK"
    assert (await term.tick(due, b"mine", ahead=1)).answer == "OK"


async def test_a_claim_that_took_effect_is_answered_even_when_another_leads(bench: Bench) -> None:
    """Its reply was lost, and its leader is cut off for a while: nobody else runs that due time."""
    term = await lead(bench)
    due = (await term.tick()).last + 1
    await term.tick(due, b"mine", ahead=1)
    await step_down(bench)
    second = await lead(bench, "two")
    assert (await second.tick(due, b"other", ahead=1)).answer == "TAKEN"
    assert (await term.tick(due, b"mine", ahead=1)).answer == "OK"
    await step_down(bench, "two")
    for n, worker in enumerate(["two", "three", "four", "two", "five"], 1):
        later = await lead(bench, worker)
        for more in range(2):
            assert (await later.tick(due + 2 * n + more, b"%d.%d" % (n, more), ahead=1)).answer == "OK"
        assert (await term.tick(due, b"mine", ahead=1)).answer == "OK", "nor has anybody run it meanwhile"
        await step_down(bench, worker)
    assert (await (await lead(bench, "six")).tick(due + 20, b"c", ahead=1)).answer == "OK"
    assert (await term.tick(due, b"mine", ahead=1)).answer == "FENCED", "not all are kept for ever"
    assert len(bench.redis.hget(APP.ticks, "nightly").split()) == 6


async def test_a_claim_is_only_ones_own(bench: Bench) -> None:
    term = await lead(bench)
    due = (await term.tick()).last + 1
    await term.tick(due, b"12", ahead=1)
    for claim in (b"1", b"2", b"", b"one:12"):
        assert (await term.tick(due, claim, ahead=1)).answer == "TAKEN"
    other = Term(bench, Token(b"1", b"ne"))  # as the other's ends
    assert (await other.tick(due, b"12", ahead=1)).answer == "FENCED"


async def test_a_leader_whose_term_is_over_claims_nothing(bench: Bench) -> None:
    term = await lead(bench)
    due = (await term.tick()).last + 1
    await step_down(bench)
    assert (await term.tick(due, ahead=1)).answer == "FENCED"
    second = await lead(bench, "two")
    assert (await term.tick(due, ahead=1)).answer == "FENCED"
    assert (await term.tick()).answer == "FENCED"
    assert (await second.tick(due, ahead=1)).answer == "OK"


async def test_a_leader_of_another_history_claims_nothing(bench: Bench) -> None:
    term = await lead(bench)
    due = (await term.tick()).last + 1
    bench.redis.hset(APP.leader, "history", "0" * 40)
    assert (await term.tick(due, ahead=1)).answer == "FENCED"


async def test_two_jobs_do_not_share_their_due_times(bench: Bench) -> None:
    term = await lead(bench)
    due = (await term.tick()).last + 1
    await term.tick(due, ahead=1)
    other = await bench.run(timing.tick(APP, "weekly: a/b", term.token, due=due, claim=b"c", ahead=1))
    assert other.answer == "OK" or other.last >= due


# ── delayed events ──


async def delay(
    bench: Bench, *values: bytes, sequence: int, producer: str = "late", overflow: Overflow = "block", **options: Any
) -> PutAside | None:
    call = timing.delay(
        bench.keys,
        producer,
        sequence,
        [b"data", b"~key"],
        [part for value in values for part in (value, b"k")],
        **{"cap": 1_000, "overflow": overflow, **({} if "at" in options else {"after": 0.0}), **options},
    )
    return await bench.run(call)


async def promote(bench: Bench, **options: Any) -> Promoted:
    return await bench.run(timing.promote(bench.keys, **options))


async def test_events_are_put_aside_and_moved_when_they_are_due(bench: Bench) -> None:
    aside = await delay(bench, b"a", b"b", sequence=1, after=60)
    assert aside is not None
    assert aside.first == 1
    waits = await promote(bench)
    assert waits.moved == 0
    assert waits.wait == pytest.approx(60, abs=2)
    assert bench.payloads == []
    assert await promote(bench, ahead=60) == Promoted(2, 0, None, None)
    assert bench.payloads == ["a", "b"]
    assert bench.redis.xrange(bench.keys.log)[0][1] == {"data": "a", "~key": "k"}
    assert not bench.redis.exists(bench.keys.delayed, bench.keys.delayed_entries), "nothing is left of it"


async def test_none_moves_a_millisecond_early(bench: Bench) -> None:
    for sequence in range(1, 6):
        aside = await delay(bench, b"a", sequence=sequence, after=0.02)
        assert aside is not None
        while not (await promote(bench)).moved:
            pass
        assert int(bench.ids[-1].split("-")[0]) >= aside.due, "the id begins with the server's clock"


async def test_a_due_time_is_rounded_up(bench: Bench) -> None:
    assert await delay(bench, b"a", sequence=1, at=2_000_000_000.0004) == PutAside(1, 2_000_000_000_001)


async def test_they_move_in_the_order_of_their_due_times_and_then_of_sending(bench: Bench) -> None:
    for sequence, (value, at) in enumerate([(b"d", 3), (b"a", 1), (b"b", 2), (b"e", 3), (b"c", 2)], 1):
        await delay(bench, value, sequence=sequence, at=at)
    for sequence in range(6, 18):  # one more digit: numbers are not compared as texts
        await delay(bench, b"%d" % sequence, sequence=sequence, at=4)
    await promote(bench)
    assert bench.payloads == ["a", "b", "c", "d", "e", *map(str, range(6, 18))]


async def test_putting_aside_sent_again_does_it_once(bench: Bench) -> None:
    first = await delay(bench, b"a", b"b", sequence=1, after=5)
    assert await delay(bench, b"a", b"b", sequence=1, after=5) == first
    assert (await delay(bench, b"c", sequence=2, at=1)) == PutAside(3, 1000)
    assert await delay(bench, b"a", b"b", sequence=1, after=5) is None, "it comes too late"
    assert (await bench.run(timing.delayed(bench.keys)))[0] == 3


async def test_the_mark_of_whoever_puts_aside_expires(bench: Bench) -> None:
    await delay(bench, b"a", sequence=1, lifetime=60)
    assert 0 < bench.redis.pttl(bench.keys.producer("late")) <= 60_000


async def test_one_call_moves_a_bounded_number_of_events_and_bytes(bench: Bench) -> None:
    await delay(bench, *[b"%d" % n for n in range(10)], sequence=1)
    assert await promote(bench, most=4) == Promoted(4, 0, 0.0, None)
    assert (await promote(bench, most_bytes=1)).moved == 1, "one goes, however large"
    assert (await promote(bench)).moved == 5
    assert bench.payloads == [str(n) for n in range(10)]


async def test_a_full_log_holds_them_back_in_order_until_there_is_room(bench: Bench) -> None:
    token = await bench.take()
    await bench.append(b"1", b"2", sequence=1)
    await delay(bench, b"3", b"4", sequence=1, cap=2)
    await delay(bench, b"5", sequence=2, cap=1_000)
    assert await promote(bench) == Promoted(0, 0, 0.0, "bill")
    await bench.commit(token, 1, bench.ids[0], 1)
    assert await promote(bench) == Promoted(1, 0, 0.0, "bill")
    assert bench.payloads == ["2", "3"]
    await bench.commit(token, 2, bench.ids[1], 3)
    assert (await promote(bench)).moved == 2
    assert bench.payloads == ["4", "5"]


async def test_reminders_pass_whatever_waits_for_room_and_keep_their_order(bench: Bench) -> None:
    token = await bench.take()
    await bench.append(b"1", sequence=1)
    await delay(bench, *[b"waits"] * 1_500, sequence=1, cap=1, at=2)
    wakes = [
        acts.wake(PROCESSOR, b"k", name, due, [b"data", name.encode()])
        for name, due in (("late", 9_000), ("first", 1_000), ("middle", 2_000), ("last", 9_001))
    ]
    assert await bench.run(acts.commit(bench.keys, PROCESSOR, token, 1, b"0-0", 0, wakes)) == "OK"
    assert await promote(bench, most=3) == Promoted(3, 0, 0.0, PROCESSOR)
    assert bench.payloads == ["1", "first", "middle", "late"]
    assert (await promote(bench)).moved == 1
    assert bench.payloads[-1] == "last"
    await bench.commit(token, 2, bench.ids[-1], 5)
    assert (await promote(bench)).moved == 1
    assert bench.payloads[-1] == "waits"


async def test_a_full_log_with_no_processor_holds_them_back(bench: Bench) -> None:
    await bench.append(b"1", sequence=1)
    await delay(bench, b"2", sequence=1, cap=1)
    assert await promote(bench) == Promoted(0, 0, 0.0, "")


async def test_under_drop_oldest_they_have_room_and_the_loss_is_counted(bench: Bench) -> None:
    await bench.take()
    await bench.append(b"1", b"2", sequence=1)
    await delay(bench, b"3", b"4", b"5", sequence=1, cap=3, overflow="drop_oldest")
    assert await promote(bench) == Promoted(3, 2, None, None)
    assert bench.payloads == ["3", "4", "5"]
    assert bench.redis.hget(bench.keys.counts, "dropped") == "2"


async def test_what_is_done_makes_room_before_anything_is_dropped(bench: Bench) -> None:
    token = await bench.take()
    await bench.append(b"1", b"2", sequence=1)
    await bench.commit(token, 1, bench.ids[0], 1)
    await delay(bench, b"3", sequence=1, cap=2, overflow="drop_oldest")
    assert await promote(bench) == Promoted(1, 0, None, None)
    assert bench.payloads == ["2", "3"]


async def test_one_that_is_cancelled_does_not_move(bench: Bench) -> None:
    aside = await delay(bench, b"a", b"b", b"c", sequence=1, after=60)
    assert aside is not None
    assert await bench.run(timing.cancel(bench.keys, [2, 7])) == 1
    assert await bench.run(timing.cancel(bench.keys, [2])) == 0
    await promote(bench, ahead=60)
    assert bench.payloads == ["a", "c"]
    assert await bench.run(timing.cancel(bench.keys, [1])) == 0, "it has moved"
    assert not bench.redis.exists(bench.keys.delayed_entries)


async def test_they_are_shown_the_first_or_the_last_due_first(bench: Bench) -> None:
    for sequence in (1, 2, 3):
        await delay(bench, b"%d" % sequence, sequence=sequence, at=sequence)
    count, [first] = await bench.run(timing.delayed(bench.keys, skip=1, most=1))
    assert (count, int(first.id), first.due, first.fields) == (3, 2, 2000, {b"data": b"2", b"~key": b"k"})
    _, found = await bench.run(timing.delayed(bench.keys, most=2))
    assert [int(each.id) for each in found] == [1, 2]
    _, found = await bench.run(timing.delayed(bench.keys, most=2, first=False))
    assert [int(each.id) for each in found] == [3, 2]


async def test_bytes_stay_what_they_are(bench: Bench) -> None:
    every = bytes(range(256)) * 300
    await delay(bench, every, sequence=1)
    await promote(bench)
    [(_, fields)] = await bench.link.command("XRANGE", bench.keys.log, "-", "+")
    assert fields[1] == every


async def test_a_full_server_refuses_to_put_aside_and_to_move_and_loses_nothing(bench: Bench) -> None:
    await delay(bench, b"a", sequence=1)
    bench.redis.config_set("maxmemory", "1")
    with pytest.raises(StoreRefused, match="full"):
        await delay(bench, b"b", sequence=2)
    with pytest.raises(StoreRefused, match="full"):
        await promote(bench)
    bench.redis.config_set("maxmemory", "0")
    assert await delay(bench, b"b", sequence=2) is not None
    assert (await promote(bench)).moved == 2


@pytest.mark.parametrize("key", ["delayed", "delayed_entries"])
async def test_a_key_of_the_wrong_type_fails_before_anything_is_written(bench: Bench, key: str) -> None:
    bench.redis.set(getattr(bench.keys, key), "mine")
    with pytest.raises(StoreRefused, match="WRONGTYPE"):
        await delay(bench, b"a", sequence=1)
    bench.redis.delete(getattr(bench.keys, key))
    assert bench.redis.dbsize() == 0


@pytest.mark.parametrize("key", ["log", "counts"])
async def test_moving_into_a_key_of_the_wrong_type_loses_nothing(bench: Bench, key: str) -> None:
    await delay(bench, b"a", b"b", sequence=1, cap=1, overflow="drop_oldest")
    bench.redis.delete(getattr(bench.keys, key))
    bench.redis.set(getattr(bench.keys, key), "mine")
    with pytest.raises(StoreRefused, match="WRONGTYPE"):
        await promote(bench)
    bench.redis.delete(getattr(bench.keys, key))
    assert (await promote(bench)).moved == 2
