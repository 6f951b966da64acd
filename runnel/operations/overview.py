"""All that a view of an app shows: how it stands, what its workers report of themselves, and the server. Reads only.

No key is looked for: workers are found by the roll of members, partitions by the app's declarations.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from attrs import asdict, field, frozen

from runnel.app import App
from runnel.errors import RunnelError, StoreError
from runnel.operations.status import Status, read_status
from runnel.store.keys import AppKeys
from runnel.store.link import Link
from runnel.telemetry.report import Report

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
class Overview:
    """An app at about one moment."""

    status: Status
    server: Server
    reports: Mapping[str, Report] = field(factory=dict)
    """By worker: what it said last. A worker without one is of another version, or has just begun."""
    ages: Mapping[str, float] = field(factory=dict)
    """By worker: how many seconds old that is."""


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
    reports, ages = await _reports(app.keys, link, [worker.worker for worker in status.workers])
    return Overview(status=status, server=await _server(link), reports=reports, ages=ages)


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


def _plain(overview: Overview, worker: str) -> Any:
    report = overview.reports.get(worker)
    return None if report is None else report.plain()
