"""What is left on the server of streams, processors and groups that the app does not declare any more.

The only place where keys are searched for (SCAN), and there within a limit: a server may hold many others.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

import orjson
from attrs import define, field

from runnel.app import App
from runnel.errors import StoreRefused
from runnel.operations.exchange import linked, plain, run_all
from runnel.operations.finding import Finding, ok
from runnel.store.client import Store
from runnel.store.keys import PartitionKeys, decoded, encoded
from runnel.store.link import Link
from runnel.store.script import Command

KEYS = 100_000
"""Keys of the server that are passed over, at most."""

PAGE = 1_000

_KEY = re.compile(r"\{[^{}:]*:([^{}:]*):(\d+)\}:(?:proc:([^:]*))?")


@define
class _Known:
    """What there is by right: streams with their partition counts, and the processors registered on each."""

    counts: Mapping[str, int]
    registered: dict[str, set[str]] = field(factory=dict)

    def has(self, key: str) -> bool:
        """Whether a key belongs to any of it."""
        found = _KEY.match(key)
        if found is None:
            return True
        stream, number, name = decoded(found[1]), int(found[2]), found[3]
        if number >= self.counts.get(stream, 0):
            return False
        return name is None or decoded(name) in self.registered.get(stream, ())


async def noted_streams(app: App, store: Store) -> dict[str, int]:
    """The streams that the server remembers of an app, and their partition counts."""
    noted: Mapping[bytes, bytes] = await store.command("HGETALL", app.keys.streams)
    return {name.decode(): int(orjson.loads(options)["partition_count"]) for name, options in noted.items()}


async def registered_on(link: Link, partitions: Iterable[PartitionKeys]) -> list[set[str]]:
    """The processors registered in each partition."""
    names = await run_all(link, [Command(("HKEYS", keys.cursors), plain) for keys in partitions])
    return [{name.decode() for name in found} for found in names]


async def find_leftovers(app: App) -> list[Finding]:
    """Look for them.

    Raises:
        StoreError: The server cannot be reached, or refuses.
    """
    async with linked(app) as (store, link):
        noted = await noted_streams(app, store)
        known = _Known({name: stream.partition_count for name, stream in app.streams.items()} | noted)
        found, groups = _of_streams(app, noted), 0
        for name, count in known.counts.items():
            partitions = [PartitionKeys(app.name, name, number) for number in range(count)]
            registered = await registered_on(link, partitions)
            known.registered[name] = set().union(*registered)
            groups += await _strange_groups(link, partitions, registered)
        found += _of_processors(app, known)
        if groups:
            advice = "They cost little, and nothing of Runnel reads by them: XGROUP DESTROY removes one"
            found.append(Finding("groups", "warning", f"{groups} consumer groups are no processor's", advice))
        found += await _of_keys(app, link, known)
    return found or [ok("leftovers", "no streams, processors or keys that the app does not know")]


def _of_streams(app: App, noted: Mapping[str, int]) -> list[Finding]:
    gone = sorted(noted.keys() - app.streams.keys())
    if not gone:
        return []
    said = f"not declared by the app any more: {', '.join(gone)}"
    return [Finding("streams", "warning", said, "runnel stream delete APP --name NAME, if nothing else uses them")]


def _of_processors(app: App, known: _Known) -> list[Finding]:
    declared = {(each.stream.name, name) for name, each in app.processors.items()}
    there = {(stream, name) for stream, names in known.registered.items() if stream in app.streams for name in names}
    if not (gone := sorted(there - declared)):
        return []
    said = f"registered, but not declared by the app: {', '.join(f'{name} on {stream}' for stream, name in gone)}"
    advice = "Events are kept for them, and producers wait once a partition is full: runnel processor delete APP --name NAME"
    return [Finding("processors", "warning", said, advice)]


async def _strange_groups(link: Link, partitions: Iterable[PartitionKeys], registered: Iterable[set[str]]) -> int:
    strange = 0
    for keys, names in zip(partitions, registered, strict=True):
        try:
            groups = await link.command("XINFO", "GROUPS", keys.log)
        except StoreRefused:  # there is no log yet
            continue
        strange += sum(_name_of(group) not in names for group in groups)
    return strange


def _name_of(group: Any) -> str:
    if not isinstance(group, Mapping):
        group = dict(zip(group[::2], group[1::2], strict=True))
    name: bytes = group[b"name"]
    return name.decode()


async def _of_keys(app: App, link: Link, known: _Known) -> list[Finding]:
    """Keys of partitions, or of processors, that are not there. Those that expire go by themselves."""
    cursor, passed, strange, replays = b"0", 0, list[str](), set[str]()
    own, of_replays = f"{{{encoded(app.name)}:", f"{{{encoded(f'{app.name}~replay~')}"
    while passed < KEYS:
        cursor, keys = await link.command("SCAN", cursor, "MATCH", f"{{{encoded(app.name)}*", "COUNT", PAGE)
        passed += PAGE
        names = [key.decode(errors="replace") for key in keys]
        strange += [key for key in names if key.startswith(own) and not known.has(key)]
        replays |= {re.split("[:}]", key[len(of_replays) :])[0] for key in names if key.startswith(of_replays)}
        if cursor == b"0":
            break
    lives = await run_all(link, [Command(("PTTL", key), int) for key in strange])
    lasting = sorted(key for key, life in zip(strange, lives, strict=True) if life == -1)
    found = []
    if lasting:
        examples = ", ".join(lasting[:3]) + (" …" if len(lasting) > 3 else "")
        said = f"{len(lasting):,} keys of no stream or processor that is known: {examples}"
        found.append(Finding("keys", "warning", said, "If no older code of the app uses them, UNLINK them"))
    if replays:
        said = f"of replays that are under way, or were killed: {', '.join(sorted(map(decoded, replays)))}"
        advice = "If none is under way: runnel replay … --as of the same name clears up first"
        found.append(Finding("keys", "warning", said, advice))
    if cursor != b"0":
        said = f"only the first {KEYS:,} keys of the server were looked at, or a few more"
        found.append(ok("keys", said))
    return found
