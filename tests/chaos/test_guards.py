"""Three accidents that guards of the scripts prevent; and that they happen, and are seen, without these guards."""

from pathlib import Path

import pytest

from tests.chaos.checks import violations
from tests.chaos.directed import SCENARIOS
from tests.chaos.world import opened


async def outcome(guard: str, folder: Path, without: str) -> list[str]:
    async with opened(folder, replica=guard != "number", partition_count=1, without=without) as world:
        await SCENARIOS[guard](world)
        return violations(world.record())


@pytest.mark.parametrize("guard", SCENARIOS)
async def test_a_guard_prevents_its_accident(tmp_path: Path, guard: str) -> None:
    assert await outcome(guard, tmp_path, "") == []


@pytest.mark.parametrize("guard", SCENARIOS)
async def test_without_the_guard_the_accident_is_seen(tmp_path: Path, guard: str) -> None:
    found = await outcome(guard, tmp_path, guard)
    print(*found, sep="\n")
    assert found
