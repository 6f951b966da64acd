"""Walks through a world of the model, each step of it carried out by the real scripts on a real server.

After each step both must have answered the same, and hold the same. Failovers are real to the scripts: the data set goes back
to what the replica last caught up with, and the server gets another history.
"""

import random
from collections import Counter
from collections.abc import Iterator
from typing import Any, assert_never

import redis
from attrs import define, field

from runnel.store import moves, scripts
from runnel.store.moves import Move, Park, Unpark
from runnel.store.scripts import Acquired, Appended, Call, Held, StaleSequence, Token
from tests.integration.scripts.bench import PROCESSOR, Bench
from tests.model.guards import ALL
from tests.model.scripts import Acquire, Append, Register, Release, Renew, Request, Reset, Suspect, Trim, arrives
from tests.model.state import Commit, Mark, Server, World, keys_of, readable
from tests.model.steps import first_world, steps
from tests.model.worlds import Bounds

SECOND = "second"
LEASE = 600.0
STRAY = 0.25
"""How often a request of any time before arrives once more, or one that nobody would send."""

CALM = 0.6
"""How often no fault is chosen, so that something gets done."""


@define(eq=False)
class Walk:
    """One walk. `raw` speaks bytes, for copies of the data set; `seen` counts the requests and their answers."""

    bench: Bench
    raw: redis.Redis
    bounds: Bounds
    dice: random.Random
    seen: Counter[str]
    sent: list[Request] = field(factory=list)
    trace: list[str] = field(factory=list)
    histories: list[str] = field(factory=list)
    snapshot: dict[bytes, bytes] = field(factory=dict)
    parked_at: dict[int, bytes] = field(factory=dict)
    """Where the event of an id is parked."""

    async def run(self, length: int) -> None:
        """Take so many steps.

        Raises:
            AssertionError: The scripts did something else than the model; the message tells the steps up to there.
        """
        self.raw.flushall()
        self.histories.append(self._history())
        await self.bench.register(PROCESSOR)
        self._catch_up()
        world = first_world(self.bounds)
        for _ in range(length):
            world = await self._next(world)

    async def _next(self, world: World) -> World:
        choices = list(steps(world, self.bounds, ALL))
        if not choices or self.dice.random() < STRAY:  # with all faults used up, and all work done, nothing happens
            request = self._stray(world)
            server, answer = arrives(world.primary, request, ALL)
            self.trace.append(f"once more: {request}: {answer}")
            await self._arrives(request, world.primary, answer)
            world = world._replace(primary=server, next_grant=world.next_grant + 1)
        else:
            calm = [step for step in choices if not step.is_fault]
            step = self.dice.choice(calm if calm and self.dice.random() < CALM else choices)
            self.trace.append(step.label)
            if step.request is not None:
                await self._arrives(step.request, world.primary, step.answer)
            else:
                await self._befalls(world, step.world)
            world = step.world
        self._both_hold_the_same(world.primary)
        return world

    def _stray(self, world: World) -> Request:
        server = world.primary
        number = max(0, server.number + self.dice.choice((-1, 0, 2)))
        made_up: list[Request] = [
            Trim(),
            Renew(server.epoch, server.nonce),
            Release(server.epoch - 1, server.nonce),
            Suspect(server.epoch, server.nonce, server.last_id),
            Commit(server.epoch, server.nonce, server.grant, number, server.cursor + 1, (), ()),
            *([Acquire(world.next_nonce, world.next_grant)] if server.held else ()),
        ]
        # A cursor behind the last entry is never reset to: it would pass over what is yet to come.
        before = [each for each in self.sent if not isinstance(each, Reset) or each.cursor <= server.last_id]
        return self.dice.choice(before if before and self.dice.random() < 0.7 else made_up)

    # ── requests ──

    async def _arrives(self, request: Request, server: Server, expected: str) -> None:
        self.sent.append(request)
        self.seen[f"{type(request).__name__} {expected}"] += 1
        answer = _plain(request, await self.bench.run(self._call(request, server)))
        # An append that was here before is answered as it was then: what it did shows in the log.
        same = answer == ("OK" if isinstance(request, Append) and expected == "ALREADY" else expected)
        assert same, self._told(f"the script answers {answer}")

    def _call(self, request: Request, server: Server) -> Call[Any]:
        keys = self.bench.keys
        match request:
            case Append(sequence, event):
                values = [_id(server.last_id + server.step), event.encode()]
                return scripts.append(
                    keys, "till", sequence, [b"data"], values, cap=100, overflow="block", explicit_ids=True
                )
            case Acquire(nonce):
                return scripts.acquire(
                    keys, PROCESSOR, worker="anna", nonce=b"n%d" % nonce, lease=LEASE, start="earliest"
                )
            case Renew(epoch, nonce):
                return scripts.renew(keys, PROCESSOR, _token(epoch, nonce), LEASE)
            case Release(epoch, nonce, went):
                return scripts.release(keys, PROCESSOR, _token(epoch, nonce), went)
            case Suspect(epoch, nonce, entry):
                return moves.suspect(keys, PROCESSOR, _token(epoch, nonce), _id(entry))
            case Commit():
                token = _token(request.epoch, request.nonce)
                to = keys, PROCESSOR, token, request.number, _id(request.cursor), 0
                carried = [move for mark in request.marks for move in self._moves(mark)]
                return moves.move(*to, carried) if carried else scripts.commit(*to)
            case Reset(cursor):
                return scripts.reset(keys, PROCESSOR, _id(cursor).decode() if cursor else "earliest")
            case Trim():
                return scripts.trim(keys)
            case Register():
                return scripts.register(keys, SECOND, "earliest")
            case _:
                assert_never(request)

    def _moves(self, mark: Mark) -> Iterator[Move]:
        """What a commit carries for a mark. Done marks and state are not in the Lua yet."""
        entry_id, event, outcome = mark
        if outcome == "park":
            yield Park(event[0].encode(), [b"data", event.encode(), b"~id", b"%d" % entry_id])
        elif outcome == "replay":
            yield Unpark(event[0].encode(), self.parked_at.get(entry_id, b"0-1"))

    # ── what befalls the server ──

    async def _befalls(self, before: World, after: World) -> None:
        if after.primary.history != before.primary.history:
            self._fail_over()
        elif released := set(after.primary.releasing) - set(before.primary.releasing):
            keys, link = self.bench.keys, self.bench.link
            await link.call(moves.release_keys(keys, PROCESSOR, [key.encode() for key in released]))
        elif after.replica != before.replica:
            self._catch_up()
        elif before.primary.held and not after.primary.held:
            self.bench.expire()
        elif after.primary.second != before.primary.second:
            self.bench.redis.hset(self.bench.keys.cursors.decode(), SECOND, f"{after.primary.second}-0")

    def _catch_up(self) -> None:
        found: Any = self.raw.keys()
        self.snapshot = {key: self._dump(key) for key in found}

    def _dump(self, key: bytes) -> bytes:
        value: Any = self.raw.dump(key)
        return bytes(value)

    def _fail_over(self) -> None:
        self.raw.flushall()
        self.raw.replicaof("127.0.0.1", 1)
        self.raw.replicaof("NO", "ONE")
        for key, value in self.snapshot.items():
            self.raw.restore(key, 0, value)
        self.histories.append(self._history())
        self._catch_up()

    def _history(self) -> str:
        info: Any = self.raw.info("replication")
        return str(info["master_replid"])

    # ── both sides ──

    def _both_hold_the_same(self, server: Server) -> None:
        slot, log = self.bench.slot, dict(zip(self.bench.ids, self.bench.payloads, strict=True))
        cursors = {PROCESSOR: f"{server.cursor}-0"}
        if server.second >= 0:
            cursors[SECOND] = f"{server.second}-0"
        keys, kept = self.bench.keys, self.bench.parked_entries
        self.parked_at |= {int(fields["~id"]): entry.encode() for entry, fields in kept}
        model = {
            "parked": [(entry_id, event) for entry_id, event in server.parked],
            "parked keys": set(keys_of(server.parked)),
            "releasing": set(server.releasing),
            "log": {f"{entry_id}-0": event for entry_id, event in readable(server)},
            "cursors": cursors,
            "epoch": server.epoch,
            "nonce": f"n{server.nonce}" if server.nonce else "",
            "number": server.number,
            "held": server.held,
            "history": self.histories[server.slot_history] if server.nonce else None,
            "owned": server.owned,
            "crashes": server.crashes,
            "suspect": server.suspect,
            "culprit": server.culprit,
        }
        real = {
            "parked": [(int(fields["~id"]), fields["data"]) for _, fields in kept],
            "parked keys": set(self.bench.redis.hkeys(keys.parked_keys(PROCESSOR))),
            "releasing": set(self.bench.redis.smembers(keys.released_keys(PROCESSOR))),
            "log": log,
            "cursors": self.bench.cursors,
            "epoch": int(slot.get("epoch", 0)),
            "nonce": slot.get("nonce", ""),
            "number": int(slot.get("number", 0)),
            "held": int(slot.get("deadline", 0)) > 1,
            "history": slot["history"] if slot.get("nonce") else None,
            "owned": bool(slot.get("owner")),
            "crashes": int(slot.get("crashes", 0)),
            "suspect": _number(slot.get("suspect")),
            "culprit": _number(slot.get("culprit")),
        }
        for what, value in model.items():
            assert real[what] == value, self._told(f"{what} is {real[what]}, in the model {value}")

    def _told(self, what: str) -> str:
        return "\n".join([what, *(f"  {number:2} {label}" for number, label in enumerate(self.trace, 1))])


def _id(entry_id: int) -> bytes:
    return b"%d-0" % entry_id


def _number(entry_id: str | None) -> int:
    return int(entry_id.partition("-")[0]) if entry_id else 0


def _token(epoch: int, nonce: int) -> Token:
    return Token(b"%d" % epoch, b"n%d" % nonce if nonce else b"")


def _plain(request: Request, answer: object) -> str:
    match answer:
        case Held():
            return "HELD"
        case StaleSequence():
            return "STALE"
        case False:
            return "ALREADY" if isinstance(request, Register) else "FENCED"
        case str():
            return answer
        case Acquired() | Appended() | True | int() | bytes():
            return "OK"
        case _:
            return str(answer)
