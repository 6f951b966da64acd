"""The pages of the view, in their order."""

from runnel.view.pages.actors import ACTORS
from runnel.view.pages.others import EVENTS, FAILURES, KEYS, TIMERS, WORKERS
from runnel.view.pages.partitions import PARTITIONS

PAGES = (ACTORS, PARTITIONS, KEYS, TIMERS, FAILURES, WORKERS, EVENTS)
