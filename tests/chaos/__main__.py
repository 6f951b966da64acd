"""Rounds of chaos, one after the other, each from a seed of its own: `python -m tests.chaos --minutes 30`.

A round that fails is printed with its seed and its timeline, and its files (the ledger, what each worker logged) stay.
`--seed S --rounds 1` has the timeline of seed S come again. `--parking`: rounds with keys that are parked and released.
`--without nonce|history|number|parked` takes a guard out of the scripts: then it must fail.
"""

import argparse
import asyncio
import secrets
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from tests.chaos import rounds
from tests.chaos.directed import SCENARIOS, accident
from tests.chaos.parking import PARKING, drawn_while_parking
from tests.chaos.timeline import drawn
from tests.guards import WITHOUT

SECONDS = 20.0
"""How long faults come in a round."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description="Rounds of chaos.")
    parser.add_argument("--minutes", type=float, default=1.0, help="start no round later than this")
    parser.add_argument("--rounds", type=int, default=sys.maxsize, help="run no more than so many")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6), help="of the first round; the next is +1")
    parser.add_argument("--without", choices=WITHOUT, default="", help="take this guard out of the scripts")
    parser.add_argument("--parking", action="store_true", help="rounds with keys that are parked and released")
    options = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)  # in the background, too: it has processes to end
    print(f"seed {options.seed}", flush=True)
    failed = asyncio.run(_all(options))
    print(f"{failed} failed" if failed else "all is well")
    sys.exit(1 if failed else 0)


async def _all(options: argparse.Namespace) -> int:
    failed = 0 if options.parking else await _accidents(options.without)
    until = time.monotonic() + 60 * options.minutes
    for n in range(options.rounds):
        if n and time.monotonic() > until:
            break
        failed += await _round(options.seed + n, options.without, options.parking)
    return failed


async def _accidents(without: str) -> int:
    failed = 0
    for guard in SCENARIOS:
        found = await accident(guard, without, _folder())
        failed += bool(found)
        print(f"the accident that the {guard} prevents: {'; '.join(found) or 'all is well'}", flush=True)
    return failed


async def _round(seed: int, without: str, parking: bool) -> bool:
    folder = _folder()
    if parking:
        outcome = await rounds.run(drawn_while_parking(seed, SECONDS), folder, without, PARKING)
    else:
        outcome = await rounds.run(drawn(seed, SECONDS), folder, without)
    if outcome.violations:
        print(f"\n{outcome}\n", flush=True)
        return True
    print(f"seed {seed}: {outcome.events} events, {outcome.repeated} repeated", flush=True)
    shutil.rmtree(folder)
    return False


def _folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="runnel-chaos-"))


if __name__ == "__main__":
    main()
