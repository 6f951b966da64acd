"""The mirror: a consumer group of the log that shows what the processor has done. It is for people and their tools only."""

from typing import Any

import pytest

from runnel.errors import StoreRefused
from runnel.operations.status import lag
from runnel.store import scripts
from runnel.store.scripts import Acquired, Appended, Token
from tests.integration.scripts.bench import PROCESSOR, Bench
from tests.servers import Server


def groups(bench: Bench) -> dict[str, dict[str, Any]]:
    return {group["name"]: group for group in bench.redis.xinfo_groups(bench.keys.log)}


async def assert_shown(bench: Bench, lag_expected: int) -> None:
    """The group stands at the cursor, and its lag is that of `status`."""
    seen = await bench.run(scripts.look(bench.keys, PROCESSOR))
    group = groups(bench)[PROCESSOR]
    assert (group["last-delivered-id"], group["lag"], lag(seen)) == (seen.cursor, lag_expected, lag_expected)


async def take_and_do(bench: Bench, done: int) -> Token:
    """Own a log of five entries, 1-0 to 5-0, and do some of them."""
    await bench.fill(*(f"{n}-0" for n in range(1, 6)))
    token = await bench.take()
    if done:
        assert await bench.commit(token, 1, f"{done}-0", done) == "OK"
    return token


# ── when it is set ──


async def test_who_takes_a_partition_shows_where_the_processor_starts(bench: Bench) -> None:
    await take_and_do(bench, 0)
    assert list(groups(bench)) == [PROCESSOR]
    await assert_shown(bench, 5)


async def test_who_starts_at_the_end_has_nothing_before_it(bench: Bench) -> None:
    await bench.fill("1-0", "2-0")
    await bench.take(start="latest")
    await assert_shown(bench, 0)


async def test_a_commit_leaves_it_to_the_next_renewal(bench: Bench) -> None:
    token = await take_and_do(bench, 3)
    assert groups(bench)[PROCESSOR]["last-delivered-id"] == "0-0"
    await bench.renew(token)
    await assert_shown(bench, 2)


async def test_a_partition_that_is_given_back_is_shown_as_it_was_left(bench: Bench) -> None:
    token = await take_and_do(bench, 4)
    await bench.release(token)
    await assert_shown(bench, 1)


async def test_whoever_takes_over_shows_what_a_dead_owner_could_not(bench: Bench) -> None:
    await take_and_do(bench, 4)
    bench.expire()
    await bench.take(b"two")
    await assert_shown(bench, 1)


@pytest.mark.parametrize(
    ("to", "count", "expected"), [("earliest", 0, 5), ("latest", 0, 0), ("1-0", 1, 4), ("4-0", 4, 1)]
)
async def test_a_reset_is_shown_at_once(bench: Bench, to: str, count: int, expected: int) -> None:
    token = await take_and_do(bench, 3)
    await bench.renew(token)
    await bench.reset(to, count)
    await assert_shown(bench, expected)


async def test_a_reset_to_where_it_stands_shows_what_was_done_since_the_last_renewal(bench: Bench) -> None:
    await take_and_do(bench, 3)
    await bench.reset("3-0", 3)
    await assert_shown(bench, 2)


async def test_who_is_fenced_shows_nothing(bench: Bench) -> None:
    token = await take_and_do(bench, 3)
    bench.redis.hset(bench.keys.slot(PROCESSOR), "epoch", 7)
    assert not await bench.renew(token)
    assert not await bench.release(token)
    assert groups(bench)[PROCESSOR]["last-delivered-id"] == "0-0"


async def test_each_processor_has_its_own_group(bench: Bench) -> None:
    await take_and_do(bench, 3)
    await bench.take(b"two", processor="a:b {c}")
    assert sorted(groups(bench)) == ["a:b {c}", PROCESSOR]


async def test_a_renewal_without_progress_leaves_the_group_alone(bench: Bench) -> None:
    """Every heartbeat would otherwise travel to the append-only file and to replicas."""
    token = await take_and_do(bench, 3)
    await bench.renew(token)
    bench.redis.xgroup_setid(bench.keys.log, PROCESSOR, "1-0")
    await bench.renew(token)
    assert groups(bench)[PROCESSOR]["last-delivered-id"] == "1-0"


# ── the lag it shows ──


async def test_new_events_add_to_the_lag_by_themselves(bench: Bench) -> None:
    token = await take_and_do(bench, 3)
    await bench.renew(token)
    await bench.append(b"a", b"b", sequence=1)
    await assert_shown(bench, 4)


@pytest.mark.parametrize("done", [1, 3, 5])
async def test_trimming_changes_nothing(bench: Bench, done: int) -> None:
    token = await take_and_do(bench, done)
    await bench.renew(token)
    assert await bench.trim() == done
    await assert_shown(bench, 5 - done)
    await bench.append(b"a", sequence=1)
    await assert_shown(bench, 6 - done)
    await bench.commit(token, 2, bench.ids[-1], 6)
    await bench.renew(token)
    await assert_shown(bench, 0)


async def test_back_to_the_beginning_of_a_trimmed_log(bench: Bench) -> None:
    await take_and_do(bench, 2)
    await bench.trim()
    await bench.reset("earliest")
    await assert_shown(bench, 3)


async def test_what_was_dropped_unprocessed_is_no_lag(bench: Bench) -> None:
    token = await take_and_do(bench, 1)
    await bench.append(b"a", b"b", sequence=1, cap=3, overflow="drop_oldest")
    await bench.release(token)
    await assert_shown(bench, 3)
    token = await bench.take(b"two")
    await bench.commit(token, 1, bench.ids[-1], 4)
    await bench.renew(token)
    await assert_shown(bench, 0)


@pytest.mark.parametrize(("cursor", "count", "expected"), [("3-0", 1, 3), ("3-0", 9, 0), ("1-0", 9, 3), ("5-0", 9, 0)])
async def test_a_count_that_is_wrong_is_shown_as_status_shows_it(
    bench: Bench, cursor: str, count: int, expected: int
) -> None:
    """An owner does not count what was dropped before it saw it; and who deletes the log begins its count anew."""
    token = await take_and_do(bench, 2)
    await bench.trim()
    await bench.commit(token, 2, cursor, count)
    await bench.renew(token)
    await assert_shown(bench, expected)


# ── a log that is there, and empty ──


async def test_the_first_owner_makes_the_log(bench: Bench) -> None:
    await bench.take()
    assert bench.redis.xlen(bench.keys.log) == 0
    assert bench.redis.type(bench.keys.log) == "stream"
    await assert_shown(bench, 0)


async def test_an_empty_log_is_as_good_as_none(bench: Bench) -> None:
    token = await bench.take(start="latest")
    assert await bench.trim() == 0
    assert await bench.run(scripts.measure(bench.keys, b"0-0")) == (0, b"0-0", 0)
    seen = await bench.run(scripts.look(bench.keys, PROCESSOR))
    assert (seen.cursor, seen.count, seen.last, seen.added, seen.length, seen.first, seen.next) == (
        "0-0", 0, "0-0", 0, 0, "0-0", "0-0",
    )  # fmt: skip
    for processor, start in (("early", "earliest"), ("late", "latest")):
        assert await bench.register(processor, start)  # type: ignore[arg-type]
        assert await bench.reset(start, processor=processor) == b"0-0"
    assert isinstance(await bench.append(b"a", b"b", sequence=1, ids=["1-0", "2-0"], cap=2), Appended)
    await assert_shown(bench, 2)
    await bench.commit(token, 1, "1-0", 1)
    await bench.renew(token)
    await assert_shown(bench, 1)


async def test_a_log_that_all_was_trimmed_from(bench: Bench) -> None:
    token = await take_and_do(bench, 5)
    await bench.trim()
    for to in ("earliest", "latest"):
        await bench.reset(to)
        await assert_shown(bench, 0)
    assert not await bench.renew(token)


# ── nobody's word but the cursor's ──


@pytest.mark.parametrize("script", ["renew", "release", "reset", "acquire"])
async def test_a_group_that_somebody_deleted_comes_back(bench: Bench, script: str) -> None:
    token = await take_and_do(bench, 3)
    bench.redis.xgroup_destroy(bench.keys.log, PROCESSOR)
    await carry_out(bench, script, token)
    await assert_shown(bench, 2)


async def test_a_deleted_group_comes_back_without_progress_when_the_partition_is_given_back(bench: Bench) -> None:
    token = await take_and_do(bench, 3)
    await bench.renew(token)
    bench.redis.xgroup_destroy(bench.keys.log, PROCESSOR)
    await bench.release(token)
    await assert_shown(bench, 2)


async def test_a_group_that_somebody_moved_leads_nobody_astray(bench: Bench) -> None:
    token = await take_and_do(bench, 3)
    bench.redis.xgroup_setid(bench.keys.log, PROCESSOR, "5-0")
    await bench.renew(token)
    await assert_shown(bench, 2)
    bench.redis.xgroup_setid(bench.keys.log, PROCESSOR, "0-0")
    await bench.release(token)
    assert await bench.acquire(b"two") == Acquired(Token(b"2", b"two"), b"3-0", 3)
    await assert_shown(bench, 2)


@pytest.mark.parametrize("script", ["renew", "release", "reset", "acquire"])
async def test_another_type_under_the_logs_key_stops_no_script(bench: Bench, script: str) -> None:
    token = await take_and_do(bench, 3)
    bench.redis.rename(bench.keys.log, bench.keys.tag + "aside")
    bench.redis.set(bench.keys.log, "mine")
    token = await carry_out(bench, script, token)
    assert bench.redis.get(bench.keys.log) == "mine"

    bench.redis.rename(bench.keys.tag + "aside", bench.keys.log)
    token = token if script in ("renew", "acquire") else await bench.take(b"next")
    await bench.renew(token)
    await assert_shown(bench, 2)


@pytest.mark.parametrize("to", ["earliest", "latest"])
async def test_a_reset_to_an_end_that_cannot_be_found_changes_nothing(bench: Bench, to: str) -> None:
    await take_and_do(bench, 3)
    bench.redis.delete(bench.keys.log)
    bench.redis.set(bench.keys.log, "mine")
    before = bench.everything()
    with pytest.raises(StoreRefused, match="WRONGTYPE"):
        await bench.reset(to)
    assert bench.everything() == before


async def test_a_log_that_somebody_deleted_is_made_again(bench: Bench) -> None:
    token = await take_and_do(bench, 3)
    bench.redis.delete(bench.keys.log)
    assert await bench.renew(token)
    await assert_shown(bench, 0)


async def test_a_user_who_may_not_change_groups_keeps_the_lease(bench: Bench, any_server: Server) -> None:
    token = await take_and_do(bench, 3)
    bench.redis.acl_setuser("clerk", enabled=True, nopass=True, keys=["*"], commands=["+@all", "-xgroup"])
    with any_server.client(username="clerk", password="") as clerk:
        call = scripts.renew(bench.keys, PROCESSOR, token, 60)
        assert clerk.eval(call.script.source.decode(), len(call.keys), *call.keys, *call.args) == "OK"
    bench.redis.acl_deluser("clerk")
    assert groups(bench)[PROCESSOR]["last-delivered-id"] == "0-0"
    await bench.renew(token)
    await assert_shown(bench, 2)


async def carry_out(bench: Bench, script: str, token: Token) -> Token:
    """One of the scripts that show the cursor: the token that holds then."""
    match script:
        case "renew":
            assert await bench.renew(token)
        case "release":
            assert await bench.release(token)
        case "reset":
            assert await bench.reset("3-0", 3) == b"3-0"
        case _:
            bench.expire()
            return await bench.take(b"two")
    return token
