"""How far behind a processor is: lag and age, and what monitoring is told."""

from io import StringIO
from typing import Any

import pytest
from attrs import evolve
from rich.console import Console

from runnel.errors import LagTooHigh
from runnel.operations.status import ProcessorStatus, Status, check_lag, lag, oldest_age, partition_status
from runnel.view.tables import age, status_view
from tests.unit.looks import seen


def test_the_lag_is_what_was_added_and_is_not_done() -> None:
    assert lag(seen()) == 5
    assert lag(seen(cursor="20-0", count=20, next="0-0")) == 0
    assert lag(seen(cursor="20-0", count=0, next="0-0")) == 0, "it stands at the end, whatever the count says"


def test_the_lag_of_a_cursor_before_the_log_is_its_length() -> None:
    assert lag(seen(cursor="3-0", count=3)) == 10
    assert lag(seen(cursor="0-0", count=10)) == 10


def test_no_lag_is_larger_than_the_log() -> None:
    assert lag(seen(count=3)) == 10, "an owner does not count what was dropped before it could see it"


def test_a_processor_that_never_ran_has_before_it_what_it_will_begin_with() -> None:
    assert lag(seen(cursor=None, count=0)) == 10
    assert lag(seen(cursor=None, count=0), "latest") == 0


def test_nothing_after_the_cursor_is_no_lag_though_the_last_entry_was_deleted() -> None:
    assert lag(seen(next="0-0")) == 0


@pytest.mark.parametrize(("next_id", "expected"), [("1599999998500-3", 1.5), ("1600000005000-0", 0.0), ("0-0", None)])
def test_an_age_is_that_of_the_first_entry_that_is_not_done(next_id: str, expected: float | None) -> None:
    assert oldest_age(seen(next=next_id)) == expected


def test_a_processor_that_starts_with_what_is_yet_to_come_has_nothing_that_waits() -> None:
    never_ran = seen(cursor=None, next="1599999998000-0")
    assert oldest_age(never_ran, "latest") is None
    assert oldest_age(never_ran, "earliest") == 2.0


@pytest.mark.parametrize(
    ("suspect", "said"),
    [
        (None, "partition 0: 2 workers lost in a row at its next event"),
        ("16-0", "partition 0: 2 workers lost in a row at its next event, which runs alone now: 16-0"),
    ],
)
def test_workers_that_were_lost_are_told(suspect: str | None, said: str) -> None:
    found = status(bill=[seen(crashes=2, suspect=suspect), seen()])
    console = Console(record=True, width=200, file=StringIO())
    console.print(status_view(found))
    text = console.export_text()
    assert said in text.splitlines()
    assert "partition 1:" not in text


def status(**processors: list[Any]) -> Status:
    """Of each processor the partitions, as `look` saw them."""
    return Status(
        app="shop",
        server="here",
        workers=(),
        processors=tuple(
            ProcessorStatus(
                processor=name,
                stream="orders",
                partitions=tuple(partition_status(n, each, "earliest") for n, each in enumerate(partitions)),
            )
            for name, partitions in processors.items()
        ),
    )


SLOW, DONE = seen(next="1599999900000-0"), seen(cursor="20-0", next="0-0")


def test_of_several_partitions_lags_add_up_and_the_oldest_event_counts() -> None:
    found = status(bill=[SLOW, DONE, evolve(SLOW, next="1599999995000-0")], idle=[DONE])
    [bill, idle] = found.processors
    assert (bill.lag, bill.oldest_age) == (10, 100.0)
    assert (idle.lag, idle.oldest_age) == (0, None)
    assert (found.lag, found.oldest_age) == (10, 100.0)


def test_what_is_not_above_is_well() -> None:
    check_lag(status(bill=[SLOW], idle=[DONE]), 5, 100.0)
    check_lag(status(bill=[SLOW]), None, None)
    check_lag(status(idle=[DONE]), 0, 0.0)


def test_what_is_above_is_told_with_its_name() -> None:
    found = status(bill=[SLOW], ship=[SLOW, SLOW], idle=[DONE])
    with pytest.raises(LagTooHigh, match=r"^ship on orders: lag 10 is above 5$"):
        check_lag(found, 5, None)
    with pytest.raises(LagTooHigh, match=r"^bill on orders: lag 5 is above 0; ship on orders: lag 10 is above 0$"):
        check_lag(found, 0, None)
    with pytest.raises(LagTooHigh, match=r"^bill on orders: its oldest event has waited 100.0 s, .* above 99.5 s; ship"):
        check_lag(found, None, 99.5)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.04, "0.0 s"),
        (9.94, "9.9 s"),
        (59.9, "59 s"),
        (185, "3 min 05 s"),
        (7_800, "2 h 10 min"),
        (86_400 * 1_234 + 3 * 3_600, "1,234 d 3 h"),
    ],
)
def test_an_age_is_told_in_one_or_two_units(seconds: float, said: str) -> None:
    assert age(seconds) == said
