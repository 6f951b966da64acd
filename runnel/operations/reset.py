"""Setting a processor back, or ahead: first the plan, then, if it is wanted, the deed.

The deed fences whoever owns a partition: that worker stands down, acquires anew, and goes on from the new cursor.
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Literal

import orjson
from attrs import frozen

from runnel.errors import ConfigurationError, StoreError
from runnel.handling.position import before, id_parts
from runnel.operations.status import lag, look
from runnel.processor import Processor
from runnel.store import scripts
from runnel.store.client import Store
from runnel.store.keys import PartitionKeys
from runnel.store.link import Link
from runnel.store.scripts import Look

HIGHEST_SEQUENCE = 2**64 - 1

_RELATIVE = re.compile(r"-(\d+(?:\.\d+)?)([smhdw])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_ID = re.compile(r"(\d+)-(\d+)")
_NUMBER = re.compile(r"\d+(\.\d+)?")


@frozen
class Target:
    """Where to: an end of the log, or behind the entry `cursor`."""

    kind: Literal["earliest", "latest", "after"]
    cursor: str = "0-0"


@frozen(kw_only=True)
class Move:
    """What a reset does to one partition."""

    keys: PartitionKeys
    owner: str | None
    cursor_now: str | None
    cursor_then: str
    count_then: int
    again: int
    """Events that were done and run again."""
    skipped: int
    """Events that were not done and never will be."""
    parked: int = 0
    """Events that were parked, and are dropped."""
    states: int = 0
    """Keys whose state is dropped."""
    reminding: int = 0
    """Keys whose reminders are dropped."""
    trimmed: int = 0
    """Events that the log no longer holds; 0 if the cursor does not go back to where they were."""


@frozen(kw_only=True)
class Plan:
    """What a reset does."""

    processor: str
    stream: str
    target: Target
    moves: tuple[Move, ...]

    @property
    def again(self) -> int:
        """Events that run again."""
        return sum(move.again for move in self.moves)

    @property
    def parked(self) -> int:
        """Parked events that are dropped."""
        return sum(move.parked for move in self.moves)

    @property
    def states(self) -> int:
        """Keys whose actors forget what they remember."""
        return sum(move.states for move in self.moves)

    @property
    def reminding(self) -> int:
        """Keys whose actors are not reminded any more."""
        return sum(move.reminding for move in self.moves)

    @property
    def trimmed(self) -> int:
        """Events that logs no longer hold, where the cursor goes back to where they were."""
        return sum(move.trimmed for move in self.moves)

    @property
    def skipped(self) -> int:
        """Events that are skipped."""
        return sum(move.skipped for move in self.moves)


def parse_target(text: str, now: float) -> Target:
    """What `--start` says.

    Args:
        text: "earliest", "latest", an entry's id "ms-seq" (what is after it runs again), or a moment (what was sent at
            it or later runs again): "-1h" (s, m, h, d, w), ISO 8601 (UTC unless it says otherwise), or seconds (from 10¹¹
            on milliseconds) since the epoch.
        now: Seconds since the epoch.

    Raises:
        ConfigurationError: It is none of these, or a moment to come.
    """
    if text in ("earliest", "latest"):
        return Target(text)  # type: ignore[arg-type]
    if _ID.fullmatch(text):
        ms, seq = id_parts(text)
        if max(ms, seq) > HIGHEST_SEQUENCE:
            raise ConfigurationError(f"start {text!r}: an id has two numbers of at most 64 bits")
        return Target("after", f"{ms}-{seq}")
    begins = moment(text, now)
    if begins > now:
        raise ConfigurationError(f"start {text!r} is yet to come")
    ms = round(begins * 1000)
    return Target("after", f"{ms - 1}-{HIGHEST_SEQUENCE}" if ms > 0 else "0-0")


def moment(text: str, now: float) -> float:
    """A time that somebody wrote, as seconds since the epoch: ISO 8601, seconds or milliseconds, or back from now: -1h.

    Raises:
        ConfigurationError: It is none.
    """
    if relative := _RELATIVE.fullmatch(text):
        return max(0.0, now - float(relative[1]) * _SECONDS[relative[2]])
    if _NUMBER.fullmatch(text):
        number = float(text)
        return number / 1000 if number >= 1e11 else number
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigurationError(
            f"start {text!r} must be earliest, latest, an id (ms-seq), a time (ISO 8601, seconds or milliseconds "
            "since 1970), or one like -1h"
        ) from None
    return (found if found.tzinfo is not None else found.replace(tzinfo=UTC)).timestamp()


async def make_plan(store: Store, processor: Processor, start: str, partitions: Sequence[int] = ()) -> Plan:
    """See what a reset would do; changes nothing.

    Args:
        store: An open one.
        processor: Which processor.
        start: See `parse_target`; "now" is the server's.
        partitions: The partitions' numbers; none: all.

    Raises:
        ConfigurationError: `start` means nothing, or is beyond the last entry of all, or there is no such partition.
        StoreError: The server cannot be reached, or refuses.
    """
    stream = processor.stream
    for number in partitions:
        if not 0 <= number < stream.partition_count:
            raise ConfigurationError(f"stream {stream.name!r} has no partition {number}: 0 to {stream.partition_count - 1}")
    chosen = [stream.partitions[number] for number in sorted(set(partitions)) or range(stream.partition_count)]
    seconds, micros = await store.command("TIME")
    target = parse_target(start, int(seconds) + int(micros) / 1e6)
    link = store.link()
    try:
        seen = await look(link, chosen, processor.options.name)
        if _ID.fullmatch(start):
            check_id(target.cursor, seen)
        counts = await _counts(link, chosen, seen, target)
    finally:
        await link.close()
    name, policy = processor.options.name, processor.options.start
    return Plan(
        processor=name,
        stream=stream.name,
        target=target,
        moves=tuple(
            move(keys, each, target, count, policy) for keys, each, count in zip(chosen, seen, counts, strict=True)
        ),
    )


def check_id(entry_id: str, seen: Sequence[Look]) -> None:
    """Refuse an id that lies beyond the last entry of all partitions: it is none of theirs.

    Raises:
        ConfigurationError: It does.
    """
    last = max((each.last for each in seen), key=id_parts)
    if before(last, entry_id):
        where = "no event was ever sent" if last == scripts.START.decode() else f"the last one is {last}"
        raise ConfigurationError(f"start {entry_id!r} is beyond the last event: {where}; for the end there is 'latest'")


def as_json(plan: Plan, *, done: bool) -> str:
    """The plan for programs, and whether it was carried out."""
    moves = [
        {
            "partition": each.keys.number,
            "owner": each.owner,
            "cursor_now": each.cursor_now,
            "cursor_then": each.cursor_then,
            "again": each.again,
            "skipped": each.skipped,
            "parked": each.parked,
            "states": each.states,
            "reminding": each.reminding,
            "trimmed": each.trimmed,
        }
        for each in plan.moves
    ]
    head = {"processor": plan.processor, "stream": plan.stream, "done": done, "again": plan.again, "skipped": plan.skipped}
    return orjson.dumps({**head, "partitions": moves}, option=orjson.OPT_INDENT_2).decode()


def move(
    keys: PartitionKeys, seen: Look, target: Target, count: int, start: Literal["earliest", "latest"] = "earliest"
) -> Move:
    """What a reset does to a partition; `count` is how many entries it then counts as done since the log began."""
    cursor = _cursor(target, seen)
    behind_now = lag(seen, start)
    behind_then = min(seen.length, max(0, seen.added - count))
    return Move(
        keys=keys,
        owner=seen.owner or None,
        cursor_now=seen.cursor,
        cursor_then=cursor,
        count_then=count,
        again=max(0, behind_then - behind_now),
        skipped=max(0, behind_now - behind_then),
        parked=seen.parked,
        states=seen.states,
        reminding=seen.reminding,
        trimmed=seen.added - seen.length if _goes_before_the_log(cursor, seen) else 0,
    )


async def carry_out(store: Store, plan: Plan) -> None:
    """Do it; done again, it does no harm.

    Raises:
        StoreError: The server cannot be reached, or refuses; some partitions may be reset already.
    """
    link = store.link()
    kind = plan.target.kind
    try:
        answers = await link.run(
            [
                scripts.reset(each.keys, plan.processor, each.cursor_then if kind == "after" else kind, each.count_then)
                for each in plan.moves
            ],
            patience=5,
        )
    finally:
        await link.close()
    for answer in answers:
        if isinstance(answer, StoreError):
            raise answer


def _goes_before_the_log(cursor: str, seen: Look) -> bool:
    """Whether what is behind the cursor may have been trimmed."""
    return before(cursor, seen.first if seen.length else seen.last)


def _cursor(target: Target, seen: Look) -> str:
    if target.kind == "earliest":
        return "0-0"
    # A cursor beyond the last entry would pass over events that are yet to come.
    return seen.last if target.kind == "latest" or before(seen.last, target.cursor) else target.cursor


async def _counts(link: Link, partitions: Sequence[PartitionKeys], seen: Sequence[Look], target: Target) -> list[int]:
    """How many entries each log had, since it began, up to where the target leads."""
    if target.kind == "earliest":
        return [each.added - each.length for each in seen]
    cursors = [_cursor(target, each) for each in seen]
    counts = [each.added for each in seen]
    measured = [0] * len(seen)
    at = {i: cursor.encode() for i, cursor in enumerate(cursors) if cursor != seen[i].last}
    while at:
        answers = await link.run([scripts.measure(partitions[i], after) for i, after in at.items()])
        for i, answer in zip(list(at), answers, strict=True):
            if isinstance(answer, StoreError):
                raise answer
            found, at[i], added = answer
            measured[i] += found
            if not found:
                counts[i] = added - measured[i]
                del at[i]
    return counts
