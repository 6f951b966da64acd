"""The embedded server: one for all users of a folder, from the first to the last, however they go."""

import asyncio
import os
import shutil
import signal
import stat
import tempfile
from pathlib import Path

import pytest

from runnel.store import embedded, guardian
from runnel.store.binary import server_binary
from tests.integration.embedded_world import World, alive
from tests.support import wait_until


async def test_the_first_use_starts_a_durable_server_that_only_its_user_reaches(world: World) -> None:
    server = world.use()
    with world.client() as client:
        settings = client.config_get("*")
    wanted = {"appendonly": "yes", "appendfsync": "everysec", "maxmemory-policy": "noeviction", "port": "0", "save": ""}
    assert {name: settings[name] for name in wanted} == wanted
    for private in (world.folder, server.socket.parent):
        assert stat.S_IMODE(private.stat().st_mode) == 0o700
    assert stat.S_IMODE(server.socket.stat().st_mode) & 0o077 == 0


async def test_data_is_kept_when_the_last_user_goes(world: World) -> None:
    world.use()
    with world.client() as client:
        client.set("kept", "yes")
    first = world.server
    world.used[0].close()
    world.used[0].close()  # harmless
    await wait_until(lambda: not world.processes(), what="stopped with the last user")
    assert not world.used[0].socket.parent.exists()
    world.use()
    with world.client() as client:
        assert client.get("kept") == "yes"
    assert world.server != first


async def test_names_of_the_same_folder_share_one_server(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    link = world.folder.with_name("link")
    link.symlink_to(world.folder)
    monkeypatch.chdir(world.folder.parent)
    first = world.use()
    monkeypatch.setattr(tempfile, "tempdir", "/var/tmp")  # another process may have another TMPDIR
    assert {world.use(name).socket for name in (link, Path("data"), Path("x/../data"))} == {first.socket}
    assert len(world.servers()) == 1


async def test_the_server_stays_while_one_user_is_left(world: World) -> None:
    first, second = world.use(), world.use()
    user = world.user()
    user.await_server()
    assert user.server == world.server
    first.close()
    second.close()
    with world.client() as client:
        assert client.ping()
    user.end()
    await wait_until(lambda: not world.processes(), what="stopped with the last user")


async def test_the_server_stops_when_its_last_user_is_killed(world: World) -> None:
    user = world.user()
    user.await_server()
    user.end(kill=True)
    await wait_until(lambda: not alive(user.server) and not world.processes(), what="stopped")


async def test_processes_that_start_at_once_get_the_same_server(world: World) -> None:
    users = [world.user() for _ in range(8)]
    for user in users:
        await asyncio.to_thread(user.await_server)
    assert len({user.server for user in users}) == 1
    assert world.log.count("Ready to accept connections") == 1


async def test_who_comes_while_the_server_stops_gets_a_running_one(world: World) -> None:
    world.use()
    old = world.server
    os.kill(old, signal.SIGSTOP)  # it cannot stop before it is continued
    world.used[0].close()
    await wait_until(lambda: world.state == "stopping", what="stopping")
    newcomer = asyncio.create_task(asyncio.to_thread(world.use))
    assert not (await asyncio.wait({newcomer}, timeout=0.3))[0]
    os.kill(old, signal.SIGCONT)
    await newcomer
    assert world.restarted(old)
    with world.client() as client:
        assert client.ping()


async def test_comings_and_goings_never_leave_a_user_without_a_server(world: World) -> None:
    def come_and_go() -> None:
        for _ in range(12):
            server = embedded.start_embedded(world.folder)
            assert guardian.ask_ping(str(server.socket)) == "+PONG"
            server.close()

    await asyncio.gather(*(asyncio.to_thread(come_and_go) for _ in range(4)))
    await wait_until(lambda: not world.processes(), what="stopped with the last user")


async def test_a_killed_guardian_is_replaced_under_living_users(world: World) -> None:
    world.use()
    with world.client() as client:
        client.set("kept", "yes")
    old, old_guardian = world.server, world.guardian
    os.kill(old_guardian, signal.SIGKILL)
    await wait_until(lambda: world.restarted(old), what="a new guardian with a new server")
    assert world.guardian != old_guardian
    with world.client() as client:
        assert client.get("kept") == "yes"


async def test_a_server_that_outlives_its_guardian_is_ended_before_another_starts(world: World) -> None:
    world.use()
    old = world.server
    os.kill(old, signal.SIGSTOP)  # or it would end with its guardian
    os.kill(world.guardian, signal.SIGKILL)
    world.used[0].close()
    newcomer = asyncio.create_task(asyncio.to_thread(world.use))
    await wait_until(lambda: len(world.processes()) == 2, what="a new guardian that waits")
    assert not (await asyncio.wait({newcomer}, timeout=0.3))[0]
    assert len(world.servers()) == 1
    assert alive(old)
    os.kill(old, signal.SIGCONT)
    await newcomer
    assert world.restarted(old)


async def test_an_orphan_that_knows_of_no_guardian_is_told_to_stop(world: World) -> None:
    """As on macOS, where a server does not die with its guardian: here its parent is the test."""
    folder = embedded._make_folder(world.folder)
    path = embedded._socket_path(folder)
    embedded._make_socket_folder(path.parent)
    orphan = guardian.Server(folder, str(path), str(server_binary("a test")))
    await wait_until(lambda: orphan.look() and orphan.ready, what="the orphan is ready")
    old = world.server
    await asyncio.to_thread(world.use)
    await wait_until(lambda: not orphan.look(), what="the orphan ended")
    assert world.restarted(old)


async def test_a_killed_server_comes_back_with_its_data(world: World) -> None:
    world.use()
    with world.client() as client:
        client.set("kept", "yes")
    old, guarded = world.server, world.guardian
    os.kill(old, signal.SIGKILL)
    await wait_until(lambda: world.restarted(old), what="a new server")
    assert world.guardian == guarded
    with world.client() as client:
        assert client.get("kept") == "yes"


async def test_a_server_that_dies_again_and_again_is_given_up(world: World) -> None:
    world.use()
    for _ in range(guardian.RESTARTS):
        old = world.server
        os.kill(old, signal.SIGKILL)
        await wait_until(lambda old=old: world.restarted(old), what="a new server")
    os.kill(world.server, signal.SIGKILL)
    await wait_until(lambda: not world.processes(), what="given up")
    assert world.state == "failed"
    assert "gives up: the server was killed by signal 9" in world.log
    world.use()  # somebody who comes anew tries anew


async def test_a_guardian_that_is_told_to_stop_while_there_are_users_is_replaced(world: World) -> None:
    world.use()
    old = world.server
    os.kill(world.guardian, signal.SIGTERM)
    await wait_until(lambda: world.restarted(old), what="a new server")


async def test_a_ctrl_c_to_the_users_terminal_group_passes_the_server_by(world: World) -> None:
    user = world.user()
    user.await_server()
    world.use()
    os.killpg(user.process.pid, signal.SIGINT)
    user.process.communicate()
    with world.client() as client:
        assert client.info("server")["process_id"] == user.server
    for process in (world.server, world.guardian):
        assert os.getsid(process) not in (os.getsid(0), user.process.pid)


async def test_a_forked_child_is_not_a_user(world: World) -> None:
    user = world.user("fork")
    user.await_server()
    user.process.kill()
    user.process.wait()
    await wait_until(lambda: not world.processes(), what="stopped though the child lives")
    assert alive(user.child)


async def test_a_stale_socket_is_no_hindrance(world: World) -> None:
    path = embedded._socket_path(embedded._make_folder(world.folder))
    embedded._make_socket_folder(path.parent)
    path.touch()
    world.use()
    with world.client() as client:
        assert client.ping()


async def test_a_use_begins_when_the_data_is_loaded(world: World) -> None:
    keys = 400_000
    files = world.folder / "appendonlydir"
    files.mkdir(parents=True)
    files.joinpath("appendonly.aof.manifest").write_text("file appendonly.aof.1.incr.aof seq 1 type i\n")
    with files.joinpath("appendonly.aof.1.incr.aof").open("wb") as file:
        file.writelines(b"*3\r\n$3\r\nSET\r\n$6\r\n%06d\r\n$100\r\n%0100d\r\n" % (n, n) for n in range(keys))
    await asyncio.to_thread(world.use)
    with world.client() as client:
        assert client.dbsize() == keys


async def test_a_folder_that_is_removed_takes_its_server_along(world: World) -> None:
    first = world.use()
    old = world.server
    shutil.rmtree(world.folder)
    await wait_until(lambda: not alive(old), what="the server without a folder is gone")
    world.use()
    first.close()
    with world.client() as client:
        assert client.ping()
