"""How fast records are built, encoded and decoded, against orjson and cattrs without Runnel's checks.

Machines are noisy: the contestants take turns, and the medians are compared. Run `python benchmarks/records.py`.
"""

import statistics
import timeit
from collections.abc import Callable
from datetime import datetime
from typing import Any

import attrs
import orjson
from cattrs.preconf.orjson import make_converter

from runnel.records import Record, make_codec

ROUNDS, CALLS = 41, 10_000
PAYLOAD = b'{"order_id":1,"created_at":"2020-07-21T22:09:37Z","amount":99}'


class Order(Record):
    order_id: int
    created_at: datetime
    amount: int


class Reading(Record, primitive=True):
    sensor: str
    value: float
    count: int


@attrs.define
class Raw:
    order_id: int
    created_at: datetime
    amount: int


def contestants() -> dict[str, Callable[[], Any]]:
    """What is timed; `raw` is what the others are compared with."""
    converter = make_converter(detailed_validation=False)
    converter.register_structure_hook(datetime, lambda text, _: datetime.fromisoformat(text))
    structure = converter.get_structure_hook(Raw)
    codec, native = make_codec(Order), make_codec(Reading)
    fields = [b"data", PAYLOAD, b"~key", b"1"]
    order = codec.decode(fields)
    created_at = order.created_at
    reading = Reading(sensor="s", value=1.5, count=3)
    stored = native.encode(reading)

    def assign() -> None:
        order.amount += 1

    return {
        "raw: cattrs and orjson, no checks": lambda: structure(orjson.loads(PAYLOAD), Raw),
        "decode": lambda: codec.decode(fields),
        "encode": lambda: codec.encode(order),
        "build": lambda: Order(order_id=1, created_at=created_at, amount=99),
        "assign": assign,
        "decode a primitive record": lambda: native.decode(stored),
        "encode a primitive record": lambda: native.encode(reading),
    }


def main() -> None:
    """Print each contestant's median time, and its ratio to the first."""
    functions = contestants()
    times: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(ROUNDS):
        for name, function in functions.items():
            times[name].append(timeit.timeit(function, number=CALLS) / CALLS * 1e9)
    medians = {name: statistics.median(values) for name, values in times.items()}
    raw = next(iter(medians.values()))
    for name, median in medians.items():
        print(f"{name:36} {median:7.0f} ns {median / raw:6.2f}")


if __name__ == "__main__":
    main()
