"""Saying something to an actor, in words that people type: the name of a message's type, and JSON."""

from typing import Any

import orjson

from runnel.app import App
from runnel.clock import Duration
from runnel.entity.contact import Contact
from runnel.entity.failure import Failure
from runnel.errors import ConfigurationError, NoAnswer, RecordError, RunnelError, StoreError
from runnel.operations.actors import entity_of
from runnel.operations.status import lag, look
from runnel.processor import Processor
from runnel.records import build


class AskFailed(RunnelError):
    """An actor has answered with an error, which the message says; it has changed nothing."""


def message_of(processor: Processor, type_name: str, said: str | bytes) -> Any:
    """A message that the actors of a processor handle, from its type's name and JSON.

    Raises:
        ConfigurationError: The processor has no actors, or they handle none of this type.
        RecordError: It is no JSON, or does not fit.
    """
    name, methods = processor.options.name, entity_of(processor).methods
    if not methods:
        raise ConfigurationError(f"actor {name!r} is a function: it handles events, and no messages")
    if type_name not in methods:
        raise ConfigurationError(f"actor {name!r} handles {', '.join(methods)}; {type_name!r} is none of these")
    try:
        data = orjson.loads(said)
    except orjson.JSONDecodeError as error:
        raise RecordError(f"{type_name}: not JSON: {error}") from None
    return build(methods[type_name].codec.record, data)


async def ask(app: App, processor: Processor, key: str, message: Any, timeout: Duration | None = None) -> bytes:
    """Have an actor handle a message; what it returns, as JSON.

    Raises:
        AskFailed: It has answered with an error.
        NoAnswer: It has not answered in time; the message says what may be the reason.
        RecordError, StoreError: As `Actor.ask`.
    """
    whom = f"actor {processor.options.name!r} of key {key!r}"
    try:
        outcome = await Contact(app, processor).outcome(key, message, timeout)
    except NoAnswer as error:
        try:
            reason = await _reason(app, processor, key)
        except StoreError as trouble:
            raise NoAnswer(f"{error}; {trouble}") from trouble
        raise NoAnswer(f"{error}; {reason}") from None  # the server answers: what there was of trouble was a late reply
    if isinstance(outcome, Failure):
        kind = outcome.type.rpartition(":")[2]
        raise AskFailed(f"{whom} has answered with {kind}: {outcome.text or '(no text)'}; it has changed nothing")
    return outcome


async def _reason(app: App, processor: Processor, key: str) -> str:
    """What may keep an actor from answering.

    Raises:
        StoreError: The server cannot be reached, or refuses.
    """
    keys = processor.stream.partitions[processor.stream.hash(key)]
    link = (await app.open()).link()
    try:
        [seen] = await look(link, [keys], processor.options.name)
    finally:
        await link.close()
    if seen.stopped is not None:
        return f"its partition {keys.number} is quarantined: see `runnel status`"
    if seen.paused is not None:
        return f"its partition {keys.number} is paused: `runnel resume` lets it go on"
    if not seen.owner:
        return f"nobody runs its partition {keys.number}: is a worker up?"
    return f"its partition {keys.number} is run by {seen.owner}, and has {lag(seen):,} events to do"


async def tell(app: App, processor: Processor, key: str, message: Any) -> str:
    """Have an actor handle a message, without waiting for that; the id of its entry in the log.

    Raises:
        RecordError, StreamFull, StoreError: As `Actor.tell`.
    """
    return await Contact(app, processor).tell(key, message)
