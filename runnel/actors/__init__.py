"""The actor kernel: mailboxes, supervision, lifecycle. It knows nothing of Redis or streams.

    ActorSystem                     system.py       the root; stops everything in order
    └── Cell                        cell.py         an actor's life: incarnations, failures, the end
        ├── ActorRef                ref.py          its address: tell, ask, stop
        ├── Inbox ── Mailbox        inbox.py        what it receives: the message in hand, the stash, the queue
        ├── Actor                   actor.py        the user's class: one instance an incarnation
        ├── Activities              activities.py   what an incarnation has going on: timers, watches, background work
        ├── Execution               execution.py    its task, which can be ended at a deadline
        └── Children ── Restart     children.py     its children, and what is done when one fails
            └── Cell …              supervision.py  ... decided by pure functions

A message goes `ref.tell` → inbox → mailbox → `Actor.next` → `receive`; a failure goes cell → its parent's children
→ decision → resume, restart, stop, or the parent's own failure. A user needs no more than is exported here.
"""

from runnel.actors.actor import Actor
from runnel.actors.inbox import ActorStopping
from runnel.actors.ref import ActorRef, DeadLetter, Terminated
from runnel.actors.snapshot import ActorFailure, ActorSnapshot, State
from runnel.actors.supervision import Backoff, Directive, OneForAll, OneForOne, RestForOne, Strategy
from runnel.actors.system import ActorSystem

__all__ = [
    "Actor",
    "ActorFailure",
    "ActorRef",
    "ActorSnapshot",
    "ActorStopping",
    "ActorSystem",
    "Backoff",
    "DeadLetter",
    "Directive",
    "OneForAll",
    "OneForOne",
    "RestForOne",
    "State",
    "Strategy",
    "Terminated",
]
