"""`python -m benchmarks`: measure, print a table."""

import argparse
import json
import os
import platform
from collections.abc import Sequence
from pathlib import Path

from attrs import evolve
from rich.console import Console

from benchmarks.actors import actors
from benchmarks.asking import asking
from benchmarks.cluster import handovers, many_partitions, scaling
from benchmarks.delayed import delayed
from benchmarks.failing import failing
from benchmarks.measurements import FULL, QUICK, SINGLE, TINY, Measurement, Size
from benchmarks.reference import against
from benchmarks.report import print_table
from benchmarks.result import Result
from benchmarks.server import Server, embedded_server, server_at
from benchmarks.tracing import tracing

MEASUREMENTS: dict[str, Measurement] = {
    **SINGLE,
    "actors": actors,
    "ask": asking,
    "delayed": delayed,
    "failing": failing,
    "handover": handovers,
    "many": many_partitions,
    "scaling": scaling,
    "tracing": tracing,
}


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", action="append", choices=MEASUREMENTS, help="this one (may be given again)")
    parser.add_argument("--quick", action="store_const", dest="size", const=QUICK, default=FULL, help="less of it all")
    parser.add_argument("--tiny", action="store_const", dest="size", const=TINY, help="a smoke test: says nothing")
    parser.add_argument("--runs", type=int, help="how many alternations")
    parser.add_argument("--redis-url", help="a server whose database is empty, instead of an embedded one")
    parser.add_argument("--reference", type=Path, help="raw_ceilings.py, to compare our raw loops with; flushes all")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    parser.add_argument("--strict", action="store_true", help="exit with 1 when a goal is missed")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; answers the exit code."""
    arguments = _arguments(argv)
    console = Console()
    if not console.is_terminal:
        console = Console(width=120)
    size: Size = arguments.size
    runs = arguments.runs if arguments.runs is not None else size.runs
    chosen = {name: MEASUREMENTS[name] for name in arguments.only or MEASUREMENTS}
    if arguments.reference is not None:
        reference = {"reference": against(arguments.reference)}
        chosen = chosen | reference if arguments.only else reference | chosen
    with server_at(arguments.redis_url) if arguments.redis_url else embedded_server() as server:
        about = f"{server.describe()}; Python {platform.python_version()}, {os.cpu_count()} cores, {runs} alternations"
        console.print(about, highlight=False, soft_wrap=True)
        results = _measure(console, server, chosen, size, runs)
    print_table(console, results)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps({"about": about, "results": [r.as_json() for r in results]}, indent=2))
    return int(arguments.strict and any(result.is_met is False for result in results))


def _measure(console: Console, server: Server, chosen: dict[str, Measurement], size: Size, runs: int) -> list[Result]:
    results: list[Result] = []
    for name, measurement in chosen.items():
        with console.status(f"measuring: {name}"):
            results += measurement(server, evolve(size, runs=runs))
    server.flush()
    return results


if __name__ == "__main__":
    raise SystemExit(main())
