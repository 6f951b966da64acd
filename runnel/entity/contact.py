"""The way to the actors of a processor, from any process that has the app imported: ask, tell, look at what they remember."""

import math
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from attrs import define, field

from runnel.clock import Duration, checked_seconds
from runnel.connected import Connected
from runnel.entity.asking import send
from runnel.entity.declaration import Entity
from runnel.entity.failure import Failure
from runnel.entity.messages import Method, message_fields, method_for
from runnel.errors import ConfigurationError, RecordError
from runnel.processor import Processor
from runnel.producer import Lane
from runnel.records import key_bytes


@define(eq=False)
class Contact:
    """With the actors of one processor. `Actor` says what its methods promise.

    Raises:
        ConfigurationError: The processor has no actors.
    """

    app: Connected
    processor: Processor
    _entity: Entity = field(init=False)

    def __attrs_post_init__(self) -> None:
        if self.processor.entity is None:
            raise ConfigurationError(f"processor {self._name!r} has no actors: declare them with @app.actor(stream)")
        self._entity = self.processor.entity

    async def ask(self, key: object, message: Any, timeout: Duration | None = None) -> Any:
        """Have the key's actor handle a message, and wait for what it returns."""
        outcome = await self.outcome(key, message, timeout)
        if isinstance(outcome, Failure):
            error = outcome.error()
            error.add_note(f"{self._whom(key_bytes(key))} has answered with this; it has changed nothing")
            raise error
        return self._method(message).returns.loads(outcome)

    async def outcome(self, key: object, message: Any, timeout: Duration | None = None) -> bytes | Failure:
        """As `ask`, but what the handler returned stays JSON, and what it raised is not raised."""
        method, text = self._method(message), key_bytes(key)
        limit = self._limit(timeout)
        asker = await self.app.asker_for(self.processor.stream)
        with self._traced("ask") as headers:
            return await asker.ask(
                await self._lane(key),
                self._whom(text),
                lambda request: message_fields(self._name, text, method, message, request, headers),
                limit,
            )

    async def tell(self, key: object, message: Any) -> str:
        """Have the key's actor handle a message, without waiting for that."""
        with self._traced("tell") as headers:
            fields = message_fields(self._name, key_bytes(key), self._method(message), message, headers=headers)
            producer = await self.app.producer_for(self.processor.stream)
            return await send(producer, await self._lane(key), fields, self.app.send_timeout)

    async def state_of(self, key: object) -> Any:
        """What the key's actor remembers, as it is committed; None: nothing."""
        kind, text = self._entity.state, key_bytes(key)
        if kind is None:
            return None
        stream = self.processor.stream
        where = stream.partitions[stream.hash(key)].state(self._name)
        looker = await self.app.looker()
        stored = await looker.look(where, text, self.app.send_timeout)
        return None if stored is None else kind.load(stored)

    def _traced(self, operation: str) -> AbstractContextManager[Mapping[str, str] | None]:
        """A span, if the app makes any; gives the headers of the message."""
        stream = self.processor.stream
        tracing = stream.app.tracing
        return nullcontext() if tracing is None else tracing.sending(stream.name, 1, None, operation)

    @property
    def _name(self) -> str:
        return self.processor.options.name

    def _whom(self, key: bytes) -> str:
        return f"actor {self._name!r} of key {_shown(key)}"

    def _method(self, message: object) -> Method:
        return method_for(self._name, message, self._entity.methods)

    def _limit(self, timeout: Duration | None) -> float:
        limit = self.app.send_timeout if timeout is None else checked_seconds(timeout, f"actor {self._name!r}: timeout")
        if not 0 < limit < math.inf:
            raise RecordError(f"actor {self._name!r}: timeout must be greater than 0, not {timeout!r}")
        return limit

    async def _lane(self, key: object) -> Lane:
        stream = self.processor.stream
        producer = await self.app.producer_for(stream)
        return producer.lane(stream.partitions[stream.hash(key)], stream.partition_size, stream.overflow)


def _shown(key: bytes) -> str:
    return repr(key.decode(errors="backslashreplace"))
