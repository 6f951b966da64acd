"""How much memory this process has, from what the system tells."""

import resource
import sys
from pathlib import Path


def resident() -> int:
    """Bytes of this process that are resident; where that cannot be told, at most ever."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
    return pages * resource.getpagesize()
