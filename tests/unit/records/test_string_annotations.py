"""Records in a module whose annotations are all strings."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from runnel.records import Record, build, make_codec


class Order(Record):
    limit: ClassVar[int] = 3
    order_id: int
    created_at: datetime
    lines: list[Line] = []  # noqa: RUF012
    parent: Order | None = None


@dataclass
class Line:
    name: str
    tags: set[str]


def test_annotations_in_strings_are_resolved() -> None:
    order = build(Order, {"order_id": 1, "created_at": "2020-01-01T00:00:00Z", "lines": [{"name": "a", "tags": ["x"]}]})
    assert order.lines == [Line("a", {"x"})]
    order.parent = order.__class__(order_id=2, created_at=order.created_at)
    codec = make_codec(Order)
    assert codec.decode(codec.encode(order)) == order
    assert Order.limit == 3


def test_annotations_in_strings_may_name_local_classes() -> None:
    class Item(Record):
        name: str

    class Basket(Record):
        items: dict[str, Item]

    basket = Basket(items={"a": Item(name="a")})
    assert make_codec(Basket).decode(make_codec(Basket).encode(basket)) == basket
