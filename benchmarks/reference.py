"""Whether the raw loops are as fast as an independent program's: `raw_ceilings.py PORT`, which prints its own figures."""

import re
import socket
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.measurements import Measurement, Size
from benchmarks.process import fresh
from benchmarks.result import Result
from benchmarks.server import Server

EVENTS = 200_000
"""As many as the reference has."""


def against(program: Path) -> Measurement:
    """The measurement that compares with a program: theirs is "raw", our raw loop is "ours"."""

    def measure(server: Server, size: Size) -> Iterable[Result]:
        port = _listen(server.client)
        url = f"redis://127.0.0.1:{port}"
        theirs: dict[str, list[float]] = {}
        ours: dict[str, list[float]] = {}
        for _ in range(size.runs):
            server.flush()
            for name, rate in _run(program, port).items():
                theirs.setdefault(name, []).append(rate)
            for name, rate in _raw(server, url).items():
                ours.setdefault(name, []).append(rate)
        for name, rates in ours.items():
            yield Result(name=f"reference: our raw {name}", unit="events/s", raw=theirs[name], ours=rates)

    return measure


def _raw(server: Server, url: str) -> dict[str, float]:
    rates = {}
    server.flush()
    rates["send lua batch 1000"] = fresh("raw.send", url=url, events=EVENTS, batch=1000)["rate"]
    server.flush()
    fresh("raw.fill", url=url, events=EVENTS)
    server.settle()
    for count in (100, 500):
        rates[f"xread count {count}"] = fresh("raw.read", url=url, events=EVENTS, count=count)["rate"]
    return rates


def _run(program: Path, port: int) -> dict[str, float]:
    command = [sys.executable, str(program), str(port)]
    output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=300).stdout
    rates = {}
    for line in output.splitlines():
        if found := re.match(r"(send lua batch 1000|xread count \d+).*?(?:: |decode.*decode )([\d,]+)/s", line):
            rates[found[1]] = float(found[2].replace(",", ""))
    return rates


def _listen(client: Any) -> int:
    """Let the server listen on TCP, which the reference needs; our side then goes over TCP too."""
    listening = int(client.config_get("port")["port"])
    if not listening:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            listening = probe.getsockname()[1]
        client.config_set("bind", "127.0.0.1")
        client.config_set("port", listening)
    return listening
