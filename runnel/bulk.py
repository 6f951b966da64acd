"""Sending what people typed or files hold: lines of JSON, each a record of a stream.

It gets bytes, and passes records on to `Stream.send`. It says exactly which lines are in the log when it has to stop, so
that going on sends none of them twice.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Any, TypeVar

import orjson

from runnel.errors import RecordError, RunnelError
from runnel.records.making import build
from runnel.stream import Stream

R = TypeVar("R")

BATCH = 1_000
CHUNK = 2**18

Line = tuple[int, bytes]
"""A line and its number, from 1."""


class SendingStopped(RunnelError):
    """Not all lines were sent; the message says which were, `__cause__` why."""


def parse(stream: Stream[R], text: str | bytes) -> R:
    """A record of the stream from JSON.

    Raises:
        RecordError: It is no JSON, or does not fit the record.
    """
    try:
        data = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise RecordError(f"not JSON: {error}") from None
    return build(stream.record, data, strict=True)


async def send_lines(
    stream: Stream[Any],
    source: int,
    *,
    from_line: int = 1,
    advance: Callable[[int, int], None] = lambda events, size: None,
) -> int:
    """Send a record for each line that is not blank, in order, and return how many were sent.

    Args:
        stream: Where to.
        source: The descriptor of a file, a pipe or a terminal. What a pipe holds is sent without waiting for more.
        from_line: The first line to send.
        advance: Told how many events were sent and bytes done with, after each batch.

    Raises:
        SendingStopped: A line is no record: all before it were sent, and none after it. Or the server failed, or the
            sending was cancelled: then it says of which lines it is not known.
    """
    sent, done = 0, from_line - 1
    try:
        async for lines, size in _batches(source):
            batch = [(number, line) for number, line in lines if number >= from_line and line.strip()]
            records, bad = _parsed(stream, batch)
            if records:
                try:
                    await stream.send(*records)
                except (RunnelError, asyncio.CancelledError) as error:
                    raise SendingStopped(_account(error, from_line, done, batch[len(records) - 1][0])) from error
            sent += len(records)
            if bad is not None:
                number, reason = bad
                raise SendingStopped(f"line {number}: {reason}. {_sent(from_line, number - 1)}") from reason
            done = max(done, lines[-1][0])
            advance(len(records), size)
    except asyncio.CancelledError as error:
        # The end of a cancelled call either way; but this one says what the caller has to know.
        raise SendingStopped(_account(error, from_line, done, done)) from error
    return sent


def _parsed(stream: Stream[Any], lines: Iterable[Line]) -> tuple[list[Any], tuple[int, RecordError] | None]:
    """Records up to the first line that is none; that line, and why."""
    records = []
    for number, line in lines:
        try:
            records.append(parse(stream, line))
        except RecordError as error:
            return records, (number, error)
    return records, None


def _account(error: BaseException, first: int, done: int, unsure: int) -> str:
    why = "interrupted" if isinstance(error, asyncio.CancelledError) else str(error)
    if unsure <= done:
        return f"{why}. {_sent(first, done)}"
    return f"{why}. {_sent(first, done)}; some of the lines {done + 1} to {unsure} may have been sent, too"


def _sent(first: int, last: int) -> str:
    if last < first:
        return f"No line was sent; go on with --from-line {first}"
    return f"Lines {first} to {last} were sent; go on with --from-line {last + 1}"


# ── reading ──


async def _batches(source: int) -> AsyncIterator[tuple[Sequence[Line], int]]:
    """Lines, up to 1,000 at a time, and how many bytes they are."""
    number, rest = 0, b""
    while chunk := await _read(source):
        *lines, rest = (rest + chunk).split(b"\n")
        for at in range(0, len(lines), BATCH):
            batch = lines[at : at + BATCH]
            yield list(enumerate(batch, number + 1)), sum(map(len, batch)) + len(batch)
            number += len(batch)
    if rest:
        yield [(number + 1, rest)], len(rest)


async def _read(source: int) -> bytes:
    """Read what there is, at least a byte; nothing at the end."""
    loop, readable = asyncio.get_running_loop(), asyncio.Event()
    try:
        loop.add_reader(source, readable.set)
    except PermissionError:  # a file: it never makes one wait
        return os.read(source, CHUNK)
    try:
        await readable.wait()
        return os.read(source, CHUNK)
    finally:
        loop.remove_reader(source)
