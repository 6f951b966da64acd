"""Rounds of chaos, one after the other, each from a seed of its own: `python -m tests.chaos --minutes 30`.

A round that fails is printed with its seed and its timeline, and its files (the ledger, what each worker logged) stay.
`--seed S --rounds 1` has the timeline of seed S come again. `--parking`: rounds with keys that are parked and released.
`--bank`: rounds with actors, so many `--transfers` each; the books are audited at the end.
`--without GUARD` takes a guard out: then the accident that it prevents, which is tried first, must happen.
"""

import argparse
import asyncio
import logging
import secrets
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from tests.chaos import directed, rounds
from tests.chaos.bank import directed as bank_directed
from tests.chaos.bank import rounds as bank
from tests.chaos.parking import PARKING, drawn_while_parking
from tests.chaos.timeline import drawn
from tests.guards import WITHOUT

SECONDS = 20.0
"""How long faults come in a round."""

TELL = 20.0
"""Seconds between two lines about how far a long round is."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description="Rounds of chaos.")
    parser.add_argument("--minutes", type=float, default=1.0, help="start no round later than this")
    parser.add_argument("--rounds", type=int, default=sys.maxsize, help="run no more than so many")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6), help="of the first round; the next is +1")
    parser.add_argument("--without", choices=WITHOUT, default="", help="take this guard out of the scripts")
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--parking", action="store_true", help="rounds with keys that are parked and released")
    kind.add_argument("--bank", action="store_true", help="rounds with actors, whose books are audited")
    parser.add_argument("--transfers", type=int, default=0, help="with --bank: in each round; no server fails then")
    options = parser.parse_args()
    if options.without and options.without not in (bank_directed if options.bank else directed).SCENARIOS:
        parser.error(f"--without {options.without}: no accident of it is known {'with' if options.bank else 'but with'} --bank")
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)  # in the background, too: it has processes to end
    logging.getLogger("runnel").setLevel(logging.ERROR)  # what the senders meet is meant to be there
    print(f"seed {options.seed}", flush=True)
    failed = asyncio.run(_all(options))
    print(f"{failed} failed" if failed else "all is well")
    sys.exit(1 if failed else 0)


async def _all(options: argparse.Namespace) -> int:
    failed = await _accidents(options)
    until = time.monotonic() + 60 * options.minutes
    for n in range(options.rounds):
        if n and time.monotonic() > until:
            break
        failed += await _round(options.seed + n, options)
    return failed


async def _accidents(options: argparse.Namespace) -> int:
    if options.parking:
        return 0
    failed, of = 0, bank_directed if options.bank else directed
    for guard in of.SCENARIOS:
        found = await of.accident(guard, options.without, _folder())
        failed += bool(found)
        print(f"the accident that the {guard} prevents: {'; '.join(found) or 'all is well'}", flush=True)
    return failed


async def _round(seed: int, options: argparse.Namespace) -> bool:
    folder, without = _folder(), options.without
    outcome: rounds.Outcome | bank.Outcome
    if options.bank:
        outcome = await _bank_round(seed, folder, options)
    elif options.parking:
        outcome = await rounds.run(drawn_while_parking(seed, SECONDS), folder, without, PARKING)
    else:
        outcome = await rounds.run(drawn(seed, SECONDS), folder, without)
    if outcome.violations:
        print(f"\n{outcome}\n", flush=True)
        return True
    print(f"seed {seed}: {outcome.summary}", flush=True)
    shutil.rmtree(folder)
    return False


async def _bank_round(seed: int, folder: Path, options: argparse.Namespace) -> bank.Outcome:
    if not options.transfers:
        return await bank.run(bank.timeline_of(seed, bank.HARSH), folder, bank.SHORT, options.without)
    begin = said = time.monotonic()

    def tell(done: int) -> None:
        nonlocal said
        if (now := time.monotonic()) > said + TELL:
            said = now
            print(f"{now - begin:5.0f} s  {done} transfers debited", flush=True)

    timeline = bank.timeline_of(seed, bank.KINDS, every=bank.SELDOM)
    return await bank.run(timeline, folder, bank.Trade(transfers=options.transfers), options.without, tell)


def _folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="runnel-chaos-"))


if __name__ == "__main__":
    main()
