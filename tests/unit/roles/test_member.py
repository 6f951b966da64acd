"""The member: leaving, other versions of the app, servers that have forgotten, answers that nobody expects."""

from collections.abc import Mapping
from typing import Any

from runnel.roles.heart import Beat, MissedBeat
from runnel.roles.member import Join, Retire, Wanted
from runnel.roles.roster import Roster
from runnel.store.membership import About, Assigned, Membership
from tests.support import wait_until
from tests.unit.roles.stage import Stage, processor, stage

BILL = About(processors={"bill": "orders"})
BOTH = {"me": BILL, "you": BILL}


def heard(
    version: int, *owners: str, assignment: int = 1, members: Mapping[str, About] | None = None, history: bytes = b"h"
) -> Membership:
    assigned = Assigned(version=assignment, membership=version, owners=owners) if owners else None
    return Membership(
        history=history, version=version, age=1.0, members=members or BOTH, assignments=[assigned]
    )


def beat(answer: Any) -> Beat:
    return Beat(0.0, [answer], [], [])


def wanted(s: Stage) -> list[set[int]]:
    return [set(message.partitions) for message in s.told_of(Wanted)]


async def test_a_worker_that_leaves_is_not_given_more() -> None:
    async with stage() as s:
        member = s.member(processor(4))
        member.tell_nowait(Join("bill"))
        member.tell_nowait(beat(heard(1, "me", "me", "you", "you")))
        await wait_until(lambda: wanted(s) == [{0, 1}])
        member.tell_nowait(Retire())
        member.tell_nowait(beat(heard(2, "me", "me", "me", "you", assignment=2)))
        await wait_until(lambda: wanted(s) == [{0, 1}, {0, 1}], what="what was under way brings an older assignment")
        s.clock.advance(2.1)
        await wait_until(lambda: wanted(s)[-1] == set(), what="handing over took too long")
        member.tell_nowait(beat(heard(3, "me", "me", "me", "you", assignment=3)))
        await wait_until(lambda: len(wanted(s)) == 4)
        assert wanted(s)[-1] == set()


async def test_an_error_that_nobody_expects_ends_the_member_and_not_only_the_heart() -> None:
    async with stage() as s:
        member = s.member(processor())
        member.tell_nowait(MissedBeat(AttributeError("what is this?")))
        await wait_until(lambda: s.system.snapshot().children[-1].restarts == 1)


async def test_a_refusal_that_is_not_stored_is_no_reason_to_ask_without_pause() -> None:
    async with stage() as s:
        member = s.member(processor())
        member.tell_nowait(Join("bill"))
        member.tell_nowait(beat(heard(1)))
        await wait_until(lambda: member.mailbox_depth == 0)
        s.clock.advance(0.2)
        hurried = s.heart.hurried
        await s.link.answers(0)
        await wait_until(lambda: not s.link.waiting and member.mailbox_depth == 0)
        assert s.heart.hurried == hurried


def roster() -> Roster:
    return Roster({"bill": "orders"}, {"bill": 2})


def test_a_worker_that_runs_the_processor_on_another_stream_is_assigned_nothing_of_this_one() -> None:
    known = roster()
    known.hear(["bill"], heard(1, members={"me": BILL, "new": About(processors={"bill": "orders_v2"})}), 0.0)
    assert known.assign("bill") == ("me", "me")


def test_a_server_that_counts_from_the_beginning_again_makes_all_that_is_known_worthless() -> None:
    known = roster()
    known.hear(["bill"], heard(7, "me", "you", assignment=5), 0.0)
    assert not known.is_of_another_history(heard(7))
    assert known.is_of_another_history(heard(7, history=b"another"))
    known.forget()
    assert known.hear(["bill"], heard(1, "you", "me"), 0.0) == ["bill"]


def test_what_a_member_of_another_version_says_of_itself_need_not_make_sense() -> None:
    assert About.from_json(b'["v2"]') == About()
    assert About.from_json(b'{"processors": {"bill": "orders"}, "zone": "b"}') == BILL
