"""The guardian of an embedded server: keeps it running while anybody uses its folder, stops it when nobody does.

A program of its own (`python -I -S guardian.py FOLDER SOCKET BINARY LOCK`), started by `embedded.py`, which imports
this file too, for what both sides must agree on. It imports only the standard library, so that it starts in some 30 ms
and runs under any version of the rest of Runnel.

Three locks (flock, which the kernel drops with their last holder, however that died) lie in the folder:

    users.lock      shared: every user. Exclusive: the guardian, once it is alone, until the server is down.
    guardian.lock   exclusive: the guardian, for life. Who gets it starts a guardian and hands the open file on to it,
                    so there is no moment at which two could start one. Its content is the `Status`.
    server.lock     exclusive: the server process itself, which inherits it. So even a server whose guardian was killed
                    keeps others off its data. Its content is the server's process id.

The guardian never signals a user. SIGTERM makes it stop the server and end; SIGINT and SIGHUP mean others (a terminal).
It reads the machine's clock itself: it stands outside of `clock.py`, as a program without Runnel.
"""

import fcntl
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

USERS, GUARDIAN, SERVER, LOG = "users.lock", "guardian.lock", "server.lock", "server.log"

RESTARTS, RESTARTS_WITHIN = 5, 60.0
STOP_PATIENCE, KILL_PATIENCE = 30.0, 5.0
LOOK_AROUND, LOOK_FOR_READY = 0.1, 0.005

_STATUS_SIZE = 4096
_LINUX = sys.platform == "linux"
_PR_SET_PDEATHSIG = 1


class Failed(Exception):
    """The server cannot be brought up; the text is for the user."""


class Status(NamedTuple):
    """What a guardian tells the users: `state` is starting, ready, stopping or failed."""

    state: str
    socket: str
    reason: str = ""


def write_status(guardian_lock: int, status: Status) -> None:
    """Replace the status in one write. Its size is fixed, so that later writes need no room on a full disk."""
    text = "\n".join(status).encode("utf-8", "surrogateescape")
    os.pwrite(guardian_lock, text[:_STATUS_SIZE].ljust(_STATUS_SIZE), 0)


def read_status(guardian_lock: int) -> Status:
    """The last status written; what it says holds only while somebody has the guardian's lock."""
    text = os.pread(guardian_lock, _STATUS_SIZE, 0).decode("utf-8", "surrogateescape").strip()
    state, path, reason = (*text.split("\n", 2), "", "", "")[:3]
    return Status(state, path, reason)


def open_lock(path: Path) -> int:
    """Open a lock file, made if missing. Not inherited by programs that are started, and no link is followed."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


def try_lock(lock: int, kind: int) -> bool:
    """Take the lock if it can be had at once."""
    try:
        fcntl.flock(lock, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def ask_ping(path: str) -> str:
    """What the server answers to PING: `+PONG`, an error such as `-LOADING ...`, or nothing when it is not there."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(1.0)
        try:
            connection.connect(path)
            connection.sendall(b"PING\r\n")
            return connection.recv(512).decode(errors="replace").strip()
        except OSError:
            return ""


class Server:
    """One run of the server process, as the guardian's child."""

    def __init__(self, folder: Path, path: str, binary: str) -> None:
        self._log = folder / LOG
        self._socket = path
        self.ready = False
        lock = claim_data(folder)
        try:
            with self._log.open("ab") as log:
                self._begins = log.tell()
                self._process = subprocess.Popen(
                    [binary, *_options(folder, path)],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    pass_fds=(lock,),
                    preexec_fn=_before_exec(lock),
                )
        finally:
            os.close(lock)  # the server's copy holds it

    def look(self) -> bool:
        """Notice when it has become ready; whether it lives."""
        if self._process.poll() is not None:
            return False
        self.ready = self.ready or ask_ping(self._socket) == "+PONG"
        return True

    def stop(self) -> None:
        """End it in order (it writes and syncs its append-only file first); by force when it takes too long."""
        self._process.terminate()
        try:
            self._process.wait(STOP_PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def kill(self) -> None:
        """End it at once: it touches no file any more."""
        self._process.kill()
        self._process.wait()

    def epitaph(self) -> str:
        """How it ended, and the last thing it said."""
        code = self._process.returncode
        how = f"was killed by signal {-code}" if code < 0 else f"exited with code {code}"
        return f"the server {how}; its last words: {last_words(self._log, self._begins)}"


def last_words(log: Path, begins: int) -> str:
    """The last warning after an offset of the log (advice on the machine aside), or else the last line."""
    with log.open("rb") as file:
        file.seek(max(begins, file.seek(0, os.SEEK_END) - 16_384))
        lines = [line for line in file.read().decode(errors="replace").splitlines() if line.strip()]
    warnings = [line for line in lines if re.match(r"\d+:\w .* # (?!WARNING)", line)]
    return (warnings or lines or ["(it said nothing)"])[-1][:1_000]


def _options(folder: Path, path: str) -> list[str]:
    options = {
        "port": "0",
        "unixsocket": path,
        "unixsocketperm": "700",
        "dir": str(folder),
        "daemonize": "no",
        "save": "",
        "appendonly": "yes",
        "appendfsync": "everysec",
        "maxmemory-policy": "noeviction",
    }
    return [word for name, value in options.items() for word in (f"--{name}", value)]


def _before_exec(lock: int) -> Callable[[], None]:
    """What the server's process does before it becomes the server: note its id, and on Linux die with the guardian."""
    guardian = os.getpid()
    os.ftruncate(lock, 0)
    os.pwrite(lock, b" " * 32, 0)  # a full disk is found out here, where the error has a name
    prctl = None
    if _LINUX:
        import ctypes

        prctl = ctypes.CDLL(None).prctl

    def prepare() -> None:
        if prctl is not None:
            prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != guardian:  # it died before the request above
            os._exit(1)
        os.pwrite(lock, b"%d" % os.getpid(), 0)

    return prepare


def claim_data(folder: Path) -> int:
    """Take the server's lock; a server left over by a guardian that was killed is ended first.

    It is not adopted: nobody could wait for the end of a process that is not a child.
    """
    lock = open_lock(folder / SERVER)
    steps = ((signal.SIGTERM, STOP_PATIENCE), (signal.SIGKILL, KILL_PATIENCE))
    for sent, patience in steps:
        if try_lock(lock, fcntl.LOCK_EX):
            return lock
        orphan = int(os.pread(lock, 32, 0).strip() or 0)
        if _is_server(orphan):
            os.kill(orphan, sent)
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            if try_lock(lock, fcntl.LOCK_EX):
                return lock
            time.sleep(LOOK_FOR_READY)
    os.close(lock)
    raise Failed(f"process {orphan}, a server left over from before, holds the data and does not end")


def _is_server(process: int) -> bool:
    """Whether that number is still a server's: it may have been given to another process meanwhile."""
    if process <= 0:
        return False
    if _LINUX:  # where a small container has no ps
        try:
            return b"valkey-server" in Path(f"/proc/{process}/cmdline").read_bytes()
        except OSError:
            return False
    command = ["ps", "-ww", "-o", "command=", "-p", str(process)]  # -ww: or it cuts the line where it says the name
    return b"valkey-server" in subprocess.run(command, stdout=subprocess.PIPE, check=False).stdout


class Guardian:
    """Watches over the server until nobody uses it, its folder is gone, it is told to stop, or it cannot go on."""

    def __init__(self, folder: Path, path: str, binary: str, lock: int) -> None:
        self._folder = folder
        self._socket = path
        self._binary = binary
        self._lock = lock
        self._users = open_lock(folder / USERS)
        self._server: Server | None = None
        self._restarts: deque[float] = deque(maxlen=RESTARTS)
        self._told_to_stop = False
        self._wake = _wake_on_signals(self._tell_to_stop)

    def run(self) -> None:
        """From the first start to the end of the server."""
        try:
            server = self._start()
            while not (self._told_to_stop or try_lock(self._users, fcntl.LOCK_EX)):
                if self._folder_is_gone():
                    return server.kill()
                server = self._tend(server)
                self._pause(LOOK_AROUND if server.ready else LOOK_FOR_READY)
            self._say("stopping")
            server.stop()
            _remove_socket(self._socket)
        except (Failed, OSError, subprocess.SubprocessError) as error:
            self._give_up(str(error))

    def _start(self) -> Server:
        self._say("starting")
        self._server = Server(self._folder, self._socket, self._binary)
        return self._server

    def _tend(self, server: Server) -> Server:
        was_ready = server.ready
        if not server.look():
            return self._restart(server)
        if server.ready and not was_ready:
            self._say("ready")
        return server

    def _restart(self, dead: Server) -> Server:
        """A server that never got ready would not do so the next time; one that did may be started again, seldom."""
        now = time.monotonic()
        too_often = len(self._restarts) == RESTARTS and now - self._restarts[0] < RESTARTS_WITHIN
        if too_often or not dead.ready:
            raise Failed(dead.epitaph())
        self._restarts.append(now)
        print(f"guardian: {dead.epitaph()}; starting it again", flush=True)
        return self._start()

    def _folder_is_gone(self) -> bool:
        """Somebody removed the folder, perhaps made it anew: then another guardian may rule there already."""
        try:
            return not os.path.samestat(os.stat(self._folder / GUARDIAN), os.fstat(self._lock))
        except OSError:
            return True

    def _say(self, state: str, reason: str = "") -> None:
        write_status(self._lock, Status(state, self._socket, reason))

    def _give_up(self, reason: str) -> None:
        print(f"guardian: gives up: {reason}", flush=True)
        self._say("failed", reason)
        if self._server is not None:
            self._server.stop()
        _remove_socket(self._socket)

    def _tell_to_stop(self, *_: object) -> None:
        self._told_to_stop = True

    def _pause(self, seconds: float) -> None:
        """Wait, but wake at once when the server dies.

        The users' lock is asked for again and again, rather than waited for: a wait that both the lock and a dead child
        can end needs threads, or races with the signal.
        """
        if select.select([self._wake], [], [], seconds)[0]:
            os.read(self._wake, 512)


def _wake_on_signals(stop: Callable[..., None]) -> int:
    """Set the guardian's signals; a file that becomes readable when one arrives."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    for ignored in (signal.SIGINT, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())  # a user's thread may have blocked some
    return reading


def _remove_socket(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        pass  # the server removes it itself when it stops in order
    try:
        os.rmdir(os.path.dirname(path))
    except OSError:
        pass


def main() -> None:
    """Leave the user's process and session, then stand guard."""
    folder, path, binary, lock = sys.argv[1:]
    os.set_inheritable(int(lock), False)
    if os.fork():
        os._exit(0)  # the user waits for this one only: the guardian is no child of it
    os.umask(0o077)
    Guardian(Path(folder), path, binary, int(lock)).run()


if __name__ == "__main__":
    main()
