"""The examples run, as the README says."""

import signal
import subprocess
import sys
from pathlib import Path

from tests.integration.commands import REPOSITORY, Folder
from tests.integration.embedded_world import World
from tests.support import wait_until


async def test_the_shop_charges_and_ships_until_it_is_stopped(tmp_path: Path) -> None:
    folder = Folder(tmp_path, "redis://not.used")
    with folder.started("run", "examples.shop:app") as shop:
        await shop.says("charge  ", times=5)
        await shop.says("ship    ")
        assert await shop.ends(signal.SIGINT) == 0
    assert "Traceback" not in shop.stderr
    await wait_until(lambda: not World(tmp_path / ".runnel").processes(), what="no server left")


def test_parked_keys_finish_in_order_after_the_fix(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "examples.parking"], cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines()[:2] == [
        "997 accounts are finished, in order",
        "24 events of 3 accounts are parked, because of:",
    ]
    assert ran.stdout.count("ValueError: account") == 3
    assert ran.stdout.splitlines()[-2:] == ["3 accounts are released", "1000 accounts are finished, in order"]
