"""The scripts on an app's own keys: heartbeat, assign, elect, leave."""

from collections.abc import Sequence
from typing import Any

from runnel.store import membership
from runnel.store.keys import AppKeys
from runnel.store.membership import About, Assigned, Elected, Membership, Roll
from tests.integration.scripts.bench import Bench
from tests.support import wait_until

APP = AppKeys("shop")
ASSIGNMENT = APP.assignment("orders", "bill")
BILL = About(processors={"bill": "orders"}, host="h", pid=1)
SHORT = 0.02


async def beat(bench: Bench, worker: str, about: About = BILL, lease: float = 60, **options: Any) -> Membership:
    return await bench.run(membership.heartbeat(APP, worker, about, lease=lease, **options))


async def assign(bench: Bench, *owners: str | None, replaces: int = 0, version: int = 1, notice: bytes = b"") -> int:
    call = membership.assign(APP, ASSIGNMENT, owners, replaces=replaces, membership=version, notice=notice)
    return await bench.run(call)


async def elect(bench: Bench, worker: str, lease: float = 60) -> Elected:
    return await bench.run(membership.elect(APP, worker, worker.encode(), lease=lease))


def names(heard: Membership) -> Sequence[str]:
    assert heard.members is not None
    return sorted(heard.members)


async def test_a_worker_joins_with_its_first_beat_and_hears_who_else_is_there(bench: Bench) -> None:
    first = await beat(bench, "a")
    second = await beat(bench, "b")
    assert (first.version, names(first)) == (1, ["a"])
    assert (second.version, names(second)) == (2, ["a", "b"])
    assert second.members is not None
    assert second.members["a"] == BILL


async def test_a_beat_that_changes_nothing_says_no_more_than_that(bench: Bench) -> None:
    joined = await beat(bench, "a")
    again = await beat(bench, "a", known=joined.version)
    assert (again.version, again.members) == (1, None)
    assert again.age >= 0


async def test_other_processors_are_a_change_of_the_membership(bench: Bench) -> None:
    await beat(bench, "a")
    heard = await beat(bench, "a", About(processors={}), known=1)
    assert heard.version == 2
    assert heard.members == {"a": About(processors={})}


async def test_who_does_not_beat_in_time_is_removed_by_whoever_beats_next(bench: Bench) -> None:
    await beat(bench, "a", lease=SHORT)
    await beat(bench, "b")

    async def alone() -> bool:
        return names(await beat(bench, "b")) == ["b"]

    await wait_until(alone)
    assert bench.redis.zrange(APP.members.decode(), 0, -1) == ["b"]
    back = await beat(bench, "a")
    assert names(back) == ["a", "b"]
    assert back.version == 4


async def test_nobody_is_removed_for_the_time_when_the_server_was_away(bench: Bench) -> None:
    await beat(bench, "a", lease=SHORT)
    await beat(bench, "b", lease=SHORT)
    bench.redis.zadd(APP.members.decode(), {"a": 1, "b": 1})
    bench.redis.hset(APP.membership.decode(), "history", "another")
    heard = await beat(bench, "b", known=2)
    assert (heard.version, heard.members) == (2, None)
    assert sorted(bench.redis.zrange(APP.members.decode(), 0, -1)) == ["a", "b"]


async def test_an_assignment_is_heard_by_who_does_not_know_it(bench: Bench) -> None:
    await beat(bench, "a")
    assert (await beat(bench, "a", assignments=[(ASSIGNMENT, 0)])).assignments == [None]
    assert await assign(bench, "a", None, "b", "a") == 1
    [heard] = (await beat(bench, "a", assignments=[(ASSIGNMENT, 0)])).assignments
    assert heard == Assigned(version=1, membership=1, owners=("a", None, "b", "a"))
    assert (await beat(bench, "a", assignments=[(ASSIGNMENT, 1)])).assignments == [None]


async def test_a_registry_that_was_flushed_is_another_one(bench: Bench) -> None:
    first = await beat(bench, "a")
    assert (await beat(bench, "a")).history == first.history
    bench.redis.flushall()
    assert (await beat(bench, "a")).history != first.history


async def test_of_two_who_assign_at_once_one_succeeds(bench: Bench) -> None:
    await beat(bench, "a")
    assert await assign(bench, "a") == 1
    assert await assign(bench, "b") == 0
    assert await assign(bench, "b", replaces=1) == 2


async def test_an_assignment_for_workers_who_have_changed_meanwhile_is_not_stored(bench: Bench) -> None:
    await beat(bench, "a")
    await beat(bench, "b")
    assert await assign(bench, "a", version=1) == 0
    assert await assign(bench, "a", version=2) == 1


async def test_the_notice_is_posted_with_the_assignment_and_only_then(bench: Bench) -> None:
    await beat(bench, "a")
    await assign(bench, "a", notice=b"news")
    await assign(bench, "b", notice=b"too late")
    assert [fields for _, fields in bench.redis.xrange(APP.control.decode())] == [{"notice": "news"}]


async def test_one_leads_until_its_lease_ends(bench: Bench) -> None:
    assert await elect(bench, "a", lease=0.1) == Elected(1, "a")
    assert await elect(bench, "b") == Elected(0, "a")
    assert await elect(bench, "a", lease=0.1) == Elected(1, "a")

    async def leads() -> bool:
        return await elect(bench, "b") == Elected(2, "b")

    await wait_until(leads)
    assert await elect(bench, "a") == Elected(0, "b")


async def test_a_leader_of_an_older_history_leads_no_more(bench: Bench) -> None:
    await elect(bench, "a")
    bench.redis.hset(APP.leader.decode(), "history", "another")
    assert await elect(bench, "b") == Elected(2, "b")
    assert await elect(bench, "a") == Elected(0, "b")


async def test_a_leader_begins_a_new_term_in_a_new_history(bench: Bench) -> None:
    """What it knew of its term may be lost, or another's by now."""
    await elect(bench, "a")
    bench.redis.hset(APP.leader.decode(), "history", "another")
    assert await elect(bench, "a") == Elected(2, "a")


async def test_who_leaves_is_no_member_and_leads_no_more(bench: Bench) -> None:
    await beat(bench, "a")
    await beat(bench, "b")
    await elect(bench, "a")
    assert await bench.run(membership.leave(APP, "a", b"a"))
    assert not await bench.run(membership.leave(APP, "a", b"a"))
    heard = await beat(bench, "b", known=2)
    assert (heard.version, names(heard)) == (3, ["b"])
    assert await elect(bench, "b") == Elected(2, "b")


async def test_who_leaves_and_does_not_lead_leaves_the_leader_alone(bench: Bench) -> None:
    await beat(bench, "b")
    await elect(bench, "a")
    await bench.run(membership.leave(APP, "b", b"b"))
    assert await elect(bench, "b") == Elected(0, "a")


async def test_the_roll_names_members_what_is_left_of_their_time_and_the_leader(bench: Bench) -> None:
    assert await bench.run(membership.roll(APP)) == Roll(leader=None, members={})
    await beat(bench, "a")
    await beat(bench, "b", About(), lease=30)
    await elect(bench, "b")
    called = await bench.run(membership.roll(APP))
    assert called.leader == "b"
    assert {name: about for name, (_, about) in called.members.items()} == {"a": BILL, "b": About()}
    assert 50 < called.members["a"][0] <= 60
    assert 20 < called.members["b"][0] <= 30


async def test_the_roll_names_no_leader_of_an_older_history(bench: Bench) -> None:
    await elect(bench, "a")
    bench.redis.hset(APP.leader.decode(), "history", "another")
    assert (await bench.run(membership.roll(APP))).leader is None


async def test_the_roll_names_no_leader_whose_lease_ran_out(bench: Bench) -> None:
    await elect(bench, "a", lease=SHORT)

    async def nobody_leads() -> bool:
        return (await bench.run(membership.roll(APP))).leader is None

    await wait_until(nobody_leads)
