"""Whether a server is fit for Runnel: the first half of `runnel doctor`. Reads, changes nothing, and needs no app on it."""

import statistics
from collections.abc import Iterator, Mapping
from typing import Any

from runnel.app import App
from runnel.errors import StoreRefused
from runnel.operations.exchange import server_time
from runnel.operations.finding import Finding, ok
from runnel.store import scripts, upkeep
from runnel.store.client import OLDEST_SERVER, Store
from runnel.store.keys import PartitionKeys

PINGS = 21
SLOW, TOO_SLOW = 0.010, 0.100
"""Seconds of an exchange: each commit, and each append, takes one."""

SKEW = 1.0
"""Seconds by which clocks may differ."""

NEARLY_FULL, FULL = 0.75, 0.95

Info = Mapping[str, Any]


async def examine_server(app: App, store: Store) -> list[Finding]:
    """See whether the server is fit.

    Raises:
        StoreUnavailable: It cannot be reached.
        StoreRefused: It refuses the user, or INFO, without which nothing can be said.
    """
    info: Info = await store.command("INFO")
    return [
        version(info),
        role(info),
        cluster(info),
        eviction(info),
        await _persistence(store, info),
        memory(info, is_embedded=app.settings.redis_url.startswith("embedded://")),
        await _clock(app, store),
        await _latency(app, store),
        *await _scripts(app, store),
    ]


def version(info: Info) -> Finding:
    """Whether it is new enough."""
    found = str(info.get("redis_version", "0"))
    name = f"Valkey {info['valkey_version']}" if "valkey_version" in info else f"Redis {found}"
    if tuple(int(part) for part in found.split(".")[:2]) >= OLDEST_SERVER:
        return ok("version", name)
    return Finding("version", "problem", f"{name} is too old", "Run Redis 7.0 or newer, or any Valkey")


def role(info: Info) -> Finding:
    """Whether it takes writes."""
    if info.get("role") == "master":
        replicas = int(info.get("connected_slaves", 0))
        return ok("role", f"a primary with {replicas} {'replica' if replicas == 1 else 'replicas'}")
    return Finding("role", "problem", "a replica: it refuses all writes", "Point redis_url at its primary")


def cluster(info: Info) -> Finding:
    """Whether it is a part of a cluster."""
    if not int(info.get("cluster_enabled", 0)):
        return ok("cluster", "not a cluster")
    advice = "Use a server of its own: an app whose partitions lie on several nodes is not supported yet"
    return Finding("cluster", "warning", "a node of a cluster", advice)


def eviction(info: Info) -> Finding:
    """Whether it keeps what it was given."""
    policy = info.get("maxmemory_policy", "noeviction")
    if policy == "noeviction":
        return ok("eviction", "noeviction: what is sent is kept")
    said = f"{policy}: when its memory is full, events and cursors are thrown away"
    return Finding("eviction", "problem", said, "CONFIG SET maxmemory-policy noeviction, and in its configuration file")


async def _persistence(store: Store, info: Info) -> Finding:
    try:
        saves = any((await store.command("CONFIG", "GET", "save")).values())
    except StoreRefused:
        return persistence(info, None)  # managed servers often forbid it
    return persistence(info, saves)


def persistence(info: Info, saves: bool | None) -> Finding:
    """Whether it survives a restart; `saves`: whether it makes snapshots (None: it does not say)."""
    for of, name in (("rdb_last_bgsave_status", "snapshot"), ("aof_last_write_status", "write of the append-only file")):
        if info.get(of, "ok") != "ok":
            said = f"the last {name} failed"
            return Finding("persistence", "problem", said, "Look into the server's log: its disk may be full, or not its own")
    if int(info.get("aof_enabled", 0)):
        return ok("persistence", "an append-only file")
    advice = "CONFIG SET appendonly yes, and in its configuration file"
    if saves is None:
        return Finding("persistence", "warning", "no append-only file; whether it makes snapshots it does not say", advice)
    if saves:
        return Finding("persistence", "warning", "snapshots only: a crash loses what came since the last one", advice)
    return Finding("persistence", "warning", "none: a restart loses all events", advice)


def memory(info: Info, *, is_embedded: bool = False) -> Finding:
    """Whether there is room. An embedded server has no setting for it."""
    used, most = int(info.get("used_memory", 0)), int(info.get("maxmemory", 0))
    if not most:
        said = f"{megabytes(used)} used, without a limit: the system kills the server when the machine's is full"
        advice = "Set maxmemory below the machine's memory: then a full server refuses, and lives"
        if is_embedded:
            advice = "embedded:// has no setting for it: where that matters, run a server of your own, with maxmemory"
        return Finding("memory", "warning", said, advice)
    said = f"{megabytes(used)} of {megabytes(most)} used ({used / most:.0%})"
    if used < NEARLY_FULL * most:
        return ok("memory", said)
    advice = "Raise maxmemory, lower partition_size, or see with `runnel lag` who is behind: what is not done stays"
    return Finding("memory", "problem" if used >= FULL * most else "warning", said, advice)


async def _clock(app: App, store: Store) -> Finding:
    before = app.clock.time()
    there = await server_time(store)
    return clock(there - (before + app.clock.time()) / 2)


def clock(ahead: float) -> Finding:
    """Whether the server's clock, so many seconds ahead of this machine's, tells the same time."""
    said = f"the server is {abs(ahead):.3f} s {'ahead of' if ahead > 0 else 'behind'} this machine"
    if abs(ahead) < SKEW:
        return ok("clock", said)
    advice = "Synchronise both (NTP). Leases go by the server's clock alone; delays, timers and ages are off by so much"
    return Finding("clock", "warning", said, advice)


async def _latency(app: App, store: Store) -> Finding:
    link, taken = store.link(), list[float]()
    try:
        for _ in range(PINGS):
            began = app.clock.monotonic()
            await link.command("PING")
            taken.append(app.clock.monotonic() - began)
    finally:
        await link.close()
    return latency(statistics.median(taken[1:]))  # the first one connects


def latency(median: float) -> Finding:
    """Whether it answers soon enough."""
    said = f"{median * 1000:.2f} ms for an exchange, in the median"
    if median < SLOW:
        return ok("latency", said)
    advice = "Run workers near the server; see its SLOWLOG and LATENCY DOCTOR: every commit and every send takes one exchange"
    return Finding("latency", "problem" if median >= TOO_SLOW else "warning", said, advice)


async def _scripts(app: App, store: Store) -> list[Finding]:
    """Whether scripts run, and what the user may not do."""
    keys, link = PartitionKeys(app.name, "~doctor", 0), store.link()
    try:
        await link.call(scripts.look(keys, "~doctor"))
        missing = await link.call(upkeep.permitted(keys, app.keys))
    except StoreRefused as error:
        advice = "Give the user the permissions that docs/guarantees.md names, +@scripting and +info among them"
        return [Finding("scripts", "problem", f"they do not run: {error}", advice)]
    finally:
        await link.close()
    return [ok("scripts", "they run"), permissions(missing, app.name)]


def permissions(missing: list[str], app: str) -> Finding:
    """Whether the user may run the commands that Runnel runs."""
    if not missing:
        return ok("permissions", "all that Runnel needs")
    names = list(dict.fromkeys(_names(missing)))
    said = f"the user may not run {', '.join(names[:8])}" + (f" and {len(names) - 8} more" if len(names) > 8 else "")
    rights = "+@read +@write +@stream +@scripting +@connection +info +time +client|id +client|unblock"
    advice = f"ACL SETUSER: ~{{{app}}}* ~{{{app}:* {rights}"
    return Finding("permissions", "problem", said, advice)


def _names(commands: list[str]) -> Iterator[str]:
    for command in commands:
        words = command.split()
        yield " ".join(words[:2]) if words[0] in ("XGROUP", "XINFO", "CLIENT", "INFO") else words[0]


def megabytes(size: int) -> str:
    """A number of bytes as people read it."""
    return f"{size / 2**30:,.1f} GiB" if size >= 2**30 else f"{size / 2**20:,.1f} MiB"
