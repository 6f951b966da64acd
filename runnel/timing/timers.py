"""What runs by the clock, for people to look at: the app's jobs, the reminders of its actors, and delayed events, which can be
cancelled.

First the plan, then, if it is wanted, the deed: `find`, then `cancel`. Reminders are only shown: what an actor is to be
reminded of is part of what it remembers, and nobody but itself changes that, in the commit of an event.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import orjson
from attrs import frozen

from runnel.app import App
from runnel.entity.messages import REMINDER
from runnel.errors import ConfigurationError
from runnel.store import timing
from runnel.store.keys import PartitionKeys
from runnel.store.link import Link
from runnel.store.timing import Aside
from runnel.stream import KEY, TO
from runnel.timing.jobs import Job, shown
from runnel.timing.schedule import Cron

PAGE = 100


@frozen(kw_only=True)
class Waiting:
    """A delayed event, or a reminder."""

    keys: PartitionKeys
    aside: Aside

    @property
    def is_reminder(self) -> bool:
        """Whether an actor has set it for itself; nobody else can take it back."""
        return self.aside.id.startswith(b"~")

    @property
    def id(self) -> str:
        """Of a delayed event: as `Delayed.id`."""
        return f"{self.keys.stream}/{self.keys.number}/{self._text(self.aside.id).lstrip('0') or '0'}"

    @property
    def key(self) -> str:
        """Its partition key, as text."""
        return self._text(self.aside.fields.get(KEY, b""))

    @property
    def processor(self) -> str:
        """Of a reminder: whose actors they are."""
        return self._text(self.aside.fields.get(TO, b""))

    @property
    def name(self) -> str:
        """Of a reminder: what `remind` called it."""
        return self._text(self.aside.fields.get(REMINDER, b""))

    def _text(self, value: bytes) -> str:
        return value.decode("utf-8", "backslashreplace")

    def as_dict(self) -> dict[str, Any]:
        """For programs."""
        if self.is_reminder:
            place = {"stream": self.keys.stream, "partition": self.keys.number}
            return {"processor": self.processor, "key": self.key, "name": self.name, "due": shown(self.aside.due), **place}
        fields = {name.decode(): value.decode("utf-8", "backslashreplace") for name, value in self.aside.fields.items()}
        return {"id": self.id, "due": shown(self.aside.due), "key": self.key, "fields": fields}


@frozen(kw_only=True)
class Clockwork:
    """A job, and when it is due."""

    job: Job
    claimed: int | None
    """The last due time that a leader has claimed, in ms since the epoch; None: none, or it is no leader's."""
    next: int | None
    """When it is due next; None: that depends on when each worker started."""

    def as_dict(self) -> dict[str, Any]:
        """For programs."""
        return {
            "name": self.job.name,
            "schedule": "at the start" if self.job.schedule is None else str(self.job.schedule),
            "on_leader": self.job.on_leader,
            "claimed": None if self.claimed is None else shown(self.claimed),
            "next": None if self.next is None else shown(self.next),
        }


@frozen(kw_only=True)
class Choice:
    """Which delayed events and reminders are meant: all to which everything given applies. An id is a delayed event's."""

    ids: Sequence[str] = ()
    stream: str | None = None
    keys: Sequence[str] = ()
    limit: int | None = None
    """The first due of them; None: all."""
    limit_events: bool = False
    """Whether the limit is for the delayed events only: what was come upon of reminders is found as well."""

    def __attrs_post_init__(self) -> None:
        for text in self.ids:
            _, _, number = text.rpartition("/")
            if text.count("/") < 2 or not number.isascii() or not number.isdigit():
                raise ConfigurationError(f"{text!r} is no delayed event: write stream/partition/number, as list shows it")

    def fits(self, event: Waiting) -> bool:
        """Whether it is one of them."""
        if self.ids and event.is_reminder:
            return False
        return (not self.ids or event.id in self.ids) and (not self.keys or event.key in self.keys)


async def jobs_of(app: App) -> list[Clockwork]:
    """The jobs that the app declares.

    Raises:
        StoreError: The server cannot be reached, or refuses.
    """
    store = await app.open()
    now = await store.command("TIME")
    ticks: Mapping[bytes, bytes] = await store.command("HGETALL", app.keys.ticks)
    return [_clockwork(job, int(now[0]) * 1000, ticks.get(job.name.encode())) for job in app.jobs.values()]


def _clockwork(job: Job, now: int, tick: bytes | None) -> Clockwork:
    moment, claims = (b"0", b"") if tick is None else tick.split(b" ", 1)
    next_due = None
    if job.schedule is not None and (job.on_leader or isinstance(job.schedule, Cron)):
        next_due = job.schedule.after(now)
    return Clockwork(job=job, claimed=int(moment) if claims and job.on_leader else None, next=next_due)


async def find(app: App, choice: Choice) -> tuple[list[Waiting], int]:
    """Delayed events and reminders, in the order of their due times, and how many there are in all; changes nothing.

    Raises:
        ConfigurationError: The stream never had any.
        StoreError: The server cannot be reached, or refuses.
    """
    store = await app.open()
    noted: Mapping[bytes, bytes] = await store.command("HGETALL", app.keys.delaying)
    counts = {name.decode(): int(count) for name, count in noted.items()}
    if choice.stream is not None and choice.stream not in counts:
        raise ConfigurationError(
            f"stream {choice.stream!r} of app {app.name!r} never had delayed events; "
            f"those that had: {', '.join(sorted(counts)) or 'none'}"
        )
    chosen = sorted(counts) if choice.stream is None else [choice.stream]
    link, found, total = store.link(), list[Waiting](), 0
    try:
        for name in chosen:
            for number in range(counts[name]):
                some, count = await _of_partition(link, PartitionKeys(app.name, name, number), choice)
                found += some
                total += count
    finally:
        await link.close()
    found.sort(key=lambda each: (each.aside.due, each.keys.stream, each.keys.number, each.aside.id))
    if not choice.limit_events:
        return found[: choice.limit], total
    events, reminders = split(found)
    return [*events[: choice.limit], *reminders], total


def split(found: Iterable[Waiting]) -> tuple[list[Waiting], list[Waiting]]:
    """The delayed events, and the reminders, of what was found."""
    events, reminders = list[Waiting](), list[Waiting]()
    for each in found:
        (reminders if each.is_reminder else events).append(each)
    return events, reminders


async def _of_partition(link: Link, keys: PartitionKeys, choice: Choice) -> tuple[list[Waiting], int]:
    found: dict[bytes, Waiting] = {}
    skip, count, first = 0, 0, choice.limit is not None
    while True:
        total, page = await link.call(timing.delayed(keys, skip=skip, most=PAGE, first=first), patience=5)
        count = max(count, total)
        for aside in page:
            if choice.fits(event := Waiting(keys=keys, aside=aside)):
                found[aside.id] = event
        skip += PAGE
        enough = len(split(found.values())[0] if choice.limit_events else found)
        if len(page) < PAGE or (choice.limit is not None and enough >= choice.limit):
            return list(found.values()), count


async def cancel(app: App, events: Iterable[Waiting]) -> int:
    """Take delayed events back; how many of them were not in the log yet. Done again, it does no harm.

    Raises:
        StoreError: The server cannot be reached, or refuses; some may be cancelled already.
    """
    numbers: dict[PartitionKeys, list[int]] = {}
    for event in events:
        numbers.setdefault(event.keys, []).append(int(event.aside.id))
    link, cancelled = (await app.open()).link(), 0
    try:
        for keys, chosen in numbers.items():
            for at in range(0, len(chosen), PAGE):
                answer = await link.call(timing.cancel(keys, chosen[at : at + PAGE]), patience=5)
                cancelled += answer
    finally:
        await link.close()
    return cancelled


def as_json(jobs: Iterable[Clockwork], found: Iterable[Waiting], total: int) -> str:
    """All of it, for programs."""
    events, reminders = split(found)
    document = {
        "jobs": [job.as_dict() for job in jobs],
        "delayed": [event.as_dict() for event in events],
        "reminders": [reminder.as_dict() for reminder in reminders],
        "delayed_total": total,
    }
    return orjson.dumps(document, option=orjson.OPT_INDENT_2).decode()


def when(moment: int) -> str:
    """A moment in ms since the epoch, as a person reads it."""
    return datetime.fromtimestamp(moment / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
