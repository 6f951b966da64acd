"""The address of an actor: all that others hold of it. Valid over restarts, and after the actor has stopped."""

from typing import Any, Generic, Never, Protocol, TypeVar

from attrs import frozen

from runnel.actors.inbox import Inbox

M_contra = TypeVar("M_contra", contravariant=True)


class Watcher(Protocol):
    """Who wants to know when an actor stops."""

    def ended(self, error: Exception | None) -> None: ...


class Life(Protocol):
    """The actor behind a ref, apart from what it receives."""

    @property
    def is_stopped(self) -> bool: ...
    def add_watcher(self, watcher: Watcher) -> None: ...
    def remove_watcher(self, watcher: Watcher) -> None: ...
    async def stop(self, grace: float | None) -> None: ...


class ActorRef(Generic[M_contra]):
    """Sends messages to one actor. Hashable; equal only to itself: an actor has one ref all its life.

    Messages of one sender arrive in the order of sending. A message is delivered at most once: one to an actor that
    has stopped, or is stopping, becomes a dead letter; one that is being handled when its actor restarts is gone.
    """

    __slots__ = ("__weakref__", "_inbox", "_life", "_name")

    def __init__(self, name: str, inbox: Inbox[M_contra], life: Life) -> None:
        self._name = name
        self._inbox = inbox
        self._life = life

    def __repr__(self) -> str:
        return f"<ActorRef {self.path}>"

    @property
    def path(self) -> str:
        """Where it is in the tree, from the system's name down: `demo/worker/processor`."""
        return self._inbox.path

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self._name

    @property
    def is_stopped(self) -> bool:
        """Whether it has stopped for good; false while it is stopping."""
        return self._life.is_stopped

    @property
    def mailbox_depth(self) -> int:
        """How many messages are queued."""
        return len(self._inbox.mailbox)

    @property
    def mailbox_capacity(self) -> int:
        """How many messages may be queued before senders have to wait."""
        return self._inbox.mailbox.capacity

    async def tell(self, message: M_contra) -> None:
        """Queue a message; while the mailbox is full, wait for room, in turn with others who wait.

        Does not suspend when there is room. To a stopped or stopping actor the message becomes a dead letter, and
        nothing is raised. Cancelled while it waits, nothing is sent.

        Raises:
            MailboxFull: An actor told itself, and has no room: waiting would never end.
        """
        if not self._inbox.offer(message):
            await self._inbox.wait_for_room(message)

    def tell_nowait(self, message: M_contra) -> None:
        """Queue a message now.

        Raises:
            MailboxFull: There is no room.
        """
        if not self._inbox.offer(message):
            raise self._inbox.refuse()

    async def ask(self, message: M_contra, timeout: float | None = None) -> Any:
        """Send a message and wait for its answer: what `receive` returned for it.

        Args:
            message: Waits for room in a full mailbox like any other.
            timeout: Seconds for all of it, waiting for room included; None waits for ever.

        When time is up, or the asker is cancelled, a question that is still queued is withdrawn and never handled;
        one that is being handled goes on, and its answer is dropped.

        Raises:
            AskTimeout: No answer in time.
            ActorStopped: It stops, has stopped, or was interrupted by a restart before it answered.
            ActorError: An actor asked itself.
            Exception: Whatever `receive` raised for the message; the actor has failed with it as well.
        """
        return await self._inbox.ask(message, timeout)

    async def stop(self, grace: float | None = None) -> None:
        """Stop the actor and all below it, in order, and return when that is done. Harmless when it has stopped.

        The order: (1) from now on it accepts no messages; (2) the current message, or `run`, finishes, and may still
        work with its children; (3) background work and timers end; (4) the children stop, the last spawned first; (5)
        `on_stop`;
        (6) what is left in mailbox and stash becomes dead letters, and whoever waits for an answer gets `ActorStopped`.

        Args:
            grace: Seconds for the messages under way, here and below, before their tasks are cancelled; None waits for
                ever, 0 cancels at once. A second call can shorten it. `on_stop` has `Actor.cleanup_timeout` in any
                case.

        Cancelling the caller does not call off the stop.

        Raises:
            ActorError: Called by the actor itself or one below it, which would wait for its own end; see `Actor.stop`.
        """
        await self._life.stop(grace)

    def _add_watcher(self, watcher: Watcher) -> None:
        self._life.add_watcher(watcher)

    def _remove_watcher(self, watcher: Watcher) -> None:
        self._life.remove_watcher(watcher)


@frozen(eq=False)
class Terminated:
    """A watched actor has stopped for good.

    Attributes:
        ref: Who.
        error: What it failed with, or None if it ended in order.
    """

    ref: ActorRef[Never]
    error: Exception | None


@frozen(eq=False)
class DeadLetter:
    """A told message that no actor will handle.

    Attributes:
        recipient: Whom it was sent to.
        message: The message.
    """

    recipient: ActorRef[Never]
    message: object
