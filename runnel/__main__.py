"""`runnel` and `python -m runnel`: first of all see to signals, then do the rest."""

import sys

from runnel.signals import end_the_process


def main() -> int:
    """Run the command line; answers the exit code."""
    end_the_process()
    from runnel.cli import main as command_line

    return command_line()


if __name__ == "__main__":
    sys.exit(main())
