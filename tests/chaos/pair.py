"""The servers of a world: a primary with its append-only file and, where failovers are to come, a replica of it."""

import asyncio
from typing import Any

from attrs import define

from tests.servers import Server
from tests.support import wait_until


@define(eq=False)
class Pair:
    """A primary, and perhaps its replica; they change places at a failover."""

    primary: Server
    replica: Server | None

    @classmethod
    async def start(cls, *, replica: bool, durable: bool = True) -> "Pair":
        """`durable`: what they took outlives a restart of theirs."""
        options = {"repl_diskless_sync_delay": "0", "repl_ping_replica_period": "1"}
        servers = [Server(tcp=True, durable=durable, options=dict(options)) for _ in range(1 + replica)]
        await asyncio.gather(*(asyncio.to_thread(server.start) for server in servers))
        pair = cls(servers[0], servers[1] if replica else None)
        pair.follow()
        return pair

    def follow(self) -> None:
        """Have the replica follow the primary."""
        if self.replica is not None:
            with self.replica.client() as client:
                client.replicaof("127.0.0.1", self.primary.port)

    async def in_step(self) -> None:
        """Wait until the replica has all that the primary had when this was called."""
        with self.primary.client() as client:
            offset = client.info("replication")["master_repl_offset"]
        await wait_until(lambda: self._has(offset), timeout=20, what="the replica is in step")

    def _has(self, offset: int) -> bool:
        assert self.replica is not None
        with self.replica.client() as client:
            found: dict[str, Any] = client.info("replication")
        return found.get("master_link_status") == "up" and found["slave_repl_offset"] >= offset

    def sever(self) -> None:
        """Cut replication: what the primary takes from now on, the replica will not have."""
        assert self.replica is not None
        with self.replica.client() as client:
            client.replicaof("NO", "ONE")

    def swap(self) -> None:
        """Kill the primary; the replica takes its place."""
        assert self.replica is not None
        self.primary.kill()
        self.primary, self.replica = self.replica, self.primary

    def close(self) -> None:
        for server in (self.primary, self.replica):
            if server is not None:
                server.close()
