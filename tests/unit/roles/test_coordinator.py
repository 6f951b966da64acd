"""The coordinator: answers that come late, or cross with what other workers say."""

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from attrs import evolve

from runnel import App
from runnel.roles.committer import Committer, Fenced, _Commit
from runnel.roles.coordinator import Coordinator
from runnel.roles.lease import Lease
from runnel.roles.member import Freed, Wanted
from runnel.roles.processor import Disown, Disowned, Own, Ready
from runnel.store.scripts import Held
from tests.support import wait_until
from tests.unit.roles.stage import FakeLink, acquired, leases, processor, stage


async def test_a_partition_freed_while_it_is_asked_for_is_asked_for_again_at_once() -> None:
    """The notice and the answer come over two connections: the older one may come last."""
    async with stage() as s:
        coordinator = s.coordinator()
        coordinator.tell_nowait(Ready(processor(), s.witness))
        coordinator.tell_nowait(Wanted("bill", frozenset({0})))
        await wait_until(lambda: len(s.link.asked) == 1)
        coordinator.tell_nowait(Freed("bill", (0,)))
        await wait_until(lambda: coordinator.mailbox_depth == 0)
        await s.link.answers(Held("other", 4.0))
        await wait_until(lambda: len(s.link.asked) == 2)


async def test_a_partition_that_another_holds_is_asked_for_again_when_its_own_time_comes() -> None:
    """One that is due later must not take its place."""
    async with stage() as s:
        coordinator = s.coordinator()
        coordinator.tell_nowait(Ready(processor(2), s.witness))
        coordinator.tell_nowait(Wanted("bill", frozenset({0, 1})))
        await s.link.answers(Held("other", 0.3), Held("other", 4.0))
        coordinator.tell_nowait(Freed("bill", (1,)))
        await wait_until(lambda: len(s.link.asked) == 2)
        await s.link.answers(Held("other", 4.0))
        await wait_until(lambda: s.system.snapshot().children[-1].processed >= 5)
        s.clock.advance(0.31)
        await wait_until(lambda: len(s.link.asked) == 3)


async def test_a_lease_that_was_over_before_it_is_given_back_is_said_to_be_lost() -> None:
    """As after a handler that blocked for too long: what it ran has not ended well."""
    async with stage() as s:
        coordinator = s.coordinator()
        coordinator.tell_nowait(Ready(processor(), s.witness))
        coordinator.tell_nowait(Wanted("bill", frozenset({0})))
        await s.link.answers(acquired())
        await wait_until(lambda: s.told_of(Own))
        s.clock.advance(3.7)
        await wait_until(lambda: s.told_of(Disown))
        coordinator.tell_nowait(Disowned(s.told_of(Own)[0].lease))
        await wait_until(lambda: len(s.link.asked) == 2)
        assert s.link.asked[1][0].script.name == "release"
        assert s.link.asked[1][0].args[-1] == "lost"


async def test_monitoring_is_told_how_partitions_are_taken_and_lost() -> None:
    async with stage() as s:
        coordinator = s.coordinator()
        coordinator.tell_nowait(Ready(processor(2), s.witness))
        coordinator.tell_nowait(Wanted("bill", frozenset({0, 1})))
        await s.link.answers(evolve(acquired(), crashes=2), acquired())
        await wait_until(lambda: len(s.told_of(Own)) == 2)
        coordinator.tell_nowait(Fenced(s.told_of(Own)[0].lease))
        await wait_until(lambda: s.told_of(Disown))
        counted = s.diary.counters
        assert (counted["acquired"], counted["takeover"], counted["lost"], counted["fenced"]) == (2, 1, 1, 1)
        s.clock.advance(3.7)
        await wait_until(lambda: len(s.told_of(Disown)) == 2)
        assert (counted["lost"], counted["fenced"]) == (2, 1), "one was not renewed in time"


async def test_a_lease_that_may_have_ended_when_its_answer_comes_is_not_run() -> None:
    async with stage() as s:
        coordinator = s.coordinator()
        coordinator.tell_nowait(Ready(processor(), s.witness))
        coordinator.tell_nowait(Wanted("bill", frozenset({0})))
        await wait_until(lambda: len(s.link.asked) == 1)
        s.clock.advance(3.9)
        await s.link.answers(acquired())
        await wait_until(lambda: len(s.link.asked) == 2)
        assert s.told_of(Own) == []
        assert s.link.asked[0][0].args == s.link.asked[1][0].args, "the same nonce: it is ours, or somebody else's"
        await s.link.answers(acquired())
        await wait_until(lambda: s.told_of(Own))


async def test_commits_and_releases_of_many_partitions_do_not_wait_for_each_other() -> None:
    """Each takes the locks of several leases, one after the other: in one order, or each may hold what the other needs."""
    held = leases(processor(4))
    link = FakeLink()
    first = asyncio.create_task(committing(link, held[:2]))
    await wait_until(lambda: len(link.asked) == 1)
    coordinator: Any = SimpleNamespace(link=link, app=App("shop").keys)
    release = asyncio.create_task(Coordinator._release(coordinator, held[::-1]))
    await asyncio.sleep(0)
    second = asyncio.create_task(committing(link, [held[0], held[3]]))
    await asyncio.sleep(0)
    link.over = True
    await link.answers("OK", "OK")
    await asyncio.wait_for(asyncio.gather(first, second, release), 10)


async def committing(link: FakeLink, of: Sequence[Lease]) -> None:
    committer = Committer(link, None)  # type: ignore[arg-type]
    await committer._commit([_Commit(lease, None) for lease in of])  # type: ignore[arg-type]


async def test_a_commit_takes_its_locks_without_a_turn_of_the_loop() -> None:
    """A turn for each would make the commits of many busy partitions seconds late."""
    link = FakeLink()
    commit = asyncio.create_task(committing(link, leases(processor(64))))
    await asyncio.sleep(0)
    assert len(link.asked) == 1
    await link.answers(*["OK"] * 64)
    await commit
