"""A range of a stream's logs, to be run once more: which events, and reading them. Reads, and changes nothing.

What becomes of them is `runnel/replaying.py`'s business.
"""

from collections.abc import Sequence
from typing import Any

import orjson
from attrs import frozen

from runnel.app import App
from runnel.errors import ConfigurationError
from runnel.handling.failed import field_of
from runnel.handling.position import before, id_parts
from runnel.operations.exchange import linked, plain, run_all, server_time
from runnel.operations.peek import Choice, chosen_logs, first_id
from runnel.operations.reset import HIGHEST_SEQUENCE, moment
from runnel.operations.shown import Entry
from runnel.operations.streams import count_from
from runnel.producer import MOST_BYTES
from runnel.records import key_bytes
from runnel.store import scripts
from runnel.store.keys import PartitionKeys
from runnel.store.link import Link
from runnel.store.script import Command
from runnel.store.scripts import entry_id
from runnel.stream import KEY, TO, Stream

PAGE = 200


@frozen(kw_only=True)
class Part:
    """The range in one partition: the first and the last id, and how many entries lie between them."""

    keys: PartitionKeys
    first: str
    last: str
    entries: int


@frozen(kw_only=True)
class Range:
    """Events of a stream; with a key, only those of it."""

    stream: str
    key: str | None
    parts: tuple[Part, ...]

    @property
    def entries(self) -> int:
        """How many entries it has; with a key, how many are looked at."""
        return sum(part.entries for part in self.parts)


async def find_range(app: App, stream: Stream[Any], choice: Choice, to: str | None) -> Range:
    """The events from `choice.begin` to `to`, as they are now.

    Args:
        app: The stream's.
        stream: Whose events.
        choice: Of which partition or key, and where it begins.
        to: The last: an entry's id, or a moment; None: the last one that there is now.

    Raises:
        ConfigurationError: There is no such partition, or key in it; or a place means nothing.
        StoreError: The server cannot be reached, or refuses.
    """
    if choice.begin == "latest":
        raise ConfigurationError("behind the latest event there is nothing to replay: begin earlier")
    await app.compare_stream(stream)
    async with linked(app) as (store, link):
        now = await server_time(store)
        begin, chosen = first_id(choice.begin, now), chosen_logs(stream, choice)
        end = None if to is None else last_id(to, now)
        first = "0-0" if begin == "-" else begin if "-" in begin else f"{begin}-0"
        if end is not None and before(end, first):
            raise ConfigurationError(f"the end {to!r} is before the begin {choice.begin!r}: there is nothing between them")
        parts = [await _part(link, keys, first, end) for keys in chosen]
    return Range(stream=stream.name, key=choice.key, parts=tuple(part for part in parts if part.entries))


def last_id(to: str, now: float) -> str:
    """The greatest id that is meant by `to`.

    Raises:
        ConfigurationError: It is no place.
    """
    if (known := entry_id(to)) is not None:
        return known.decode()
    return f"{round(moment(to, now) * 1000)}-{HIGHEST_SEQUENCE}"


async def _part(link: Link, keys: PartitionKeys, first: str, end: str | None) -> Part:
    last = (await link.call(scripts.look(keys, ""))).last
    if end is not None and before(end, last):
        last = end
    if before(last, first):
        return Part(keys=keys, first=first, last=last, entries=0)
    entries = await count_from(link, keys, first) - await count_from(link, keys, above(last))
    return Part(keys=keys, first=first, last=last, entries=max(0, entries))


def start_before(begin: str) -> str:
    """Where a reset puts the cursor so that this is the first event: behind the id before it."""
    if (known := entry_id(begin)) is None:
        return begin
    ms, seq = id_parts(known.decode())
    if (ms, seq) == (0, 0):
        return "earliest"
    return f"{ms}-{seq - 1}" if seq else f"{ms - 1}-{HIGHEST_SEQUENCE}"


def above(entry: str) -> str:
    """The next greater id."""
    ms, seq = id_parts(entry)
    return f"{ms}-{seq + 1}" if seq < HIGHEST_SEQUENCE else f"{ms + 1}-0"


async def read(link: Link, part: Part, after: bytes | None, key: str | None) -> tuple[list[Entry], int, bytes | None]:
    """The next events of a range: those, how many entries were looked at, and the last of these (None: that was all).

    Messages and reminders of actors are left out: they were for the actors of another processor.
    """
    begin = part.first if after is None else b"(" + after
    [page] = await run_all(link, [Command(("XRANGE", part.keys.log, begin, part.last, "COUNT", PAGE), plain)])
    wanted = None if key is None else key_bytes(key)
    events = [
        (entry, fields)
        for entry, fields in page
        if fields[0] != TO and (wanted is None or (field_of(fields, KEY) or b"") == wanted)
    ]
    return events, len(page), page[-1][0] if page else None


def as_json(found: Range, processor: str, name: str) -> str:
    """The plan, for programs."""
    parts = [{"partition": p.keys.number, "first": p.first, "last": p.last, "entries": p.entries} for p in found.parts]
    head = {"stream": found.stream, "processor": processor, "as": name, "key": found.key, "entries": found.entries}
    return orjson.dumps({**head, "done": False, "partitions": parts}, option=orjson.OPT_INDENT_2).decode()


def shapes(events: Sequence[Entry]) -> list[tuple[tuple[bytes, ...], list[Entry]]]:
    """The events in their order, in pieces that one append takes: fields of the same names, and not too many bytes."""
    found: list[tuple[tuple[bytes, ...], list[Entry]]] = []
    size = 0
    for entry in events:
        names, of_entry = tuple(entry[1][::2]), sum(map(len, entry[1]))
        if not found or found[-1][0] != names or size + of_entry > MOST_BYTES:
            found.append((names, []))
            size = 0
        found[-1][1].append(entry)
        size += of_entry
    return found
