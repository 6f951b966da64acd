"""Asking: from a message for one actor to its answer.

The message goes the way of events, by the loop's producer. The answer comes in a stream that only this asker reads, in the slot
of the partition it asked, so that it is added by the commit that marks the message done. Streams are read from a position that
starts before all that can ever be in them: an answer is found whenever reading begins.

There is no task here: whoever waits and finds nobody reading reads for all who wait. When their own answer is there, or they
give up, the next one reads.
"""

import asyncio
import secrets
from collections import defaultdict
from collections.abc import Callable
from itertools import count, islice

from attrs import define, frozen

from runnel.clock import Clock, io_timeout
from runnel.entity.failure import Failure
from runnel.entity.messages import Fields, Request, reply
from runnel.errors import NoAnswer, RecordError, StoreError, StoreUnavailable
from runnel.producer import Lane, Part, Producer
from runnel.store.link import IO_TIMEOUT, Link
from runnel.store.scripts import START

BLOCK = 5.0
"""Seconds for which one XREAD waits for answers."""

SLACK = 0.05
"""Seconds for which the server may be late in saying that there is none."""

MOST_ASKED = 500
"""Answers that are awaited in one stream, which holds 1,000: with those that nobody waits for any more, if not for too many."""

MOST_STREAMS = 64
"""Streams that are read though no answer is awaited there: soon one will be again, and then the read need not begin anew."""


@define(eq=False)
class _Waiting:
    """Somebody who waits for an answer in this stream."""

    stream: bytes
    outcome: bytes | Failure | StoreError | None = None
    woken: "asyncio.Future[None] | None" = None

    def wake(self) -> None:
        if self.woken is not None and not self.woken.done():
            self.woken.set_result(None)


@frozen(eq=False)
class _Read:
    """A read that is under way, of these streams."""

    streams: dict[bytes, bytes]


class Asker:
    """Asks for one event loop.

    Args:
        producer: The loop's.
        link: For XREAD, which occupies its connection while it blocks.
        control: For CLIENT UNBLOCK, which gets that out of it.
        clock: The app's.
    """

    def __init__(self, producer: Producer, link: Link, control: Link, clock: Clock) -> None:
        self._producer = producer
        self._link = link
        self._control = control
        self._clock = clock
        self._name = secrets.token_hex(8)
        self._numbers = count(1)
        self._waiting: dict[int, _Waiting] = {}
        self._positions: dict[bytes, bytes] = {}
        """Stream → the last answer seen there; those that were asked last come last."""
        self._room: defaultdict[bytes, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(MOST_ASKED))
        self._read: _Read | None = None
        self._client_id: int | None = None
        self._trouble: StoreError | None = None
        self._failures = 0
        self._closed = False

    async def ask(self, lane: Lane, whom: str, fields: Callable[[Request], Fields], timeout: float) -> bytes | Failure:
        """Send a message and wait for the answer, `timeout` seconds for both.

        Args:
            lane: The producer's, of the partition.
            whom: The actor, for errors.
            fields: Makes the message.
            timeout: Seconds.

        Raises:
            NoAnswer: None came in time.
            StreamFull, StoreError: The message could not be sent, or answers cannot be read.
        """
        give_up = self._clock.monotonic() + timeout
        waiting = _Waiting(lane.keys.answers(self._name))
        room = self._room[waiting.stream]
        try:
            async with io_timeout(timeout):
                await room.acquire()
        except TimeoutError:
            raise NoAnswer(f"{whom} was not asked within {timeout:g} s: too many wait for answers already") from None
        try:
            if self._closed:  # meanwhile
                raise self._gone()
            await self._answer(waiting, lane, fields, give_up)
        finally:
            room.release()
        if waiting.outcome is None:
            raise self._no_answer(whom, timeout)
        if isinstance(waiting.outcome, StoreError):
            raise waiting.outcome
        return waiting.outcome

    async def _answer(self, waiting: _Waiting, lane: Lane, fields: Callable[[Request], Fields], give_up: float) -> None:
        """Ask, and wait for the answer, until time is up."""
        number, left = next(self._numbers), max(0.001, give_up - self._clock.monotonic())
        self._waiting[number] = waiting
        self._positions[waiting.stream] = self._positions.pop(waiting.stream, START)
        try:
            await send(self._producer, lane, fields(Request(self._name, b"%d" % number, left)), left)
            while waiting.outcome is None and (left := give_up - self._clock.monotonic()) > 0:
                await self._wait(waiting, left)
        finally:
            del self._waiting[number]
            self._pass_on()

    def close(self) -> None:
        """Whoever still waits is told that there will be no answer."""
        self._closed = True
        for waiting in self._waiting.values():
            if waiting.outcome is None:
                waiting.outcome = self._gone()
                waiting.wake()

    def _gone(self) -> StoreUnavailable:
        return StoreUnavailable("the app was closed before the actor answered")

    def _no_answer(self, whom: str, timeout: float) -> NoAnswer:
        error = NoAnswer(
            f"{whom} has not answered within {timeout:g} s: it has handled the message, or is handling it, or never will"
        )
        error.__cause__ = self._trouble
        return error

    # ── waiting ──

    async def _wait(self, waiting: _Waiting, left: float) -> None:
        """Until something has happened that may help."""
        if self._read is None:
            await self._read_for_all(left)
        elif waiting.stream not in self._read.streams:
            await self._interrupt(self._read, left)
        else:
            waiting.woken = asyncio.get_running_loop().create_future()
            try:
                async with io_timeout(left):
                    await waiting.woken
            except TimeoutError:
                pass
            finally:
                waiting.woken = None

    def _pass_on(self) -> None:
        """Have somebody else read, if nobody does."""
        if self._read is None and (heir := next((each for each in self._waiting.values() if each.woken), None)):
            heir.wake()

    # ── reading ──

    async def _read_for_all(self, left: float) -> None:
        read = self._read = _Read(self._streams())
        try:
            answers = await self._xread(read, left)
        except StoreUnavailable as error:
            await self._wait_for_server(error, left)
        except BaseException:
            self._client_id = (
                None  # who is cancelled leaves a connection of no use: the next read will have another one
            )
            raise
        else:
            self._trouble, self._failures = None, 0
            self._take(answers)
        finally:
            self._read = None

    def _streams(self) -> dict[bytes, bytes]:
        """Those that somebody waits for, or did lately."""
        lately = islice(reversed(self._positions), MOST_STREAMS)
        awaited = [waiting.stream for waiting in self._waiting.values()]
        return {stream: self._positions[stream] for stream in (*lately, *awaited)}

    async def _xread(self, read: _Read, left: float) -> dict[bytes, list[tuple[bytes, list[bytes]]]]:
        if self._client_id is None:
            self._client_id = await self._link.command("CLIENT", "ID", timeout=min(IO_TIMEOUT, left + SLACK))
        block = b"%d" % max(1, round(min(BLOCK, left) * 1000))
        streams, timeout = read.streams, min(2 * BLOCK, left + SLACK)
        command = (b"XREAD", b"BLOCK", block, b"STREAMS", *streams, *streams.values())
        return await self._link.command(*command, timeout=timeout) or {}

    def _take(self, answers: dict[bytes, list[tuple[bytes, list[bytes]]]]) -> None:
        for stream, entries in answers.items():
            self._positions[stream] = entries[-1][0]
            for _, fields in entries:
                self._hand_over(stream, fields)

    def _hand_over(self, stream: bytes, fields: list[bytes]) -> None:
        try:
            answer = reply(fields)
        except RecordError:
            return  # somebody else has written there
        waiting = self._waiting.get(answer.number)  # or they have given up
        if waiting is not None and waiting.stream == stream and waiting.outcome is None:
            waiting.outcome = answer.outcome
            waiting.wake()

    async def _wait_for_server(self, error: StoreUnavailable, left: float) -> None:
        self._trouble, self._client_id = error, None
        # Another server's clock may be behind: answers there would be before the last one seen here.
        self._positions = dict.fromkeys(self._positions, START)
        self._failures += 1
        await self._clock.sleep(min(0.005 * 2 ** min(self._failures, 5), left))

    async def _interrupt(self, read: _Read, left: float) -> None:
        """Have the read that is under way begin anew, with all streams."""
        try:
            if self._client_id is not None:
                timeout = min(IO_TIMEOUT, left)
                await self._control.command("CLIENT", "UNBLOCK", self._client_id, timeout=timeout)
        except StoreUnavailable as error:
            self._trouble = error
        # The connections race: the XREAD may not have arrived yet, and then there was nothing to unblock.
        if self._read is read:
            await self._clock.sleep(0.001)


async def send(producer: Producer, lane: Lane, fields: Fields, timeout: float) -> str:
    """Append one entry, as `Stream.send` does; its event id.

    Raises:
        StreamFull, StoreError: As `Stream.send`.
    """
    part = Part(fields.names, False, 1, sum(map(len, fields.values)), list(fields.values))
    await producer.send([(lane, part)], timeout)
    return part.ids.result()[0]
