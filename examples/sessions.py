"""Sessions: the clicks of each visitor, put together once half an hour has passed without another one.

    runnel run examples.sessions:app --redis-url embedded://
    runnel send examples.sessions:clicks '{"visitor": "ada", "page": "/tea"}' --redis-url embedded://

No table of sessions, no job that sweeps it, no clock: a visitor is an actor, and a reminder is part of its state. It comes on
whichever worker has the visitor then, in order with the clicks, and once.
"""

from datetime import timedelta

from runnel import Actor, App, Events, Record

app = App("sessions")


class Click(Record):
    visitor: str
    page: str


class Session(Record):
    visitor: str
    pages: list[str]


clicks = app.stream("clicks", record=Click, partition_by="visitor")
sessions = app.stream("sessions", record=Session, partition_by="visitor")


class Pages(Record):
    """What is remembered of a visitor who is here."""

    seen: list[str] = []  # each visitor gets a copy


@app.actor(clicks)
class Visitor(Actor[Click, Pages]):
    async def receive(self, click: Click) -> None:
        self.state.seen.append(click.page)
        self.remind("gone", after=timedelta(minutes=30))  # takes the place of the one before

    async def on_reminder(self, name: str) -> None:
        self.emit(sessions, Session(visitor=self.key, pages=self.state.seen))
        self.state = None


@app.processor(sessions)
async def report(events: Events[Session]) -> None:
    async for session in events.records():
        print(f"{session.visitor} saw {' '.join(session.pages)}")
