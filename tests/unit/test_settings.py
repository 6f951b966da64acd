"""Settings: keyword beats environment beats default, and what does not fit is one clear error."""

import warnings
from datetime import UTC, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from attrs import fields

from runnel import App, ConfigurationError, ExceptionPolicy, JSONSerializer
from runnel.clock import seconds
from runnel.settings import MEANINGLESS, Settings, load_settings


def test_defaults() -> None:
    settings = load_settings({}, {})
    assert settings == Settings()
    assert (settings.redis_url, settings.log_level) == ("redis://127.0.0.1:6379", "info")
    assert (settings.default_partition_count, settings.default_partition_size) == (16, 50_000)
    assert (settings.default_lock_expiry, settings.default_grace_period, settings.default_join_delay) == (4, 8, 0)
    assert settings.default_exception_policy is ExceptionPolicy.HALT


def test_keyword_beats_environment_beats_default() -> None:
    environ = {"RUNNEL_REDIS_URL": "redis://env", "RUNNEL_LOG_LEVEL": "debug"}
    settings = load_settings({"redis_url": "redis://keyword"}, environ)
    assert (settings.redis_url, settings.log_level, settings.log_format) == ("redis://keyword", "debug", "console")


def test_a_keyword_of_none_is_as_if_not_given() -> None:
    assert load_settings({"redis_url": None}, {"RUNNEL_REDIS_URL": "redis://env"}).redis_url == "redis://env"


def test_an_app_reads_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNNEL_DEFAULT_PARTITION_COUNT", "3")
    monkeypatch.setenv("RUNNEL_REDIS_URL", "redis://env")
    app = App("shop", redis_url="redis://keyword")
    assert (app.settings.default_partition_count, app.settings.redis_url) == (3, "redis://keyword")
    app.override(redis_url="redis://command-line")
    assert app.settings.redis_url == "redis://command-line"


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("default_partition_count", "4", 4),
        ("default_lock_expiry", "2.5", 2.5),
        ("send_timeout", "1", 1.0),
        ("log_level", "WARNING", "warning"),
        ("log_format", "json", "json"),
        ("timezone", "Europe/London", ZoneInfo("Europe/London")),
        ("autodiscover", "app/**/*.py", "app/**/*.py"),
        ("default_exception_policy", "ignore", ExceptionPolicy.IGNORE),
        ("default_exception_policy", "IGNORE", ExceptionPolicy.IGNORE),
        ("default_overflow", "reject", "reject"),
        ("default_start", "latest", "latest"),
    ],
)
def test_text_of_the_environment_becomes_a_value(name: str, text: str, value: object) -> None:
    found = getattr(load_settings({}, {f"RUNNEL_{name.upper()}": text}), name)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"RUNNEL_DEFAULT_PARTITION_COUNT": "many"}, "RUNNEL_DEFAULT_PARTITION_COUNT must be a number, not 'many'"),
        ({"RUNNEL_DEFAULT_PARTITION_COUNT": "2.5"}, "RUNNEL_DEFAULT_PARTITION_COUNT must be a number"),
        ({"RUNNEL_DEFAULT_SERIALIZER": "runnel.serialization.default"}, "RUNNEL_DEFAULT_SERIALIZER cannot be set"),
        ({"RUNNEL_DEFAULT_HASHER": "hash"}, "RUNNEL_DEFAULT_HASHER cannot be set"),
        ({"RUNNEL_LOG_LEVEL": "loud"}, "log_level must be one of debug, info, warning"),
    ],
)
def test_an_environment_that_does_not_fit(environ: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        load_settings({}, environ)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"redis": "x"}, "unknown setting 'redis': there are .*redis_url"),
        ({"log_level": "loud"}, "log_level must be one of"),
        ({"log_format": "xml"}, "log_format must be one of console, json, not 'xml'"),
        ({"timezone": "Mars/Olympus"}, "timezone 'Mars/Olympus' is not known"),
        ({"send_timeout": 0}, "send_timeout must be greater than 0"),
        ({"send_timeout": 301}, "send_timeout must be at most 300 s"),
        ({"send_timeout": float("nan")}, "send_timeout must be greater than 0"),
        ({"default_max_crashes": 0}, "default_max_crashes must be greater than 0"),
        ({"default_partition_count": 0}, "default_partition_count must be greater than 0"),
        ({"default_partition_count": "4"}, "wrong type"),
        ({"default_partition_count": 2.5}, "wrong type"),
        ({"default_grace_period": -1}, "default_grace_period must be at least 0"),
        ({"default_overflow": "explode"}, "default_overflow must be one of block, reject, drop_oldest"),
        ({"default_exception_policy": "shrug"}, "exception_policy must be one of halt, quarantine"),
        ({"default_start": "middle"}, "default_start must be one of"),
    ],
)
def test_a_keyword_that_does_not_fit(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        load_settings(given, {})


def test_durations_are_seconds_or_timedeltas() -> None:
    assert load_settings({"default_lock_expiry": timedelta(minutes=2)}, {}).default_lock_expiry == 120.0
    assert (seconds(3), seconds(0.5), seconds(timedelta(milliseconds=1))) == (3.0, 0.5, 0.001)


def test_objects_are_given_by_keyword() -> None:
    serializer = JSONSerializer()
    settings = load_settings({"default_serializer": serializer, "default_hasher": hash, "timezone": UTC}, {})
    assert (settings.default_serializer, settings.default_hasher, settings.timezone) == (serializer, hash, UTC)


@pytest.mark.parametrize("name", sorted(MEANINGLESS))
def test_settings_of_0_1_that_mean_nothing_warn(name: str) -> None:
    with pytest.warns(UserWarning, match=f"{name} of Runnel 0.1 means nothing any more: see docs/moving.md"):
        assert load_settings({name: 1}, {}) == Settings()
    with pytest.warns(UserWarning, match=name):
        assert load_settings({}, {f"RUNNEL_{name.upper()}": "1"}) == Settings()


def test_no_setting_warns_that_means_something() -> None:
    with warnings.catch_warnings(action="error"):
        load_settings({attribute.name: None for attribute in fields(Settings)}, {})
