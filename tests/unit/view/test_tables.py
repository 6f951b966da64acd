"""The tables that commands print, on a narrow terminal."""

from io import StringIO

import pytest
from attrs import evolve
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


def test_the_first_line_of_a_reset_says_what_is_lost() -> None:
    move = Move(
        keys=PartitionKeys("shop", "orders", 3), owner=None, cursor_now="9-0", cursor_then="0-0",
        count_then=0, again=0, skipped=0, parked=152, states=76, reminding=1, trimmed=4612,
    )  # fmt: skip

    def lines(move: Move) -> list[str]:
        plan = Plan(processor="Desk", stream="messages", target=Target("earliest"), moves=(move,))
        console = Console(record=True, width=200, file=StringIO())
        console.print(plan_view(plan))
        return console.export_text().splitlines()

    first, *others = lines(move)
    assert first == (
        "Reset of Desk on messages: no event runs again; "
        "drops the state of 76 keys, the reminders of 1 key and 152 parked events"
    )
    assert any(each.startswith("4,612 events are no longer in the log and cannot run again, and what is") for each in others)
    assert lines(evolve(move, parked=0, states=0, reminding=0, trimmed=0))[0].endswith(": no event is affected")
    assert lines(evolve(move, states=0, reminding=0))[0].endswith("; drops 152 parked events")


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
