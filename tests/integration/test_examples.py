"""The examples run, as the README says."""

import signal
from pathlib import Path

from tests.integration.commands import Folder
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
