"""Whatever record is built, it decodes to itself, in each format; and its type is checked in either direction."""

import json
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntFlag
from types import GenericAlias as Generic
from typing import Any, Literal
from uuid import UUID

import msgspec
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runnel.errors import RecordError
from runnel.records import LZ4, Gzip, JSONSerializer, Record, Serializer, Zstd, build, make_codec
from runnel.records.classes import Detailed, Fast


class Colour(Enum):
    RED = "red"
    TWO = 2


class Access(IntFlag):
    READ = 1
    WRITE = 2


class MessagePack(Serializer):
    def dumps(self, value: Any) -> bytes:
        return msgspec.msgpack.encode(value)

    def loads(self, value: bytes) -> Any:
        return msgspec.msgpack.decode(value)


text = st.text(st.characters(codec="utf-8"), max_size=8)
numbers = st.integers(-(2**63), 2**63 - 1)
floats = st.floats(allow_nan=False, allow_infinity=False)
zones = st.sampled_from([None, UTC, timezone(timedelta(hours=-5, minutes=-30)), timezone(timedelta(seconds=1))])
moments = st.datetimes(timezones=zones, allow_imaginary=False)
Kind = tuple[Any, st.SearchStrategy[Any]]
"""An annotation, and the values that fit it."""

SCALARS: list[Kind] = [
    (int, numbers),
    (float, floats),
    (bool, st.booleans()),
    (str, text),
    (bytes, st.binary(max_size=20)),
    (datetime, moments),
    (date, st.dates()),
    (time, st.times(timezones=zones)),
    (timedelta, st.timedeltas()),
    (UUID, st.uuids()),
    (Decimal, st.decimals(allow_nan=False)),
    (Colour, st.sampled_from(Colour)),
    (Access, st.sampled_from([Access(0), Access.READ, Access.READ | Access.WRITE])),
    (Literal["a", 1, None, False], st.sampled_from(["a", 1, None, False])),
    (int | str | bool | float | None, st.one_of(numbers, text, st.booleans(), floats, st.none())),
    (datetime | int, st.one_of(moments, numbers)),
    (
        Any,
        st.recursive(
            st.one_of(numbers, text, st.booleans(), floats, st.none()),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
            max_leaves=5,
        ),
    ),
]
KEYS = SCALARS[:12]


class Leaf(Record):
    value: int
    name: str = ""


class Other(Record):
    value: float


leaves = st.builds(Leaf, value=numbers, name=text)
others = st.builds(Other, value=floats)
shapes = st.one_of(
    st.sampled_from(SCALARS),
    st.just((Leaf, leaves)),
    st.just((Leaf | Other | None, st.one_of(leaves, others, st.none()))),
)


def containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    key = st.sampled_from(KEYS)
    return st.one_of(
        inner.map(_list_of),
        inner.map(_optional),
        inner.map(_tuple_of),
        st.tuples(inner, inner).map(_pair_of),
        st.tuples(key, inner).map(_dict_of),
        key.map(lambda kind: (Generic(set, kind[0]), st.sets(kind[1], max_size=3))),
        key.map(lambda kind: (Generic(frozenset, kind[0]), st.frozensets(kind[1], max_size=3))),
    )


def _list_of(kind: Kind) -> Kind:
    return Generic(list, kind[0]), st.lists(kind[1], max_size=3)


def _optional(kind: Kind) -> Kind:
    return (kind[0] if kind[0] is Any else kind[0] | None), kind[1] | st.none()


def _tuple_of(kind: Kind) -> Kind:
    return Generic(tuple, (kind[0], ...)), st.lists(kind[1], max_size=3).map(tuple)


def _pair_of(kinds: tuple[Kind, Kind]) -> Kind:
    (first, firsts), (second, seconds) = kinds
    return Generic(tuple, (first, second)), st.tuples(firsts, seconds)


def _dict_of(kinds: tuple[Kind, Kind]) -> Kind:
    (key, keys), (value, values) = kinds
    return Generic(dict, (key, value)), st.dictionaries(keys, values, max_size=3)


@st.composite
def records(draw: st.DrawFn) -> Record:
    """A record of a class made up on the spot."""
    kinds = draw(st.lists(st.recursive(shapes, containers, max_leaves=4), min_size=1, max_size=4))
    annotations = {f"field_{index}": kind for index, (kind, _) in enumerate(kinds)}
    cls: Any = type("Made", (Record,), {"__annotations__": annotations, "__module__": __name__})
    made: Record = cls(**{f"field_{index}": draw(values) for index, (_, values) in enumerate(kinds)})
    return made


SERIALIZERS = [None, JSONSerializer(Gzip()), JSONSerializer(LZ4()), JSONSerializer(Zstd()), MessagePack()]


@settings(max_examples=120, deadline=None)
@given(record=records(), serializer=st.sampled_from(SERIALIZERS))
def test_every_record_decodes_to_itself(record: Record, serializer: Serializer | None) -> None:
    codec = make_codec(type(record), serializer)
    decoded = codec.decode([*codec.encode(record), b"~key", b"1"])
    assert decoded == record
    assert codec.decode(codec.encode(decoded)) == record
    assert type(record)(**{name: getattr(decoded, name) for name in record.to_dict()}) == record


@settings(max_examples=60, deadline=None)
@given(record=records())
def test_the_fast_and_the_detailed_way_agree(record: Record) -> None:
    data = json.loads(make_codec(type(record)).dumps(record))
    assert build(type(record), data) == record
    assert Fast().loader(type(record))(data) == record
    assert Fast().dumper(type(record))(record) == Detailed().dumper(type(record))(record)


json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, floats, text),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["value", "name", "_type"]), inner),
    max_leaves=6,
)


class Target(Record):
    number: int
    ratio: float
    leaf: Leaf | Other
    leaves: list[Leaf]
    table: dict[int, str]
    pair: tuple[int, str]
    when: datetime | None = None


TARGETS = [make_codec(Target, serializer) for serializer in SERIALIZERS]


@settings(max_examples=150, deadline=None)
@given(
    st.fixed_dictionaries(
        {},
        optional=dict.fromkeys(
            Target(number=1, ratio=1.0, leaf=Leaf(value=1), leaves=[], table={}, pair=(1, "a")).to_dict(), json_values
        ),
    )
)
def test_arbitrary_json_is_a_record_error_or_a_record_of_the_right_types(data: Any) -> None:
    codec = TARGETS[0]
    try:
        decoded = codec.decode([b"data", orjson.dumps(data)])
    except RecordError:
        return
    assert build(Target, data, strict=False) == decoded
    assert codec.decode(codec.encode(decoded)) == decoded
    assert Target(**{name: getattr(decoded, name) for name in decoded.to_dict()}) == decoded


@settings(max_examples=100, deadline=None)
@given(payload=st.binary(max_size=60))
def test_arbitrary_bytes_are_a_record_error(payload: bytes) -> None:
    for codec in TARGETS:
        with pytest.raises(RecordError):
            codec.decode([b"data", payload])
