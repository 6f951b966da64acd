"""What each kind of fault does to a site. A fault is over when its function returns; several may be on at once."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import ExitStack, suppress
from random import Random
from signal import Signals
from typing import Literal

import redis.exceptions as redis_errors

from tests.chaos.site import Site, Worker
from tests.chaos.timeline import LEASE, OWNERS, Moment, lasting
from tests.proxy import Proxy
from tests.support import wait_until

LONGEST = 3.0
"""Seconds that a fault waits for what it has prepared to come about."""

CHURN = 0.7
"""Seconds from one worker that comes to the next."""

STEP = 0.15
"""Seconds between strokes of a fault that strikes again and again."""


def picked(site: Site, pick: float, count: int = 1) -> list[Worker]:
    """So many of the workers that run, mostly one that owns something first."""
    staff, owners = site.staff(), site.owners()
    among = owners if owners and pick < OWNERS else staff
    first = staff.index(among[int(pick / OWNERS * len(among)) % len(among)])
    return (staff[first:] + staff[:first])[:count]


# ── workers ──


async def kill(site: Site, moment: Moment) -> None:
    """kill -9, at any moment."""
    for worker in picked(site, moment.pick):
        site.kill(worker)
    await site.at_least(2)


async def kill_at(site: Site, moment: Moment) -> None:
    """A worker takes the place of all others that is killed at a fail point, when it passes that for the n-th time."""
    worker = await site.hire(fail_points=True, crash=moment.detail, nth=_nth(moment))
    await _take_over(site, worker)


def _nth(moment: Moment) -> int:
    return 1 + int(moment.pick * 30)


async def _take_over(site: Site, newcomer: Worker) -> None:
    """All others leave, so that the newcomer owns what they owned; then a new one comes, to stand by."""
    await site.ready(newcomer)
    for worker in site.staff():
        if worker is not newcomer and not worker[0].doomed:
            site.dismiss(worker)
    await _within(LONGEST, lambda: newcomer in site.owners() or not newcomer[1].running)
    await site.at_least(2)


async def _within(seconds: float, condition: Callable[[], object]) -> None:
    """Wait for something that other faults may prevent."""
    with suppress(AssertionError):
        await wait_until(condition, seconds)


async def pause(site: Site, moment: Moment) -> None:
    """SIGSTOP and, when its leases have ended long since, SIGCONT."""
    await _stopped(site, picked(site, moment.pick), moment.span)


async def pause_two(site: Site, moment: Moment) -> None:
    """Two workers are stopped and go on, one after the other."""
    one, *others = picked(site, moment.pick, 2)

    async def later() -> None:
        await lasting(moment.span / 3)
        await _stopped(site, others, moment.span)

    await asyncio.gather(_stopped(site, [one], moment.span), later())


async def pause_at(site: Site, moment: Moment) -> None:
    """A worker takes the place of all others that stops itself at a fail point, and goes on later."""
    worker = await site.hire(fail_points=True, crash=moment.detail, nth=_nth(moment), signal="SIGSTOP")
    await _take_over(site, worker)
    await _within(LONGEST, lambda: worker[1].stopped)
    await _stopped(site, [worker], moment.span)


async def _stopped(site: Site, workers: Iterable[Worker], span: float) -> None:
    with ExitStack() as stack:
        for worker in workers:
            stack.enter_context(site.stopped(worker))
        await lasting(span)


async def join_and_leave(site: Site, moment: Moment) -> None:
    """Again and again a worker comes, and another leaves."""
    chance = Random(moment.pick)
    for _ in range(round(moment.span / CHURN)):
        await site.hire()
        await lasting(CHURN)
        for worker in picked(site, chance.random()):
            site.dismiss(worker)


async def slow_handlers(site: Site, moment: Moment) -> None:
    """A worker takes the place of all others whose handlers take longer than a lease, now and then, for some time."""
    blocking = moment.detail == "blocking"
    worker = await site.hire(slow=1.5 * LEASE, slow_every=20, blocking=blocking)
    await _take_over(site, worker)
    await lasting(moment.span)
    site.dismiss(worker)


# ── connections ──


async def kill_clients(site: Site, moment: Moment) -> None:
    """CLIENT KILL, of half of them each time."""
    chance = Random(moment.pick)
    for _ in range(round(moment.span / STEP)):
        await asyncio.to_thread(_kill_clients, site, chance)
        await lasting(STEP)


def _kill_clients(site: Site, chance: Random) -> None:
    try:
        with site.pair.primary.client() as client:
            for found in client.client_list(_type="normal"):
                if chance.random() < 0.5:
                    client.client_kill_filter(_id=found["id"], skipme=True)
    except redis_errors.ConnectionError:
        pass  # another fault has the server down


async def latency(site: Site, moment: Moment) -> None:
    """All that is sent takes its time, each way."""
    gates = _gates(site, moment)
    with site.disturbed():
        for gate in gates:
            gate.delay(0.02 + 0.1 * moment.pick)
        await lasting(moment.span)
        for gate in gates:
            gate.delay(0)


async def cut(site: Site, moment: Moment) -> None:
    """Nothing gets through one way; then the connections break."""
    gates = _gates(site, moment)
    with site.disturbed():
        for gate in gates:
            gate.blackhole(direction=_direction(moment))
        await lasting(moment.span)
        for gate in gates:
            gate.blackhole(False)
            gate.cut()


async def stall(site: Site, moment: Moment) -> None:
    """Nothing gets through one way; then it all arrives, late."""
    gates = _gates(site, moment)
    with site.disturbed():
        for gate in gates:
            gate.stall(direction=_direction(moment))
        await lasting(moment.span)
        for gate in gates:
            gate.stall(False)


def _gates(site: Site, moment: Moment) -> list[Proxy]:
    if moment.detail.startswith("all"):
        return list(site.gates.values())
    return [site.gates[life.name] for life, _ in picked(site, moment.pick)]


def _direction(moment: Moment) -> Literal["requests", "replies"]:
    return "requests" if moment.detail.endswith("requests") else "replies"


# ── the server ──


async def restart_server(site: Site, moment: Moment) -> None:
    """The server ends, in order or killed, and comes back with its append-only file."""
    async with site.one_server_fault:
        with site.disturbed():
            server = site.pair.primary
            await asyncio.to_thread(server.kill if moment.detail == "SIGKILL" else server.stop)
            await lasting(moment.span)
            await asyncio.to_thread(server.start)


async def failover(site: Site, moment: Moment) -> None:
    """Replication is cut, the primary takes more, and then the replica is the primary: what came between is lost."""
    async with site.one_server_fault:
        await site.pair.in_step()
        site.pair.sever()
        await lasting(moment.span)
        with site.disturbed():
            await site.promote()
        await site.replace_replica()


async def lose_control_messages(site: Site, moment: Moment) -> None:
    """What workers tell each other is gone, again and again; what they write down is not."""
    for _ in range(round(moment.span / STEP)):
        await asyncio.to_thread(_lose_control_messages, site, moment.detail)
        await lasting(STEP)


def _lose_control_messages(site: Site, how: str) -> None:
    try:
        with site.pair.primary.client() as client:
            if how == "DEL":
                client.delete("{shop}:control")
            else:
                client.xtrim("{shop}:control", maxlen=0, approximate=False)
    except redis_errors.ConnectionError:
        pass  # another fault has the server down


Fault = Callable[[Site, Moment], Awaitable[None]]

FAULTS: dict[str, Fault] = {
    "kill": kill,
    "kill at": kill_at,
    "pause": pause,
    "pause two": pause_two,
    "pause at": pause_at,
    "kill clients": kill_clients,
    "restart server": restart_server,
    "latency": latency,
    "cut": cut,
    "stall": stall,
    "slow handlers": slow_handlers,
    "join and leave": join_and_leave,
    "lose control messages": lose_control_messages,
    "failover": failover,
}


async def heal(site: Site) -> None:
    """No fault is on any more, and two workers without a flaw run."""
    for gate in site.gates.values():
        gate.delay(0)
        gate.stall(False)
    for life, process in site.staff():
        if life.flawed or life.doomed:
            site.kill((life, process))
        process.signal(Signals.SIGCONT)
    await wait_until(lambda: not any(life.doomed or life.dismissed for life, _ in site.staff()), 20, "who leaves has left")
    await site.at_least(2)
