"""A name of Runnel 0.1: `Event` is `runnel.Event`. A partition is a number now."""

from runnel.handling.event import Event

__all__ = ["Event"]
