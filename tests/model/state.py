"""What the model's world consists of: plain values that can be compared, since each world is looked at once.

They are named tuples, not attrs classes: millions are hashed and compared, which C does here and Python would do there.
"""

from typing import NamedTuple

from tests.model.requests import Commit, Write

KEYS = "ab"  # an event is named by its key and a number: a1 comes before a2

Entry = tuple[int, str]  # id, event
Due = tuple[int, str]  # when, event
States = tuple[tuple[str, ...], ...]  # for each key the events folded into it
Reminders = tuple[int, ...]  # for each key when its actor is to be reminded; 0: not

UNCOUNTED = -1  # in worlds without poison: their states would only multiply

NO_STATES: States = ((),) * len(KEYS)
NO_REMINDERS: Reminders = (0,) * len(KEYS)

UNREAD: States = (("?",),) * len(KEYS)  # of a worker that has no actor of the key in memory


class Server(NamedTuple):
    """One dataset. `log` keeps trimmed entries too, for judging; workers read only those above `trimmed`.

    The last fields are no part of the protocol. They are there for judging what happened.
    """

    log: tuple[Entry, ...] = ()
    last_id: int = 0
    step: int = 10  # between the ids of two entries
    trimmed: int = 0
    sequence: int = 0  # of the producer's last append
    epoch: int = 0
    nonce: int = 0
    held: bool = False  # the lease has not run out
    slot_history: int = 0  # what the last acquire saw as `history`
    number: int = 0  # of the last commit
    cursor: int = 0
    done: tuple[int, ...] = ()  # the marks: ids above the cursor
    states: States = NO_STATES
    reminders: Reminders = NO_REMINDERS
    outputs: tuple[str, ...] = ()
    parked: tuple[Entry, ...] = ()
    releasing: tuple[str, ...] = ()  # keys that an operator asked to replay
    due: tuple[Due, ...] = ()  # delayed events, in the order of their due times
    registered: bool = True
    owned: bool = False  # an owner was granted it, and has not given it back
    crashes: int = UNCOUNTED  # owners lost in a row
    suspect: int = 0  # runs alone
    culprit: int = 0  # ran alone when its owner was lost
    second: int = -1  # the second group's cursor; -1: not registered
    history: int = 0  # of the server itself, not replicated

    grant: int = 0  # the last acquire that was granted; 0: none since the last reset
    base: int = 0  # where the last reset put the cursor: state is folded from here
    dropped: tuple[str, ...] = ()  # passed over as culprits
    committed: bool = False  # something, in this term
    lost: int = 0  # owners in a row, since the last commit, release or failover
    noted: tuple[int, ...] = ()  # as suspects, in terms that ended with nothing good
    deaths: int = 0  # of workers, of poison
    released: bool = False  # given back, and not acquired since
    broken: str = ""  # a promise that only the moment of the change can judge


class Worker(NamedTuple):
    """What an owner believes, or who asks for the partition (`epoch` is 0), or nobody.

    Workers are interchangeable: the world keeps them sorted.
    """

    epoch: int = 0
    nonce: int = 0
    grant: int = 0
    number: int = 0
    cursor: int = 0
    done: tuple[int, ...] = ()
    knows_marks: bool = True
    states: States = ()
    reminders: Reminders = ()
    parked_keys: str = ""
    position: int = 0  # up to where it has read
    buffer: tuple[Entry, ...] = ()  # read, not in a commit yet
    crashes: int = 0
    culprit: int = 0
    noted: int = 0
    waiting: tuple[Commit, ...] = ()  # the commit under way, if any; None could not be sorted


class World(NamedTuple):
    """Everything at one moment. `faults`, `failovers` and `resets` are those that may still come."""

    primary: Server
    replica: Server
    workers: tuple[Worker, ...]
    faults: int
    failovers: int
    resets: int
    network: tuple[Commit, ...] = ()  # commits on their way
    acquires: tuple[int, ...] = ()  # nonces of copies of acquires on their way
    sent: int = 0  # events the producer has an answer for
    next_nonce: int = 1
    next_grant: int = 1
    trim_plan: int = 0  # only without "minimum inside trim"


IDLE = Worker()


def readable(server: Server) -> tuple[Entry, ...]:
    """What the log still holds."""
    return tuple(entry for entry in server.log if entry[0] > server.trimmed)


def keys_of(entries: tuple[Entry, ...]) -> str:
    return "".join(sorted({event[0] for _, event in entries}))


def reminder(key: str, due: int) -> str:
    """The event that reminds a key's actor."""
    return f"{key}~{due}"


def overwritten(states: States, reminders: Reminders, writes: tuple[Write, ...]) -> tuple[States, Reminders]:
    by_key = {write.key: write for write in writes}
    return (
        tuple(by_key[key].state if key in by_key else state for key, state in zip(KEYS, states, strict=True)),
        tuple(by_key[key].reminder if key in by_key else due for key, due in zip(KEYS, reminders, strict=True)),
    )
