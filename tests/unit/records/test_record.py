"""Records where they are built: types, defaults, inheritance, assignment."""

import copy
import inspect
import pickle
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum, Flag, IntEnum, StrEnum
from typing import Any, Literal, NewType, Optional, Union
from uuid import UUID

import attrs
import pytest

from runnel.errors import ConfigurationError, RecordError
from runnel.records import Record, build, make_codec
from runnel.records.classes import Fast

NOON = datetime(2020, 7, 21, 12, tzinfo=UTC)


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Level(IntEnum):
    LOW = 1


class Word(StrEnum):
    YES = "yes"


class Access(Flag):
    READ = 1
    WRITE = 2


class Item(Record):
    name: str
    price: float = 1.0


class Special(Item):
    note: str = ""


class Order(Record):
    order_id: int
    created_at: datetime
    amount: int = 0
    items: list[Item] = []  # noqa: RUF012 (copied for each record)


class Later(Record):
    """Refers to a class that is defined below it."""

    other: "Optional[Below]" = None  # noqa: UP045


class Below(Record):
    value: int
    back: "Later | None" = None


class Node(Record):
    value: int
    children: list["Node"] = []  # noqa: RUF012


def test_a_record_is_an_attrs_class_with_the_fields_it_declares() -> None:
    order = Order(order_id=1, created_at=NOON)
    assert attrs.has(Orders)
    evolve: Any = vars(attrs)["evolve"]  # mypy knows records by dataclass_transform, not as attrs classes
    assert (order.order_id, order.amount, order.items) == (1, 0, [])
    assert repr(Item(name="tea")) == "Item(name='tea', price=1.0)"
    assert evolve(order, amount=5) == Order(order_id=1, created_at=NOON, amount=5)


def test_records_are_equal_by_class_and_value() -> None:
    assert Item(name="a") == Item(name="a")
    assert Item(name="a") != Item(name="b")
    assert Item(name="a") != Special(name="a")


def test_copies_and_pickles_are_equal() -> None:
    order = Order(order_id=1, created_at=NOON, items=[Item(name="a")])
    assert copy.deepcopy(order) == order
    assert pickle.loads(pickle.dumps(order)) == order


# Without types: mypy would not let the mistakes below pass.
Orders: Any = Order
Specials: Any = Special
Laters: Any = Later

PINNED = [
    (lambda: Orders(order_id="x", created_at=NOON), "Order.order_id: expected int, got str 'x'"),
    (lambda: Orders(order_id=True, created_at=NOON), "Order.order_id: expected int, got bool True"),
    (lambda: Orders(order_id=1), "Order.created_at: missing, expected datetime"),
    (
        lambda: Orders(order_id=1, created_at=NOON, amout=1),
        "Order.amout: unknown field, the fields are order_id, created_at, amount, items",
    ),
    (lambda: Orders(1, NOON), "Order: fields are given by keyword, got 2 without a name"),
    (
        lambda: Orders(order_id=1, created_at=NOON, items=[Item(name="a"), "b"]),
        "Order.items[1]: expected Item, got str 'b'",
    ),
    (
        lambda: Orders(order_id=1, created_at=NOON, items=(Item(name="a"),)),
        "Order.items: expected list[Item], got tuple (Item(name='a', price=1.0),)",
    ),
    (lambda: Specials(name=1), "Special.name: expected str, got int 1"),
    (lambda: Laters(other=3), "Later.other: expected Below | None, got int 3"),
    (lambda: Item(name="x", price=float("nan")), "Item.price: expected a finite float, got float nan"),
]


@pytest.mark.parametrize(("make", "message"), PINNED)
def test_the_error_names_class_field_what_was_expected_and_what_came(make: Any, message: str) -> None:
    with pytest.raises(RecordError) as caught:
        make()
    assert str(caught.value) == message


def test_a_long_value_is_shortened_in_the_error() -> None:
    with pytest.raises(RecordError) as caught:
        Orders(order_id="x" * 10_000_000, created_at=NOON)
    assert len(str(caught.value)) < 200


def test_a_value_whose_repr_fails_is_still_reported() -> None:
    class Broken:
        def __repr__(self) -> str:
            raise ValueError

    with pytest.raises(RecordError, match=r"^Order.order_id: expected int, got Broken <Broken"):
        Order(order_id=Broken(), created_at=NOON)  # type: ignore[arg-type]


ID = UUID("12345678123456781234567812345678")
STRICT: list[tuple[Any, list[Any], list[Any]]] = [
    (int, [0, -5, 2**63 - 1, Level.LOW], [True, 1.0, "1", None, Decimal(1), [1]]),
    (float, [0.5, 1, -3], [True, "1.0", None, Decimal("1.5"), float("inf"), float("nan"), 10**400]),
    (bool, [True, False], [1, 0, "true", None]),
    (str, ["", "ä", Word.YES], [b"x", 1, None, Colour.RED]),
    (bytes, [b"", b"\x00"], ["x", bytearray(b"x"), None]),
    (datetime, [NOON, datetime(2020, 1, 1)], [date(2020, 1, 1), "2020-01-01", 0]),
    (date, [date(2020, 1, 1)], [NOON, "2020-01-01"]),
    (timedelta, [timedelta(1)], [1, 1.0]),
    (UUID, [ID], [str(ID), ID.bytes]),
    (Decimal, [Decimal("1.10")], [1, 1.5, "1.1"]),
    (Colour, [Colour.RED], ["red", Word.YES]),
    (Access, [Access.READ, Access.READ | Access.WRITE], [1]),
    (Literal["a", 1], ["a", 1], ["b", True, 1.0, [], None]),
    (list[int], [[], [1]], [(1,), {1}, [True], ["1"], None, "1"]),
    (list, [[1, "a", None, {"x": [1.5]}]], [[object()], [NOON], [{1: 2}], [float("nan")]]),
    (set[str], [set(), {"a"}], [["a"], frozenset("a"), {1}]),
    (frozenset[str], [frozenset("a")], [{"a"}]),
    (tuple[int, str], [(1, "a")], [(1,), (1, "a", 2), ("a", 1), [1, "a"]]),
    (tuple[int, ...], [(), (1, 2)], [("a",), [1]]),
    (tuple[()], [()], [(1,)]),
    (dict[str, int], [{}, {"a": 1}], [{1: 1}, {"a": "1"}, [], None]),
    (dict[int, Item], [{1: Item(name="a")}], [{"1": Item(name="a")}, {1: {"name": "a"}}]),
    (int | None, [None, 1], ["1", 1.0]),
    (
        Union[int, str, None],  # noqa: UP007
        [None, 1, "a"],
        [1.5, b"a", True],
    ),
    (int | float, [1, 1.5], ["a", True]),
    (float | str, [1.5, 1, "a"], [None]),
    (Item | Node, [Item(name="a"), Special(name="b"), Node(value=1)], [{"name": "a"}, None]),
    (Item, [Item(name="a"), Special(name="a")], [{"name": "a"}, Node(value=1)]),
    (Any, [None, 1, "a", [1, {"a": None}]], [NOON, b"x", (1,), {1: 1}, Item(name="a")]),
    (NewType("OrderId", int), [1], ["1"]),
]


@pytest.mark.parametrize(("annotation", "good", "bad"), STRICT, ids=[str(row[0]) for row in STRICT])
def test_types_are_strict_and_what_is_taken_round_trips(annotation: Any, good: list[Any], bad: list[Any]) -> None:
    record = type("Holder", (Record,), {"__annotations__": {"value": annotation}})
    codec: Any = make_codec(record)
    for value in good:
        built = record(value=value)
        assert built.value == value
        decoded = codec.decode(codec.encode(built))
        assert decoded == built or annotation in (Item, Item | Node)  # a subclass comes back as what was declared
    for value in bad:
        with pytest.raises(RecordError, match=r"^Holder\.value"):
            record(value=value)


def test_an_int_becomes_a_float_and_an_int_enum_an_int() -> None:
    class Mixed(Record):
        ratio: float
        level: int

    mixed = Mixed(ratio=3, level=Level.LOW)
    assert type(mixed.ratio) is float
    assert type(mixed.level) is int


def test_mutable_defaults_are_copied_for_each_record() -> None:
    class Holder(Record):
        numbers: list[int] = []  # noqa: RUF012
        table: dict[str, list[int]] = {"a": [1]}  # noqa: RUF012
        item: Item = Item(name="tea")
        made: set[str] = attrs.field(factory=set)

    first, second = Holder(), Holder()
    first.numbers.append(1)
    first.table["a"].append(2)
    first.item.name = "coffee"
    first.made.add("x")
    assert second == Holder() == Holder(numbers=[], table={"a": [1]}, item=Item(name="tea"), made=set())


def test_a_default_may_be_computed_from_other_fields_and_is_checked() -> None:
    class Holder(Record):
        first: int
        second: int = attrs.field(default=attrs.Factory(lambda self: self.first * 2, takes_self=True))

    assert Holder(first=2).second == 4
    assert Holder(first=2, second=1).second == 1
    with pytest.raises(RecordError, match=r"^Holder\.second: expected int, got float"):
        Holder(first=2, second=1.5)  # type: ignore[arg-type]
    codec = make_codec(Holder)
    assert codec.decode([b"data", b'{"first":3}']) == Holder(first=3)


def test_a_factory_that_makes_the_wrong_type_is_reported_where_the_record_is_built() -> None:
    class Holder(Record):
        value: list[int] = attrs.field(factory=dict)

    with pytest.raises(RecordError, match=r"^Holder\.value: expected list\[int\], got dict \{\}"):
        Holder()


def test_a_default_of_the_wrong_type_is_an_error_of_the_class() -> None:
    with pytest.raises(ConfigurationError, match=r"^the default of Wrong\.amount: expected int, got str 'x'"):

        class Wrong(Record):
            amount: int = "x"  # type: ignore[assignment]


def test_validators_and_hooks_of_attrs_run_when_built_assigned_and_decoded() -> None:
    class Positive(Record):
        amount: int = attrs.field(validator=attrs.validators.gt(0))
        twice: int = 0

        def __attrs_post_init__(self) -> None:
            self.twice = self.amount * 2

    positive = Positive(amount=2)
    assert positive.twice == 4
    with pytest.raises(ValueError, match="must be > 0"):
        Positive(amount=0)
    with pytest.raises(ValueError, match="must be > 0"):
        positive.amount = -1
    with pytest.raises(RecordError, match=r"^Positive: ValueError: .*must be > 0"):
        make_codec(Positive).decode([b"data", b'{"amount":0}'])


def test_inherited_fields_are_kept_and_may_be_redefined() -> None:
    class Loud(Item):
        name: str = "LOUD"
        volume: int

    assert Loud(volume=3).to_dict() == {"name": "LOUD", "price": 1.0, "volume": 3}
    codec = make_codec(Loud)
    assert codec.decode(codec.encode(Loud(volume=3))) == Loud(volume=3)


def test_assignment_is_checked() -> None:
    order = Order(order_id=1, created_at=NOON)
    order.amount += 5
    assert order.amount == 5
    with pytest.raises(RecordError, match=r"^Order\.amount: expected int, got str 'x'"):
        order.amount = "x"  # type: ignore[assignment]
    with pytest.raises(RecordError, match=r"^Order\.amuont: unknown field"):
        order.amuont = 3  # type: ignore[attr-defined]
    assert order.amount == 5


def test_properties_with_a_setter_still_work() -> None:
    class Wallet(Record):
        cents: int = 0

        @property
        def euros(self) -> float:
            return self.cents / 100

        @euros.setter
        def euros(self, value: float) -> None:
            self.cents = round(value * 100)

    wallet = Wallet()
    wallet.euros = 1.5
    assert wallet.cents == 150


def test_to_dict_keeps_python_values_and_makes_dicts_of_records() -> None:
    order = Order(order_id=1, created_at=NOON, items=[Item(name="a")])
    expected = {"order_id": 1, "created_at": NOON, "amount": 0, "items": [{"name": "a", "price": 1.0}]}
    assert order.to_dict() == order.dict() == expected


def test_forward_references_and_recursive_records_are_resolved_when_first_needed() -> None:
    later = Later(other=Below(value=1, back=Later()))
    node = Node(value=1, children=[Node(value=2, children=[Node(value=3)])])
    assert make_codec(Later).decode(make_codec(Later).encode(later)) == later
    assert make_codec(Node).decode(make_codec(Node).encode(node)) == node


def test_a_recursive_record_names_the_path_of_a_wrong_value() -> None:
    payload = b'{"value":1,"children":[{"value":2},{"value":3,"children":[{"value":"x"}]}]}'
    with pytest.raises(RecordError, match=r"^Node\.children\[1\]\.children\[0\]\.value: expected int, got str 'x'"):
        make_codec(Node).decode([b"data", payload])


def test_a_name_that_is_never_defined_is_a_configuration_error() -> None:
    class Lost(Record):
        value: "Nowhere"  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(ConfigurationError, match=r"^Lost: an annotation names 'Nowhere', which is not defined"):
        Lost(value=1)


def test_local_classes_may_be_referred_to_in_strings() -> None:
    class Inner(Record):
        value: int

    class Outer(Record):
        inner: "Inner"
        self_: "Outer | None" = None

    outer = Outer(inner=Inner(value=1), self_=Outer(inner=Inner(value=2)))
    assert make_codec(Outer).decode(make_codec(Outer).encode(outer)) == outer


@pytest.mark.parametrize("annotation", [complex, type, str | datetime, list[int] | set[int], Item | dict[str, int]])
def test_a_type_that_could_not_be_read_again_is_refused_at_the_class(annotation: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"^Holder\.value: "):
        type("Holder", (Record,), {"__annotations__": {"value": annotation}})


@pytest.mark.parametrize("key", [Item, list[int], int | None, type(None), Literal[1, "1"], Literal[True]])
def test_a_dict_key_must_have_a_text_of_its_own(key: Any) -> None:
    with pytest.raises(ConfigurationError, match="cannot be the key"):
        type("Holder", (Record,), {"__annotations__": {"value": dict[key, int]}})


def test_enums_with_other_values_are_refused() -> None:
    class Strange(Enum):
        A = (1, 2)

    with pytest.raises(ConfigurationError, match="stored by value, which must be int or str"):
        type("Holder", (Record,), {"__annotations__": {"value": Strange}})


def test_what_would_not_be_keyword_only_and_strict_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"takes its fields by keyword and has no __init__ of its own"):

        class Positional(Record):
            value: int

            def __init__(self, value: int) -> None: ...

    with pytest.raises(ConfigurationError, match="take no converter"):

        class Converted(Record):
            value: int = attrs.field(converter=int)

    with pytest.raises(ConfigurationError, match="init=False is not possible"):

        class Hidden(Record):
            value: int = attrs.field(init=False)

    with pytest.raises(ConfigurationError, match="takes no alias"):

        class Aliased(Record):
            value: int = attrs.field(alias="other")

    with pytest.raises(ConfigurationError, match="this name cannot be a field"):

        class Shadowing(Record):
            to_dict: int  # type: ignore[assignment]

    with pytest.raises(ConfigurationError, match="must be an identifier"):
        type("Marked", (Record,), {"__annotations__": {"~key": int}, "__module__": __name__}, primitive=True)

    with pytest.raises(ConfigurationError, match="base class"):
        Record()


def test_fields_may_be_called_like_anything_that_generated_code_uses() -> None:
    names = [
        "converter",
        "cl",
        "attrs",
        "typevar_map",
        "instance",
        "o",
        "res",
        "cls",
        "make",
        "_private",
        "type",
        "int",
    ]
    record = type("Holder", (Record,), {"__annotations__": dict.fromkeys(names, int), "__module__": __name__})
    built = record(**{name: index for index, name in enumerate(names)})
    codec: Any = make_codec(record)
    assert codec.decode(codec.encode(built)) == built
    assert build(record, built.to_dict()) == built


def test_optional_fields_before_required_ones_keep_their_places() -> None:
    class Holder(Record):
        first: int = 1
        second: int
        third: int = 3
        fourth: int

    holder = Holder(second=22, fourth=44)
    codec = make_codec(Holder)
    assert codec.decode(codec.encode(holder)) == holder
    assert codec.decode([b"data", b'{"second":2,"fourth":4,"third":9}']) == Holder(second=2, third=9, fourth=4)
    assert Fast().loader(Holder)({"second": 2, "fourth": 4, "third": 9}) == Holder(second=2, third=9, fourth=4)


def test_a_cycle_is_an_error_and_not_a_crash() -> None:
    node = Node(value=1)
    node.children.append(node)
    with pytest.raises(RecordError, match="nested too deeply, or contains itself"):
        make_codec(Node).encode(node)


def test_the_signature_shows_the_fields() -> None:
    assert list(inspect.signature(Item).parameters) == ["name", "price"]
