"""All that a view of an app shows: how it stands, what its workers report of themselves, and the server. Reads only.

No key is looked for: workers are found by the roll of members, partitions by the app's declarations.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from attrs import asdict, evolve, field, frozen

from runnel.app import App
from runnel.errors import RunnelError, StoreError, StoreRefused
from runnel.operations.status import Status, read_status
from runnel.store.keys import AppKeys
from runnel.store.link import Link
from runnel.telemetry.report import Report

MOST_PARKED, MOST_PARTITIONS = 20, 32
"""Of how many parked keys it tells, of a partition, and of how many partitions: a look costs the same whatever is parked."""

LIVES = 10.0
"""Seconds for which a report can be read: how much of it is left tells how old it is."""


@frozen(kw_only=True)
class Server:
    """The server, as it says itself."""

    name: str = ""
    version: str = ""
    memory: int = 0
    """Bytes in use."""
    limit: int = 0
    """Bytes that it may use; 0: no limit is set."""
    role: str = ""
    clients: int = 0


@frozen(kw_only=True)
class ParkedKey:
    """A key whose events wait, since one of them failed."""

    processor: str
    partition: int
    key: str
    events: int


@frozen(kw_only=True)
class Overview:
    """An app at about one moment."""

    status: Status
    server: Server
    reports: Mapping[str, Report] = field(factory=dict)
    """By worker: what it said last. A worker without one is of another version, or has just begun."""
    ages: Mapping[str, float] = field(factory=dict)
    """By worker: how many seconds old that is."""
    parked: tuple[ParkedKey, ...] = ()
    """Keys that are parked: some, of some partitions, where there are many."""


async def read_overview(app: App, link: Link) -> Overview:
    """Read it.

    Args:
        app: Which app.
        link: To read with.

    Raises:
        ConfigurationError: A stream has other options on the server than here.
        StoreError: The server cannot be reached, or refuses.
    """
    status = await read_status(app, link)
    alive = tuple(each for each in status.workers if each.left > 0)  # where no worker runs, nobody strikes out the dead
    status = evolve(status, workers=alive)
    reports, ages = await _reports(app.keys, link, [worker.worker for worker in status.workers])
    parked = await _parked(app, link, status)
    return Overview(status=status, server=await _server(link), reports=reports, ages=ages, parked=parked)


async def _parked(app: App, link: Link, status: Status) -> tuple[ParkedKey, ...]:
    places = [
        (each.processor, partition.partition)
        for each in status.processors
        for partition in each.partitions
        if partition.parked_keys
    ]
    found = []
    for processor, number in places[:MOST_PARTITIONS]:
        keys = app.processors[processor].stream.partitions[number]
        try:
            _, flat = await link.command("HSCAN", keys.parked_keys(processor), 0, "COUNT", MOST_PARKED)
        except StoreRefused:
            return ()  # this user may not ask
        pairs = [*zip(flat[::2], flat[1::2], strict=True)][:MOST_PARKED]
        found += [
            ParkedKey(processor=processor, partition=number, key=key.decode("utf-8", "surrogateescape"), events=int(count))
            for key, count in pairs
        ]
    return tuple(found)


async def _reports(
    keys: AppKeys, link: Link, workers: Sequence[str]
) -> tuple[dict[str, Report], dict[str, float]]:
    if not workers:
        return {}, {}
    texts = await link.command("MGET", *[keys.report(worker) for worker in workers])
    reports, ages = {}, {}
    for worker, text in zip(workers, texts, strict=True):
        if text is None:
            continue
        left = await link.command("PTTL", keys.report(worker))
        try:
            reports[worker] = Report.from_json(text)
        except RunnelError:
            continue  # of another version: it is shown as one without a report
        ages[worker] = max(0.0, LIVES - left / 1000)
    return reports, ages


async def _server(link: Link) -> Server:
    try:
        found = _parsed(await link.command("INFO"))
    except StoreError:
        return Server()  # this user may not ask
    return Server(
        name="Valkey" if "valkey_version" in found else "Redis",
        version=found.get("valkey_version", found.get("redis_version", "")),
        memory=int(found.get("used_memory", 0)),
        limit=int(found.get("maxmemory", 0)),
        role=found.get("role", ""),
        clients=int(found.get("connected_clients", 0)),
    )


def _parsed(text: bytes) -> dict[str, str]:
    lines = text.decode(errors="replace").splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line and not line.startswith("#"))


def as_json(overview: Overview) -> str:
    """For programs: one object on one line."""
    status = overview.status
    document: dict[str, Any] = {
        "app": status.app,
        "server": {"url": status.server, **asdict(overview.server)},
        "lag": status.lag,
        "oldest_age": status.oldest_age,
        "parked_keys": [{**asdict(each), "key": printable(each.key)} for each in overview.parked],
        "workers": [
            {**asdict(worker), "age": overview.ages.get(worker.worker), "report": _plain(overview, worker.worker)}
            for worker in status.workers
        ],
        "processors": [
            {**asdict(each), "lag": each.lag, "oldest_age": each.oldest_age, "parked": each.parked, "dead": each.dead}
            for each in status.processors
        ],
    }
    return orjson.dumps(document).decode()


def printable(text: str) -> str:
    """A text that any terminal and any JSON takes: bytes that are no UTF-8 are told in escapes."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _plain(overview: Overview, worker: str) -> Any:
    report = overview.reports.get(worker)
    return None if report is None else report.plain()
