"""The HTTP server, in threads of its own: it answers while a handler blocks the event loop.

It knows nothing of workers: a page is a path and a function, which is called in the thread of the request.
"""

import errno
import logging
import socket
import socketserver
import threading
from collections.abc import Callable, Iterable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from attrs import frozen

from runnel.errors import ConfigurationError

log = logging.getLogger(__name__)

MOST_REQUESTS = 16
"""Requests that are answered at once; who comes when there are so many is hung up on."""

PATIENCE = 10.0
"""Seconds that whoever asks may take over its request."""


@frozen
class Answer:
    """To one request."""

    code: int
    kind: str
    """The content type."""
    body: bytes


Page = Callable[[str], Answer]
"""From the request's `Accept` header to the answer."""


class _Handler(BaseHTTPRequestHandler):
    server: "HttpServer"
    timeout = PATIENCE

    def version_string(self) -> str:
        """Whom the answer is from; not which Python runs, which is nobody's business."""
        return "runnel"

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def _answer(self, *, with_body: bool) -> None:
        answer = self.server.answer(self.path.partition("?")[0], self.headers.get("Accept", ""))
        self.send_response(answer.code)
        self.send_header("Content-Type", answer.kind)
        self.send_header("Content-Length", str(len(answer.body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if with_body:
            self.wfile.write(answer.body)

    def log_message(self, format: str, *args: Any) -> None:
        """A probe every few seconds is no news."""


class HttpServer(ThreadingHTTPServer):
    """Serves pages from `start` to `stop`.

    Args:
        host: The address to listen at.
        port: The port; 0: any that is free, see `url`.
        pages: By path.

    Raises:
        ConfigurationError: It cannot listen there.
    """

    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, host: str, port: int, pages: Mapping[str, Page]) -> None:
        self._pages = pages
        self._room = threading.BoundedSemaphore(MOST_REQUESTS)
        self._thread: threading.Thread | None = None
        try:
            self.address_family = _family(host, port)
            super().__init__((host, port), _Handler)
        except OSError as error:
            raise _refused(host, port, error) from error

    def server_bind(self) -> None:
        """Without asking the name service for the host's name, as the standard library's server does."""
        socketserver.TCPServer.server_bind(self)

    @property
    def url(self) -> str:
        """Where it is."""
        host, port = self.server_address[:2]
        return f"http://[{host!s}]:{port}" if self.address_family == socket.AF_INET6 else f"http://{host!s}:{port}"

    def start(self) -> None:
        """Begin to answer."""
        self._thread = threading.Thread(target=self.serve_forever, args=(0.1,), name="runnel-monitoring", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Answer no more."""
        if self._thread is not None:
            self.shutdown()
            self._thread.join()
        self.server_close()

    def answer(self, path: str, accept: str) -> Answer:
        """The answer to a request."""
        page = self._pages.get(path)
        if page is None:
            return Answer(404, "text/plain; charset=utf-8", f"there is {', '.join(self._pages)}\n".encode())
        try:
            return page(accept)
        except Exception:
            log.exception("a page of monitoring failed", extra={"path": path})
            return Answer(500, "text/plain; charset=utf-8", b"failed: the worker's log says why\n")

    # ── as the standard library calls them ──

    def process_request(self, request: Any, client_address: Any) -> None:
        """In a thread of its own, if there is room for it."""
        if self._room.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """In that thread."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Whoever asked has gone."""
        log.debug("a request to monitoring failed", exc_info=True)


def check_ports(host: str, ports: Iterable[int]) -> None:
    """See that servers can listen at these ports, before the processes are started that are to.

    Raises:
        ConfigurationError: One cannot.
    """
    for port in ports:
        try:
            family = _family(host, port)
            socket.create_server((host, port), family=family).close()
        except OSError as error:
            raise _refused(host, port, error) from error


def _family(host: str, port: int) -> socket.AddressFamily:
    return socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]


def _refused(host: str, port: int, error: OSError) -> ConfigurationError:
    return ConfigurationError(f"metrics cannot be served at {host}:{port}: {_said(error)}")


def _said(error: OSError) -> str:
    """What hinders it, and what to do."""
    match error.errno:
        case errno.EADDRINUSE:
            return "the port is in use: choose another --metrics-port, or stop whatever has it"
        case errno.EACCES:
            return "this user may not listen at that port: choose one above 1023"
        case errno.EADDRNOTAVAIL:
            return "this machine does not have that address: choose another --metrics-host"
        case _:
            return f"{error.strerror or error}: choose another --metrics-host or --metrics-port"
