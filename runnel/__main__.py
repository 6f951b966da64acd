"""`python -m runnel`: the same as the command `runnel`."""

import sys

from runnel.cli import main

sys.exit(main())
