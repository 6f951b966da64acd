"""The tree of errors. Branches say who must act.

    RunnelError
    ├── ConfigurationError      the author of the app: a wrong option, name, module or server
    ├── RecordError             the data: a record that does not fit its type, an entry that does not decode
    ├── StreamFull              the producer: a partition has no room, and who holds it back
    ├── Reject                  a handler: do not try this event again, the policy decides
    │   └── WorkerCrashed           its author: workers are lost whenever they run an event, even alone
    ├── RetryLater              a handler: try this event again, but not now
    ├── TimedOut                the author of a handler: an event took longer than its processor's `timeout`
    ├── HandlerFailed           the author of a handler: its error ended the worker (policy HALT)
    ├── ActorFailed             the author of an actor: it failed, with an error that who asked it does not know
    ├── KeyParked               operations: an actor was asked whose key is parked
    ├── NoAnswer                who asked an actor: its time is up
    ├── StartFailed             the author of an app: what it has workers call at their start failed
    ├── LagTooHigh              operations: processors do not keep up
    ├── Unhealthy               operations: `runnel doctor` has found a problem
    ├── NotDrained              the author of a test: what it waits for does not come to its end
    ├── StillOwned              operations: a worker runs what is to be deleted
    ├── ReplayFailed            operations, or the author of a handler: a replay did not come to its end, or events failed in it
    ├── NotDone                 operations: what was to be deleted has events that are not done
    ├── LeaseLost               nobody, it is normal: another worker owns the partition now, stand down
    ├── StoreError              operations: the server
    │   ├── StoreUnavailable        it cannot be reached, or did not answer in time
    │   └── StoreRefused            it answered no: out of memory, no permission, wrong type
    └── ActorError              the user of the actor kernel
        ├── MailboxFull             `tell_nowait` found no room
        ├── AskTimeout              no answer in time
        └── ActorStopped            the actor stopped before it could answer

This module imports nothing of Runnel, so that every layer can raise these.
"""

from datetime import timedelta


class RunnelError(Exception):
    """The root of all errors that Runnel raises on purpose."""


class ConfigurationError(RunnelError):
    """The app is declared or started wrongly: the message says what, where, and what to do."""


class RecordError(RunnelError):
    """A value does not fit the record's type, or stored bytes do not decode into it."""


class StreamFull(RunnelError):
    """A partition is full of events that some processor has not processed yet.

    The message names the partition and the processor that holds it back.
    """


class Reject(RunnelError):
    """Raised by a handler: its event has failed and is not tried again; the processor's policy decides."""


class WorkerCrashed(Reject):
    """An event is not run any more: several workers in a row died, or hung, when they ran it, the last one ran it alone."""


class RetryLater(RunnelError):
    """Raised by a handler: its event is tried again in `after` seconds (or a timedelta), and its partition waits.

    It counts as an attempt: a processor's `retry` bounds how many there are. Without one there is no bound.
    """

    def __init__(self, message: str = "", *, after: float | timedelta) -> None:
        super().__init__(message or f"to be tried again in {after}")
        self.after = after


class TimedOut(RunnelError, TimeoutError):
    """An event, or a batch, took longer in the function than its processor's `timeout`."""


class HandlerFailed(RunnelError):
    """A handler failed under the policy HALT; `__cause__` is its error."""


class ActorFailed(RunnelError):
    """An actor that was asked failed, with an error of a class that this process has not imported, or cannot make of its text.

    Attributes:
        type: That class, as `module:Class`.
        text: What the error said.
    """

    def __init__(self, type: str, text: str) -> None:
        super().__init__(type, text)
        self.type = type
        self.text = text

    def __str__(self) -> str:
        return f"{self.type}: {self.text}"


class KeyParked(RunnelError):
    """An actor was asked whose key is parked: it handles nothing until the key is released."""


class NoAnswer(RunnelError, TimeoutError):
    """An actor that was asked has not answered in time.

    It has handled the message, is just handling it, or else never will: what waits for its turn when its time is up is dropped.
    """


class StartFailed(RunnelError):
    """A function that the app has its workers call at their start (`on_start`) failed; `__cause__` is its error."""


class LagTooHigh(RunnelError):
    """Some processor is further behind than whoever asked allows; the message names it."""


class Unhealthy(RunnelError):
    """The server, or the app on it, has problems; the message says of what."""


class NotDrained(RunnelError, AssertionError):
    """What a test waits for does not come to its end; the message says which processor, partition and event that is."""


class StillOwned(RunnelError):
    """A worker runs what was to be deleted; the message names it."""


class ReplayFailed(RunnelError):
    """A replay did not come to its end, or events failed in it; the message says which."""


class NotDone(RunnelError):
    """Events would be lost with what was to be deleted; the message says how many, and whose."""


class LeaseLost(RunnelError):
    """The token is no longer the partition's: drop buffers and state, and acquire anew."""


class StoreError(RunnelError):
    """Redis could not do what was asked."""


class StoreUnavailable(StoreError):
    """The server cannot be reached, or did not answer in time. Whether the last command took effect is not known."""


class StoreRefused(StoreError):
    """The server answered with an error, and changed nothing."""


class ActorError(RunnelError):
    """An error of the actor kernel."""


class MailboxFull(ActorError):
    """The mailbox has no room for a message that must not wait."""


class AskTimeout(ActorError):
    """The actor did not answer in time; it may still handle the message."""


class ActorStopped(ActorError):
    """The actor stopped, or had stopped, before it answered."""
