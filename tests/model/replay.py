"""Walks through a world of the model, each step of it carried out by the real scripts on a real server.

After each step both must have answered the same, and hold the same. Failovers are real to the scripts: the data set goes back
to what the replica last caught up with, and the server gets another history.
"""

import random
from collections import Counter
from typing import Any

import redis
from attrs import define, field

from runnel.store import moves, timing
from runnel.store.scripts import Acquired, Appended, Held, StaleSequence
from runnel.store.timing import Promoted
from tests.integration.scripts.bench import PROCESSOR, Bench
from tests.model.guards import ALL
from tests.model.requests import (
    Acquire,
    Append,
    Commit,
    Promote,
    Register,
    Release,
    Renew,
    Request,
    Reset,
    Suspect,
    Trim,
    Unregister,
)
from tests.model.scripts import arrives
from tests.model.state import KEYS, Server, World, keys_of, readable
from tests.model.step import Step
from tests.model.steps import first_world, steps
from tests.model.translation import SECOND, Translation, event_of
from tests.model.worlds import Bounds

RESTLESS = (0.4, 0.25), (0.1, 0.1), (0.03, 0.03)
"""For each walk one of these: how often any step is chosen, faults too, and not only what gets work done; and how often a
request of any time before arrives once more, or one that nobody would send.
"""


WORK = 6
"""How much more often than another step one is chosen at which a worker gets further, or is lost."""


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
    real: Translation = field(init=False)
    restless: tuple[float, float] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.restless = self.dice.choice(RESTLESS)
        self.real = Translation(self.bench.keys, has_actors=self.bounds.key_concurrency)

    async def run(self, length: int) -> None:
        """Take so many steps.

        Raises:
            AssertionError: The scripts did something else than the model; the message tells the steps up to there.
        """
        self.raw.flushall()
        self.histories.append(self._history())
        await self.bench.register(PROCESSOR)
        for when, event in enumerate(self.bounds.due, 1):
            what = [b"data"], [event.encode()]
            await self.bench.run(timing.delay(self.bench.keys, "later", when, *what, at=when, cap=100, overflow="block"))
        self._catch_up()
        world = first_world(self.bounds)
        for _ in range(length):
            world = await self._next(world)

    async def _next(self, world: World) -> World:
        choices = list(steps(world, self.bounds, ALL))
        if not choices or self.dice.random() < self.restless[1]:  # with all faults used up, and all work done, nothing happens
            request = self._stray(world)
            server, answer = arrives(world.primary, request, ALL)
            self.trace.append(f"once more: {request}: {answer}")
            await self._arrives(request, world.primary, answer)
            world = world._replace(primary=server, next_grant=world.next_grant + 1)
        else:
            step = self._chosen(world, choices)
            self.trace.append(step.label)
            if step.request is not None:
                await self._arrives(step.request, world.primary, step.answer)
            else:
                await self._befalls(world, step.world)
            world = step.world
        self._both_hold_the_same(world.primary)
        return world

    def _chosen(self, world: World, choices: list[Step]) -> Step:
        """Most often one that gets work done."""
        calm = [step for step in choices if not step.is_fault]
        if calm and self.dice.random() >= self.restless[0]:
            choices = calm
        return self.dice.choices(choices, [_weight(world, step) for step in choices])[0]

    def _stray(self, world: World) -> Request:
        server = world.primary
        number = max(0, server.number + self.dice.choice((-1, 0, 2)))
        made_up: list[Request] = [
            Trim(),
            Promote(),
            Renew(server.epoch, server.nonce),
            Release(server.epoch - 1, server.nonce),
            Suspect(server.epoch, server.nonce, server.last_id),
            Commit(server.epoch, server.nonce, server.grant, number, server.cursor, (), ()),
            *([Acquire(world.next_nonce, world.next_grant)] if server.held else ()),
        ]
        # A cursor behind the last entry is never reset to: it would pass over what is yet to come.
        before = [each for each in self.sent if not isinstance(each, Reset) or each.cursor <= server.last_id]
        return self.dice.choice(before if before and self.dice.random() < 0.7 else made_up)

    # ── requests ──

    async def _arrives(self, request: Request, server: Server, expected: str) -> None:
        self.sent.append(request)
        self.seen[f"{type(request).__name__} {expected}"] += 1
        call = self.real.call(request, server)
        appended = len(self.bench.ids)
        answer = _plain(request, await self.bench.run(call))
        # An append that was here before is answered as it was then: what it did shows in the log.
        same = answer == ("OK" if isinstance(request, Append) and expected == "ALREADY" else expected)
        assert same, self._told(f"the script answers {answer}")
        if isinstance(request, Append | Promote) and len(ids := self.bench.ids) > appended:
            self.real.ids[server.last_id + server.step] = ids[-1].encode()

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
            self.bench.redis.hset(self.bench.keys.cursors.decode(), SECOND, self.real.id_of(after.primary.second))

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
        model, real = self._in_the_model(server), self._on_the_server(server)
        if self.bounds.key_concurrency:
            model |= self._of_actors_in_the_model(server)
            real |= self._of_actors_on_the_server(server)
        for what, value in model.items():
            assert real[what] == value, self._told(f"{what} is {real[what]}, in the model {value}")

    def _in_the_model(self, server: Server) -> dict[str, object]:
        cursors = {PROCESSOR: server.cursor} if server.registered else {}
        if server.second >= 0:
            cursors[SECOND] = server.second
        return {
            "parked": list(server.parked),
            "parked keys": set(keys_of(server.parked)),
            "releasing": set(server.releasing),
            "log": list(readable(server)),
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

    def _on_the_server(self, server: Server) -> dict[str, object]:
        slot, keys, kept = self.bench.slot, self.bench.keys, self.bench.parked_entries
        self.real.parked_at |= {int(fields["~id"]): entry.encode() for entry, fields in kept}
        number_of, entries = self.real.number_of, self.bench.redis.xrange(keys.log)
        return {
            "parked": [(int(fields["~id"]), fields["data"]) for _, fields in kept],
            "parked keys": set(self.bench.redis.hkeys(keys.parked_keys(PROCESSOR))),
            "releasing": set(self.bench.redis.smembers(keys.released_keys(PROCESSOR))),
            "log": [(number_of(entry_id), event_of(fields)) for entry_id, fields in entries],
            "cursors": {name: number_of(cursor) for name, cursor in self.bench.cursors.items()},
            "epoch": int(slot.get("epoch", 0)),
            "nonce": slot.get("nonce", ""),
            "number": int(slot.get("number", 0)),
            "held": int(slot.get("deadline", 0)) > 1,
            "history": slot["history"] if slot.get("nonce") else None,
            "owned": bool(slot.get("owner")),
            "crashes": int(slot.get("crashes", 0)),
            "suspect": number_of(slot.get("suspect")),
            "culprit": number_of(slot.get("culprit")),
        }

    def _of_actors_in_the_model(self, server: Server) -> dict[str, object]:
        return {
            "state": {key: ",".join(state) for key, state in zip(KEYS, server.states, strict=True) if state},
            "reminders": {key: str(due) for key, due in zip(KEYS, server.reminders, strict=True) if due},
            "marks": set(server.done),
            "outbox": list(server.outputs),
            "due": [when * 1000 for when, _ in server.due],
        }

    def _of_actors_on_the_server(self, server: Server) -> dict[str, object]:
        look, keys = self.bench.redis, self.bench.keys
        emitted = [fields["data"] for _, fields in look.xrange(keys.outbox(PROCESSOR))]
        since_reset = len(emitted) - len(server.outputs) if self.bounds.resets else 0  # what was emitted before stays
        return {
            "state": look.hgetall(keys.state(PROCESSOR)),
            "reminders": look.hgetall(keys.reminders(PROCESSOR)),
            "marks": {self.real.number_of(entry_id) for entry_id in look.smembers(keys.done(PROCESSOR))},
            "outbox": emitted[max(0, since_reset) :],
            "due": [int(score) for _, score in look.zrange(keys.delayed, 0, -1, withscores=True)],
        }

    def _told(self, what: str) -> str:
        return "\n".join([what, *(f"  {number:2} {label}" for number, label in enumerate(self.trace, 1))])


def _weight(world: World, step: Step) -> int:
    if isinstance(step.request, Unregister):
        return WORK  # one step, where resets are one for each entry
    return WORK if step.world.workers != world.workers and "passivates" not in step.label else 1


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
        case Acquired() | Appended() | Promoted() | True | None | int() | bytes():
            return "OK"
        case _:
            return str(answer)
