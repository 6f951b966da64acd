"""Schedules: at which moments a job is due. Plain data and plain functions; nothing here reads a clock.

A moment is a whole number of milliseconds since the epoch (UTC), or since whatever a timer of one worker counts from. Each
due time is computed from the schedule alone, never from when the last run was, so nothing drifts, and every worker finds the
same ones.
"""

import re
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Protocol

from attrs import field, frozen
from croniter import croniter

from runnel.errors import ConfigurationError

NICKNAMES = ("@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@yearly", "@annually")

_CHANCE = re.compile(r"(?:^|[\s,])[rh]", re.IGNORECASE)
"""croniter's R and H: their due times differ from process to process."""

_MINUTE, _SECOND = timedelta(minutes=1), timedelta(seconds=1)


class Schedule(Protocol):
    """When a job is due."""

    def after(self, moment: int) -> int:
        """The first due time after a moment."""

    def latest(self, moment: int) -> int:
        """The last due time that is not after a moment."""


@frozen
class Every:
    """Due at `origin` and every `interval` milliseconds from there, both ways."""

    interval: float
    origin: int = 0

    def __str__(self) -> str:
        return f"every {self.interval / 1000:g} s"

    def after(self, moment: int) -> int:
        n = int((moment - self.origin) // self.interval)
        while self._due(n) <= moment:
            n += 1
        return self._due(n)

    def latest(self, moment: int) -> int:
        n = int((moment - self.origin) // self.interval) + 1
        while self._due(n) > moment:
            n -= 1
        return self._due(n)

    def _due(self, n: int) -> int:
        return self.origin + round(n * self.interval)


@frozen
class Cron:
    """Due when the clock on the wall of `zone` shows a time that fits `spec`.

    Where that clock is put forward, all times that it leaves out are due at once, at the moment of the change. Where it is put
    back, a time that it shows twice is due at the first.

    Raises:
        ConfigurationError: The spec is none, or no time ever fits it.
    """

    spec: str
    zone: tzinfo = field(default=UTC)

    def __attrs_post_init__(self) -> None:
        if not isinstance(self.spec, str):
            raise ConfigurationError(f"a crontab is a text like '45 17 * * *', not {self.spec!r}")
        fields = self.spec.split()
        if self.spec not in NICKNAMES and len(fields) not in (5, 6):
            raise ConfigurationError(
                f"{self.spec!r} is no crontab: it has five fields (minute hour day month weekday), a sixth for the second, "
                f"or is one of {', '.join(NICKNAMES)}"
            )
        if _CHANCE.search(self.spec):
            raise ConfigurationError(f"crontab {self.spec!r}: R and H leave it to chance when it is due; use jitter= for that")
        try:
            self._iterator(datetime(2000, 1, 1)).get_next()
        except ValueError as error:
            raise ConfigurationError(f"{self.spec!r} is no crontab: {error}") from None

    def __str__(self) -> str:
        return f"{self.spec} ({self.zone})"

    def after(self, moment: int) -> int:
        due = self._iterator(self._wall(moment) - _SECOND)  # after one that is put back, nothing before it is missed
        while (found := self._moment(due.get_next())) <= moment:
            pass
        return found

    def latest(self, moment: int) -> int:
        due = self._iterator(self._wall(moment) + _SECOND)
        while (found := self._moment(due.get_prev())) > moment:
            pass
        return found

    def _iterator(self, wall: datetime) -> croniter:
        return croniter(self.spec, wall, ret_type=datetime)

    def _wall(self, moment: int) -> datetime:
        """What the clock on the wall shows; while it shows a time for the second time, the first one that it does not."""
        local = datetime.fromtimestamp(moment / 1000, UTC).astimezone(self.zone)
        wall = local.replace(tzinfo=None, fold=0, microsecond=0)
        if not local.fold:
            return wall
        wall = wall.replace(second=0)
        while self._offset(wall) != self._offset(wall.replace(fold=1)):
            wall += _MINUTE
        return wall

    def _moment(self, wall: datetime) -> int:
        """When the clock first shows this time, or passes over it."""
        while not self._is_shown(wall):
            wall = wall.replace(second=0) if wall.second else wall - _MINUTE
            if self._is_shown(wall):
                wall += _MINUTE  # the first that is not shown; by the offset before the change, that is the moment of it
                break
        return round((wall - self._offset(wall)).replace(tzinfo=UTC).timestamp() * 1000)

    def _is_shown(self, wall: datetime) -> bool:
        shown = (wall - self._offset(wall)).replace(tzinfo=UTC).astimezone(self.zone)
        return shown.replace(tzinfo=None, fold=0) == wall

    def _offset(self, wall: datetime) -> timedelta:
        return wall.replace(tzinfo=self.zone).utcoffset() or timedelta()
