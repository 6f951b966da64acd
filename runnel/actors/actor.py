"""What users subclass: hooks, and what an actor may do from within them.

An actor is one task that handles one message at a time, so its attributes need no locks. It touches others only by
messages.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, ClassVar, Generic, Never, Protocol, TypeVar

from runnel.actors.activities import Activities
from runnel.actors.inbox import Inbox
from runnel.actors.ref import ActorRef, DeadLetter
from runnel.actors.snapshot import ActorSnapshot
from runnel.actors.supervision import Strategy
from runnel.clock import Clock

M = TypeVar("M")
N = TypeVar("N")
T = TypeVar("T")

MAILBOX_CAPACITY = 1_000


class System(Protocol):
    """What an actor may do with the system that it lives in. To stop it all, fail, or let the outside do it."""

    @property
    def name(self) -> str: ...
    @property
    def clock(self) -> Clock: ...
    @property
    def dead_letters(self) -> int: ...
    def on_dead_letter(self, callback: Callable[[DeadLetter], object]) -> Callable[[], None]: ...
    def snapshot(self) -> ActorSnapshot: ...


class Context(Protocol[M]):
    """What the kernel lends to a living instance."""

    @property
    def ref(self) -> ActorRef[M]: ...
    @property
    def parent(self) -> ActorRef[Never] | None: ...
    @property
    def system(self) -> System: ...
    @property
    def clock(self) -> Clock: ...
    @property
    def inbox(self) -> Inbox[M]: ...
    @property
    def activities(self) -> Activities[M]: ...
    @property
    def stopping(self) -> bool: ...
    @property
    def child_refs(self) -> tuple[ActorRef[Never], ...]: ...
    def spawn(
        self, factory: "Callable[[], Actor[N]]", name: str | None, mailbox: int, supervision: Strategy | None
    ) -> ActorRef[N]: ...
    def stop_after_this(self) -> None: ...


class Actor(Generic[M]):
    """Handles messages of type `M` one at a time. Subclass it plainly, or with attrs: `@define(eq=False)`.

    Most actors say what `receive` does. One that wants to pull its messages itself overrides `run` instead.
    Everything below the hooks is at hand once the actor is spawned: in the hooks, not in `__init__`.

    An actor that fails is treated by its parent's supervision, see `Strategy`. An actor that awaits something that was
    cancelled fails with an `ActorError`; one whose task is cancelled from outside the kernel stops, at once and in
    order.
    """

    __slots__ = ("__weakref__", "_cell")

    _cell: Context[M]

    clear_mailbox_on_restart: ClassVar[bool] = False
    """Whether a restart drops what is queued and stashed; questions among it get `ActorStopped`."""

    cleanup_timeout: ClassVar[float] = 5.0
    """Seconds for `on_stop` and `on_restart` each, before they are cancelled."""

    # --- hooks -----------------------------------------------------------------------------------------------------

    async def on_start(self) -> None:
        """Called once on each instance, before its first message. To raise here is a failure, as anywhere."""

    async def receive(self, message: M) -> Any:
        """Handle one message. What it returns answers an `ask`; what it raises fails the actor, and the asker."""
        raise NotImplementedError(f"{type(self).__name__} overrides neither receive nor run")

    async def run(self) -> None:
        """Take messages and handle them until told to stop: override it to pull them with `next` instead.

        Returning ends the actor in order; raising fails it. After `Directive.RESUME` it is called again on the same
        instance.
        """
        inbox = self._cell.inbox
        while True:
            inbox.reply(await self.receive(await inbox.next()))

    async def on_stop(self) -> None:
        """Called when the actor stops for good, after its last message, when its children have stopped.

        Not called when `on_start` did not succeed, nor after `on_restart`. It cannot stop the stopping: what it raises
        is logged.
        """

    async def on_restart(self, error: Exception) -> None:
        """Called on the old instance when a restart replaces it, its children gone; the fresh one gets `on_start`.

        `error` is its own, or that of the sibling that it restarts with. Not called when `on_start` did not succeed.
        What it raises is logged. By default it calls `on_stop`.
        """
        await self.on_stop()

    def statistics(self) -> Mapping[str, object]:
        """More to show in a snapshot, under `details`. Must be quick; called only between `on_start` and the end."""
        return {}

    def residents(self) -> Iterable[ActorSnapshot]:
        """What else to show in a snapshot, under `children`: lighter things than actors that live in this one.

        Each says `is_resident`, and has a path below this one's. As quick as `statistics`, and called as that is; so rather
        some of them than all, where they are many.
        """
        return ()

    # --- the actor and its place -----------------------------------------------------------------------------------

    @property
    def ref(self) -> ActorRef[M]:
        """Its own address."""
        return self._cell.ref

    @property
    def parent(self) -> ActorRef[Never] | None:
        """Its parent's address; None at the top."""
        return self._cell.parent

    @property
    def system(self) -> System:
        return self._cell.system

    @property
    def clock(self) -> Clock:
        return self._cell.clock

    @property
    def is_stopping(self) -> bool:
        """Whether it is to stop and `next` would raise `ActorStopping`: for a `run` that is long between messages."""
        return self._cell.stopping

    @property
    def children(self) -> tuple[ActorRef[Never], ...]:
        """The children that have not stopped, in the order of spawning."""
        return self._cell.child_refs

    def spawn(
        self,
        factory: "Callable[[], Actor[N]]",
        *,
        name: str | None = None,
        mailbox: int = MAILBOX_CAPACITY,
        supervision: Strategy | None = None,
    ) -> ActorRef[N]:
        """Start a child. It starts on its own; messages may be sent to it at once.

        Args:
            factory: A class, or anything callable that makes a fresh instance; called again for each restart.
            name: Unique among its living siblings, without a slash; by default the factory's name and a number.
            mailbox: How many messages may wait.
            supervision: How this actor treats the child's failures; None is an `OneForOne()` of its own.

        Raises:
            ActorError: The name is taken or not allowed.
            ActorStopped: This actor is past its last message, or between two incarnations.
        """
        return self._cell.spawn(factory, name, mailbox, supervision)

    def watch(self, ref: ActorRef[Never]) -> None:
        """Receive a `Terminated`, once, when that actor stops, or now if it has. Ends with a restart of this actor."""
        self._cell.activities.watch(ref)

    def unwatch(self, ref: ActorRef[Never]) -> None:
        """Take back `watch`: its `Terminated` does not arrive any more, even if it is queued."""
        self._cell.activities.unwatch(ref)

    def stop(self) -> None:
        """Stop after the current message: `ActorRef.stop` without a grace period and without waiting for it."""
        self._cell.stop_after_this()

    # --- messages --------------------------------------------------------------------------------------------------

    async def next(self) -> M:
        """The next message; the one before counts as handled (an unanswered question is answered None).

        Raises:
            ActorStopping: The actor is to stop, even if messages are queued. Let it leave `run`.
        """
        return await self._cell.inbox.next()

    def next_nowait(self) -> M | None:
        """As `next`, but None when nothing is queued; the message before counts as handled either way."""
        return self._cell.inbox.next_nowait()

    def reply(self, answer: object) -> None:
        """Answer the current message now, if it was asked. Only the first answer counts."""
        self._cell.inbox.reply(answer)

    def stash(self) -> None:
        """Put the current message aside, unanswered, until `unstash_all`; a restart brings it back as well.

        Raises:
            MailboxFull: As much is stashed as the mailbox may hold.
            ActorError: There is no current message, or it is stashed already.
        """
        self._cell.inbox.stash()

    def unstash_all(self) -> None:
        """Put what was stashed before all that is queued, in the order of stashing."""
        self._cell.inbox.unstash_all()

    def set_timer(self, key: object, message: M, delay: float, repeat: bool = False) -> None:
        """Receive `message` after `delay` seconds, and with `repeat` every `delay` seconds.

        A timer of the same key is replaced. The message of a timer that was replaced or cancelled never arrives, even
        if it is queued. A repeating timer has at most one message queued. Restarting and stopping end all timers.
        """
        self._cell.activities.set_timer(key, message, delay, repeat)

    def cancel_timer(self, key: object) -> None:
        """End a timer; harmless if there is none."""
        self._cell.activities.cancel_timer(key)

    def pipe_to_self(
        self,
        awaitable: Awaitable[T],
        on_result: Callable[[T], M],
        on_error: Callable[[Exception], M] | None = None,
    ) -> None:
        """Await something in the background, and receive `on_result(its result)` as a message, room or not.

        An error arrives as `on_error(error)`; without `on_error` it fails the actor at once, interrupting the current
        message. The activity belongs to this incarnation: stopping and restarting cancel and await it, and drop its
        message if it is queued.
        """
        self._cell.activities.pipe(awaitable, on_result, on_error)
