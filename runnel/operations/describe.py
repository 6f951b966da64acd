"""All that is known of an app, stream, processor or actor: what the code says of it, and how it lies on the server.

Reads, and changes nothing. How much memory a log takes is an estimate from a few samples.
"""

import inspect
from collections.abc import Mapping, Sequence
from datetime import tzinfo
from enum import Enum
from typing import Any

import attrs
import orjson
from attrs import frozen

from runnel.app import App
from runnel.discovery import app_of
from runnel.entity.declaration import Entity
from runnel.errors import ConfigurationError, StoreError
from runnel.fitness import field_names
from runnel.handling.position import id_parts
from runnel.handling.threads import InThreads
from runnel.operations.exchange import linked, plain, run_all
from runnel.operations.leftovers import registered_on
from runnel.operations.status import lag, look, partition_status
from runnel.processor import Processor
from runnel.records import is_primitive
from runnel.store import scripts
from runnel.store.keys import PartitionKeys
from runnel.store.link import Link
from runnel.store.script import Command
from runnel.store.scripts import Look
from runnel.stream import Stream

SAMPLES = 5
"""Entries of a log that the server weighs."""

Row = Mapping[str, Any]

HOOKS = ("on_start", "on_stop", "on_restart", "on_reminder")


@frozen(kw_only=True)
class Description:
    """What is known of one thing: facts by their names, and tables."""

    kind: str
    name: str
    facts: Mapping[str, Any]
    tables: Mapping[str, Sequence[Row]]

    def to_json(self) -> str:
        """All of it, for programs."""
        said = {"kind": self.kind, "name": self.name, **self.facts, **self.tables}
        return orjson.dumps(said, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS).decode()


async def describe(found: object) -> Description:
    """Describe an app, a stream, or a processor, with actors or without.

    Raises:
        ConfigurationError: It is none of these; or its stream was made with other options.
        StoreError: The server cannot be reached, or refuses.
    """
    match found:
        case App():
            return await _app(found)
        case Stream():
            return await _stream(app_of(found), found)
        case Processor():
            return await _processor(app_of(found), found)
    raise ConfigurationError(f"there is nothing to describe of {found!r}: name an app, a stream, a processor or an actor")


# ── an app ──


async def _app(app: App) -> Description:
    async with linked(app) as (store, link):
        info: Mapping[str, Any] = await store.command("INFO", "server")
        streams = [
            {"stream": name, "record": each.record.__name__, "partitions": each.partition_count, "events": sum(lengths)}
            for name, each in app.streams.items()
            for lengths in [await run_all(link, [Command[int](("XLEN", keys.log), plain) for keys in each.partitions])]
        ]
        where = store.where
    processors = [
        {"processor": name, "kind": kind_of(each), "stream": each.stream.name, "policy": shown(each.options.exception_policy)}
        for name, each in app.processors.items()
    ]
    jobs = [
        {
            "job": job.name,
            "schedule": "at the start" if job.schedule is None else str(job.schedule),
            "runs_on": "the leader" if job.on_leader else "each worker",
        }
        for job in app.jobs.values()
    ]
    server = f"Valkey {info['valkey_version']}" if "valkey_version" in info else f"Redis {info.get('redis_version')}"
    settings = {
        each.name: shown(getattr(app.settings, each.name))
        for each in attrs.fields(type(app.settings))
        if each.name != "redis_url"  # it may hold a password
    }
    facts = {"server": where, "version": server, **settings}
    return Description(
        kind="app", name=app.name, facts=facts, tables={"streams": streams, "processors": processors, "jobs": jobs}
    )


# ── a stream ──


async def _stream(app: App, stream: Stream[Any]) -> Description:
    noted = await app.compare_stream(stream)
    async with linked(app) as (_, link):
        seen = await look(link, stream.partitions, "")
        delayed = await run_all(link, [Command[int](("ZCARD", keys.delayed), plain) for keys in stream.partitions])
        partitions = [
            {**_log(number, each), "delayed": delayed[number], "memory": await _memory(link, stream.partitions[number])}
            for number, each in enumerate(seen)
        ]
        names = sorted(set().union(*await registered_on(link, stream.partitions)))
        registered = [await _registered(app, link, stream, name) for name in names]
    facts = {
        "app": app.name,
        "record": stream.record.__name__,
        "fields": field_names(stream.record) or [],
        "partition_by": stream.partition_by if isinstance(stream.partition_by, str) else shown(stream.partition_by),
        "partition_count": stream.partition_count,
        "partition_size": stream.partition_size,
        "overflow": stream.overflow,
        "serializer": _serializer(stream),
        "compressor": shown(getattr(stream.serializer, "compressor", None)),
        "hasher": stream.hasher_name,
        "max_payload": stream.max_payload,
        "on_the_server": noted,
        "events": sum(each.length for each in seen),
    }
    tables: dict[str, Sequence[Row]] = {"partitions": partitions, "processors": registered}
    return Description(kind="stream", name=stream.name, facts=facts, tables=tables)


def _serializer(stream: Stream[Any]) -> str:
    if is_primitive(stream.record):
        return "none: native fields"
    return "JSON" if stream.serializer is None else type(stream.serializer).__name__


def _log(number: int, seen: Look) -> Row:
    return {
        "partition": number,
        "events": seen.length,
        "ever_sent": seen.added,
        "first": seen.first if seen.length else None,
        "last": seen.last if seen.added else None,
        "per_second": rate(seen),
    }


def rate(seen: Look) -> float | None:
    """How many events a second were sent, between the first and the last one that a log holds; None: they do not tell."""
    taken = (id_parts(seen.last)[0] - id_parts(seen.first)[0]) / 1000
    return round((seen.length - 1) / taken, 3) if seen.length > 1 and taken > 0 else None


async def _memory(link: Link, keys: PartitionKeys) -> int | None:
    try:
        found: int | None = await link.command("MEMORY", "USAGE", keys.log, "SAMPLES", SAMPLES)
    except StoreError:  # not all users may ask
        return None
    return found


async def _registered(app: App, link: Link, stream: Stream[Any], name: str) -> Row:
    seen = await look(link, stream.partitions, name)
    declared = app.processors.get(name)
    is_declared = declared is not None and declared.stream.name == stream.name
    owners = sorted({each.owner for each in seen if each.owner})
    return {"processor": name, "declared": is_declared, "lag": sum(lag(each) for each in seen), "workers": owners}


# ── a processor ──


async def _processor(app: App, processor: Processor) -> Description:
    stream, name, entity = processor.stream, processor.options.name, processor.entity
    await app.compare_stream(stream)
    async with linked(app) as (_, link):
        seen = await run_all(link, [scripts.look(keys, name) for keys in stream.partitions])
        more = [{} for _ in seen] if entity is None else await _of_actors(link, stream.partitions, name)
    rows = []
    for number, each in enumerate(seen):
        status = attrs.asdict(partition_status(number, each, processor.options.start))
        wanted = ("partition", "lag", "cursor", "owner", "epoch", "parked", "dead", "stopped")
        rows.append({**{column: status[column] for column in wanted}, **more[number]})
    options = {each.name: shown(getattr(processor.options, each.name)) for each in attrs.fields(type(processor.options))[1:]}
    facts = {
        "app": app.name,
        "stream": stream.name,
        "runs": kind_of(processor),
        "defined": _place(processor.function),
        **(options if entity is None else {key: value for key, value in options.items() if key != "middleware"}),
        **({} if entity is None else entity_facts(entity)),
        "lag": sum(row["lag"] for row in rows),
        "workers": sorted({row["owner"] for row in rows if row["owner"]}),
    }
    return Description(
        kind="processor" if entity is None else "actor", name=name, facts=facts, tables={"partitions": rows}
    )


async def _of_actors(link: Link, partitions: Sequence[PartitionKeys], name: str) -> list[Row]:
    states = await run_all(link, [Command[int](("HLEN", keys.state(name)), plain) for keys in partitions])
    emitted = await run_all(link, [Command[int](("XLEN", keys.outbox(name)), plain) for keys in partitions])
    return [{"states": state, "outbox": waiting} for state, waiting in zip(states, emitted, strict=True)]


def entity_facts(entity: Entity) -> dict[str, Any]:
    """What is declared of actors."""
    state = None if entity.state is None else entity.state.codec.record
    return {
        **{each.name: getattr(entity.options, each.name) for each in attrs.fields(type(entity.options))},
        "messages": list(entity.methods),
        "state": None if state is None else state.__name__,
        "state_fields": [] if state is None else field_names(state) or [],
        "migrates": entity.state is not None and entity.state.migrate is not None,
        "hooks": [hook for hook in HOOKS if getattr(entity, hook) is not None],
    }


def kind_of(processor: Processor) -> str:
    """How it runs."""
    if processor.entity is not None:
        how = "actors" if processor.entity.kind == "class" else "actors (a function)"
        return how if processor.entity.is_async else f"{how}, in threads"
    return "a function, in threads" if isinstance(processor.run, InThreads) else "a function"


def _place(function: Any) -> str:
    return f"{inspect.unwrap(function).__module__}.{getattr(function, '__qualname__', type(function).__name__)}"


def shown(value: Any) -> Any:
    """A value of an option, in types that JSON has."""
    match value:
        case Enum():
            return value.name
        case None | bool() | int() | float() | str():
            return value
        case tzinfo():
            return str(value)
        case list() | tuple():
            return [shown(each) for each in value]
        case type():
            return value.__name__
    if inspect.isroutine(value):
        return value.__qualname__
    return repr(value) if attrs.has(type(value)) else type(value).__name__
