"""What becomes of an event whose handler fails."""

from enum import StrEnum


class ExceptionPolicy(StrEnum):
    """What becomes of an event whose handler fails, once retries (if any) are used up.

    HALT: the worker stops with exit code 3 and releases its partitions; the failing event stays first in its partition.
    QUARANTINE: its partition stops until an operator releases it.
    IGNORE: the event is dropped, counted and logged, and its partition goes on.
    DEAD_LETTER: the event moves to the processor's dead letters, and its partition goes on.
    PARK: the event and all later ones of its key move to the processor's parked events; other keys go on.
    """

    HALT = "halt"
    QUARANTINE = "quarantine"
    IGNORE = "ignore"
    DEAD_LETTER = "dead_letter"
    PARK = "park"
