"""Schedules: no drift, crontabs where clocks are put forward and back, and what is no crontab."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runnel.errors import ConfigurationError
from runnel.timing.schedule import Cron, Every, Schedule

LONDON, LORD_HOWE, APIA = ZoneInfo("Europe/London"), ZoneInfo("Australia/Lord_Howe"), ZoneInfo("Pacific/Apia")


def at(text: str) -> int:
    """A moment in UTC."""
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def utc(moment: int) -> str:
    return datetime.fromtimestamp(moment / 1000, UTC).strftime("%m-%d %H:%M:%S").removesuffix(":00")


def dues(schedule: Schedule, begin: str, end: str) -> list[str]:
    """The due times from one moment on, and before another."""
    found, moment = [], at(begin) - 1
    while (moment := schedule.after(moment)) < at(end):
        found.append(utc(moment))
    return found


# ── timers ──


def test_a_timer_does_not_drift() -> None:
    """Of 600 runs at every 0.1 s, or of any interval however odd, each is within a millisecond of where it should be."""
    for interval in (100.0, 1000 / 3, 7.7, 1.0):
        moment = start = 1_000_000_007
        schedule = Every(interval, origin=start)
        for n in range(1, 601):
            moment = schedule.after(moment)
            assert abs(moment - (start + n * interval)) <= 0.5


def test_all_workers_find_the_same_due_times_of_a_timer() -> None:
    schedule = Every(10_000)
    assert schedule.after(at("2026-03-01 12:00:03")) == at("2026-03-01 12:00:10")
    assert schedule.after(at("2026-03-01 12:00:10")) == at("2026-03-01 12:00:20")
    assert schedule.latest(at("2026-03-01 12:00:10")) == at("2026-03-01 12:00:10")
    assert schedule.latest(at("2026-03-01 12:00:09")) == at("2026-03-01 12:00:00")


@given(st.floats(1, 1e8), st.integers(-(10**13), 10**13), st.integers(-(10**13), 10**13))
def test_the_latest_due_time_and_the_next_one_enclose_a_moment(interval: float, origin: int, moment: int) -> None:
    schedule = Every(interval, origin)
    assert schedule.latest(moment) <= moment < schedule.after(moment)
    assert schedule.after(schedule.latest(moment)) == schedule.after(moment)
    assert schedule.latest(schedule.after(moment)) == schedule.after(moment)


# ── crontabs ──


def test_a_crontab_goes_by_the_clock_on_the_wall_of_its_zone() -> None:
    nightly = Cron("45 17 * * *", LONDON)
    assert dues(nightly, "2026-03-27", "2026-03-31") == ["03-27 17:45", "03-28 17:45", "03-29 16:45", "03-30 16:45"]


def test_a_sixth_field_is_the_second() -> None:
    assert dues(Cron("* * * * * */15"), "2026-03-01 12:00:01", "2026-03-01 12:01:01") == [
        *("03-01 12:00:15", "03-01 12:00:30", "03-01 12:00:45", "03-01 12:01")
    ]


def test_hourly_and_the_like_are_crontabs() -> None:
    assert dues(Cron("@hourly"), "2026-03-01 12:00:01", "2026-03-01 14:30") == ["03-01 13:00", "03-01 14:00"]
    assert dues(Cron("@monthly"), "2026-03-01 12:00:01", "2026-05-30") == ["04-01 00:00", "05-01 00:00"]


def test_a_time_that_the_clock_leaves_out_is_due_once_at_the_change() -> None:
    """In London 01:00 to 02:00 is left out on 29 March 2026, at 01:00 UTC."""
    assert dues(Cron("30 1 * * *", LONDON), "2026-03-28 12:00", "2026-03-30 12:00") == ["03-29 01:00", "03-30 00:30"]
    assert dues(Cron("*/20 1,2 * * *", LONDON), "2026-03-29", "2026-03-30") == [
        *("03-29 01:00", "03-29 01:20", "03-29 01:40")  # 01:00, 01:20, 01:40 and 02:00 in one
    ]
    assert dues(Cron("0 2 * * *", LONDON), "2026-03-29", "2026-03-30") == ["03-29 01:00"]


def test_a_time_that_comes_twice_is_due_the_first_time() -> None:
    """In London 01:00 to 02:00 comes twice on 25 October 2026: from 00:00 UTC and from 01:00 UTC."""
    assert dues(Cron("30 1 * * *", LONDON), "2026-10-24 12:00", "2026-10-26 12:00") == ["10-25 00:30", "10-26 01:30"]
    assert dues(Cron("*/30 * * * *", LONDON), "2026-10-25 00:00", "2026-10-25 03:00") == [
        *("10-25 00:00", "10-25 00:30", "10-25 02:00", "10-25 02:30")
    ]


def test_clocks_that_change_by_half_an_hour_or_a_whole_day() -> None:
    assert dues(Cron("15 2 * * *", LORD_HOWE), "2026-10-03", "2026-10-04 00:00") == ["10-03 15:30"]  # 02:00 to 02:30
    assert dues(Cron("0 12 * * *", APIA), "2011-12-29 12:00", "2012-01-01 12:00") == [
        *("12-29 22:00", "12-30 10:00", "12-30 22:00", "12-31 22:00")  # 30 December did not come in Samoa
    ]


CHANGES = [
    *((LONDON, at("2026-03-29 01:00")), (LONDON, at("2026-10-25 01:00"))),
    *((LORD_HOWE, at("2026-10-03 15:30")), (LORD_HOWE, at("2026-04-04 15:00"))),
]
SPECS = ["30 1 * * *", "*/7 * * * *", "0 * * * *", "*/20 1,2 * * *", "59 23 * * *", "*/10 1-3 * * * */20"]


@given(
    st.sampled_from(SPECS),
    st.sampled_from(CHANGES),
    st.integers(-4 * 3_600_000, 4 * 3_600_000),
)
def test_due_times_around_a_change_are_found_from_both_sides(
    spec: str, change: tuple[ZoneInfo, int], off: int
) -> None:
    schedule, moment = Cron(spec, change[0]), change[1] + off
    assert schedule.latest(moment) <= moment < schedule.after(moment)
    assert schedule.after(schedule.latest(moment)) == schedule.after(moment)
    assert schedule.latest(schedule.after(moment)) == schedule.after(moment)


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize(("zone", "change"), CHANGES)
def test_due_times_are_the_first_moments_at_which_the_wall_shows_them(spec: str, zone: ZoneInfo, change: int) -> None:
    """Compared with going through it in steps of 20 s: what the clock shows for the first time, and what it passes over."""
    schedule, plain = Cron(spec, zone), Cron(spec)
    begin, end = change - 5_400_000, change + 5_400_000
    expected, seen = list[int](), _wall(zone, begin)
    for moment in range(begin + 20_000, end, 20_000):
        wall = _wall(zone, moment)
        if wall > seen:  # and not shown for the second time
            if plain.after(_naive(seen)) <= _naive(wall):
                expected.append(moment)
            seen = wall
    found, moment = [], begin
    while (moment := schedule.after(moment)) < end:
        found.append(moment)
    assert found == expected


def _wall(zone: ZoneInfo, moment: int) -> datetime:
    return datetime.fromtimestamp(moment / 1000, zone).replace(tzinfo=None, fold=0)


def _naive(wall: datetime) -> int:
    return (wall - datetime(1970, 1, 1)) // timedelta(milliseconds=1)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("61 * * * *", "61 * * * *"),
        ("* * * *", "five fields"),
        ("* * * * * * *", "five fields"),
        ("@reboot", "@hourly"),
        ("", "five fields"),
        ("0 0 30 2 *", "0 0 30 2"),
        ("R * * * *", "jitter"),
        ("h * * * *", "jitter"),
        ("a b c d e", "a b c d e"),
    ],
)
def test_what_is_no_crontab_is_named(spec: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said.replace("*", r"\*")):
        Cron(spec)
