"""Routing: the same key gives the same number, in every process and language."""

from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum, IntEnum
from typing import Any
from uuid import UUID

import pytest

from runnel.errors import RecordError
from runnel.records import default_hasher


class Colour(Enum):
    RED = "r"


class Level(IntEnum):
    LOW = 1


# The first three are published with xxHash; the others follow from them by the table of texts.
@pytest.mark.parametrize(
    ("key", "digest"),
    [
        ("", 0xEF46DB3751D8E999),
        ("a", 0xD24EC4F1A98C6E5B),
        ("abc", 0x44BC2CF5AD770999),
        (b"abc", 0x44BC2CF5AD770999),
        (bytearray(b"abc"), 0x44BC2CF5AD770999),
    ],
)
def test_known_vectors(key: Any, digest: int) -> None:
    assert default_hasher(key) == digest


@pytest.mark.parametrize(
    ("key", "text"),
    [
        (42, "42"),
        (-1, "-1"),
        (True, "True"),
        (1.0, "1.0"),
        (Decimal("1.10"), "1.10"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (datetime(2020, 7, 21, 22, 9, 37, tzinfo=UTC), "2020-07-21 22:09:37+00:00"),
        (Colour.RED, "r"),
        (Level.LOW, "1"),
        ("ä", "ä"),
    ],
)
def test_a_key_counts_as_its_text(key: Any, text: str) -> None:
    assert default_hasher(key) == default_hasher(text.encode())


@pytest.mark.parametrize("key", [None, object(), {"a"}, "\ud800"])
def test_a_key_without_a_lasting_text_is_refused(key: Any) -> None:
    with pytest.raises(RecordError, match="partition key"):
        default_hasher(key)
