"""One partition on a real server, and short names for the scripts that change it."""

from collections.abc import Sequence
from typing import Any, TypeVar

from attrs import define, field

from runnel.store import moves, scripts
from runnel.store.keys import PartitionKeys
from runnel.store.link import Link
from runnel.store.moves import Move
from runnel.store.scripts import (
    AcquireAnswer,
    Acquired,
    AppendAnswer,
    Call,
    CommitAnswer,
    Held,
    Overflow,
    ParkedNow,
    RenewAnswer,
    Start,
    Token,
)

T = TypeVar("T")

PROCESSOR = "bill"


@define(eq=False)
class Bench:
    """What the tests of scripts work with: `link` runs them, `redis` looks at what they left."""

    link: Link
    redis: Any
    keys: PartitionKeys = field(factory=lambda: PartitionKeys("shop", "orders", 3))

    async def run(self, call: Call[T]) -> T:
        return await self.link.call(call)

    async def append(
        self,
        *values: bytes,
        sequence: int,
        producer: str = "till",
        cap: int = 1_000,
        overflow: Overflow = "block",
        ids: Sequence[str] | None = None,
        lifetime: float = 600.0,
        names: Sequence[bytes] = (b"data",),
    ) -> AppendAnswer:
        """Append entries: each has its value in every field."""
        flat: list[bytes] = []
        for at, value in enumerate(values):
            flat += [] if ids is None else [ids[at].encode()]
            flat += [value] * len(names)
        call = scripts.append(
            self.keys,
            producer,
            sequence,
            names,
            flat,
            cap=cap,
            overflow=overflow,
            explicit_ids=ids is not None,
            lifetime=lifetime,
        )
        return await self.run(call)

    async def fill(self, *ids: str) -> None:
        """Put entries with these ids into the log."""
        for entry_id in ids:
            self.redis.xadd(self.keys.log, {"data": "x"}, id=entry_id)

    async def acquire(
        self,
        nonce: bytes = b"nonce-1",
        *,
        worker: str = "worker-1",
        lease: float = 60.0,
        start: Start = "earliest",
        processor: str = PROCESSOR,
    ) -> AcquireAnswer:
        call = scripts.acquire(self.keys, processor, worker=worker, nonce=nonce, lease=lease, start=start)
        return await self.run(call)

    async def take(self, nonce: bytes = b"nonce-1", **options: Any) -> Token:
        """Acquire, which must succeed."""
        answer = await self.acquire(nonce, **options)
        assert isinstance(answer, Acquired)
        return answer.token

    async def commit(
        self, token: Token, number: int, cursor: str, count: int = 1, processor: str = PROCESSOR
    ) -> CommitAnswer:
        return await self.run(scripts.commit(self.keys, processor, token, number, cursor.encode(), count))

    async def move(self, token: Token, number: int, cursor: str, *carried: Move, count: int = 1) -> CommitAnswer:
        call = moves.move(self.keys, PROCESSOR, token, number, cursor.encode(), count, carried)
        return await self.run(call)

    async def parked(self) -> ParkedNow:
        return await self.run(moves.parked(self.keys, PROCESSOR))

    async def renew(self, token: Token, lease: float = 60.0) -> RenewAnswer:
        return await self.run(scripts.renew(self.keys, PROCESSOR, token, lease))

    async def release(self, token: Token) -> bool:
        return await self.run(scripts.release(self.keys, PROCESSOR, token))

    async def register(self, processor: str, start: Start = "earliest") -> bool:
        return await self.run(scripts.register(self.keys, processor, start))

    async def unregister(self, processor: str = PROCESSOR, *, force: bool = False) -> Held | None:
        return await self.run(scripts.unregister(self.keys, processor, force=force))

    async def reset(self, cursor: str, count: int = 0, processor: str = PROCESSOR) -> bytes:
        return await self.run(scripts.reset(self.keys, processor, cursor, count))

    async def trim(self) -> int:
        return await self.run(scripts.trim(self.keys))

    def expire(self) -> None:
        """Let the lease run out now."""
        self.redis.hset(self.keys.slot(PROCESSOR).decode(), "deadline", 1)

    @property
    def slot(self) -> dict[str, str]:
        return dict(self.redis.hgetall(self.keys.slot(PROCESSOR)))

    @property
    def cursors(self) -> dict[str, str]:
        return dict(self.redis.hgetall(self.keys.cursors))

    @property
    def ids(self) -> list[str]:
        return [entry_id for entry_id, _ in self.redis.xrange(self.keys.log)]

    @property
    def payloads(self) -> list[str]:
        return [fields["data"] for _, fields in self.redis.xrange(self.keys.log)]

    @property
    def dead(self) -> list[dict[str, str]]:
        return [fields for _, fields in self.redis.xrange(self.keys.dead(PROCESSOR))]

    @property
    def parked_entries(self) -> list[tuple[str, dict[str, str]]]:
        return list(self.redis.xrange(self.keys.parked(PROCESSOR)))

    def everything(self) -> dict[str, object]:
        """All that the server holds, to see that nothing changed."""
        kinds: dict[str, Any] = {
            "hash": self.redis.hgetall,
            "stream": self.redis.xrange,
            "string": self.redis.get,
            "set": self.redis.smembers,
        }
        return {key: kinds[self.redis.type(key)](key) for key in sorted(self.redis.keys())}
