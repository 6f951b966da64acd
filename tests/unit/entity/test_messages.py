"""What is said to an actor and what it answers: the same on the other side, and nothing but `RecordError` for what is not."""

import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from importlib.util import LazyLoader, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runnel import ActorFailed, ConfigurationError, KeyParked, Record, RecordError, StreamFull
from runnel.entity.failure import LONGEST_TEXT, Failure, failure_of
from runnel.entity.messages import (
    MOST_BYTES,
    Message,
    Method,
    Reminder,
    Reply,
    Request,
    addressed,
    asks,
    message_fields,
    method_for,
    method_of,
    refusal,
    reply,
)
from runnel.store.acts import Answer

ASKER = "00112233445566aa"


class Order(Record):
    order_id: int
    note: str = ""


class Rush(Order):
    pass


class GetTotal(Record):
    since: datetime


class Total(Record):
    amount: int


@dataclass
class Plain:
    name: str


class Color(Enum):
    RED = "r"


class Account:
    async def receive(self, order: Order) -> None: ...

    async def total(self, message: GetTotal) -> Total:
        raise NotImplementedError

    def anything(self, message: Plain): ...  # type: ignore[no-untyped-def]


METHODS = {
    "Order": method_of("Account", Account.receive, Order),
    "GetTotal": method_of("Account", Account.total, GetTotal),
    "Plain": method_of("Account", Account.anything, Plain),
}


def returning(annotation: Any) -> Method:
    def get(self: object, message: Order) -> None: ...

    get.__annotations__["return"] = annotation
    return method_of("Account", get, Order)


def fields_of(message: Any, request: Request | None = None, key: bytes = b"7") -> list[bytes]:
    fields = message_fields("Account", key, method_for("Account", message, METHODS), message, request)
    return [part for pair in zip(fields.names, fields.values, strict=True) for part in pair]


def request(number: int = 1, within: float = 2.5) -> Request:
    return Request(ASKER, b"%d" % number, within)


def ask(message: Any, method: Method | None = None) -> Message:
    found = addressed(fields_of(message, request()), {"Order": method} if method else METHODS)
    assert isinstance(found, Message)
    return found


def received(answer: Answer) -> Reply:
    return reply(answer.fields)


# ── messages ──


@given(st.text(st.characters(exclude_categories=["Cs"])), st.binary())
def test_a_tell_is_the_same_on_the_other_side(note: str, key: bytes) -> None:
    fields = fields_of(Order(order_id=7, note=note), key=key)
    assert fields[:4] == [b"~to", b"Account", b"~key", key]
    assert not asks(fields)
    found = addressed(fields, METHODS)
    assert found == Message(METHODS["Order"], Order(order_id=7, note=note))


@given(st.integers(1, 2**63 - 1), st.floats(0.001, 10**9))
def test_an_ask_says_who_wants_to_know_and_for_how_long(number: int, within: float) -> None:
    moment = datetime(2026, 11, 25, tzinfo=UTC)
    fields = fields_of(GetTotal(since=moment), request(number, within))
    assert asks(fields)
    found = addressed(fields, METHODS)
    assert isinstance(found, Message)
    assert (found.method, found.value) == (METHODS["GetTotal"], GetTotal(since=moment))
    assert (found.asker, found.number) == (ASKER, b"%d" % number)
    assert found.within == pytest.approx(within, abs=0.0006, rel=1e-12)


def test_time_that_is_nearly_up_is_some_time_still() -> None:
    fields = fields_of(Order(order_id=1), request(within=0.0001))
    assert addressed(fields, METHODS).within == 0.001  # type: ignore[union-attr]


def test_an_instance_of_a_subclass_goes_as_what_is_handled() -> None:
    assert addressed(fields_of(Rush(order_id=1)), METHODS) == Message(METHODS["Order"], Order(order_id=1))


def test_what_is_not_handled_is_refused_with_what_is() -> None:
    with pytest.raises(
        RecordError, match=r"^actor 'Account' handles Order, GetTotal, Plain; a Total is none of these$"
    ):
        fields_of(Total(amount=1))
    with pytest.raises(RecordError, match="handles Order, GetTotal, Plain; a str is"):
        fields_of("total")
    other = type("Order", (), {})()
    with pytest.raises(RecordError, match="a Order is none of these"):
        fields_of(other)  # another class of that name
    with pytest.raises(RecordError, match="handles no messages"):
        method_for("Account", 1, {})


def test_a_message_that_does_not_fit_its_type_is_not_sent() -> None:
    with pytest.raises(RecordError, match=r"Plain\.name: expected str, got int 3"):
        fields_of(Plain(3))  # type: ignore[arg-type]


def test_a_reminder() -> None:
    fields = [b"~to", b"Account", b"~key", b"7", b"~reminder", "später".encode(), b"~due", b"1700000000000"]
    assert addressed(fields, METHODS) == Reminder("später", 1_700_000_000_000)
    assert not asks(fields)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ([], "neither a reminder nor a message"),
        ([b"~type", b"Order"], "neither a reminder nor a message"),
        ([b"~message", b"{}"], "neither a reminder nor a message"),
        ([b"~type", b"Order", b"~message", b"{"], "Order: cannot be decoded"),
        ([b"~type", b"Order", b"~message", b"[]"], "expected an object"),
        ([b"~type", b"\xff", b"~message", b"{}"], "type of a message that is not UTF-8"),
        ([b"~type", b"Nobody", b"~message", b"{}"], "'Nobody': the actor handles Order, GetTotal, Plain"),
        ([b"~reminder", b"x"], "due time that is no number"),
        ([b"~reminder", b"x", b"~due", b"-1"], "due time that is no number"),
        ([b"~reminder", b"\xff", b"~due", b"1"], "not UTF-8"),
    ],
)
def test_what_is_no_message_says_what_is_wrong(fields: list[bytes], said: str) -> None:
    with pytest.raises(RecordError, match=said):
        addressed([b"~to", b"Account", b"~key", b"7", *fields], METHODS)


NAMES = [b"~to", b"~key", b"~reminder", b"~due", b"~type", b"~message", b"~asker", b"~ask", b"~within"]
VALUES = [b"Account", b"Order", b"12", ASKER.encode(), b'{"order_id": 1}', b"{}", b"[" * 2000]


@given(st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(VALUES) | st.binary(max_size=30)), max_size=9))
def test_hostile_entries_raise_nothing_but_record_errors(pairs: list[tuple[bytes, bytes]]) -> None:
    fields = [part for pair in pairs for part in pair]
    try:
        found = addressed(fields, METHODS)
    except RecordError:
        found = None
    if asks(fields):
        assert isinstance(found, Message | Reminder)
        answer = refusal(fields, ValueError("no"))
        assert received(answer).outcome == Failure("builtins:ValueError", "no")


@pytest.mark.parametrize(
    "wrong",
    [
        {b"~asker": b""},
        {b"~asker": b"a:b"},
        {b"~asker": b"a" * 65},
        {b"~ask": b""},
        {b"~ask": b"x"},
        {b"~ask": b"1" * 20},
        {b"~within": b"-1"},
        {b"~within": b"soon"},
        {b"~within": "٣".encode()},
    ],
)
def test_nobody_is_answered_who_does_not_say_properly_who_asks(wrong: dict[bytes, bytes]) -> None:
    fields = fields_of(Order(order_id=1), request())
    found = dict(zip(fields[::2], fields[1::2], strict=True)) | wrong
    flat = [part for pair in found.items() for part in pair]
    assert not asks(flat)
    assert addressed(flat, METHODS) == Message(METHODS["Order"], Order(order_id=1))


@pytest.mark.parametrize("payload", [b"{", b"{}", b'{"order_id": "x"}'])
def test_an_ask_that_does_not_decode_is_answered_with_why(payload: bytes) -> None:
    fields = fields_of(Order(order_id=1), request())
    fields[fields.index(b"~message") + 1] = payload
    found = addressed(fields, METHODS)
    assert isinstance(found, Message)
    assert found.asker == ASKER
    with pytest.raises(RecordError, match="Order") as caught:
        found.method.function(None, found.value)
    outcome = received(found.refusal(caught.value)).outcome
    assert isinstance(outcome, Failure)
    assert isinstance(outcome.error(), RecordError)
    with pytest.raises(RecordError, match="Order"):
        addressed(fields[: fields.index(b"~asker")], METHODS)


def test_methods_that_cannot_answer_are_refused_when_declared() -> None:
    def stream(self: object, message: Order):  # type: ignore[no-untyped-def]
        yield 1

    with pytest.raises(ConfigurationError, match="'Account': stream has a `yield`"):
        method_of("Account", stream, Order)
    with pytest.raises(ConfigurationError, match=r"the answer of Account\.get: complex cannot be stored"):
        returning(complex)
    with pytest.raises(ConfigurationError, match=r"Account\.get: the annotation .* cannot be resolved.*'Nothing'"):
        returning("Nothing")


def test_only_the_annotation_of_what_it_returns_is_resolved() -> None:
    def get(self: "Later", message: "Later") -> "Total":  # type: ignore[name-defined]  # noqa: F821
        raise NotImplementedError

    method = method_of("Account", get, Order)
    assert method.returns.loads(method.returns.dumps(Total(amount=1))) == Total(amount=1)


# ── answers ──


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (None, None),
        (int, 2**53 + 1),
        (float, 0.1),
        (bool, True),
        (str, "grüße"),
        (bytes, b"\xff"),
        (list[int], [1, 2]),
        (dict[str, list[float]], {"a": [1.5]}),
        (tuple[int, str], (1, "x")),
        (int | None, None),
        ("int | None", 3),
        (datetime, datetime(2026, 11, 25, tzinfo=UTC)),
        (Color, Color.RED),
        (Total, Total(amount=3)),
        (Plain, Plain("x")),
        (list[Total], [Total(amount=3)]),
        (Any, {"a": [1, None, "x"]}),
    ],
)
def test_an_answer_is_what_the_annotation_says(annotation: Any, value: Any) -> None:
    method = returning(annotation)
    answer = ask(Order(order_id=1), method).answer(value)
    assert answer.asker == ASKER
    got = received(answer)
    assert got.number == 1
    assert isinstance(got.outcome, bytes)
    back = method.returns.loads(got.outcome)
    assert (back, type(back)) == (value, type(value))


@pytest.mark.parametrize(
    ("annotation", "value", "said"),
    [
        (None, 3, "expected None, got int 3"),
        (int, "3", "expected int, got str '3'"),
        (int, True, "expected int, got bool True"),
        (int, 2**70, "Integer exceeds 64-bit range"),
        (float, float("nan"), "expected"),
        (str, "\ud800", "cannot be encoded"),
        (list[int], [1, "x"], r"\[1\]: expected int"),
        (Total, Plain("x"), "expected Total, got Plain"),
        (Any, object(), "cannot be encoded: .*not JSON serializable"),
    ],
)
def test_an_answer_of_another_type_is_refused_by_name(annotation: Any, value: Any, said: str) -> None:
    with pytest.raises(RecordError, match=rf"^the answer of Account\.get.*{said}"):
        ask(Order(order_id=1), returning(annotation)).answer(value)


def test_an_answer_may_not_contain_itself() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(RecordError, match=r"the answer of Account\.get"):
        ask(Order(order_id=1), returning(list[Any])).answer(endless)


def test_an_answer_may_not_be_too_large_for_a_commit() -> None:
    message = ask(Order(order_id=1), returning(str))
    assert message.answer("x" * (MOST_BYTES - 2))
    with pytest.raises(RecordError, match=r"the answer of Account\.get has 1048577 bytes, more than 1048576"):
        message.answer("x" * (MOST_BYTES - 1))


def test_an_answer_that_is_not_what_the_asker_expects_is_a_record_error() -> None:
    with pytest.raises(RecordError, match=r"the answer of Account\.get: expected int, got str 'x'"):
        returning(int).returns.loads(b'"x"')
    with pytest.raises(RecordError, match="cannot be decoded"):
        returning(int).returns.loads(b"{")


def test_without_an_annotation_an_answer_comes_as_plain_data() -> None:
    method = METHODS["Plain"]
    assert method.returns.loads(method.returns.dumps(Plain("x"))) == {"name": "x"}


@given(st.lists(st.tuples(st.sampled_from([b"ask", b"ok", b"error", b"text"]), st.binary(max_size=30)), max_size=5))
def test_hostile_answers_raise_nothing_but_record_errors(pairs: list[tuple[bytes, bytes]]) -> None:
    try:
        found = reply([part for pair in pairs for part in pair])
    except RecordError:
        return
    if isinstance(found.outcome, Failure):
        assert isinstance(found.outcome.error(), Exception)


# ── errors ──


class Closed(Exception):
    """A user's."""


class Formatted(Exception):
    def __init__(self, account: str) -> None:
        super().__init__(f"account {account} is closed")


class Coded(Exception):
    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)


class Tacit(Exception):
    def __str__(self) -> str:
        raise RuntimeError("never")


class Outer:
    class Inner(Exception):
        pass


def travelled(error: Exception) -> Exception:
    outcome = received(ask(Order(order_id=1)).refusal(error)).outcome
    assert isinstance(outcome, Failure)
    return outcome.error()


@pytest.mark.parametrize(
    "error",
    [
        Closed("account 7 is closed"),
        Closed("grüße \n"),
        Closed(),
        Outer.Inner("x"),
        ValueError("no"),
        KeyError("7"),
        KeyError(7),
        OSError(2, "no such file"),
        TimeoutError(),
        RecordError("x"),
        StreamFull("x"),
        KeyParked("x"),
    ],
)
def test_an_error_arrives_as_what_it_was(error: Exception) -> None:
    arrived = travelled(error)
    assert type(arrived) in (type(error), OSError)
    assert str(arrived) == str(error) or arrived.args == (str(error),)


@pytest.mark.parametrize(
    ("error", "name", "text"),
    [
        (Formatted("7"), "Formatted", "account 7 is closed"),
        (Coded("x", 3), "Coded", "x"),
        (ExceptionGroup("two", [ValueError()]), "builtins:ExceptionGroup", "two (1 sub-exception)"),
        (UnicodeDecodeError("utf-8", b"x", 0, 1, "bad"), "builtins:UnicodeDecodeError", "can't decode"),
        (StopAsyncIteration("x"), "builtins:StopAsyncIteration", "x"),
    ],
)
def test_an_error_that_cannot_be_made_of_its_text_says_what_it_was(error: Exception, name: str, text: str) -> None:
    arrived = travelled(error)
    assert type(arrived) is ActorFailed
    assert arrived.type.endswith(name)
    assert text in arrived.text
    assert str(arrived) == f"{arrived.type}: {arrived.text}"


def test_an_error_that_cannot_say_what_it_is_travels_all_the_same() -> None:
    assert travelled(Tacit(1, 2)).args == ("",)


def test_an_error_of_a_function_says_what_it_was() -> None:
    class Local(Exception):
        pass

    arrived = travelled(Local("x"))
    assert isinstance(arrived, ActorFailed)
    assert arrived.type.endswith("<locals>.Local")


def test_what_another_actor_failed_with_is_passed_on() -> None:
    arrived = travelled(ActorFailed("bank:Closed", "x"))
    assert isinstance(arrived, ActorFailed)
    assert (arrived.type, arrived.text) == ("bank:Closed", "x")


def test_a_long_text_is_cut() -> None:
    assert len(failure_of(Closed("x" * 10**6)).text) == LONGEST_TEXT


def test_a_text_that_is_not_unicode_travels_escaped() -> None:
    assert str(travelled(Closed("\ud800"))) == "\\ud800"


@pytest.mark.parametrize(
    "name",
    [
        "",
        ":",
        "builtins",
        "builtins:",
        "builtins:SystemExit",
        "builtins:KeyboardInterrupt",
        "asyncio:CancelledError",
        "builtins:BaseException",
        "builtins:GeneratorExit",
        "builtins:StopIteration",
        "builtins:print",
        "builtins:int",
        "os:system",
        "sys:modules.os",
        "runnel.errors:RunnelError.__init__",
        "runnel.errors:RunnelError.__class__",
        "runnel.errors:RunnelError.mro",
        "colorsys_of_nobody:Error",
    ],
)
def test_nothing_but_the_class_of_an_exception_is_made(name: str) -> None:
    arrived = Failure(name, "x").error()
    assert type(arrived) is ActorFailed
    assert arrived.type == name


def test_nothing_is_imported_for_an_error(tmp_path: Path) -> None:
    assert "sndhdr" not in sys.modules
    assert type(Failure("sndhdr:Error", "x").error()) is ActorFailed
    assert "sndhdr" not in sys.modules
    # A package that imports when it is asked for a name, as Runnel does.
    import runnel

    vars(runnel).pop("Zstd", None)
    assert type(Failure("runnel:Zstd", "x").error()) is ActorFailed
    assert "Zstd" not in vars(runnel)


def test_a_module_that_loads_itself_when_looked_at_is_not_loaded(tmp_path: Path) -> None:
    (tmp_path / "lazy_of_test.py").write_text("class Error(Exception): pass\nraise SystemError('loaded')")
    spec = spec_from_file_location("lazy_of_test", tmp_path / "lazy_of_test.py")
    assert spec is not None
    assert spec.loader is not None
    spec.loader = LazyLoader(spec.loader)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.modules["lazy_of_test"] = module
    try:
        assert type(Failure("lazy_of_test:Error", "x").error()) is ActorFailed
    finally:
        del sys.modules["lazy_of_test"]


@given(st.text(), st.text())
def test_any_failure_becomes_an_error(kind: str, text: str) -> None:
    assert isinstance(Failure(kind, text).error(), Exception)
