"""The HTTP server of monitoring: what it answers, to how many at once, and where it cannot listen."""

import http.client
import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from runnel.errors import ConfigurationError
from runnel.monitoring.server import MOST_REQUESTS, Answer, HttpServer, check_ports
from tests.support import wait_until


def fails(accept: str) -> Answer:
    raise ValueError("no")


@pytest.fixture
def server() -> Iterator[HttpServer]:
    server = HttpServer("127.0.0.1", 0, {"/echo": lambda accept: Answer(200, "text/plain", accept.encode()), "/fails": fails})
    server.start()
    yield server
    server.stop()


def ask(server: HttpServer, path: str, method: str = "GET", accept: str = "*/*") -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=5)
    try:
        connection.request(method, path, headers={"Accept": accept})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def test_a_page_is_found_by_its_path_and_gets_what_is_accepted(server: HttpServer) -> None:
    assert ask(server, "/echo?name=x", accept="text/x") == (200, "text/x")
    assert ask(server, "/echo", "HEAD") == (200, "")
    assert ask(server, "/other") == (404, "there is /echo, /fails\n")
    assert ask(server, "/echo", "POST")[0] == 501


def test_a_page_that_fails_is_an_answer_and_a_line_in_the_log(server: HttpServer, caplog: pytest.LogCaptureFixture) -> None:
    assert ask(server, "/fails") == (500, "failed: the worker's log says why\n")
    assert "a page of monitoring failed" in caplog.text


async def test_no_more_than_so_many_are_answered_at_once(server: HttpServer) -> None:
    place = "127.0.0.1", int(server.server_address[1])
    with ExitStack() as stack:
        for _ in range(MOST_REQUESTS):
            stack.enter_context(socket.create_connection(place))  # and says nothing
        with socket.create_connection(place, timeout=5) as late:
            assert late.recv(1) == b"", "hung up on"

    def is_served() -> bool:
        try:
            return ask(server, "/echo")[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    await wait_until(is_served, what="served when they have gone")


def test_where_it_cannot_listen_it_says_what_to_do(server: HttpServer) -> None:
    port = server.server_address[1]
    in_use = f"metrics cannot be served at 127.0.0.1:{port}: the port is in use: choose another --metrics-port"
    with pytest.raises(ConfigurationError, match=in_use):
        HttpServer("127.0.0.1", port, {})
    with pytest.raises(ConfigurationError, match=in_use):
        check_ports("127.0.0.1", [port])
    with pytest.raises(ConfigurationError, match=r"192\.0\.2\.1:0: this machine does not have that address"):
        HttpServer("192.0.2.1", 0, {})
    with pytest.raises(ConfigurationError, match="choose another --metrics-host"):
        HttpServer("no host.invalid", 0, {})


def test_it_listens_at_an_address_of_ipv6() -> None:
    try:
        server = HttpServer("::1", 0, {})
    except ConfigurationError:
        pytest.skip("this machine has no IPv6")
    assert server.url.startswith("http://[::1]:")
    server.stop()
