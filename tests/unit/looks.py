"""What `look` saw, for tests of what is made of it."""

from typing import Any

from runnel.store.scripts import Look


def seen(**changes: Any) -> Look:
    """A log of ten entries, 11-0 to 20-0, of twenty ever added; the processor has done all up to 15-0."""
    values: dict[str, Any] = {
        "owner": "", "epoch": 1, "left": 0.0, "cursor": "15-0", "count": 15,
        "last": "20-0", "added": 20, "length": 10, "first": "11-0", "next": "16-0",
        "now": 1_600_000_000.0,
    }  # fmt: skip
    return Look(**values | changes)
