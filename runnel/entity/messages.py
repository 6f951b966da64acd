"""What is said to one actor, and what it answers: to the fields of entries, and back. Plain data, for both sides.

A message, or a reminder, is an entry of the log that begins with `~to`: only the actors of that processor take it. An answer
is an entry of a stream of whoever asked. Both may hold anything, since anybody can write to the server: what is not as it
should be raises `RecordError`.
"""

import inspect
import re
import typing
from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import orjson
from attrs import frozen

from runnel.entity.failure import Failure, failure_of
from runnel.errors import ConfigurationError, RecordError
from runnel.records import Codec, Values, make_codec
from runnel.store.acts import Answer
from runnel.stream import HEADERS, KEY, TO

REMINDER, DUE, TYPE, MESSAGE, ASKER, ASK, WITHIN = (
    *(b"~reminder", b"~due", b"~type", b"~message"),
    *(b"~asker", b"~ask", b"~within"),
)

MOST_BYTES = 2**20
"""What an answer may hold: it is part of a script, which holds up the server while it runs."""

# ── what an actor handles ──


@frozen(eq=False)
class Method:
    """How the messages of one type are handled.

    Attributes:
        name: Of the actor and its method, for errors.
        function: Called with the actor and the message.
        codec: Of the messages.
        returns: What an answer may be.
    """

    name: str
    function: Callable[..., Any]
    codec: Codec[Any]
    returns: Values


def method_of(actor: str, function: Callable[..., Any], message: type[Any], codec: Codec[Any] | None = None) -> Method:
    """How a function handles messages of a type; `codec`, if they have one already.

    Raises:
        ConfigurationError: They cannot be sent, or what it returns cannot be.
    """
    called = getattr(function, "__name__", type(function).__name__)
    name = f"{actor}.{called}"
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise ConfigurationError(f"actor {actor!r}: {called} has a `yield`: what it returns is the answer")
    returns = Values(_returned(function, name), f"the answer of {name}")
    return Method(name, function, codec or make_codec(message), returns)


def _returned(function: Callable[..., Any], name: str) -> Any:
    """The annotation of what it returns, by itself: others may name what is only defined later."""
    plain = inspect.unwrap(function)
    annotations = getattr(plain, "__annotations__", {})
    if "return" not in annotations:
        return Any
    just_this = SimpleNamespace(__annotations__={"return": annotations["return"]})
    try:
        return typing.get_type_hints(just_this, globalns=getattr(plain, "__globals__", {}))["return"]
    except Exception as error:
        raise ConfigurationError(f"{name}: the annotation of what it returns cannot be resolved: {error}") from error


def method_for(actor: str, message: object, methods: Mapping[str, Method]) -> Method:
    """How an actor handles this message: by its class, or the one it derives from.

    Raises:
        RecordError: It does not; the error says what it does handle.
    """
    for cls in type(message).__mro__:
        method = methods.get(cls.__name__)
        if method is not None and method.codec.record is cls:
            return method
    handled = ", ".join(methods) or "no messages"
    raise RecordError(f"actor {actor!r} handles {handled}; a {type(message).__name__} is none of these")


# ── messages ──


@frozen
class Request:
    """What makes a message an ask: who wants to know, and for how long.

    Attributes:
        asker: Whose stream the answer goes to.
        number: Which of their asks it is, in decimal.
        within: Seconds, from when the message is in the log; after that it is not to be run.
    """

    asker: str
    number: bytes
    within: float


@frozen
class Fields:
    """The fields of an entry: their names, and their values in the same order."""

    names: tuple[bytes, ...]
    values: tuple[bytes, ...]


def message_fields(
    processor: str,
    key: bytes,
    method: Method,
    message: Any,
    request: Request | None = None,
    headers: Mapping[str, str] | None = None,
) -> Fields:
    """A message as an entry: an ask, or, without a request, a tell.

    Raises:
        RecordError: The message does not fit its type.
    """
    record = method.codec.record
    names: tuple[bytes, ...] = (TO, KEY, TYPE, MESSAGE)
    values: tuple[bytes, ...] = (processor.encode(), key, record.__name__.encode(), method.codec.dumps(message))
    if headers:
        names, values = (*names, HEADERS), (*values, orjson.dumps(dict(headers)))
    if request is None:
        return Fields(names, values)
    within = b"%d" % max(1, round(request.within * 1000))
    return Fields((*names, ASKER, ASK, WITHIN), (*values, request.asker.encode(), request.number, within))


@frozen
class Reminder:
    """An actor is to be reminded; `due` in ms."""

    name: str
    due: int


@frozen
class Message:
    """Something is said to an actor; it is an ask if there is an `asker`, see `Request`."""

    method: Method
    value: Any
    asker: str | None = None
    number: bytes = b""
    within: float = 0.0

    def answer(self, value: Any) -> Answer:
        """The answer: what the handler returned.

        Raises:
            RecordError: It is not what the handler's annotation says, or too large.
        """
        assert self.asker is not None
        payload = self.method.returns.dumps(value)
        if len(payload) > MOST_BYTES:
            raise RecordError(f"the answer of {self.method.name} has {len(payload)} bytes, more than {MOST_BYTES}")
        return Answer(self.asker, (b"ask", self.number, b"ok", payload))

    def refusal(self, error: Exception) -> Answer:
        """The answer: what the handler raised."""
        assert self.asker is not None
        return _refusal(self.asker, self.number, error)


Addressed = Reminder | Message


def addressed(fields: Sequence[bytes], methods: Mapping[str, Method]) -> Addressed:
    """What is said to an actor by an entry that begins with `~to`.

    An ask is answered whatever is wrong with its message: its method raises that, then.

    Raises:
        RecordError: It is neither a reminder nor a message that the actor handles.
    """
    found = dict(zip(fields[::2], fields[1::2], strict=False))
    if REMINDER in found:
        return Reminder(_text(found[REMINDER], "reminder"), _number(found.get(DUE, b""), "due time"))
    request = _request(found)
    try:
        method, value = _said(found, methods)
    except RecordError as error:
        if request is None:
            raise
        method, value = _raises(error), None
    if request is None:
        return Message(method, value)
    return Message(method, value, request.asker, request.number, request.within)


def asks(fields: Sequence[bytes]) -> bool:
    """Whether somebody waits for the answer to this entry."""
    return TO in fields[:1] and _request(dict(zip(fields[::2], fields[1::2], strict=False))) is not None


def refusal(fields: Sequence[bytes], error: Exception) -> Answer:
    """The answer to an entry that asks, and is not run."""
    request = _request(dict(zip(fields[::2], fields[1::2], strict=False)))
    assert request is not None
    return _refusal(request.asker, request.number, error)


def _said(found: Mapping[bytes, bytes], methods: Mapping[str, Method]) -> tuple[Method, Any]:
    if TYPE not in found or MESSAGE not in found:
        raise RecordError("an entry for an actor is neither a reminder nor a message")
    name = _text(found[TYPE], "type of a message")
    if name not in methods:
        raise RecordError(f"a message of type {name[:60]!r}: the actor handles {', '.join(methods) or 'no messages'}")
    return methods[name], methods[name].codec.loads(found[MESSAGE])


def _raises(error: RecordError) -> Method:
    def refuse(actor: object, message: object) -> None:
        raise error

    return Method("", refuse, None, None)  # type: ignore[arg-type]


_ASKER = re.compile(rb"[0-9a-f]{1,64}")


def _request(found: Mapping[bytes, bytes]) -> Request | None:
    """Nothing, if it is none that can be answered."""
    asker, number, within = found.get(ASKER, b""), found.get(ASK, b""), found.get(WITHIN, b"")
    if _ASKER.fullmatch(asker) and _DIGITS.fullmatch(number) and _DIGITS.fullmatch(within):
        return Request(asker.decode(), number, int(within) / 1000)
    return None


_DIGITS = re.compile(rb"[0-9]{1,19}")


def _number(value: bytes, what: str) -> int:
    if not _DIGITS.fullmatch(value):
        raise RecordError(f"an entry for an actor has a {what} that is no number: {value[:60]!r}")
    return int(value)


def _text(value: bytes, what: str) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise RecordError(f"an entry for an actor has a {what} that is not UTF-8: {value[:60]!r}") from None


# ── answers ──


@frozen
class Reply:
    """An answer as it came: to which ask, and what the handler returned, as JSON, or raised."""

    number: int
    outcome: bytes | Failure


def reply(fields: Sequence[bytes]) -> Reply:
    """The answer in an entry.

    Raises:
        RecordError: It is none.
    """
    found = dict(zip(fields[::2], fields[1::2], strict=False))
    number = _number(found.get(b"ask", b""), "number of an ask")
    if b"ok" in found:
        return Reply(number, found[b"ok"])
    if b"error" in found:
        texts = (found[b"error"], found.get(b"text", b""))
        return Reply(number, Failure(*(text.decode(errors="replace") for text in texts)))
    raise RecordError(f"the answer to ask {number} says neither what was returned nor what was raised")


def _refusal(asker: str, number: bytes, error: Exception) -> Answer:
    failure = failure_of(error)
    return Answer(asker, (b"ask", number, b"error", failure.type.encode(), b"text", failure.text.encode()))
