"""The servers that other tests stand on."""

from collections.abc import Callable

import pytest
import redis

from tests.servers import Server

SCRIPT_WITH_UNDECLARED_KEY = "#!lua\nreturn redis.call('SET', 'undeclared', 1)"


def test_a_server_is_given_to_a_test_clean(server: Server) -> None:
    with server.client() as client:
        assert client.dbsize() == 0
        assert client.config_get("maxmemory")["maxmemory"] == "0"
        client.set("left", "behind")
        server.config(maxmemory="100mb")
        server.clean()
        assert client.dbsize() == 0
        assert client.config_get("maxmemory")["maxmemory"] == "0"


@pytest.mark.parametrize("tcp", [False, True])
@pytest.mark.parametrize("kind", ["valkey", "redis7"])
def test_data_outlives_a_kill(own_server: Callable[..., Server], kind: str, tcp: bool) -> None:
    server = own_server(kind, tcp=tcp)
    with server.client() as client:
        client.set("kept", "yes")
        before, url = server.pid, server.url
        server.restart(kill=True)
        assert (server.pid != before, server.url) == (True, url)
        assert client.get("kept") == "yes"


def test_a_server_that_is_stopped_answers_nobody(own_server: Callable[..., Server]) -> None:
    server = own_server()
    server.stop()
    with server.client() as client, pytest.raises(redis.ConnectionError):
        client.ping()


def test_the_folder_of_a_closed_server_is_gone() -> None:
    with Server() as server:
        folder = server.folder
    assert not server.running
    assert not folder.exists()


def test_a_server_that_cannot_start_says_why() -> None:
    server = Server(options={"no_such_option": "1"})
    with pytest.raises(RuntimeError, match="no-such-option"):
        server.start()
    server.close()


def test_the_cluster_node_refuses_scripts_that_leave_their_slot(cluster_node: Server) -> None:
    with cluster_node.client() as client, pytest.raises(redis.ResponseError, match="same slot"):
        client.eval(SCRIPT_WITH_UNDECLARED_KEY, 1, "declared")


def test_a_client_for_keys_refuses_undeclared_keys_of_the_same_slot(server: Server) -> None:
    script = "#!lua\nreturn redis.call('SET', ARGV[1], 1)"
    with server.client_for_keys("{p}a", "{p}b") as client:
        assert client.eval(script, 1, "{p}a", "{p}b") == "OK"
        with pytest.raises(redis.ResponseError, match=r"permission|can't access"):
            client.eval(script, 1, "{p}a", "{p}c")


def test_the_cluster_node_refuses_keys_of_different_slots(cluster_node: Server) -> None:
    with cluster_node.client() as client, pytest.raises(redis.ResponseError, match=r"CROSSSLOT|same slot"):
        client.mset({"a": 1, "b": 2})
