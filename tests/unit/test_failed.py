"""What is kept of an event that failed comes back as it was, however many fields it has."""

from hypothesis import given
from hypothesis import strategies as st

from runnel.handling.failed import MOST_FIELDS, behind, field_of, kept, restored

FIELDS = st.lists(st.binary(max_size=12).filter(lambda name: not name.startswith(b"~")), max_size=10).map(
    lambda parts: parts[: len(parts) // 2 * 2]
)


@given(FIELDS, st.booleans())
def test_an_events_own_fields_come_back(fields: list[bytes], wide: bool) -> None:
    fields = fields + [b"f", b"1:"] * (MOST_FIELDS // 2 * wide + wide)
    there = behind(b"7-1", fields)
    assert restored(there) == (b"7-1", fields, {})
    assert len(there) <= MOST_FIELDS + 2
    assert (len(there) == 4) == wide or len(fields) == 2


def test_why_it_failed_stands_beside_them() -> None:
    there = kept(b"7-1", [b"f", b""] * MOST_FIELDS, ValueError("no"), attempts=3, now=1.5, worker="one")
    xid, own, noted = restored(there)
    assert (xid, len(own)) == (b"7-1", 2 * MOST_FIELDS)
    assert noted[b"~error"] == b"ValueError: no"
    assert field_of(there, b"~attempts") == b"3"
