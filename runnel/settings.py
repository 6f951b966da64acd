"""An app's settings: keyword beats environment beats default."""

import os
import typing
import warnings
from collections.abc import Callable, Mapping
from datetime import tzinfo
from enum import Enum
from typing import Any, Literal
from zoneinfo import ZoneInfo

from attrs import Attribute, converters, field, fields, frozen

from runnel.clock import seconds
from runnel.errors import ConfigurationError
from runnel.handling.breaker import CircuitBreaker
from runnel.handling.policy import ExceptionPolicy
from runnel.handling.retry import ParkRetry, Retry
from runnel.records import Serializer

MEANINGLESS = frozenset(
    {
        "testing",
        "leadership_poll_interval",
        "read_timeout",
        "pool_size",
        "assignment_attempts",
        "assignment_sleep",
        "default_read_timeout",
        "default_pool_size",
        "default_assignment_attempts",
        "default_assignment_sleep",
    }
)
"""Settings of Runnel 0.1 that mean nothing here: they are accepted, with a warning."""


TURNED_OFF = frozenset({"default_park_retry", "default_breaker"})
"""Settings that None turns off. Any other that is given as None is as if not given."""


def whole(value: Any) -> int:
    """A count: an int, and nothing that is nearly one."""
    if type(value) is not int:
        raise TypeError(f"{value!r} is not an int")
    return value


Validator = Callable[[Any, "Attribute[Any]", Any], None]


def _positive(minimum: float = 0, *, above: bool = True) -> Validator:
    def check(settings: Any, attribute: "Attribute[Any]", value: Any) -> None:
        if not (value > minimum if above else value >= minimum):
            bound = f"greater than {minimum:g}" if above else f"at least {minimum:g}"
            raise ConfigurationError(f"{attribute.name} must be {bound}, not {value!r}")

    return check


def _positive_or_none(settings: Any, attribute: "Attribute[Any]", value: Any) -> None:
    if value is not None:
        _positive()(settings, attribute, value)


def _one_of(*choices: str) -> Validator:
    def check(settings: Any, attribute: "Attribute[Any]", value: Any) -> None:
        if value not in choices:
            raise ConfigurationError(f"{attribute.name} must be one of {', '.join(choices)}, not {value!r}")

    return check


def _port(settings: Any, attribute: "Attribute[Any]", value: Any) -> None:
    if value is not None and not (type(value) is int and 0 <= value <= 65_535):
        raise ConfigurationError(f"{attribute.name} must be a port, 0 to 65535, not {value!r}")


def _lower(text: str) -> str:
    return text.lower()


def _zone(zone: str | tzinfo) -> tzinfo:
    if isinstance(zone, tzinfo):
        return zone
    try:
        return ZoneInfo(zone)
    except (KeyError, ValueError) as error:
        raise ConfigurationError(f"timezone {zone!r} is not known") from error


def _policy(value: str | ExceptionPolicy) -> ExceptionPolicy:
    try:
        return ExceptionPolicy(value.lower())
    except ValueError as error:
        choices = ", ".join(policy.value for policy in ExceptionPolicy)
        raise ConfigurationError(f"exception_policy must be one of {choices}, not {value!r}") from error


@frozen(kw_only=True)
class Settings:
    """Settings of an app. Durations are in seconds, sizes in bytes.

    Each can be given to `App` by keyword, or as `RUNNEL_<NAME>` in the environment.
    """

    redis_url: str = "redis://127.0.0.1:6379"
    log_level: str = field(
        default="info", converter=_lower, validator=_one_of("debug", "info", "warning", "error", "critical")
    )
    log_format: Literal["console", "json"] = field(default="console", validator=_one_of("console", "json"))
    timezone: tzinfo = field(default=ZoneInfo("UTC"), converter=_zone)
    autodiscover: str | None = None
    """A glob of modules that the worker imports at its start, below the current folder."""
    send_timeout: float = field(default=30.0, converter=seconds, validator=_positive())
    """How long `send` waits for room (overflow "block"), or for a server that is away. At most 300."""

    metrics_port: int | None = field(default=None, validator=_port)
    """For the command line: where workers serve metrics and their health. None: nowhere; 0: any port that is free."""
    metrics_host: str = "127.0.0.1"
    health_stalled_after: float = field(default=60.0, converter=seconds, validator=_positive())
    """After how long a worker is not ready of which a partition has events to do, and none gets done."""
    health_blocked_after: float = field(default=5.0, converter=seconds, validator=_positive())
    """After how long a worker is not alive whose event loop does not turn."""

    default_partition_count: int = field(default=16, converter=whole, validator=_positive())
    default_partition_size: int = field(default=50_000, converter=whole, validator=_positive())
    default_serializer: Serializer | None = None
    default_hasher: Callable[[Any], int] | None = None
    default_overflow: Literal["block", "reject", "drop_oldest"] = field(
        default="block", validator=_one_of("block", "reject", "drop_oldest")
    )
    default_max_payload: int = field(default=16 * 2**20, converter=whole, validator=_positive())

    default_exception_policy: ExceptionPolicy = field(default=ExceptionPolicy.HALT, converter=_policy)
    default_lock_expiry: float = field(default=4.0, converter=seconds, validator=_positive())
    default_grace_period: float = field(default=8.0, converter=seconds, validator=_positive(above=False))
    default_max_parked: int = field(default=10_000, converter=whole, validator=_positive())
    default_max_crashes: int = field(default=3, converter=whole, validator=_positive())
    default_prefetch_count: int = field(default=256, converter=whole, validator=_positive())
    default_prefetch_bytes: int = field(default=16 * 2**20, converter=whole, validator=_positive())
    default_key_concurrency: int = field(default=16, converter=whole, validator=_positive())
    default_idle_timeout: float = field(default=60.0, converter=seconds, validator=_positive())
    default_max_active: int = field(default=10_000, converter=whole, validator=_positive())
    default_join_delay: float = field(default=0.0, converter=seconds, validator=_positive(above=False))
    default_retry: Retry | None = None
    default_park_retry: ParkRetry | None = field(factory=ParkRetry)
    default_breaker: CircuitBreaker | None = field(factory=CircuitBreaker)
    default_timeout: float | None = field(
        default=None, converter=converters.optional(seconds), validator=_positive_or_none
    )
    default_start: Literal["earliest", "latest"] = field(default="earliest", validator=_one_of("earliest", "latest"))

    def __attrs_post_init__(self) -> None:
        if self.send_timeout > 300:
            raise ConfigurationError(
                f"send_timeout must be at most 300 s, not {self.send_timeout:g}: "
                "a repeated append is recognised as such for 600 s only"
            )


def warn_meaningless(name: str) -> None:
    """Say that an option of Runnel 0.1 has no effect."""
    warnings.warn(f"{name} of Runnel 0.1 means nothing any more: see docs/moving.md", stacklevel=4)


def load_settings(given: Mapping[str, Any], environ: Mapping[str, str] = os.environ) -> Settings:
    """Settings from keywords and the environment.

    Raises:
        ConfigurationError: A keyword that is no setting, or a value that does not fit, by name.
    """
    known = {attribute.name: attribute for attribute in fields(Settings)}
    values: dict[str, Any] = {}
    for name in sorted(MEANINGLESS):
        if f"RUNNEL_{name.upper()}" in environ:
            warn_meaningless(name)
    for name, attribute in known.items():
        if (text := environ.get(f"RUNNEL_{name.upper()}")) is not None:
            values[name] = _from_text(attribute, text)
    for name, value in given.items():
        if name in MEANINGLESS:
            warn_meaningless(name)
        elif name not in known:
            raise ConfigurationError(f"unknown setting {name!r}: there are {', '.join(sorted(known))}")
        elif value is not None or name in TURNED_OFF:
            values[name] = value
    try:
        return Settings(**values)
    except TypeError as error:
        raise ConfigurationError(f"a setting has a value of the wrong type: {error}") from error


def _from_text(attribute: "Attribute[Any]", text: str) -> Any:
    optional = {float | None: float, int | None: int}
    kind: Any = optional.get(attribute.type, attribute.type)  # type: ignore[arg-type]
    if typing.get_origin(kind) is Literal or kind in (str, str | None, tzinfo):
        return text
    if kind in (int, float):
        try:
            return kind(text)
        except ValueError as error:
            raise ConfigurationError(f"RUNNEL_{attribute.name.upper()} must be a number, not {text!r}") from error
    if isinstance(kind, type) and issubclass(kind, Enum):
        return text
    raise ConfigurationError(f"RUNNEL_{attribute.name.upper()} cannot be set in the environment")
