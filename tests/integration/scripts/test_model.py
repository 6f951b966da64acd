"""The real scripts against a model of the slot: whatever the order, however often and late a call arrives, both agree.

Two workers take, keep, use and give back one partition; leases run out under them; replies are lost, so that they send the
same call again; copies of calls arrive long after; the history changes. The model is that of design/model, in plain Python.
"""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from attrs import define, evolve, field, frozen
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from runnel.clock import SystemClock
from runnel.store import scripts
from runnel.store.client import Store
from runnel.store.link import Link
from runnel.store.scripts import Acquired, Appended, Call, Full, Held, StaleSequence, Token
from tests.integration.scripts.bench import PROCESSOR, Bench
from tests.servers import Server

WORKERS = ("anna", "bert")
CAP = 6
EXPIRED = "1"


@frozen
class Slot:
    """What the server holds of the partition."""

    epoch: int = 0
    nonce: str = ""
    owner: str = ""
    history: int = 0
    leased: bool = False
    number: int = 0
    cursor: int = 0
    log: tuple[int, ...] = ()
    appended: int = 0
    sequence: int = 0
    registered: bool = False

    def holds(self, epoch: int, nonce: str, history: int) -> bool:
        return bool(nonce) and (self.epoch, self.nonce, self.history) == (epoch, nonce, history)


@define(eq=False)
class Worker:
    """What a worker believes."""

    name: str
    terms: int = 0
    nonce: str = ""
    token: Token | None = None
    number: int = 0
    cursor: int = 0


@define(eq=False)
class Machine:
    """The model's slot and history, and how each call must be answered."""

    slot: Slot = field(factory=Slot)
    history: int = 1

    def acquire(self, worker: str, nonce: str) -> object:
        slot = self.slot
        if slot.nonce == nonce and slot.holds(slot.epoch, nonce, self.history):
            self.slot = evolve(slot, leased=True)
            return (slot.epoch, slot.cursor)
        if slot.leased and slot.nonce and slot.history == self.history:
            return slot.owner
        self.slot = evolve(
            slot,
            epoch=slot.epoch + 1,
            nonce=nonce,
            owner=worker,
            history=self.history,
            leased=True,
            number=0,
            registered=True,
        )
        return (self.slot.epoch, slot.cursor)

    def commit(self, epoch: int, nonce: str, number: int, cursor: int) -> str:
        slot = self.slot
        if not slot.holds(epoch, nonce, self.history):
            return "FENCED"
        if number != slot.number + 1:
            return "ALREADY" if number == slot.number else "CONFLICT"
        self.slot = evolve(slot, number=number, cursor=cursor)
        return "OK"

    def renew(self, epoch: int, nonce: str) -> bool:
        if not self.slot.holds(epoch, nonce, self.history):
            return False
        self.slot = evolve(self.slot, leased=True)
        return True

    def release(self, epoch: int, nonce: str) -> bool:
        if not self.slot.holds(epoch, nonce, self.history):
            return False
        self.slot = evolve(self.slot, leased=False, nonce="", owner="")
        return True

    def append(self, sequence: int, count: int) -> str:
        slot = self.slot
        if sequence <= slot.sequence:
            return "OK" if sequence == slot.sequence else "STALE"
        log = slot.log
        if len(log) + count > CAP:
            log = self.undone()
            self.slot = evolve(slot, log=log)
            if len(log) + count > CAP:
                return "FULL"
        new = tuple(range(slot.appended + 1, slot.appended + count + 1))
        self.slot = evolve(slot, log=log + new, appended=slot.appended + count, sequence=sequence)
        return "OK"

    def trim(self) -> int:
        before = len(self.slot.log)
        self.slot = evolve(self.slot, log=self.undone())
        return before - len(self.slot.log)

    def undone(self) -> tuple[int, ...]:
        """Entries are numbered from 1; a cursor is the number of the last that is done."""
        slot = self.slot
        return tuple(n for n in slot.log if n > slot.cursor) if slot.registered else slot.log


class Protocol(RuleBasedStateMachine):
    """Entries carry their number as payload, and `n-0` as id, so that the model knows ids beforehand."""

    server: Server
    loop: asyncio.AbstractEventLoop
    bench: Bench

    def __init__(self) -> None:
        super().__init__()
        self.model = Machine()
        self.workers = {name: Worker(name) for name in WORKERS}
        self.sent: list[tuple[str, tuple[Any, ...]]] = []

    @initialize()
    def begin(self) -> None:
        self.bench.redis.flushall()
        self.histories: list[str] = []

    # ── what workers do ──

    @rule(name=st.sampled_from(WORKERS), lost=st.booleans())
    def acquire(self, name: str, lost: bool) -> None:
        worker = self.workers[name]
        if not worker.nonce:
            worker.terms += 1
            worker.nonce = f"{name}{worker.terms}"
        answer = self.arrives("acquire", name, worker.nonce)
        if lost:
            return  # it sends the same nonce again, sooner or later
        if isinstance(answer, tuple):
            epoch, cursor = answer
            worker.token, worker.number, worker.cursor = Token(b"%d" % epoch, worker.nonce.encode()), 0, cursor
        worker.nonce = ""

    @rule(name=st.sampled_from(WORKERS), done=st.integers(0, 3), lost=st.booleans())
    def commit(self, name: str, done: int, lost: bool) -> None:
        worker = self.workers[name]
        if worker.token is None:
            return
        cursor = min(worker.cursor + done, self.model.slot.appended)
        sent = (*self.of(worker.token), worker.number + 1, cursor)
        answer = self.arrives("commit", *sent)
        if lost:
            answer = self.arrives("commit", *sent)
            assert answer in ("ALREADY", "FENCED", "CONFLICT")
        if answer in ("OK", "ALREADY"):
            worker.number, worker.cursor = worker.number + 1, cursor
        else:
            worker.token = None

    @rule(name=st.sampled_from(WORKERS), script=st.sampled_from(("renew", "release")))
    def keep_or_give_back(self, name: str, script: str) -> None:
        worker = self.workers[name]
        if worker.token is not None and (not self.arrives(script, *self.of(worker.token)) or script == "release"):
            worker.token = None

    @rule(count=st.integers(1, 3), lost=st.booleans())
    def append(self, count: int, lost: bool) -> None:
        sequence = self.model.slot.sequence + 1
        for _ in range(2 if lost else 1):
            self.arrives("append", sequence, count, self.model.slot.appended + 1)

    @rule()
    def trim(self) -> None:
        self.arrives("trim")

    # ── what befalls them ──

    @precondition(lambda self: self.sent)
    @rule(data=st.data())
    def a_copy_arrives_late(self, data: st.DataObject) -> None:
        script, args = self.sent[data.draw(st.integers(0, len(self.sent) - 1), label="which")]
        self.arrives(script, *args)

    @precondition(lambda self: self.model.slot.leased)
    @rule()
    def the_lease_runs_out(self) -> None:
        self.bench.expire()
        self.model.slot = evolve(self.model.slot, leased=False)

    @rule()
    def the_history_changes(self) -> None:
        self.bench.redis.execute_command("REPLICAOF", "127.0.0.1", "1")
        self.bench.redis.execute_command("REPLICAOF", "NO", "ONE")
        self.model.history += 1

    # ── both sides ──

    @invariant()
    def both_agree(self) -> None:
        slot, real = self.model.slot, self.bench.slot
        assert int(real.get("epoch", 0)) == slot.epoch
        assert (real.get("nonce", ""), real.get("owner", "")) == (slot.nonce, slot.owner)
        assert int(real.get("number", 0)) == slot.number
        assert (self.bench.cursors == {PROCESSOR: f"{slot.cursor}-0"}) if slot.registered else not self.bench.cursors
        assert tuple(map(int, self.bench.payloads)) == slot.log
        assert set(range(slot.cursor + 1, slot.appended + 1)) <= set(slot.log), "an entry that is not done is gone"

    def arrives(self, script: str, *args: Any) -> object:
        """A call arrives at the server, and at the model: they answer the same."""
        self.sent.append((script, args))
        real = self.plain(self.loop.run_until_complete(self.bench.run(self.made(script, *args))))
        expected = getattr(self.model, script)(*args[:2] if script == "append" else args)
        assert real == expected, (script, args)
        return expected

    def made(self, script: str, *args: Any) -> Call[Any]:
        keys = self.bench.keys
        if script == "acquire":
            worker, nonce = args
            return scripts.acquire(keys, PROCESSOR, worker=worker, nonce=nonce.encode(), lease=600, start="earliest")
        if script == "append":
            sequence, count, first = args
            values = [value for n in range(first, first + count) for value in (b"%d-0" % n, b"%d" % n)]
            return scripts.append(
                keys, "till", sequence, [b"data"], values, cap=CAP, overflow="block", explicit_ids=True
            )
        if script == "trim":
            return scripts.trim(keys)
        token = Token(b"%d" % args[0], args[1].encode())
        if script == "commit":
            return scripts.commit(keys, PROCESSOR, token, args[2], b"%d-0" % args[3], args[3])
        return (
            scripts.renew(keys, PROCESSOR, token, 600) if script == "renew" else scripts.release(keys, PROCESSOR, token)
        )

    @staticmethod
    def plain(answer: object) -> object:
        match answer:
            case Acquired(token, cursor, _):
                return (int(token.epoch), int(cursor.partition(b"-")[0]))
            case Held(owner, _):
                return owner
            case Appended():
                return "OK"
            case Full():
                return "FULL"
            case StaleSequence():
                return "STALE"
            case _:
                return answer

    @staticmethod
    def of(token: Token) -> tuple[int, str]:
        return int(token.epoch), token.nonce.decode()


@pytest.fixture
def protocol(valkey: Server) -> Iterator[type[Protocol]]:
    """The machine, with a loop and a connection of its own."""
    loop = asyncio.new_event_loop()
    store = Store(valkey.url, SystemClock())
    loop.run_until_complete(store.open())
    with valkey.client() as client:
        link: Link = store.link()
        yield type("Protocol", (Protocol,), {"loop": loop, "bench": Bench(link, client)})
    loop.run_until_complete(store.close())
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()


def test_the_scripts_do_what_the_model_does(protocol: type[Protocol]) -> None:
    checks = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
    from hypothesis.stateful import run_state_machine_as_test

    run_state_machine_as_test(
        protocol,
        settings=settings(
            max_examples=60,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=checks,
            phases=[Phase.generate, Phase.shrink],
        ),
    )
