"""Actors of the user's own classes: one for each key of a stream, with a state that is committed with what it did.

A class says how it handles events; each key that has any gets an instance while it is active. Runnel sees to the rest.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any, Generic, Protocol, TypeVar

from runnel.clock import Duration
from runnel.entity.context import Context
from runnel.errors import ConfigurationError

M = TypeVar("M")
S = TypeVar("S")
F = TypeVar("F", bound=Callable[..., Any])

HANDLES = "__runnel_handles__"
REACH = "__runnel_reach__"
"""Where a method says what it handles, and a class how its actors are reached: set when it is declared."""


class Reach(Protocol):
    """The way to the actors of a class, from any process."""

    async def ask(self, key: object, message: Any, timeout: Duration | None) -> Any: ...
    async def tell(self, key: object, message: Any) -> str: ...
    async def state_of(self, key: object) -> Any: ...


class Actor(Context, Generic[M, S]):
    """Handles the events of one key of a stream, strictly in order, one at a time. `M` is their record, `S` its state.

    Declare a subclass with `@app.actor(stream)`. An instance lives while its key is active: it is made at the key's first
    event, and passivated when the key was idle for long, or too many others are active; its state stays. The state, what it
    emits, its reminders and the mark that the event is done are committed together, or not at all. A handler that fails leaves
    no trace of what it did to these; the instance is replaced by a fresh one with the state of before. Any other attribute is
    only a cache, which goes with the instance.

    Methods may be `async def`, or plain `def`: those run in a thread.
    """

    __slots__ = ("_state",)

    _state: Any

    # ── what to override ──

    def receive(self, message: M) -> Any:
        """Handle an event. What it returns answers an `ask`, to an event it means nothing."""
        raise NotImplementedError(f"{type(self).__name__} has no receive")

    async def on_start(self) -> None:
        """Called once on each instance, its state loaded, before its first event. To raise here fails that event."""

    async def on_stop(self) -> None:
        """Called when the instance goes in order: it is passivated, or its partition given away. To clean up; not to save."""

    async def on_restart(self, error: Exception) -> None:
        """Called on the old instance when an event failed. By default it calls `on_stop`."""
        await self.on_stop()

    def on_reminder(self, name: str) -> Any:
        """A reminder is due; it is an event like any other of this key. May be `async def`."""
        raise NotImplementedError(f"{type(self).__name__} has no on_reminder")

    @classmethod
    def initial(cls) -> S:
        """The state of a key that has none: by default the state class's, made without arguments."""
        raise NotImplementedError

    @classmethod
    def migrate(cls, data: dict[str, Any]) -> dict[str, Any]:
        """A state as it was stored, before it is decoded, for states that older code has stored.

        Unknown fields are ignored and missing ones get their defaults without it.
        """
        return data

    # ── what a handler may use ──

    @property
    def state(self) -> S:
        """What it remembers. Change it, or assign another one; None deletes it: the next event finds the initial state."""
        state: S = self._state
        return state

    @state.setter
    def state(self, state: S | None) -> None:
        self._state = state

    def remind(self, name: str, *, after: Duration | None = None, at: datetime | None = None) -> None:
        """Have `on_reminder(name)` called when it is due, in this key's order of events; replaces a reminder of the same name.

        Durable: it is set in the commit that marks the event done, and runs on whichever worker has the key then, never early.

        Args:
            name: Which; at most 200 bytes.
            after: Seconds from now, or a timedelta.
            at: Instead of it, the moment: a datetime with a time zone.

        Raises:
            RecordError: It does not fit.
            ConfigurationError: The class has no `on_reminder`.
        """
        if type(self).on_reminder is Actor.on_reminder:
            raise ConfigurationError(f"actor {type(self).__name__!r} has no on_reminder: it says what a reminder is for")
        self._now.remind(name, after, at)

    def cancel_reminder(self, name: str) -> None:
        """Take a reminder back, also one that is due and has not run; harmless if there is none."""
        self._now.cancel_reminder(name)

    # ── from any process ──

    @classmethod
    async def ask(cls, key: object, message: Any, timeout: Duration | None = None) -> Any:
        """Have the key's actor handle a message, in order with its events, and wait for what it returns.

        Args:
            key: Which actor. As that of `Stream.send`, it is the one given, whatever `partition_by` says of the message.
            message: A record of the stream, for `receive`, or of a type that a method `@handles`.
            timeout: Seconds, or a timedelta (`send_timeout`). After that the message is dropped, unless it is being handled.

        Raises:
            NoAnswer: No answer in time.
            RecordError: The message has a type that the actor does not handle, or does not fit it.
            StoreError: The server cannot be reached, or refuses.
            Exception: What the handler raised, if this process knows its class, else `ActorFailed`. It has changed nothing.
        """
        return await cls._reach().ask(key, message, timeout)

    @classmethod
    async def tell(cls, key: object, message: Any) -> str:
        """Have the key's actor handle a message, in order with its events; not waiting for that. As lasting as an event.

        Returns:
            The id of the message's entry in the log.

        Raises:
            RecordError, StoreError: As `ask`.
        """
        return await cls._reach().tell(key, message)

    @classmethod
    async def state_of(cls, key: object) -> S | None:
        """The state of a key as it is committed; None if it has none. Reading it does not touch the actor.

        Raises:
            RecordError: It does not decode.
            StoreError: The server cannot be reached, or refuses.
        """
        state: S | None = await cls._reach().state_of(key)
        return state

    @classmethod
    def _reach(cls) -> Reach:
        reach: Reach | None = vars(cls).get(REACH)  # that of a class it derives from would be another actor's
        if reach is None:
            raise ConfigurationError(f"actor {cls.__name__!r} is not declared: put @app.actor(stream) before its class")
        return reach


def handles(*messages: type[Any]) -> Callable[[F], F]:
    """Declare that a method of an actor handles messages of these types, for `ask` and `tell`: `@handles(GetBalance)`."""
    if not messages or not all(isinstance(message, type) for message in messages):
        raise ConfigurationError(f"handles: give it classes of messages, as in @handles(GetBalance), not {messages!r}")

    def mark(method: F) -> F:
        setattr(method, HANDLES, messages)
        return method

    return mark
