"""Codecs: the fields of an entry, deploys in steps, corrupt data, other classes than records, own formats."""

import dataclasses
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import attrs
import msgspec
import orjson
import pydantic
import pytest

from runnel.errors import ConfigurationError, RecordError
from runnel.records import Gzip, JSONSerializer, Record, Serializer, build, make_codec

NOON = datetime(2020, 7, 21, 12, tzinfo=UTC)


class Item(Record):
    name: str
    price: float = 1.0


class Order(Record):
    order_id: int
    created_at: datetime
    amount: int
    items: list[Item] = []  # noqa: RUF012


class Options(Record):
    verbose: bool = False


class Reading(Record, primitive=True):
    sensor: str
    count: int
    value: float
    good: bool = True
    raw: bytes = b""


codec = make_codec(Order)
PAYLOAD = b'{"order_id":1,"created_at":"2020-07-21T22:09:37Z","amount":99}'


def test_a_record_is_one_field_called_data() -> None:
    order = Order(order_id=1, created_at=NOON, amount=99, items=[Item(name="a")])
    (name, payload) = codec.encode(order)
    assert name == b"data"
    assert orjson.loads(payload) == {
        "order_id": 1,
        "created_at": "2020-07-21T12:00:00+00:00",
        "amount": 99,
        "items": [{"name": "a", "price": 1.0}],
    }
    assert codec.decode([name, payload]) == order


@pytest.mark.parametrize(
    "fields",
    [
        [b"data", PAYLOAD],
        [b"data", PAYLOAD, b"~key", b"1"],
        [b"~key", b"data", b"data", PAYLOAD],
        [b"~key", b"1", b"trace", b"data", b"data", PAYLOAD],
        (b"data", PAYLOAD),
    ],
)
def test_the_data_is_found_wherever_it_stands(fields: Any) -> None:
    order = codec.decode(fields)
    assert order.created_at == datetime(2020, 7, 21, 22, 9, 37, tzinfo=UTC)
    assert (order.order_id, order.amount, order.items) == (1, 99, [])


@pytest.mark.parametrize("fields", [[], [b"~key", b"data"], [b"other", b"1"], [b"data"]])
def test_an_entry_without_data_is_an_error(fields: list[bytes]) -> None:
    with pytest.raises(RecordError, match=r"^Order: the entry has no field data"):
        codec.decode(fields)


def test_only_records_of_the_type_are_encoded() -> None:
    class Express(Order):
        hours: int = 1

    with pytest.raises(RecordError, match=r"^expected Order, got Item Item\(name='a', price=1.0\)"):
        codec.encode(Item(name="a"))  # type: ignore[arg-type]
    decoded = codec.decode(codec.encode(Express(order_id=1, created_at=NOON, amount=1)))
    assert decoded == Order(order_id=1, created_at=NOON, amount=1)


def test_rolling_deploy_unknown_fields_are_ignored_and_missing_ones_have_their_default() -> None:
    newer = b'{"order_id":1,"created_at":"2020-07-21T22:09:37","amount":1,"items":[{"name":"a","colour":"red"}],"x":{}}'
    assert codec.decode([b"data", newer]).items == [Item(name="a")]
    assert codec.decode([b"data", PAYLOAD]).items == []


WRONG = [
    (b'{"order_id":1,"amount":2}', "Order.created_at: missing, expected datetime"),
    (b'{"order_id":"1","created_at":"2020-07-21","amount":2}', "Order.order_id: expected int, got str '1'"),
    (b'{"order_id":true,"created_at":"2020-07-21","amount":2}', "Order.order_id: expected int, got bool True"),
    (b'{"order_id":1.0,"created_at":"2020-07-21","amount":2}', "Order.order_id: expected int, got float 1.0"),
    (
        b'{"order_id":99999999999999999999,"created_at":"2020-07-21","amount":2}',
        "Order.order_id: expected int of at most 64 bits (in JSON), got float 1e+20",
    ),
    (b'{"order_id":null,"created_at":"2020-07-21","amount":2}', "Order.order_id: expected int, got None"),
    (
        b'{"order_id":1,"created_at":"soon","amount":2}',
        "Order.created_at: expected datetime in ISO 8601, got str 'soon'",
    ),
    (b'{"order_id":1,"created_at":7,"amount":2}', "Order.created_at: expected datetime in ISO 8601, got int 7"),
    (
        b'{"order_id":1,"created_at":"2020-07-21","amount":2,"items":[{"name":"a"},{"name":"b","price":"x"}]}',
        "Order.items[1].price: expected float, got str 'x'",
    ),
    (
        b'{"order_id":1,"created_at":"2020-07-21","amount":2,"items":[{"price":1}]}',
        "Order.items[0].name: missing, expected str",
    ),
    (
        b'{"order_id":1,"created_at":"2020-07-21","amount":2,"items":"ab"}',
        "Order.items: expected list[Item], got str 'ab'",
    ),
    (b"[]", "Order: expected an object with the fields of Order, got list []"),
    (b'"order_id"', "Order: expected an object with the fields of Order, got str 'order_id'"),
    (b"null", "Order: expected an object with the fields of Order, got None"),
]


@pytest.mark.parametrize(("payload", "message"), WRONG)
def test_data_of_the_wrong_type_is_an_error_that_says_where(payload: bytes, message: str) -> None:
    with pytest.raises(RecordError) as caught:
        codec.decode([b"data", payload])
    assert str(caught.value) == message


@pytest.mark.parametrize("payload", [b"", b"{", b"\xff\xfe", b"{'a':1}", PAYLOAD[:-1], PAYLOAD + b"x", b"[" * 100_000])
def test_corrupt_json_is_an_error(payload: bytes) -> None:
    with pytest.raises(RecordError, match=r"^Order: cannot be decoded: JSONDecodeError: "):
        codec.decode([b"data", payload])


@pytest.mark.parametrize("payload", [b"[]", b'"verbose"', b"0", b"[1]"])
def test_a_record_of_defaults_only_is_still_an_object(payload: bytes) -> None:
    with pytest.raises(RecordError, match=r"^Options: expected an object"):
        make_codec(Options).decode([b"data", payload])


def test_deep_nesting_is_an_error_and_not_a_crash_or_a_hang() -> None:
    class Tree(Record):
        children: list["Tree"] = []  # noqa: RUF012
        value: int = 0

    deep = b'{"children":[' * 330 + b'{"value":"x"}' + b"]}" * 330
    with pytest.raises(RecordError):
        make_codec(Tree).decode([b"data", deep])
    shallow = b'{"children":[' * 30 + b'{"value":"x"}' + b"]}" * 30
    with pytest.raises(RecordError, match=r"^Tree" + r"\.children\[0\]" * 30 + r"\.value: expected int, got str"):
        make_codec(Tree).decode([b"data", shallow])


def test_what_was_changed_in_place_to_something_wrong_is_not_sent() -> None:
    order = Order(order_id=1, created_at=NOON, amount=1, items=[Item(name="a")])
    order.items.append("b")  # type: ignore[arg-type]
    with pytest.raises(RecordError, match=r"^Order\.items\[1\]: expected Item, got str 'b'"):
        codec.encode(order)
    order = Order(order_id=1, created_at=NOON, amount=1)
    del order.amount
    with pytest.raises(RecordError, match=r"^Order\.amount: missing, expected int"):
        codec.encode(order)


@pytest.mark.parametrize("value", [2**64, -(2**63) - 1])
def test_an_int_that_json_cannot_hold_is_not_sent(value: int) -> None:
    with pytest.raises(RecordError, match=r"^Order: cannot be encoded: .*64-bit"):
        codec.encode(Order(order_id=value, created_at=NOON, amount=1))


def test_text_that_is_not_unicode_is_not_sent() -> None:
    with pytest.raises(RecordError, match=r"^Item: cannot be encoded"):
        make_codec(Item).encode(Item(name="\ud800"))
    with pytest.raises(RecordError, match=r"^Reading\.sensor: cannot be encoded"):
        make_codec(Reading).encode(Reading(sensor="\ud800", count=1, value=1.0))


def test_dumps_and_loads_make_one_value_of_a_record() -> None:
    reading = Reading(sensor="s", count=1, value=2.0, raw=b"\xff")
    for record in (Order(order_id=1, created_at=NOON, amount=1), reading):
        each = make_codec(type(record))
        assert isinstance(each.dumps(record), bytes)
        assert each.loads(each.dumps(record)) == record


@pytest.mark.parametrize("key", ["05", " 5", "1_0", "x", "5.0", ""])
def test_a_key_has_one_spelling_only_or_two_would_become_one(key: str) -> None:
    class Table(Record):
        rows: dict[int, str]

    with pytest.raises(RecordError, match=r"^Table\.rows\['.*'\]: expected int as a key, got str"):
        make_codec(Table).decode([b"data", orjson.dumps({"rows": {key: "a"}})])


# Primitive records


def test_a_primitive_record_is_native_fields() -> None:
    native = make_codec(Reading)
    reading = Reading(sensor="ä", count=-3, value=1.5, good=False, raw=b"\x00\xff")
    fields = native.encode(reading)
    assert fields == [
        *(b"sensor", "ä".encode(), b"count", b"-3", b"value", b"1.5"),
        *(b"good", b"false", b"raw", b"\x00\xff"),
    ]
    assert native.decode([*fields, b"~key", b"1", b"unknown", b"x"]) == reading


def test_a_primitive_record_reads_what_other_clients_write() -> None:
    native = make_codec(Reading)
    assert native.decode([b"value", b"2", b"count", b"7", b"sensor", b"s", b"good", b"0"]) == Reading(
        sensor="s", count=7, value=2.0, good=False
    )


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ([b"sensor", b"s", b"count", b"x", b"value", b"1"], r"^Reading\.count: expected int, got bytes b'x'"),
        ([b"sensor", b"\xff", b"count", b"1", b"value", b"1"], r"^Reading\.sensor: expected str, got bytes b'\\xff'"),
        (
            [b"sensor", b"s", b"count", b"1", b"value", b"nan"],
            r"^Reading\.value: expected a finite float, got float nan",
        ),
        ([b"sensor", b"s", b"count", b"1", b"value", b"1", b"good", b"maybe"], r"^Reading\.good: expected bool"),
        ([b"sensor", b"s"], r"^Reading\.count: missing, expected int"),
    ],
)
def test_native_fields_of_the_wrong_type_are_an_error(fields: list[bytes], message: str) -> None:
    with pytest.raises(RecordError, match=message):
        make_codec(Reading).decode(fields)


@pytest.mark.parametrize("annotation", [int | None, list[int], datetime, Item, Any, Decimal, type(None)])
def test_a_primitive_record_takes_scalars_of_redis_only(annotation: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"^Holder\.value: a primitive record holds int, float, bool, str and"):
        type("Holder", (Record,), {"__annotations__": {"value": annotation}}, primitive=True)


def test_a_primitive_record_takes_no_serializer_and_is_checked_when_encoded() -> None:
    with pytest.raises(ConfigurationError, match="Reading is primitive"):
        make_codec(Reading, JSONSerializer())
    reading = Reading(sensor="s", count=1, value=1.0)
    reading.__dict__["count"] = "x"
    with pytest.raises(RecordError, match=r"^Reading\.count: expected int, got str 'x'"):
        make_codec(Reading).encode(reading)
    with pytest.raises(RecordError, match=r"^expected Reading, got Item"):
        make_codec(Reading).encode(Item(name="a"))  # type: ignore[arg-type]


# Other classes than records


class Colour(Enum):
    RED = "red"


@attrs.define
class Plain:
    number: int
    when: datetime
    _hidden: int = 0
    derived: int = attrs.field(init=False, default=7)


@attrs.frozen(kw_only=True)
class Whole:
    parts: list[Plain]
    colour: Colour = Colour.RED


@dataclass(frozen=True, slots=True)
class Point:
    x: float
    y: float = 0.0


@dataclass
class Path:
    points: list[Point]
    names: dict[UUID, str] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.points:
            raise ValueError("a path has points")


class Struct(msgspec.Struct):
    number: int
    when: datetime
    raw: bytes = b""


class Tuple(msgspec.Struct, array_like=True):
    x: int
    y: int = 0


class Model(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(strict=True)
    number: int
    when: datetime
    renamed: int = pydantic.Field(default=0, alias="old-name")


OTHERS = [
    Plain(1, NOON, 5),
    Whole(parts=[Plain(1, NOON)]),
    Point(1.5, 2),
    Path([Point(1.0), Point(2.0, 3.0)], {UUID(int=1): "a"}),
    Struct(1, NOON, b"\xff"),
    Tuple(1, 2),
    Model(number=1, when=NOON),
]


class Mixed(Record):
    plain: Plain
    point: Point
    struct: Struct
    model: Model
    either: Point | Struct | int


@pytest.mark.parametrize("value", OTHERS, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("serializer", [None, JSONSerializer(Gzip())])
def test_other_classes_are_taken_as_they_are(value: Any, serializer: Serializer | None) -> None:
    other = make_codec(type(value), serializer)
    assert other.decode(other.encode(value)) == value


def test_other_classes_may_be_fields_of_records() -> None:
    mixed = Mixed(
        plain=Plain(1, NOON),
        point=Point(1.0),
        struct=Struct(2, NOON),
        model=Model(number=3, when=NOON),
        either=Point(2.0),
    )
    other = make_codec(Mixed)
    assert other.decode(other.encode(mixed)) == mixed
    mixed.either = Struct(1, NOON)
    assert other.decode(other.encode(mixed)) == mixed


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (Plain("x", NOON), r"^Plain\.number: expected int, got str 'x'"),  # type: ignore[arg-type]
        (Whole(parts=[Plain(1, "x")]), r"^Whole\.parts\[0\]\.when: expected datetime, got str 'x'"),  # type: ignore[arg-type]
        (Point("1"), r"^Point\.x: expected float, got str '1'"),  # type: ignore[arg-type]
        (Struct("1", NOON), r"^Struct: Expected `int`, got `str`"),  # type: ignore[arg-type]
        (Model.model_construct(number="x", when=NOON), r"^Model: "),
    ],
    ids=lambda value: type(value).__name__,
)
def test_wrong_values_in_other_classes_are_not_sent(value: Any, message: str) -> None:
    with pytest.raises(RecordError, match=message):
        make_codec(type(value)).encode(value)


class Bounded(pydantic.BaseModel):
    number: int = pydantic.Field(gt=0)


def test_a_model_that_was_changed_against_its_own_rules_is_not_sent() -> None:
    bounded = Bounded(number=1)
    bounded.number = -1
    with pytest.raises(RecordError, match=r"^Bounded\.number: Input should be greater than 0"):
        make_codec(Bounded).encode(bounded)


@pytest.mark.parametrize(
    ("cls", "payload", "message"),
    [
        (Plain, b'{"number":true,"when":"2020-01-01"}', r"^Plain\.number: expected int, got bool True"),
        (Plain, b'{"number":1}', r"^Plain\.when: missing"),
        (Point, b'{"x":"1"}', r"^Point\.x: expected float, got str '1'"),
        (Path, b'{"points":[]}', r"^Path: ValueError: a path has points"),
        (Path, b'{"points":[{"x":1},{}]}', r"^Path\.points\[1\]\.x: missing, expected float"),
        (
            Struct,
            b'{"number":"1","when":"2020-01-01T00:00:00"}',
            r"^Struct: Expected `int`, got `str` - at `\$\.number`",
        ),
        (Model, b'{"number":"1","when":"2020-01-01T00:00:00"}', r"^Model\.number: Input should be a valid integer"),
    ],
)
def test_wrong_data_for_other_classes_is_an_error(cls: Any, payload: bytes, message: str) -> None:
    with pytest.raises(RecordError, match=message):
        make_codec(cls).decode([b"data", payload])


@pytest.mark.parametrize("record", [int, dict, object, Record, "Order", None])
def test_what_has_no_fields_cannot_be_the_type_of_a_stream(record: Any) -> None:
    with pytest.raises(ConfigurationError, match="cannot be the type of a stream's records"):
        make_codec(record)


def test_another_class_with_a_field_that_cannot_be_stored_is_refused() -> None:
    @dataclass
    class Bad:
        value: complex

    with pytest.raises(ConfigurationError, match=r"^Bad\.value: complex cannot be stored"):
        make_codec(Bad)


# Unions


class Card(Record):
    number: str


class Cash(Record):
    coins: int = 0


class Payment(Record):
    by: Card | Cash | int | None = None


payments = make_codec(Payment)


@pytest.mark.parametrize("by", [Card(number="1"), Cash(coins=2), 5, None])
def test_a_union_of_records_is_told_apart_by_its_tag(by: Any) -> None:
    assert payments.decode(payments.encode(Payment(by=by))) == Payment(by=by)


def test_the_tag_is_the_class_name_and_without_one_it_is_the_first_class() -> None:
    assert payments.encode(Payment(by=Cash()))[1] == b'{"by":{"_type":"Cash","coins":0}}'
    assert payments.decode([b"data", b'{"by":{"number":"1"}}']) == Payment(by=Card(number="1"))
    with pytest.raises(RecordError, match=r"^Payment\.by\._type: expected one of Card, Cash, got str 'Gold'"):
        payments.decode([b"data", b'{"by":{"_type":"Gold"}}'])
    with pytest.raises(RecordError, match=r"^Payment\.by\.coins: expected int, got str 'x'"):
        payments.decode([b"data", b'{"by":{"_type":"Cash","coins":"x"}}'])


def test_a_union_whose_tags_would_be_ambiguous_is_refused() -> None:
    other = type("Card", (Record,), {"__annotations__": {"x": int}})
    tagged = type("Tagged", (Record,), {"__annotations__": {"_type": int}})
    with pytest.raises(ConfigurationError, match="have the same name"):
        type("Holder", (Record,), {"__annotations__": {"value": Card | other}})
    with pytest.raises(ConfigurationError, match="has a field _type"):
        type("Holder", (Record,), {"__annotations__": {"value": Card | tagged}})


# From the command line


def test_build_takes_json_data_and_refuses_what_is_misspelt() -> None:
    data = {"order_id": 1, "created_at": "2020-07-21T22:09:37Z", "amount": 99, "items": [{"name": "a"}]}
    assert build(Order, data).items == [Item(name="a")]
    with pytest.raises(
        RecordError, match=r"^Order\.amuont: unknown field, the fields are order_id, created_at, amount"
    ):
        build(Order, {**data, "amuont": 1})
    with pytest.raises(RecordError, match=r"^Order\.items\[0\]\.nmae: unknown field"):
        build(Order, {**data, "items": [{"nmae": "a"}]})
    with pytest.raises(RecordError, match=r"^Order\.amount: missing, expected int"):
        build(Order, {"order_id": 1, "created_at": "2020-07-21T22:09:37Z"})
    assert build(Order, {**data, "amuont": 1}, strict=False).amount == 99
    assert build(Payment, {"by": {"_type": "Cash", "coins": 1}}) == Payment(by=Cash(coins=1))
    with pytest.raises(RecordError, match=r"^Order: expected an object"):
        build(Order, [1])  # type: ignore[arg-type]
    assert build(Reading, {"sensor": "s", "count": 1, "value": 1, "raw": "/w=="}).raw == b"\xff"


# Formats of one's own


@dataclass(frozen=True)
class SortedJSON(Serializer):
    """As in the documentation of Runnel 0.1."""

    compressor = None

    def dumps(self, value: Any) -> bytes:
        return json.dumps(value, sort_keys=True).encode()

    def loads(self, value: bytes) -> Any:
        return json.loads(value)


class Recording(Serializer):
    def __init__(self) -> None:
        self.seen: list[Any] = []

    def dumps(self, value: Any) -> bytes:
        self.seen.append(value)
        return msgspec.msgpack.encode(value)

    def loads(self, value: bytes) -> Any:
        return msgspec.msgpack.decode(value)


class Rich(Record):
    when: datetime
    length: timedelta
    raw: bytes
    price: Decimal
    identity: UUID
    colour: Colour
    by_day: dict[int, set[str]]


RICH = Rich(
    when=NOON,
    length=timedelta(hours=-1, microseconds=1),
    raw=b"\x00",
    price=Decimal("1.10"),
    identity=UUID(int=1),
    colour=Colour.RED,
    by_day={1: {"a"}},
)


def test_a_serializer_gets_plain_data_only() -> None:
    serializer = Recording()
    own = make_codec(Rich, serializer)
    assert own.decode(own.encode(RICH)) == RICH
    assert serializer.seen == [
        {
            "when": "2020-07-21T12:00:00+00:00",
            "length": "-P0DT3599.999999S",
            "raw": "AA==",
            "price": "1.10",
            "identity": "00000000-0000-0000-0000-000000000001",
            "colour": "red",
            "by_day": {"1": ["a"]},
        }
    ]
    assert orjson.loads(make_codec(Rich).encode(RICH)[1]) == serializer.seen[0]


def test_a_serializer_as_in_runnel_0_1_works() -> None:
    own = make_codec(Order, SortedJSON())
    order = Order(order_id=1, created_at=NOON, amount=1)
    assert own.encode(order)[1].startswith(b'{"amount": 1, "created_at": ')
    assert own.decode(own.encode(order)) == order


class Failing(Serializer):
    def dumps(self, value: Any) -> bytes:
        return "text"  # type: ignore[return-value]

    def loads(self, value: bytes) -> Any:
        raise KeyError("lost")


def test_what_a_serializer_raises_or_returns_wrongly_is_a_record_error() -> None:
    own = make_codec(Item, Failing())
    with pytest.raises(RecordError, match=r"^Item: Failing must return bytes, not str"):
        own.encode(Item(name="a"))
    with pytest.raises(RecordError, match=r"^Item: cannot be decoded: KeyError: 'lost'") as caught:
        own.decode([b"data", b""])
    assert isinstance(caught.value.__cause__, KeyError)
