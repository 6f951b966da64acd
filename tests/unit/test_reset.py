"""Where `processor reset --start` leads, and what its plan says."""

from typing import Any

import pytest

from runnel.errors import ConfigurationError
from runnel.operations.reset import HIGHEST_SEQUENCE, Target, check_id, move, parse_target
from runnel.store.keys import PartitionKeys
from tests.unit.looks import seen

NOW = 1_600_000_000.0
KEYS = PartitionKeys("app", "orders", 0)


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("earliest", Target("earliest")),
        ("latest", Target("latest")),
        ("1595369377000-7", Target("after", "1595369377000-7")),
        ("0005-007", Target("after", "5-7")),
        ("-1h", Target("after", f"1599996399999-{HIGHEST_SEQUENCE}")),
        ("-90s", Target("after", f"1599999909999-{HIGHEST_SEQUENCE}")),
        ("-1.5m", Target("after", f"1599999909999-{HIGHEST_SEQUENCE}")),
        ("-9999w", Target("after", "0-0")),
        ("1595369377", Target("after", f"1595369376999-{HIGHEST_SEQUENCE}")),
        ("1595369377000", Target("after", f"1595369376999-{HIGHEST_SEQUENCE}")),
        ("2020-07-21T22:09:37Z", Target("after", f"1595369376999-{HIGHEST_SEQUENCE}")),
        ("2020-07-21T22:09:37", Target("after", f"1595369376999-{HIGHEST_SEQUENCE}")),
        ("2020-07-22T00:09:37+02:00", Target("after", f"1595369376999-{HIGHEST_SEQUENCE}")),
        ("2020-07-21", Target("after", f"1595289599999-{HIGHEST_SEQUENCE}")),
        ("0", Target("after", "0-0")),
    ],
)
def test_where_a_start_leads(text: str, target: Target) -> None:
    assert parse_target(text, NOW) == target


@pytest.mark.parametrize(
    "text", ["", "tomorrow", "1h", "-1y", "-h", "1-2-3", "2020-13-01", "2999-01-01", "1600000001", f"{2**64}-0"]
)
def test_what_is_no_start_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="start"):
        parse_target(text, NOW)


@pytest.mark.parametrize(
    ("target", "count", "cursor", "again", "skipped"),
    [
        (Target("earliest"), 10, "0-0", 5, 0),
        (Target("latest"), 20, "20-0", 0, 5),
        (Target("after", "13-0"), 13, "13-0", 2, 0),
        (Target("after", "18-0"), 18, "18-0", 0, 3),
        (Target("after", "15-0"), 15, "15-0", 0, 0),
        (Target("after", "99-0"), 20, "20-0", 0, 5),
        (Target("after", "2-0"), 10, "2-0", 5, 0),
    ],
)
def test_a_move_counts_what_runs_again_and_what_never_does(
    target: Target, count: int, cursor: str, again: int, skipped: int
) -> None:
    found = move(KEYS, seen(), target, count)
    assert (found.cursor_then, found.again, found.skipped) == (cursor, again, skipped)


def test_an_id_beyond_the_last_entry_of_all_is_refused_as_a_moment_to_come_is() -> None:
    logs = [seen(), seen(last="30-2"), seen(last="0-0")]
    check_id("30-2", logs)
    check_id("0-0", [seen(last="0-0")])
    with pytest.raises(ConfigurationError, match=r"start '30-3' is beyond the last event: the last one is 30-2"):
        check_id("30-3", logs)
    with pytest.raises(ConfigurationError, match="no event was ever sent"):
        check_id("1-0", [seen(last="0-0")])


@pytest.mark.parametrize(
    ("target", "changes", "trimmed"),
    [
        (Target("earliest"), {}, 10),
        (Target("after", "5-0"), {}, 10),
        (Target("after", "11-0"), {}, 0),
        (Target("latest"), {}, 0),
        (Target("after", "5-0"), {"length": 0, "first": "0-0"}, 20),
        (Target("latest"), {"length": 0, "first": "0-0"}, 0),
        (Target("earliest"), {"length": 20, "first": "1-0"}, 0),
    ],
)
def test_a_move_knows_whether_the_log_no_longer_holds_what_it_goes_back_to(
    target: Target, changes: dict[str, Any], trimmed: int
) -> None:
    assert move(KEYS, seen(**changes), target, 10).trimmed == trimmed
