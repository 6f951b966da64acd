"""Calls of scripts from a thread: what must go on while the event loop is blocked by a handler.

As `link.py`, without an event loop. Only the heart uses it (roles/heart.py), for heartbeats and renewals.
"""

from collections.abc import Sequence
from typing import Any

import redis.exceptions as redis_errors

from runnel.errors import StoreError
from runnel.store.link import UnknownScript, by_digest, by_source, packed, parsed, refusal, store_error
from runnel.store.scripts import Call


class BlockingLink:
    """One connection, connected when first used and again after an error; for one thread at a time.

    Args:
        connection: Of redis-py's blocking client; it has the timeout of an exchange.
        where: The server, as errors name it.
    """

    def __init__(self, connection: Any, where: str) -> None:
        self._connection = connection
        self._where = where

    def run(self, calls: Sequence[Call[Any]]) -> list[Any]:
        """Run scripts in one exchange; each answer is a result, or the error with which the server refused that call.

        Raises:
            StoreUnavailable: The server could not be reached. Which calls took effect is not known; resend them.
        """
        replies = self._exchange([by_digest(call) for call in calls])
        unknown = [i for i, reply in enumerate(replies) if isinstance(reply, UnknownScript)]
        if unknown:
            again = self._exchange([by_source(calls[i]) for i in unknown])
            for i, reply in zip(unknown, again, strict=True):
                replies[i] = reply
        return parsed(calls, replies)

    def close(self) -> None:
        """Close the connection; it opens again when used again."""
        self._connection.disconnect()

    def _exchange(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        try:
            self._connection.connect()  # harmless when it is
            self._connection.send_packed_command([packed(commands)], check_health=False)
            return [self._reply() for _ in commands]
        except (redis_errors.RedisError, OSError) as error:
            self.close()
            raise store_error(error, self._where) from error

    def _reply(self) -> Any | StoreError:
        try:
            return self._connection.read_response()
        except redis_errors.ResponseError as error:
            return refusal(error, self._where)
