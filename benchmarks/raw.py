"""The raw roles: the least that the work can cost in Python, over a redis-py connection, without any guarantee.

They do what `design/prototype/raw_ceilings.py` does, and the option --reference compares them with it.
"""

from collections.abc import Sequence
from typing import Any

import orjson
import redis.asyncio as aredis

from benchmarks.latency import Latencies, paced
from benchmarks.orders import PARTITIONS, PlainOrder, key_of, order, orders, plain_hook, plain_log
from benchmarks.process import Figures, say_ready
from benchmarks.stopwatch import Stopwatch

APPEND = b"""
local k=KEYS[1]
local n=0
for i=1,#ARGV do redis.call('XADD',k,'*','data',ARGV[i]) n=n+1 end
return n
"""


async def connect(url: str) -> Any:
    """A connection of redis-py, without the task that a timeout would cost for each read."""
    pool: Any = aredis.ConnectionPool.from_url(url, protocol=3, socket_timeout=None)
    return await pool.get_connection()


async def command(connection: Any, *args: Any) -> Any:
    """One command and its reply."""
    await connection.send_packed_command(connection.pack_command(*args))
    return await connection.read_response()


async def fill(url: str, events: int, hot: bool = False, keys: int | None = None) -> Figures:
    """Fill logs that hold what Runnel's hold, but in the field `data` only."""
    connection = await connect(url)
    sha = await command(connection, "SCRIPT", "LOAD", APPEND)
    _, stream = orders("redis://unused")
    for start in range(0, events, 8000):
        groups: list[list[bytes]] = [[] for _ in range(PARTITIONS)]
        for number in range(start, min(start + 8000, events)):
            key = key_of(number, hot=hot, keys=keys)
            groups[stream.hash(key)].append(stream.codec.dumps(order(key)))
        for partition, group in enumerate(groups):
            for at in range(0, len(group), 1000):
                await command(connection, "EVALSHA", sha, 1, plain_log(partition), *group[at : at + 1000])
    return {}


async def read(url: str, events: int, count: int, log: str = "plain", hot: bool = False) -> Figures:
    """Read and decode a backlog, `count` entries of each log at a time.

    `log` says which: "plain", or "runnel" for Runnel's own; with `hot`, only the one of the hot key.
    """
    _, stream = orders("redis://unused")
    numbers = [stream.hash(key_of(0, hot=True))] if hot else range(PARTITIONS)
    keys = [plain_log(n) if log == "plain" else stream.partitions[n].log for n in numbers]
    connection = await connect(url)
    loads, structure = orjson.loads, plain_hook()
    cursors = dict.fromkeys(keys, b"0-0")
    done = 0
    watch = Stopwatch()
    watch.start()
    while done < events:
        reply = await command(connection, "XREAD", "COUNT", count, "STREAMS", *cursors, *cursors.values())
        for key, entries in reply.items():
            for _, fields in entries:
                structure(loads(fields[1]), PlainOrder)
            done += len(entries)
            cursors[key] = entries[-1][0]
    watch.stop()
    return watch.figures(events)


async def send(url: str, events: int, batch: int) -> Figures:
    """Append bodies that are encoded already and belong to partitions in turn, one script call a partition and batch."""
    connection = await connect(url)
    sha = await command(connection, "SCRIPT", "LOAD", APPEND)
    _, stream = orders("redis://unused")
    payload = stream.codec.dumps(order(1))
    keys = [plain_log(n) for n in range(PARTITIONS)]
    watch = Stopwatch()
    watch.start()
    for first in range(0, events, batch):
        groups: list[list[bytes]] = [[] for _ in keys]
        for number in range(first, first + batch):
            groups[number % PARTITIONS].append(payload)
        calls = [("EVALSHA", sha, 1, key, *group) for key, group in zip(keys, groups, strict=True)]
        await connection.send_packed_command(connection.pack_commands(calls), check_health=False)
        for _ in calls:
            await connection.read_response()
    watch.stop()
    return watch.figures(events)


async def send_paced(url: str, events: int, rate: float) -> Figures:
    """XADD one event at a time."""
    connection = await connect(url)
    _, stream = orders("redis://unused")

    async def xadd(now: int) -> None:
        await command(connection, "XADD", plain_log(now % PARTITIONS), "*", "data", stream.codec.dumps(order(now, now)))

    await paced(events, rate, xadd)
    return {}


async def receive_paced(url: str, events: int) -> Figures:
    """Receive them by a blocking XREAD over all logs."""
    connection = await connect(url)
    loads, structure = orjson.loads, plain_hook()
    latencies = Latencies(events)
    cursors: dict[bytes, bytes] = {plain_log(n): b"0-0" for n in range(PARTITIONS)}
    say_ready()
    while latencies.missing > 0:
        reply: dict[bytes, Sequence[tuple[bytes, list[bytes]]]] | None = await command(
            connection, "XREAD", "COUNT", 256, "BLOCK", 5000, "STREAMS", *cursors, *cursors.values()
        )
        for key, entries in (reply or {}).items():
            for _, fields in entries:
                latencies.arrived(structure(loads(fields[1]), PlainOrder).amount)
            cursors[key] = entries[-1][0]
    return latencies.figures()
