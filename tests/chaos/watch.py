"""Watches a world while faults go on: how every partition stands, many times a second, and which workers are there.

It looks into the server that is the primary, past the proxies, and reads a partition's slot and cursor at one moment.
"""

import asyncio
import time
from collections.abc import Callable, Iterable

import redis.exceptions as redis_errors
from attrs import define, field
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from runnel.store.keys import PartitionKeys
from tests.chaos.record import Era, Sample
from tests.chaos.site import Worker, look_at
from tests.support import wait_until

INTERVAL = 0.015
"""Seconds between looks."""


@define(eq=False)
class Watch:
    """Notes what changes.

    Args:
        partitions: Which to look at.
        now: The present era, and the URL of its primary.
        workers: Those there have been, which others add to.
    """

    partitions: list[PartitionKeys]
    now: Callable[[], tuple[Era, str]]
    workers: list[Worker]
    samples: list[Sample] = field(factory=list)
    looks: int = 0
    over: bool = False
    """Set it to end the watch. Cancelling would not do: redis-py may swallow that."""
    _last: dict[int, Sample] = field(factory=dict)

    async def run(self) -> None:
        """Watch until it is over."""
        while not self.over:
            era, url = self.now()
            async with Redis.from_url(url, decode_responses=True, retry=Retry(NoBackoff(), 0)) as client:
                try:
                    while self.now()[0] is era and not self.over:
                        look_at(self.workers)
                        await self._look_at_partitions(era, client)
                        await asyncio.sleep(INTERVAL)
                except (redis_errors.RedisError, OSError):  # its connection is killed as well as others are
                    look_at(self.workers)
                    await asyncio.sleep(INTERVAL)

    async def looked(self) -> None:
        """Wait until it has seen how everything stands now."""
        looks = self.looks
        await wait_until(lambda: self.looks > looks + 1, what="the watch has looked")

    def present(self) -> Iterable[Sample]:
        """How each partition stands, as it was last seen."""
        return self._last.values()

    async def _look_at_partitions(self, era: Era, client: "Redis") -> None:
        async with client.pipeline(transaction=True) as pipeline:
            for keys in self.partitions:
                pipeline.hmget(keys.slot("till").decode(), ["owner", "epoch", "nonce", "history", "number"])
                pipeline.hget(keys.cursors.decode(), "till")
            replies = await pipeline.execute()
        at = time.monotonic()
        if self.now()[0] is not era:
            return
        self.looks += 1
        for keys, slot, cursor in zip(self.partitions, replies[::2], replies[1::2], strict=True):
            owner, epoch, nonce, history, number = slot
            sample = Sample(
                at=at,
                era=era.number,
                partition=keys.number,
                owner=owner or "",
                epoch=int(epoch or 0),
                nonce=nonce or "",
                history=history or "",
                number=int(number or 0),
                cursor=cursor or "0-0",
            )
            self._note(sample)

    def _note(self, sample: Sample) -> None:
        last = self._last.get(sample.partition)
        if last is None or _state(last) != _state(sample):
            self._last[sample.partition] = sample
            self.samples.append(sample)


def _state(sample: Sample) -> tuple[object, ...]:
    return sample.era, sample.owner, sample.epoch, sample.nonce, sample.number, sample.cursor
