"""What the doctor says of a server, from what the server says of itself."""

import pytest

from runnel.errors import Unhealthy
from runnel.operations import server_health as health
from runnel.operations.finding import Finding, Level, check_health

MIB = 2**20


@pytest.mark.parametrize(
    ("finding", "level", "part"),
    [
        (health.version({"redis_version": "6.2.14"}), "problem", "Redis 6.2.14 is too old"),
        (health.version({"redis_version": "7.0.0"}), "ok", "7.0.0"),
        (health.version({"redis_version": "7.2.4", "valkey_version": "9.0.1"}), "ok", "Valkey 9.0.1"),
        (health.role({"role": "slave"}), "problem", "replica"),
        (health.role({"role": "master", "connected_slaves": 1}), "ok", "1 replica"),
        (health.cluster({"cluster_enabled": 1}), "warning", "cluster"),
        (health.eviction({"maxmemory_policy": "volatile-lru"}), "problem", "volatile-lru"),
        (health.persistence({"aof_enabled": 1}, saves=None), "ok", "append-only"),
        (health.persistence({"aof_enabled": 0}, saves=True), "warning", "snapshots only"),
        (health.persistence({"aof_enabled": 0}, saves=False), "warning", "none"),
        (health.persistence({"aof_enabled": 0}, saves=None), "warning", "does not say"),
        (health.persistence({"aof_enabled": 1, "aof_last_write_status": "err"}, saves=True), "problem", "failed"),
        (health.memory({"used_memory": MIB, "maxmemory": 0}), "warning", "without a limit"),
        (health.memory({"used_memory": MIB, "maxmemory": 2 * MIB}), "ok", "1.0 MiB of 2.0 MiB used (50%)"),
        (health.memory({"used_memory": 8 * MIB, "maxmemory": 10 * MIB}), "warning", "80%"),
        (health.memory({"used_memory": 96 * MIB, "maxmemory": 100 * MIB}), "problem", "96%"),
        (health.clock(0.2), "ok", "ahead of"),
        (health.clock(-7.5), "warning", "7.500 s behind"),
        (health.latency(0.0004), "ok", "0.40 ms"),
        (health.latency(0.02), "warning", "20.00 ms"),
        (health.latency(0.2), "problem", "200.00 ms"),
        (health.permissions([], "shop"), "ok", "all"),
        (health.permissions(["HSET x f v", "XGROUP CREATE x g 0"], "shop"), "problem", "may not run HSET, XGROUP CREATE"),
    ],
    ids=lambda value: f"{value.check} {value.level}" if isinstance(value, Finding) else "",
)
def test_each_thing_is_well_or_comes_with_what_to_do(finding: Finding, level: Level, part: str) -> None:
    assert finding.level == level
    assert part in finding.said
    assert bool(finding.advice) == (level != "ok")


def test_warnings_are_no_problem() -> None:
    check_health([Finding("memory", "warning", "x"), Finding("role", "ok", "y")])
    with pytest.raises(Unhealthy, match="1 problem: role"):
        check_health([Finding("memory", "warning", "x"), Finding("role", "problem", "y")])


def test_no_limit_is_to_be_set_where_none_can_be() -> None:
    unlimited = {"used_memory": MIB, "maxmemory": 0}
    assert "Set maxmemory" in str(health.memory(unlimited))
    assert "run a server of your own" in str(health.memory(unlimited, is_embedded=True))
    assert "Set maxmemory" not in str(health.memory(unlimited, is_embedded=True))
