"""How an app stands, for programs: the JSON of `runnel status` and `runnel lag`."""

from typing import Any

import orjson
from attrs import asdict

from runnel.operations.status import ProcessorStatus, Status


def as_json(status: Status) -> str:
    """The status for programs, with totals."""
    return _json(status, [{**asdict(each), **_totals(each)} for each in status.processors])


def lag_as_json(status: Status) -> str:
    """The same without the partitions."""
    return _json(
        status,
        [
            {"processor": each.processor, "stream": each.stream, **_totals(each), "partitions": len(each.partitions)}
            for each in status.processors
        ],
    )


def _json(status: Status, processors: list[dict[str, Any]]) -> str:
    head = {"app": status.app, "server": status.server, "lag": status.lag, "oldest_age": status.oldest_age}
    workers = [asdict(each) for each in status.workers]
    return orjson.dumps({**head, "processors": processors, "workers": workers}, option=orjson.OPT_INDENT_2).decode()


def _totals(status: ProcessorStatus) -> dict[str, Any]:
    return {
        "lag": status.lag,
        "oldest_age": status.oldest_age,
        "owned": status.owned,
        "workers": status.owners,
        "parked": status.parked,
        "dead": status.dead,
        "states": status.states,
        "emitted": status.emitted,
        "quarantined": status.quarantined,
        "paused": status.paused,
        "breaker_open": dict(status.breaker_open),
    }
