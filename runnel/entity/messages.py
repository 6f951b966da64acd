"""interim, replaced by the ask branch"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from attrs import frozen

from runnel.errors import RecordError
from runnel.records import Codec, make_codec
from runnel.store.acts import Answer


@frozen
class Method:
    function: Callable[..., Any]
    codec: Codec[Any]


def method_of(actor: str, function: Callable[..., Any], message: type[Any], codec: Codec[Any] | None = None) -> Method:
    return Method(function, codec or make_codec(message))


@frozen
class Reminder:
    name: str
    due: int


@frozen
class Message:
    method: Method
    value: Any
    asker: str | None = None
    number: bytes = b""
    within: float = 0.0

    def answer(self, value: Any) -> Answer:
        raise NotImplementedError

    def refusal(self, error: Exception) -> Answer:
        raise NotImplementedError


Addressed = Reminder | Message


def addressed(fields: Sequence[bytes], methods: Mapping[str, Method]) -> Addressed:
    found = dict(zip(fields[::2], fields[1::2], strict=True))
    if b"~reminder" in found:
        return Reminder(found[b"~reminder"].decode(), int(found[b"~due"]))
    raise RecordError("what is this?")


def asks(fields: Sequence[bytes]) -> bool:
    return b"~asker" in fields[::2]


def refusal(fields: Sequence[bytes], error: Exception) -> Answer:
    raise NotImplementedError
