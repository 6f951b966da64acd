"""Sending what people typed or files hold: lines of JSON, each a record of a stream.

It gets bytes, and passes records on to `Stream.send`. It says exactly which lines are in the log when it has to stop, so
that going on sends none of them twice.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from contextlib import nullcontext
from typing import Any, TypeVar

import orjson

from runnel.errors import ConfigurationError, RecordError, RunnelError, StreamFull
from runnel.operations.account import NO_LINES, Account, Lines
from runnel.records.making import build
from runnel.stream import Stream, prepare

R = TypeVar("R")

BATCH = 1_000
CHUNK = 2**18

Line = tuple[int, bytes]
"""A line and its number, from 1."""


GRACE = 1.0
"""Seconds for which a batch that is under way may still end when its sending is interrupted."""


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
    skip: Lines = NO_LINES,
    advance: Callable[[int, int], None] = lambda events, size: None,
    on_full: Callable[[StreamFull], None] = lambda full: None,
) -> int:
    """Send a record for each line that is not blank, in order, and return how many were sent.

    Args:
        stream: Where to.
        source: The descriptor of a file, a pipe or a terminal. What a pipe holds is sent without waiting for more.
        from_line: The first line to send.
        skip: Lines behind it that are not to be sent: they are in the log.
        advance: Told how many events were sent and bytes done with, after each batch.
        on_full: Told that a partition is full, each time that it is found so.

    Raises:
        SendingStopped: A line is no record: all before it were sent, and none after it. Or the server failed, a partition
            was full, or the sending was cancelled. It says which lines are in the log, and of which it is not known.
        ConfigurationError: There are not as many lines as `from_line`.
    """
    account = Account(from_line, skip)
    sent = last = 0
    try:
        async for lines, size in _batches(source, min(BATCH, stream.partition_size)):
            batch = [(number, line) for number, line in lines if account.wants(number) and line.strip()]
            records, bad = _parsed(stream, batch)
            await _send(stream, records, [number for number, _ in batch], account, on_full)
            sent += len(records)
            if bad is not None:
                number, reason = bad
                account.passed(number - 1)
                raise SendingStopped(account.told(f"line {number}: {reason}")) from reason
            last = lines[-1][0]
            account.passed(last)
            advance(len(records), size)
    except asyncio.CancelledError as error:
        # The end of a cancelled call either way; but this one says what the caller has to know.
        raise SendingStopped(account.told("interrupted")) from error
    if from_line > max(last, 1):
        raise ConfigurationError(f"--from-line {from_line}: there are only {last} lines")
    return sent


async def _send(
    stream: Stream[Any],
    records: list[Any],
    numbers: list[int],
    account: Account,
    on_full: Callable[[StreamFull], None],
) -> None:
    """Send a batch.

    Raises:
        SendingStopped: It says what became of each line.
    """
    if not records:
        return
    sending, tracing = None, stream.app.tracing
    try:
        with nullcontext() if tracing is None else tracing.sending(stream.name, len(records), None) as headers:
            sending = await prepare(stream, records, headers=headers)
            await _finishing(sending.run(on_full))
    except (RunnelError, asyncio.CancelledError) as error:
        if sending is not None:
            account.ended(zip(numbers, sending.fates(), strict=False))
        why = "interrupted" if isinstance(error, asyncio.CancelledError) else str(error)
        raise SendingStopped(account.told(why)) from error


async def _finishing(work: Coroutine[Any, Any, None]) -> None:
    """Await, and when cancelled give it a moment to end: then what it was doing is known."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task], timeout=GRACE)
        raise
    finally:
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            task.exception()


def _parsed(stream: Stream[Any], lines: Iterable[Line]) -> tuple[list[Any], tuple[int, RecordError] | None]:
    """Records up to the first line that is none; that line, and why."""
    records = []
    for number, line in lines:
        try:
            records.append(parse(stream, line))
        except RecordError as error:
            return records, (number, error)
    return records, None


# ── reading ──


async def _batches(source: int, most: int) -> AsyncIterator[tuple[Sequence[Line], int]]:
    """Lines, up to `most` at a time, and how many bytes they are."""
    number, rest = 0, b""
    while chunk := await _read(source):
        *lines, rest = (rest + chunk).split(b"\n")
        for at in range(0, len(lines), most):
            batch = lines[at : at + most]
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
