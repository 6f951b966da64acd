"""python -m tests.model: searches worlds, and prints for each `holds`, or the broken promise and a shortest trace to it."""

import argparse

from tests.model.guards import ALL, GUARDS
from tests.model.relaying import RELAY_WORLDS, RelayBounds
from tests.model.search import check
from tests.model.worlds import WORLDS, Bounds

EVERY: dict[str, Bounds | RelayBounds] = {**WORLDS, **RELAY_WORLDS}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.model", description="The partition protocol, model-checked.")
    parser.add_argument("--world", choices=EVERY, action="append", help="default: all, one after the other")
    parser.add_argument("--without", choices=GUARDS, action="append", default=[], help="remove a guard")
    parser.add_argument("--no-trace", action="store_true")
    parser.add_argument("--limit", type=int, default=1_500_000, help="of worlds to search; default: %(default)s")
    args = parser.parse_args()
    for name in args.world or EVERY:
        found = check(EVERY[name], ALL - set(args.without), args.limit)
        print(f"{name}: {found.broken or 'holds'} ({found.worlds:,} worlds, {found.seconds:.1f} s)", flush=True)
        for number, label in enumerate([] if args.no_trace else found.trace, 1):
            print(f"  {number:2} {label}")


if __name__ == "__main__":
    main()
