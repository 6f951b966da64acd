"""Python's memory while a worker runs."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

SELDOM = (10_000, 20, 20)
"""New objects after which it looks at the youngest, and how often at these before it looks at older ones."""


@contextmanager
def settled_heap() -> Iterator[None]:
    """Let Python's cyclic garbage collector pass over all that lives now: it stays, and events are what comes and goes.

    Every batch of events makes it collect, and going through all modules each time cost a fifth of the time of an event. That
    it looks at new objects more seldom, too, is worth a tenth: hardly any of what events leave behind is for it to find.
    """
    thresholds = gc.get_threshold()
    ours = gc.get_freeze_count() == 0  # or somebody did it already, and undoing it is theirs
    if ours:
        gc.collect()  # what is garbage now would otherwise be kept
        gc.freeze()
        gc.set_threshold(*SELDOM)
    try:
        yield
    finally:
        if ours:
            gc.set_threshold(*thresholds)
            gc.unfreeze()
