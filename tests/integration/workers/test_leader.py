"""The leader: one at a time, and another one soon after."""

import signal
from collections.abc import Awaitable, Callable

from tests.integration.workers.crew import Crew, Hand
from tests.support import wait_until

MakeCrew = Callable[..., Awaitable[Crew]]


def leaders(shop: Crew) -> list[Hand]:
    return [hand for hand in shop.hands if hand.leads]


def duties(hand: Hand) -> list[str]:
    return [child.name for child in hand.actor("leader").children]


async def test_one_worker_leads_and_has_the_duties(crew: MakeCrew) -> None:
    shop = await crew()
    for name in "abc":
        await shop.join(name)
    await shop.settled()
    [leader] = leaders(shop)
    await wait_until(lambda: duties(leader) == ["trimmer", "baton"])
    assert [duties(hand) for hand in shop.hands if hand is not leader] == [[], []]


async def test_a_leader_that_leaves_is_followed_at_the_next_heartbeat(crew: MakeCrew) -> None:
    shop = await crew(lock_expiry=40.0)  # a heartbeat each 5 s, and sooner when something is assigned
    first, second = await shop.join("a"), await shop.join("b")
    await shop.settled()
    assert leaders(shop) == [first]
    await first.leave()
    await wait_until(lambda: second.leads)
    assert second.actor("leader").details["term"] == 2


async def test_a_leader_that_is_killed_is_followed_within_lease_and_heartbeat(crew: MakeCrew) -> None:
    shop = await crew(lock_expiry=1.0)
    killed = shop.world.start("a")
    await wait_until(lambda: leader(shop).endswith(killed_id(killed.popen.pid)), what="it leads")
    hand = await shop.join("b")
    await wait_until(lambda: len(hand.partitions) == 8)
    assert not hand.leads
    killed.signal(signal.SIGKILL)
    await wait_until(lambda: hand.leads, timeout=3.0, what="lease and heartbeat are 1.25 s")


async def test_a_leader_whose_server_is_away_stands_down_before_its_lease_ends(crew: MakeCrew) -> None:
    shop = await crew(lock_expiry=1.0)
    hand = await shop.join("a")
    await wait_until(lambda: hand.leads)
    with shop.world.server.client() as client:
        client.client_pause(1500)
    await wait_until(lambda: not hand.leads and duties(hand) == [])
    await wait_until(lambda: hand.leads, what="it leads again")


def leader(shop: Crew) -> str:
    with shop.world.server.client() as client:
        owner = client.hget("{shop}:leader", "owner") or ""
    return owner.rsplit("-", 1)[0]


def killed_id(pid: int) -> str:
    return f"-{pid}"
