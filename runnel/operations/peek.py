"""Looking at the events of a stream: pages of its logs, decoded, and what is appended from now on.

It reads, changes nothing, and looks at no more entries than it is told: an event of a key is searched for in the key's
partition alone, and there among a limited number of entries.
"""

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from typing import Any

import orjson
from attrs import field, frozen

from runnel.app import App
from runnel.errors import ConfigurationError, StoreUnavailable
from runnel.handling.position import id_parts
from runnel.operations.exchange import linked, run_all, server_time
from runnel.operations.reset import moment
from runnel.operations.shown import Decoder, Entry, Shown
from runnel.store.keys import PartitionKeys
from runnel.store.link import Link
from runnel.store.script import Command
from runnel.store.scripts import START, entry_id
from runnel.stream import Stream

PAGE = 500
SEARCHED = 10_000
"""Entries that are looked at for events of a key."""

BLOCK = 2.0
"""Seconds that a read waits for new events."""

@frozen(kw_only=True)
class Choice:
    """Which events.

    Attributes:
        partition: Of this one; None: of all.
        key: Of this one; None: of all.
        begin: The first: "earliest", an entry's id (or the first after it), or a moment; "latest": the last `count`.
        count: At most so many.
        searched: Entries to look at, at most, for events of a key.
    """

    partition: int | None = None
    key: str | None = None
    begin: str = "earliest"
    count: int = 10
    searched: int = SEARCHED


@frozen(kw_only=True)
class Page:
    """Events, the oldest first.

    Attributes:
        unfinished: Where the search for a key's events ended before its partition did: the last entry looked at.
        after: Log → the last entry of it that was seen, for who wants to read on from the end.
    """

    events: tuple[Shown, ...]
    unfinished: str | None = None
    after: Mapping[bytes, bytes] = field(factory=dict)


async def peek(app: App, stream: Stream[Any], choice: Choice) -> Page:
    """Some events of a stream, over all its partitions in the order of their ids.

    Raises:
        ConfigurationError: There is no such partition, or the key is not in it, or `begin` means nothing.
        StoreError: The server cannot be reached, or refuses.
    """
    await app.compare_stream(stream)
    async with linked(app) as (store, link):
        now, chosen = await server_time(store), chosen_logs(stream, choice)
        if choice.key is None:
            return _merged(stream, chosen, await _pages(link, chosen, choice, now), choice, now)
        return await _search(link, stream, chosen[0], choice, now)


async def follow(
    app: App, stream: Stream[Any], choice: Choice, after: Mapping[bytes, bytes], say: Callable[[str], object]
) -> AsyncGenerator[Shown, None]:
    """Events as they are appended, for ever; of several partitions about in the order of their ids.

    Args:
        app: The stream's.
        stream: Whose events.
        choice: Of which partition or key.
        after: As `Page` has it: what was seen of each log.
        say: Told that the server is away, and that it is back: no event is missed, but what was trimmed meanwhile.

    Raises:
        StoreRefused: The server refuses.
    """
    decoder, seen, failures = Decoder(stream), dict(after), 0
    logs = {keys.log: keys for keys in chosen_logs(stream, choice)}
    async with linked(app) as (store, link):
        while True:
            try:
                found = await _new_entries(link, seen)
                now = await server_time(store)
            except StoreUnavailable as error:
                failures += 1
                if failures == 1:
                    say(f"{error}; trying again")
                await app.clock.sleep(min(0.05 * 2**failures, 1.0))
                continue
            if failures:
                failures = 0
                say("the server is back")
            for log, entry in found:
                seen[log] = entry[0]
                event = decoder.shown(logs[log], entry, now)
                if choice.key is None or event.key == choice.key:
                    yield event


def chosen_logs(stream: Stream[Any], choice: Choice) -> list[PartitionKeys]:
    """The partitions that are chosen; with a key, the one of that key.

    Raises:
        ConfigurationError: There is no such partition, or the key is not in it.
    """
    number = choice.partition
    if number is not None and not 0 <= number < stream.partition_count:
        raise ConfigurationError(f"stream {stream.name!r} has no partition {number}: 0 to {stream.partition_count - 1}")
    if choice.key is not None:
        of_key = stream.hash(choice.key)
        if number not in (None, of_key):
            raise ConfigurationError(f"key {choice.key!r} is in partition {of_key} of stream {stream.name!r}, not in {number}")
        number = of_key
    return list(stream.partitions) if number is None else [stream.partitions[number]]


def first_id(begin: str, now: float) -> str:
    """Where XRANGE is to begin.

    Raises:
        ConfigurationError: It is no place, or a moment to come.
    """
    if begin == "earliest":
        return "-"
    if (known := entry_id(begin)) is not None:
        return known.decode()
    begins = moment(begin, now)
    if begins > now:
        raise ConfigurationError(f"{begin!r} is yet to come")
    return str(round(begins * 1000))


async def _pages(link: Link, chosen: Sequence[PartitionKeys], choice: Choice, now: float) -> list[list[Entry]]:
    """The first (or last) `count` entries of each log, oldest first."""
    count, is_last = max(choice.count, 1), choice.begin == "latest"
    begin = "-" if is_last else first_id(choice.begin, now)
    calls = [_range(keys, begin, "+", count, is_last) for keys in chosen]
    return [_oldest_first(page, is_last) for page in await run_all(link, calls)]


def _merged(
    stream: Stream[Any], chosen: Sequence[PartitionKeys], pages: Sequence[list[Entry]], choice: Choice, now: float
) -> Page:
    decoder = Decoder(stream)
    entries = [(keys, entry) for keys, page in zip(chosen, pages, strict=True) for entry in page]
    entries.sort(key=lambda found: (id_parts(found[1][0].decode()), found[0].number))
    first = max(0, len(entries) - choice.count) if choice.begin == "latest" else 0
    return Page(
        events=tuple(decoder.shown(keys, entry, now) for keys, entry in entries[first : first + choice.count]),
        after={keys.log: page[-1][0] if page else START for keys, page in zip(chosen, pages, strict=True)},
    )


async def _search(link: Link, stream: Stream[Any], keys: PartitionKeys, choice: Choice, now: float) -> Page:
    """The first (or last) `count` events of a key, among a limited number of entries."""
    decoder, is_last, found, looked = Decoder(stream), choice.begin == "latest", list[Shown](), 0
    begin, end = "-" if is_last else first_id(choice.begin, now), "+"
    newest, last, unfinished = START, b"", False
    while True:
        most = min(PAGE, choice.searched - looked)
        [page] = await run_all(link, [_range(keys, begin, end, most, is_last)])
        if is_last and newest == START and page:
            newest = page[0][0]
        for entry in page:
            looked, last = looked + 1, entry[0]
            if (event := decoder.shown(keys, entry, now)).key == choice.key:
                found.append(event)
                if len(found) >= choice.count:
                    break
        else:
            unfinished = looked >= choice.searched
            if len(page) == most and not unfinished:
                begin, end = (begin, f"({last.decode()}") if is_last else (f"({last.decode()}", end)
                continue
        events = tuple(reversed(found) if is_last else found)[: choice.count]
        return Page(events=events, unfinished=last.decode() if unfinished else None, after={keys.log: newest})


def _range(keys: PartitionKeys, begin: str, end: str, count: int, is_last: bool) -> Command[list[Entry]]:
    words = ("XREVRANGE", keys.log, end, begin) if is_last else ("XRANGE", keys.log, begin, end)
    return Command((*words, "COUNT", count), lambda reply: [(entry, fields) for entry, fields in reply])


async def _new_entries(link: Link, seen: Mapping[bytes, bytes]) -> list[tuple[bytes, Entry]]:
    words = ("XREAD", "COUNT", PAGE, "BLOCK", round(BLOCK * 1000), "STREAMS", *seen, *seen.values())
    reply: Mapping[bytes, list[Entry]] = await link.command(*words, timeout=2 * BLOCK) or {}
    found = [(log, entry) for log, entries in reply.items() for entry in entries]
    return sorted(found, key=lambda each: id_parts(each[1][0].decode()))


def _oldest_first(page: list[Entry], is_last: bool) -> list[Entry]:
    return page[::-1] if is_last else page


def as_json(page: Page) -> str:
    """All events of a page, for programs."""
    return orjson.dumps([event.as_dict() for event in page.events], option=orjson.OPT_INDENT_2).decode()


def as_line(event: Shown) -> str:
    """One event, as a line of JSON."""
    return orjson.dumps(event.as_dict()).decode()
