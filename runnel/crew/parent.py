"""The parent of a crew: starts workers as processes, passes signals on, and waits for all of them.

It gets from the command line how a worker is started, asks `decision.py` what to do at each event, and does it. It never
loads the app or speaks to the server: what a user's code can break stays in the workers.

Each worker is in a session of its own. A terminal's Ctrl-C then reaches the parent alone, which passes it on: were they in
its process group, each would get the signal twice, and the second one means "at once". `reload.py`, with a child that may
need the terminal, has to guess where a signal came from instead.
"""

import asyncio
import logging
import random
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial

from runnel.clock import Clock, SystemClock
from runnel.crew.decision import (
    Crew,
    Due,
    Effect,
    Ended,
    Event,
    Pass,
    Ready,
    Say,
    Signalled,
    Start,
    StartLater,
    begin,
    step,
)
from runnel.errors import RunnelError

log = logging.getLogger(__name__)

Command = Callable[[int, int], Sequence[str]]
"""From a worker's number and its end of the socket pair, a file descriptor, to the command that starts it."""

ENDING = (signal.SIGINT, signal.SIGTERM)
ENDING_UNLESS_IGNORED = (signal.SIGHUP, signal.SIGQUIT)
"""`nohup` ignores SIGHUP, and means it."""


def lead(crew: Crew, command: Command, heard: Callable[[str], None], clock: Clock | None = None) -> int:
    """Run a crew until a signal or a final end of a worker; answers the exit code.

    Args:
        crew: How many, and which ends are final.
        command: Makes the command that starts a worker.
        heard: Gets what each worker says of itself when it is up.
        clock: For the pauses before restarts.

    Raises:
        RunnelError: Workers ended too often.
    """
    with asyncio.Runner() as runner:
        return runner.run(_Parent(crew, command, heard, clock or SystemClock()).run())


class _Parent:
    def __init__(self, crew: Crew, command: Command, heard: Callable[[str], None], clock: Clock) -> None:
        self._crew = crew
        self._command = command
        self._heard = heard
        self._clock = clock
        self._children: dict[int, _Child] = {}
        self._happened: asyncio.Queue[Event] = asyncio.Queue()  # bounded by what can happen: a few events a worker

    async def run(self) -> int:
        loop = asyncio.get_running_loop()
        for number in (*ENDING, *(each for each in ENDING_UNLESS_IGNORED if signal.getsignal(each) != signal.SIG_IGN)):
            loop.add_signal_handler(number, self._happened.put_nowait, Signalled(number))
        self._crew, effects = begin(self._crew)
        self._carry_out(effects)
        while not self._crew.over:
            event = await self._happened.get()
            if isinstance(event, Ended) and (child := self._children.pop(event.number, None)):
                child.close()
            self._crew, effects = step(self._crew, event, self._clock.monotonic(), random.random())
            self._carry_out(effects)
        if self._crew.failure:
            raise RunnelError(self._crew.failure)
        return self._crew.outcome or 0

    def _carry_out(self, effects: Sequence[Effect]) -> None:
        for effect in effects:
            match effect:
                case Start(number):
                    self._start(number)
                case StartLater(number, delay):
                    self._clock.call_later(delay, partial(self._happened.put_nowait, Due(number)))
                case Pass(number, signal_number):
                    if number in self._children:
                        self._children[number].signal(signal_number)
                case Say(text, fields):
                    log.warning(text, extra=fields)

    def _start(self, number: int) -> None:
        try:
            self._children[number] = _Child(number, self._command, self._happened.put_nowait, self._heard)
        except OSError as error:  # no room for another process: perhaps there is later
            log.error("worker cannot be started", extra={"worker_number": number, "error": str(error)})
            self._happened.put_nowait(Ended(number, None))


class _Child:
    """A worker's process, and our end of the socket pair. To close that end tells the worker that we are gone."""

    def __init__(
        self, number: int, command: Command, tell: Callable[[Event], None], heard: Callable[[str], None]
    ) -> None:
        self._number = number
        self._tell = tell
        self._heard = heard
        self._loop = asyncio.get_running_loop()
        self._channel, theirs = socket.socketpair()
        try:
            with theirs:
                self._process = subprocess.Popen(
                    command(number, theirs.fileno()),
                    stdin=subprocess.DEVNULL,
                    pass_fds=(theirs.fileno(),),
                    start_new_session=True,
                )
        except BaseException:
            self._channel.close()
            raise
        self._loop.add_reader(self._channel, self._read)
        threading.Thread(target=self._wait, name=f"worker {number}", daemon=True).start()

    def signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            self._process.send_signal(number)

    def close(self) -> None:
        self._loop.remove_reader(self._channel)
        self._channel.close()

    def _read(self) -> None:
        self._loop.remove_reader(self._channel)  # it says one thing only
        if said := self._channel.recv(1024):
            self._heard(said.decode())
            self._tell(Ready(self._number))

    def _wait(self) -> None:
        """In a thread: asyncio's own processes may lose the exit code of one that ends while it is sent a signal."""
        code = self._process.wait()
        with suppress(RuntimeError):  # the loop is closed: the parent is failing
            self._loop.call_soon_threadsafe(self._tell, Ended(self._number, code, self._process.pid))
