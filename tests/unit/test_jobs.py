"""Declaring jobs, and what a job does next: misfires, overlap, jitter."""

from collections.abc import AsyncIterator
from datetime import UTC, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from runnel import App, ConfigurationError
from runnel.timing.jobs import Job, Progress, Run, Wait, decide
from runnel.timing.schedule import Cron, Every


async def nightly() -> None:
    """Never called."""


def job(**options: Any) -> Job:
    return Job(name="nightly", function=nightly, schedule=Every(100), **options)


def after(job: Job, now: int, *, last: int = 1000, free_since: int = 0, grace: int = 500) -> Run | Wait:
    assert job.schedule is not None
    return decide(job, job.schedule, Progress(last=last, free_since=free_since), now, grace)


# ── what is next ──


@pytest.mark.parametrize("misfire", ["skip", "once", "all"])
def test_nothing_runs_early_and_what_is_due_runs(misfire: Any) -> None:
    assert after(job(misfire=misfire), 1099) == Wait(1100, passed=1000)
    assert after(job(misfire=misfire), 1100) == Run(1100)


def test_all_runs_each_that_was_missed_the_oldest_first() -> None:
    assert after(job(misfire="all"), 9_999_999) == Run(1100)


def test_once_runs_the_newest_for_all_that_were_missed() -> None:
    assert after(job(misfire="once"), 9_950) == Run(9_900)


def test_skip_runs_the_newest_if_it_is_not_late() -> None:
    hourly = Job(name="nightly", function=nightly, schedule=Every(3_600_000))
    late = 2 * 3_600_000
    assert after(hourly, late + 500) == Run(late)
    assert after(hourly, late + 501) == Wait(3 * 3_600_000, passed=late, late=True)


def test_skip_passes_over_what_fell_due_while_it_ran() -> None:
    assert after(job(), 1150, free_since=1149) == Wait(1200, passed=1100)
    assert after(job(), 1150, free_since=1099) == Run(1100)
    assert after(job(overlap=True), 1150, free_since=1149) == Run(1100)


@pytest.mark.parametrize("misfire", ["once", "all"])
def test_once_and_all_run_what_fell_due_while_it_ran(misfire: Any) -> None:
    assert after(job(misfire=misfire), 1150, free_since=1149) == Run(1100)


def test_jitter_puts_off_the_run_not_the_due_time() -> None:
    with_jitter = job(jitter=90, misfire="once")
    starts = {with_jitter.start(due) - due for due in range(1100, 11_100, 100)}
    assert min(starts) < 10
    assert 80 < max(starts) < 90
    start = with_jitter.start(1100)
    assert after(with_jitter, start - 1) == Wait(start, passed=1000)
    assert after(with_jitter, start) == Run(1100)
    assert with_jitter.start(1100) == start, "a worker that restarts finds the same"
    assert with_jitter.start(1100, "b") != start, "and another worker another"


def test_one_whose_jitter_is_not_over_does_not_hide_the_one_before() -> None:
    with_jitter = job(jitter=99, misfire="once")
    newest = next(due for due in range(1200, 99_000, 100) if with_jitter.start(due) > due + 50)
    assert after(with_jitter, newest + 1, last=newest - 200) == Run(newest - 100)


def test_a_function_with_a_parameter_is_given_the_due_time() -> None:
    app = App("shop")
    app.timer(60, name="timer")(lambda due: due)
    app.crontab("@hourly", timezone="Asia/Tokyo", name="crontab")(lambda due, more=1: due)
    app.timer(60, name="plain")(lambda more=1: more)
    timer, crontab, plain = (each.call(3_600_000)() for each in app.jobs.values())
    assert (timer.isoformat(), crontab.isoformat(), plain) == (
        *("1970-01-01T01:00:00+00:00", "1970-01-01T10:00:00+09:00", 1),
    )


# ── declarations ──


def test_a_function_stays_what_it_is() -> None:
    app = App("shop")
    assert app.task(nightly) is nightly
    assert app.task(on_leader=True, name="leader's")(nightly) is nightly
    assert app.timer(interval=timedelta(minutes=1), name="timer")(nightly) is nightly
    assert app.crontab("45 17 * * *", timezone=ZoneInfo("Europe/London"), name="crontab")(nightly) is nightly
    assert app.on_start(nightly) is nightly
    assert app.on_stop(nightly) is nightly
    assert [str(each.schedule) for each in app.jobs.values()] == [
        *("None", "None", "every 60 s", "45 17 * * * (Europe/London)")
    ]


def test_a_crontab_is_in_the_zone_of_the_app_unless_it_names_one() -> None:
    app = App("shop", timezone="Europe/London")
    app.crontab("@hourly")(nightly)
    app.crontab("@hourly", timezone="Asia/Tokyo", name="there")(nightly)
    app.crontab("@hourly", timezone=UTC, name="utc")(nightly)
    zones = [each.schedule.zone for each in app.jobs.values() if isinstance(each.schedule, Cron)]
    assert zones == [ZoneInfo("Europe/London"), ZoneInfo("Asia/Tokyo"), UTC]


def test_a_zone_of_pytz_becomes_pythons() -> None:
    class OfPytz:
        zone = "Europe/London"

    app = App("shop")
    app.crontab("@hourly", timezone=OfPytz())(nightly)  # type: ignore[arg-type]
    schedule = app.jobs["nightly"].schedule
    assert isinstance(schedule, Cron)
    assert schedule.zone == ZoneInfo("Europe/London")


async def wants(order: Any, ctx: Any) -> None:
    """Never called."""


async def yields() -> AsyncIterator[int]:
    yield 1


BAD: list[tuple[Any, str]] = [
    (lambda app: app.crontab("61 * * * *")(nightly), r"crontab 'nightly': '61 \* \* \* \*' is no crontab"),
    (lambda app: app.crontab("@hourly", timezone="Europe/Lundon")(nightly), "no time zone 'Europe/Lundon'"),
    (lambda app: app.crontab("@hourly", timezone=3)(nightly), "no time zone 3"),
    (lambda app: app.timer(0)(nightly), "interval must be at least 0.001 s, not 0"),
    (lambda app: app.timer(float("nan"))(nightly), "interval must be at least 0.001 s, not nan"),
    (lambda app: app.timer("soon")(nightly), "interval must be seconds or a timedelta, not 'soon'"),
    (lambda app: app.timer(nightly), r"write @app.timer\(interval=10\)"),
    (lambda app: app.crontab(nightly), "@app.crontab says when"),
    (lambda app: app.timer(1, misfire="twice")(nightly), "misfire must be skip, once or all, not 'twice'"),
    (lambda app: app.timer(1, jitter=1)(nightly), "jitter must be shorter than the interval"),
    (lambda app: app.timer(1, jitter="a")(nightly), "jitter must be seconds"),
    (lambda app: app.crontab("@hourly", jitter=-1)(nightly), "jitter must be at least 0"),
    (lambda app: app.task(lambda due: None), "given no arguments, and asks for due"),
    (lambda app: app.timer(1)(wants), "given at most the time at which it is due, and asks for order, ctx"),
    (lambda app: app.task("now"), "must be a function, not 'now'"),
    (lambda app: app.timer(1)(yields), "has a `yield`"),
    (lambda app: app.timer(1, name="a/b")(nightly), "no slash"),
    (lambda app: app.timer(1, name="~promoter")(nightly), "does not begin with ~"),
    (lambda app: app.on_start(3), "@app.on_start stands on must be a function, not 3"),
    (lambda app: app.on_stop(wants), "given no arguments, and asks for order, ctx"),
]


@pytest.mark.parametrize(("declare", "said"), BAD)
def test_what_does_not_fit_is_an_error_where_it_is_declared(declare: Any, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        declare(App("shop"))


def test_two_jobs_of_one_name_would_share_their_due_times() -> None:
    app = App("shop")
    app.timer(1)(nightly)
    with pytest.raises(ConfigurationError, match="job 'nightly' is declared twice"):
        app.task(nightly)
