"""A worker's side of a crew: says once that it is up, and stops in order when the parent is gone.

It gets its end of the socket pair from the parent, and stops the worker as a signal would. It must never stop one that is
already stopping: that would end events under way at once.
"""

import asyncio
import logging
import os
import signal
import socket
from types import TracebackType

from runnel.worker import Worker

log = logging.getLogger(__name__)


class Tether:
    """A context for the time in which a worker runs, entered in its event loop.

    Args:
        worker: The worker of this process.
        channel: The file descriptor of its end of the socket pair; closed when the context is left.
    """

    def __init__(self, worker: Worker, channel: int) -> None:
        self._worker = worker
        os.set_inheritable(channel, False)  # programs that the user's code starts have no use for it
        self._channel = socket.socket(fileno=channel)

    def say(self, text: str) -> None:
        """Tell the parent, once, that the worker is up, and what it should know of it."""
        try:
            self._channel.sendall(text.encode())
        except OSError:
            pass  # it is gone, which the event loop is about to notice

    async def __aenter__(self) -> None:
        asyncio.get_running_loop().add_reader(self._channel.fileno(), self._parent_is_gone)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.get_running_loop().remove_reader(self._channel.fileno())
        self._channel.close()

    def _parent_is_gone(self) -> None:
        asyncio.get_running_loop().remove_reader(self._channel.fileno())
        log.warning("the parent process is gone")
        if not self._worker.stopping:
            os.kill(os.getpid(), signal.SIGTERM)  # the same way as any other stop, also while it is still connecting
