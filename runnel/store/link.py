"""A connection of one's own, and calls of scripts over it.

A `Link` gets `Call`s and commands and passes their answers on. It is the only place where a Redis error becomes one of
ours, and where anything is sent twice: only what is idempotent is, which scripts are, and few commands.
"""

import asyncio
import random
from collections.abc import Sequence
from typing import Any, TypeVar

import redis.exceptions as redis_errors
from hiredis import pack_command
from redis.asyncio.connection import AbstractConnection

from runnel.clock import Clock, io_timeout
from runnel.errors import StoreError, StoreRefused, StoreUnavailable
from runnel.store.script import Call, Command

T = TypeVar("T")

IO_TIMEOUT = 5.0
"""Seconds that a server may take for an exchange that does not block."""


class Link:
    """One connection to the server, connected when first used and again after an error.

    Exchanges of several tasks take turns. Cancelling one drops the connection, since its replies would come to the next.
    """

    def __init__(self, connection: AbstractConnection, clock: Clock, where: str) -> None:
        self._connection = connection
        self._clock = clock
        self._where = where
        self._turn = asyncio.Lock()

    async def run(
        self, calls: Sequence[Call[T] | Command[T]], *, timeout: float = IO_TIMEOUT, patience: float = 0.0
    ) -> list[T | StoreError]:
        """Run scripts (or commands) in one exchange; each answer is a result, or the server's error if it refused that call.

        Args:
            calls: What to run. They should not depend on each other.
            timeout: Seconds for one exchange.
            patience: Seconds for which to send all again while the server cannot be reached.

        Raises:
            StoreUnavailable: The server could not be reached. Which calls took effect is not known; resend them.
        """
        give_up = self._clock.monotonic() + patience
        wait = 0.02
        while True:
            try:
                return await self._run_once(calls, timeout)
            except StoreUnavailable:
                if self._clock.monotonic() + wait > give_up:
                    raise
            await self._clock.sleep(wait * random.uniform(0.5, 1.0))
            wait = min(2 * wait, 1.0)

    async def call(self, call: Call[T], *, timeout: float = IO_TIMEOUT, patience: float = 0.0) -> T:
        """Run one script.

        Raises:
            StoreUnavailable: The server could not be reached.
            StoreRefused: It answered with an error, and changed nothing.
        """
        [answer] = await self.run([call], timeout=timeout, patience=patience)
        if isinstance(answer, StoreError):
            raise answer
        return answer

    async def command(self, *args: Any, timeout: float | None = IO_TIMEOUT) -> Any:
        """Send one command and return its reply as the parser gives it; never sent twice.

        Raises:
            StoreUnavailable: The server could not be reached.
            StoreRefused: It answered with an error.
        """
        [reply] = await self._exchange([args], timeout)
        if isinstance(reply, StoreError):
            raise reply
        return reply

    async def at_once(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Send commands that see one moment (MULTI), and return their replies as the parser gives them; never sent twice.

        A Redis Cluster takes them only if all their keys are in one slot.

        Raises:
            StoreUnavailable: The server could not be reached.
            StoreRefused: It answered one of them with an error; others may have taken effect.
        """
        *_, answer = await self._exchange([("MULTI",), *commands, ("EXEC",)], IO_TIMEOUT)
        for reply in answer if isinstance(answer, list) else [answer]:
            if isinstance(reply, Exception):
                raise reply if isinstance(reply, StoreError) else store_error(reply, self._where)
        found: list[Any] = answer
        return found

    async def close(self) -> None:
        """Close the connection; it opens again when used again."""
        await self._connection.disconnect(nowait=True)

    async def _run_once(self, calls: Sequence[Call[T] | Command[T]], timeout: float) -> list[T | StoreError]:
        replies = await self._exchange([by_digest(call) for call in calls], timeout)
        unknown = [i for i, reply in enumerate(replies) if isinstance(reply, UnknownScript)]
        if unknown:
            again = await self._exchange([by_source(calls[i]) for i in unknown], timeout)
            for i, reply in zip(unknown, again, strict=True):
                replies[i] = reply
        return parsed(calls, replies)

    async def _exchange(self, commands: Sequence[tuple[Any, ...]], timeout: float | None) -> list[Any]:
        connection = self._connection
        async with self._turn:
            try:
                async with io_timeout(timeout):
                    await connection.send_packed_command(packed(commands), check_health=False)
                    return [await self._reply() for _ in commands]
            except (redis_errors.RedisError, OSError) as error:
                await connection.disconnect(nowait=True)
                raise store_error(error, self._where) from error
            except BaseException:
                await connection.disconnect(
                    nowait=True
                )  # replies that are still to come would answer the next exchange
                raise

    async def _reply(self) -> Any:
        try:
            return await self._connection.read_response()
        except redis_errors.ResponseError as error:
            return refusal(error, self._where)


def packed(commands: Sequence[tuple[Any, ...]]) -> bytes:
    """Commands as Redis reads them. Several times as fast as redis-py's way, and paid for each event that is sent."""
    return b"".join([pack_command(command) for command in commands])


class UnknownScript(StoreError):
    """The server does not know the script's digest, since it was restarted or its scripts were flushed; it did not run."""


def by_digest(call: Call[Any] | Command[Any]) -> tuple[Any, ...]:
    """The command that runs a script which the server knows; a plain command is what it is."""
    if isinstance(call, Command):
        return tuple(call.words)
    return (b"EVALSHA", call.script.sha, len(call.keys), *call.keys, *call.args)


def by_source(call: Call[Any] | Command[Any]) -> tuple[Any, ...]:
    """The command that runs a script and lets the server know it. No plain command is unknown."""
    assert isinstance(call, Call)
    return (b"EVAL", call.script.source, len(call.keys), *call.keys, *call.args)


def parsed(calls: Sequence[Call[T] | Command[T]], replies: Sequence[Any]) -> list[T | StoreError]:
    """The answers of calls; of one that was refused, the error."""
    return [
        reply if isinstance(reply, StoreError) else call.parse(reply)
        for call, reply in zip(calls, replies, strict=True)
    ]


def refusal(error: redis_errors.ResponseError, where: str) -> StoreError:
    """An error as the reply to one command; one that says that the server cannot serve now is raised again."""
    if isinstance(error, redis_errors.NoScriptError):
        return UnknownScript()
    meant = store_error(error, where)
    if isinstance(meant, StoreUnavailable):
        raise error
    return meant


_CHANGING = (
    *("UNBLOCKED", "READONLY", "LOADING", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN"),
    *("BUSY ", "MISCONF", "NOREPLICAS"),  # somebody's slow script, a full disk, replicas that are away
)
"""Replies of a server that cannot serve now, but it or another one soon will."""

_NO_PASSWORD = ("HELLO must be called", "Authentication required", "NOAUTH")
"""How a server says that none was given."""


def store_error(error: Exception, where: str) -> StoreError:
    """What an error of redis-py or of the network means to us."""
    if isinstance(error.__cause__, redis_errors.AuthenticationError):
        error = error.__cause__  # on a new connection redis-py hides it in a ConnectionError
    said = str(error) or ("no answer in time" if isinstance(error, TimeoutError) else type(error).__name__)
    match error:
        case redis_errors.AuthenticationError() if said.startswith(_NO_PASSWORD):
            return StoreRefused(f"{where} needs a password: redis://:PASSWORD@host")
        case redis_errors.AuthenticationError() | redis_errors.AuthorizationError():
            return StoreRefused(f"{where} refused the user name or password of redis_url: {said}")
        case redis_errors.ReadOnlyError() | redis_errors.ConnectionError() | redis_errors.TimeoutError() | OSError():
            return StoreUnavailable(f"{where} cannot be reached: {said}")
        case redis_errors.OutOfMemoryError():
            return StoreRefused(
                f"{where} is full (maxmemory): nothing can be sent until processors have caught up, or maxmemory is raised"
            )
        case redis_errors.NoPermissionError():
            return StoreRefused(f"{where} does not permit a command that Runnel needs: {said}")
        case redis_errors.ResponseError() if said.startswith(_CHANGING):
            return StoreUnavailable(f"{where} cannot serve now: {said}")
        case _:
            return StoreRefused(f"{where} answered: {said}")
