"""The tables that commands print, on a narrow terminal."""

import pytest
from rich.console import Console

from runnel.operations.reset import HIGHEST_SEQUENCE, Move, Plan, Target
from runnel.store.keys import PartitionKeys
from runnel.view.tables import cursor, plan_view

NOW, OWNER = "1795555182840-18446744073709551614", "a-host-of-a-longer-name.example.org-12345-a1b2c3"


def test_on_a_narrow_terminal_no_part_of_an_id_is_missing() -> None:
    move = Move(
        keys=PartitionKeys("shop", "orders", 3), owner=OWNER, cursor_now=NOW, cursor_then=f"1595369376999-{HIGHEST_SEQUENCE}",
        count_then=5, again=1_234_567, skipped=0,
    )  # fmt: skip
    plan = Plan(processor="bill", stream="orders", target=Target("after"), moves=(move,))
    console = Console(record=True, width=80, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(plan_view(plan))
    console.file.close()
    text = console.export_text()
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    rows = text.splitlines()[1:]
    start = rows[0].index("cursor now")
    column = "".join(row[start : rows[0].index("cursor then")].strip() for row in rows[1:] if not row.startswith("Running"))
    assert NOW in column
    assert "1,234,567" in text


@pytest.mark.parametrize(
    ("entry_id", "said"),
    [
        ("1595369377000-0", "1595369377000-0"),
        (f"{2**63}-{HIGHEST_SEQUENCE}", f"{2**63}-{HIGHEST_SEQUENCE}"),
        (f"1595369376999-{HIGHEST_SEQUENCE}", "before 2020-07-21T22:09:37Z"),
        (f"1595369377041-{HIGHEST_SEQUENCE}", "before 2020-07-21T22:09:37.042Z"),
    ],
)
def test_a_cursor_that_a_moment_led_to_is_shown_as_the_moment(entry_id: str, said: str) -> None:
    assert cursor(entry_id) == said
