"""The event of all benchmarks, as Runnel's record and as the class that the raw loops decode into."""

import datetime as dt
from collections.abc import Callable
from typing import Any

import attrs
from cattrs.preconf.orjson import make_converter

from runnel import App, Record, Stream

PARTITIONS = 16
AMOUNT = 99
WHEN = dt.datetime(2020, 7, 21, 22, 9, 37, tzinfo=dt.UTC)


class Order(Record):
    """An event: three fields."""

    order_id: int
    created_at: dt.datetime
    amount: int


@attrs.define
class PlainOrder:
    """The same for the raw loops."""

    order_id: int
    created_at: dt.datetime
    amount: int


def order(number: int, amount: int = AMOUNT) -> Order:
    """Order number so-and-so."""
    return Order(order_id=number, created_at=WHEN, amount=amount)


def plain_hook() -> Callable[[Any, type[PlainOrder]], PlainOrder]:
    """How raw loops make orders of what orjson loads: a hook of cattrs, with its fastest settings."""
    converter = make_converter(detailed_validation=False)
    converter.register_structure_hook(dt.datetime, lambda text, _: dt.datetime.fromisoformat(text))
    hook: Callable[[Any, type[PlainOrder]], PlainOrder] = converter.get_structure_hook(PlainOrder)
    return hook


def orders(url: str, name: str = "orders", *, tracing: bool = False) -> tuple[App, Stream[Order]]:
    """An app with the stream of orders; its partitions have room for all events of a benchmark."""
    app = App("bench", redis_url=url, tracing=tracing)
    return app, app.stream(
        name, record=Order, partition_by="order_id", partition_count=PARTITIONS, partition_size=10_000_000
    )


def plain_log(partition: int) -> bytes:
    """The key of a log whose entries have the field `data` only."""
    return b"{plain:%d}:log" % partition


def key_of(number: int, *, hot: bool, keys: int | None = None) -> int:
    """The order id, and so the key, of event so-and-so; of so many keys in turn."""
    return 7 if hot else number if keys is None else number % keys
