"""Actors that note what comes, and set reminders as a test says."""

from collections.abc import Callable
from typing import Any

from runnel import Actor, App, Record, Stream
from tests.integration.actors.support import Step


class Seen(Record):
    said: list[str] = []  # noqa: RUF012


class Diary:
    """An app whose actors note what comes, and set reminders as a test says."""

    def __init__(self, app: App, stream: Stream[Step], **options: Any) -> None:
        self.app, self.stream = app, stream
        self.notes = list[str]()
        self.on_event: Callable[[Any, Step], Any] = lambda actor, step: None
        self.on_reminder: Callable[[Any, str], Any] = lambda actor, name: None
        diary = self

        @app.actor(stream, **options)
        class Account(Actor[Step, Seen]):
            async def receive(self, step: Step) -> None:
                await self._note(f"{step.number}", lambda: diary.on_event(self, step))

            async def on_reminder(self, name: str) -> None:
                await self._note(name, lambda: diary.on_reminder(self, name))

            async def _note(self, what: str, do: Callable[[], Any]) -> None:
                diary.notes.append(f"{self.key}:{what}")
                self.state.said.append(what)
                if (waits := do()) is not None:
                    await waits

        self.actor = Account

    async def send(self, *steps: Step) -> None:
        await self.stream.send(*steps)


def diary(**options: Any) -> Diary:
    """For a TestApp."""
    app = App("shop", redis_url="redis://not.used")
    return Diary(app, app.stream("steps", record=Step, partition_by="key", partition_count=1), **options)
